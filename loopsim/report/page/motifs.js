// The motifs of the chosen embedder and modality: what stands for each, its words, and how many are in it now.
"use strict";

Loopsim.motifs = (() => {
  const { $, data, el, state } = Loopsim;
  let cards = [];

  function counts(t) {
    const found = new Map();
    let total = 0;
    for (const row of Loopsim.rows.visible) {
      const motif = Loopsim.exists(row, t) ? Loopsim.rows.motif(row, t) : null;
      if (motif !== null) { found.set(motif, (found.get(motif) || 0) + 1); total++; }
    }
    return { found, total };
  }

  // Shares of a motif over all iterations, at most 40 of them.
  function history(entry, chunk) {
    const shares = Array.from({ length: entry.k }, () => []);
    const length = Math.max(0, ...chunk.labels.map((line) => line.length)), stride = Math.max(1, Math.ceil(length / 40));
    for (let k = 0; k < length; k += stride) {
      const at = new Array(entry.k).fill(0);
      let total = 0;
      for (const line of chunk.labels) if (line[k] >= 0) { at[line[k]]++; total++; }
      at.forEach((count, motif) => shares[motif].push(total ? count / total : 0));
    }
    return shares;
  }

  function spark(values, most, colour) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(svg.namespaceURI, "polyline");
    svg.setAttribute("viewBox", "0 0 100 24");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("class", "spark");
    svg.setAttribute("aria-hidden", "true");
    line.setAttribute("points", values.map((value, i) => (values.length > 1 ? 100 * i / (values.length - 1) : 50).toFixed(1) + "," + (23 - 22 * value / (most || 1)).toFixed(1)).join(" "));
    line.style.stroke = colour;
    svg.append(line);
    return svg;
  }

  // Where runs are compared, each has motifs of its own; they are numbered together with the run's name.
  function start() {
    const found = Loopsim.rows.motifChunks();
    $("motifs").hidden = !found.length;
    cards = [];
    if (!found.length) return;
    const parts = [];
    for (const { entry, chunk } of found) {
      const shares = history(entry, chunk), most = Math.max(...shares.flat(), 0);
      const order = shares.map((line, motif) => [line.reduce((sum, value) => sum + value, 0), motif]).filter(([sum]) => sum > 0).sort((a, b) => b[0] - a[0]);
      for (const [, motif] of order) {
        const picture = el("span", { class: "thumb", role: "img", "aria-label": "Picture nearest to the centre of motif " + motif }), medoid = chunk.medoids[motif];
        const has = medoid && Loopsim.showSprite(picture, medoid[0], medoid[1], 72);
        const name = (found.length > 1 ? data.head.runs[entry.run].name + " " : "") + "motif " + motif;
        const count = el("span", { class: "motif-count" }), dot = el("span", { class: "dot" });
        dot.style.backgroundColor = Loopsim.rows.motifColour(motif);
        const words = chunk.words[motif].join(", ") || "no words of its own";
        const button = el("button", { type: "button", class: "motif", "aria-pressed": "false", onclick: () => Loopsim.rows.toggle("motif", motif) },
          has ? picture : null, el("span", { class: "motif-text" }, el("span", { class: "motif-name" }, dot, name), el("span", { class: "motif-words", text: words }), count), spark(shares[motif], most, Loopsim.rows.motifColour(motif)));
        cards.push({ motif, run: entry.run, button, count });
        parts.push(el("li", {}, button));
      }
    }
    $("motifs-list").replaceChildren(...parts);
    const chosen = Loopsim.rows.layer();
    $("motifs-note").textContent = "Of " + Loopsim.text.modality(chosen.modality) + ", from a codebook of " + found[0].entry.k + " that is fitted to any data: motifs are no evidence of convergence. The picture is the one nearest to the centre, the line the share over iterations; a click shows who is there now.";
    update();
  }

  function update() {
    if (!cards.length) return;
    const { found, total } = counts(state.t), wanted = state.filters.motif || new Set();
    for (const { motif, button, count } of cards) {
      const here = found.get(motif) || 0;
      count.textContent = here + " of " + total + " at t = " + state.t;
      button.setAttribute("aria-pressed", String(wanted.has(motif)));
      button.classList.toggle("nobody", !here);
    }
  }

  Loopsim.on("motifs theme", start);
  Loopsim.on("t rows filters", update);
  return { start };
})();
