// Numbers and captions in words, and what changed between two captions.
"use strict";

Loopsim.text = (() => {
  const { el } = Loopsim;
  const PLURAL = { image: "pictures", text: "captions", pair: "pictures with captions" };

  const integer = (value) => value.toLocaleString("en-US").replaceAll(",", "\u202f");

  function number(value, digits = 3) {
    if (value === null || value === undefined) return "–";
    if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
    return Math.abs(value) >= 1000 ? integer(Math.round(value)) : value.toFixed(digits);
  }

  function interval(values, digits = 2) {
    const [value, low, high] = values;
    if (value === null || value === undefined) return "–";
    return number(value, digits) + (low === null || high === null ? "" : " [" + number(low, digits) + ", " + number(high, digits) + "]");
  }

  const percent = (share) => share === null ? "–" : share > 0 && share < 0.001 ? "< 0.1\u00a0%" : (share * 100).toFixed(share < 0.1 ? 1 : 0) + "\u00a0%";

  function bytes(size) {
    if (size < 1000) return size + " bytes";
    return size < 1e6 ? Math.round(size / 1000) + " kB" : (size / 1e6).toFixed(1) + " MB";
  }

  // Words, with the white space after each, as they stand.
  const tokens = (text) => text.match(/\s*\S+/gu) || [];
  const bare = (token) => token.trim().toLowerCase().replace(/^\p{P}+|\p{P}+$/gu, "") || token.trim();

  // Longest common subsequence of words: [["same" | "gone" | "new", text], …].
  function difference(before, after) {
    const a = tokens(before), b = tokens(after);
    if (a.length * b.length > 4e6) return [["gone", before], ["new", " " + after]]; // thousands of words each
    const x = a.map(bare), y = b.map(bare), width = b.length + 1;
    const best = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        best[i * width + j] = x[i] === y[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
    const out = [];
    const put = (kind, text) => {
      if (out.length && out[out.length - 1][0] === kind) out[out.length - 1][1] += text;
      else out.push([kind, text]);
    };
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && x[i] === y[j]) { put("same", b[j]); i++; j++; }
      else if (i < a.length && (j === b.length || best[(i + 1) * width + j] >= best[i * width + j + 1])) put("gone", a[i++]);
      else put("new", b[j++]);
    }
    return out;
  }

  function showDifference(element, before, after) {
    element.replaceChildren();
    if (before === null || after === null) { element.textContent = after === null ? "" : after; return; }
    for (const [kind, text] of difference(before, after)) {
      if (kind === "same") { element.append(text); continue; }
      const space = text.match(/^\s*/u)[0];
      if (space || element.lastElementChild) element.append(space || " ");
      element.append(el(kind === "gone" ? "del" : "ins", { text: text.slice(space.length) }));
    }
  }

  const modality = (name) => PLURAL[name] || name || "";

  return { bytes, difference, integer, interval, modality, number, percent, showDifference };
})();
