// Conditions or runs against each other: what differs, the settings behind it, and the same starts side by side.
"use strict";

Loopsim.compare = (() => {
  const { $, data, el } = Loopsim;
  const { integer, interval, modality, number, percent } = Loopsim.text;
  const SHOWN = 40; // lines of the table before the rest is asked for
  const MARKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
  const KINDS = [["differs", "differ"], ["differs by less than the margin", "differ by less than the margin"], ["equivalent", "are shown to be equal"], ["undecided", "are undecided"]];
  const chosen = { pair: "", kind: "", all: false, start: null, replicate: 0 };
  let pending = false;

  const found = () => data.head.comparison;
  const pairOf = (line) => line.first + " → " + line.second;

  function drawn(tag, properties, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // ---- the table ----------------------------------------------------------------------------------------------------

  function summary(lines) {
    const parts = KINDS.map(([kind, words]) => [lines.filter((line) => line.verdict === kind).length, words]).filter(([count]) => count);
    const told = parts.map(([count, words]) => integer(count) + " " + (count === 1 ? words.replace("differ", "differs").replace("are ", "is ") : words));
    const cells = new Set(lines.flatMap((line) => [line.first, line.second])).size;
    return "Of " + integer(lines.length) + " comparisons between " + cells + " cells, " + told.join(", ") + ".";
  }

  // The widest value of each measure: lines of one measure are drawn on one scale.
  function scales(lines) {
    const widest = new Map();
    for (const line of lines) {
      const key = line.measure + "/" + line.modality, values = [line.ci_low, line.ci_high, line.difference, line.margin].filter((one) => one !== null).map(Math.abs);
      widest.set(key, Math.max(widest.get(key) || 0, ...values));
    }
    return (line) => widest.get(line.measure + "/" + line.modality) || 1;
  }

  // A difference with its interval over the band that counts as equal.
  function forest(line, widest) {
    const wide = 168, high = 20, at = (value) => wide / 2 + value / widest * (wide / 2 - 6);
    const parts = [];
    if (line.margin !== null) parts.push(drawn("rect", { class: "forest-margin", x: at(-line.margin), width: at(line.margin) - at(-line.margin), y: 0, height: high }));
    parts.push(drawn("line", { class: "forest-zero", x1: at(0), x2: at(0), y1: 0, y2: high }));
    if (line.ci_low !== null && line.ci_high !== null) parts.push(drawn("line", { class: "forest-interval", x1: at(line.ci_low), x2: at(line.ci_high), y1: high / 2, y2: high / 2 }));
    if (line.difference !== null) parts.push(drawn("circle", { class: "forest-value", cx: at(line.difference), cy: high / 2, r: 4 }));
    return drawn("svg", { class: "forest", viewBox: "0 0 " + wide + " " + high, width: wide, height: high, "aria-hidden": "true", "data-verdict": line.verdict }, ...parts);
  }

  const value = (one, digits) => interval([one, null, null], digits);

  function row(line, scale, named) {
    return el("tr", {},
      named ? el("th", { scope: "row", text: pairOf(line) }) : null,
      el(named ? "td" : "th", { scope: named ? null : "row", text: line.measure, title: found().measures[line.measure] || null }), el("td", { text: modality(line.modality) }),
      el("td", {}, el("span", { class: "verdict", "data-verdict": line.verdict, text: line.verdict }), line.undefined ? el("span", { class: "reason", text: line.undefined }) : null),
      el("td", { class: "forest-cell" }, line.difference === null ? null : forest(line, scale(line))), el("td", { class: "num", text: interval([line.difference, line.ci_low, line.ci_high], 3) }),
      el("td", { class: "num", text: value(line.first_value, 3) }), el("td", { class: "num", text: value(line.second_value, 3) }),
      el("td", { class: "num", text: value(line.p_adjusted, 3) }), el("td", { class: "num", text: value(line.p_equivalence_adjusted, 3) }));
  }

  function table() {
    const { lines } = found(), pairs = [...new Set(lines.map(pairOf))], scale = scales(lines);
    if (!pairs.includes(chosen.pair)) chosen.pair = pairs.length > 3 ? pairs[0] : "";
    const kinds = KINDS.filter(([kind]) => lines.some((line) => line.verdict === kind));
    if (chosen.kind && !kinds.some(([kind]) => kind === chosen.kind)) chosen.kind = "";
    const mine = lines.filter((line) => (!chosen.pair || pairOf(line) === chosen.pair) && (!chosen.kind || line.verdict === chosen.kind));
    const shown = chosen.all ? mine : mine.slice(0, SHOWN), named = !chosen.pair && pairs.length > 1;
    const both = chosen.pair || (pairs.length === 1 ? pairs[0] : "");
    const one = both ? lines.find((line) => pairOf(line) === both) : null;
    const heads = [named ? "Cells" : null, "Measure", "Of", "Verdict", "", "Difference [95 %]", one ? one.first : "First", one ? one.second : "Second", "p adj.", "p equiv. adj."].filter((text) => text !== null);
    const controls = el("div", { class: "controls" },
      pairs.length > 1 ? Loopsim.choice("Which cells", [["", "All " + pairs.length + " pairs"], ...pairs.map((name) => [name, name])], chosen.pair, (next) => { chosen.pair = next; chosen.all = false; again(); }) : null,
      kinds.length > 1 ? Loopsim.choice("Which verdicts", [["", "All verdicts"], ...kinds.map(([kind]) => [kind, kind])], chosen.kind, (next) => { chosen.kind = next; chosen.all = false; again(); }) : null);
    const box = el("div", { id: "compare-table" }, controls);
    function again() { box.replaceWith(table()); }
    if (one) box.append(el("p", { class: "note", text: both + ": " + starts(one) }));
    if (!shown.length) box.append(el("p", { class: "none", text: "No line has this verdict." }));
    else box.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Comparison" }, el("table", { class: "compare" },
      el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col", text })))), el("tbody", {}, ...shown.map((line) => row(line, scale, named))))));
    if (mine.length > shown.length) box.append(el("button", { type: "button", class: "button", text: "Show " + (mine.length - shown.length) + " more", onclick: () => { chosen.all = true; again(); } }));
    return box;
  }

  const starts = (line) => integer(line.starts) + (line.paired ? " shared starts, compared in pairs" : " starts, not shared");

  function tests() {
    const { tests: all } = found();
    if (!all.length) return null;
    const heads = ["Measure", "Of", "Cells", "p", "p adj."];
    return el("details", { class: "more" }, el("summary", { text: "Do any of them differ at all?" }), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tests of all cells together" }, el("table", {},
      el("caption", { text: "One test a measure over all cells that share starts, before any pair is looked at" }),
      el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, ...all.map((test) => el("tr", {}, el("th", { scope: "row", text: test.measure }), el("td", { text: modality(test.modality) }), el("td", { class: "num", text: String(test.cells.length) }),
        el("td", { class: "num", text: value(test.p, 3) }), el("td", {}, el("span", { class: "num", text: value(test.p_adjusted, 3) }), test.undefined ? el("span", { class: "reason", text: test.undefined }) : null)))))));
  }

  function reading() {
    const { margin, permutations, embedder } = found();
    return el("p", { class: "note", text: "Second less first, with its 95 % interval; the grey band is what counts as equal: within " + percent(margin) + " of the first value. p: " + integer(permutations)
      + " permutations, the start as the unit; adj.: Holm, over all " + integer(found().lines.length) + " comparisons. Undecided: neither a difference nor its absence is shown." + (embedder ? " Embedder: " + embedder + "." : "") });
  }

  function settings() {
    const { names, rows } = found().settings;
    if (!rows.length) return el("p", { class: "note", text: data.head.runs.length > 1 ? "The experiments have the same settings." : "" });
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What differs between the experiments" }, el("table", {},
      el("thead", {}, el("tr", {}, ...["Setting", ...names].map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, ...rows.map(([key, ...values]) => el("tr", {}, el("th", { scope: "row", text: key }), ...values.map((text) => el("td", { text: text || "–" })))))));
  }

  // ---- the same starts side by side ---------------------------------------------------------------------------------

  function columns() {
    const { conditions, runs } = data.head;
    return conditions.map((one, i) => {
      const alone = conditions.filter((other) => other.run === one.run).length === 1;
      const name = [runs.length > 1 ? runs[one.run].name : "", alone && runs.length > 1 ? "" : one.label].filter(Boolean).join(", ");
      return { condition: i, name: name || "all" };
    });
  }

  // Starts that two columns or more have: id -> {text, rows: condition -> rows in order of replicates}.
  function common() {
    const { condition, start, replicate } = data.head.trajectories, starts = new Map();
    for (let row = 0; row < data.rows; row++) {
      const one = data.head.starts[start[row]];
      if (!starts.has(one.id)) starts.set(one.id, { id: one.id, text: one.text === null ? "(a picture) " + one.id : one.text, kind: one.kind, rows: new Map() });
      const rows = starts.get(one.id).rows;
      if (!rows.has(condition[row])) rows.set(condition[row], []);
      rows.get(condition[row])[replicate[row]] = row;
    }
    return [...starts.values()].filter((one) => one.rows.size > 1);
  }

  function iterations(rows, kind) {
    const { t0, last } = data.head.trajectories, begin = Math.min(...rows.map((row) => t0[row]));
    // Where each of them ends, beside the marks: the last iteration that all have is what is compared.
    const ends = rows.map((row) => last[row]), end = Math.max(...ends);
    const all = [...(kind === "image" ? [begin] : []), ...MARKS.map((mark) => begin + mark).filter((t) => t < end), Math.min(...ends), end];
    const some = [...new Set(all)].filter((t) => t > begin || kind === "image").sort((a, b) => a - b);
    return some.length ? some : [begin + 1]; // all failed at once: said there
  }

  function sideBySide() {
    const starts = common(), named = columns();
    const box = el("section", { id: "side-by-side", "aria-labelledby": "side-title" }, el("h3", { id: "side-title", text: "The same start, side by side" }));
    if (named.length < 2) return null;
    if (!starts.length) { box.append(el("p", { class: "note", text: "No start is in more than one of them, so there is nothing to lay side by side." })); return box; }
    let k = Math.max(0, starts.findIndex((one) => one.id === chosen.start));
    const one = starts[k], replicates = Math.max(...[...one.rows.values()].map((rows) => rows.length));
    chosen.start = one.id;
    chosen.replicate = Math.min(chosen.replicate, replicates - 1);
    const go = (to, label) => { chosen.start = starts[to].id; fill(label); };
    const arrow = (by, text, label) => el("button", { type: "button", class: "icon", "aria-label": label, disabled: k + by < 0 || k + by >= starts.length, onclick: () => go(k + by, label) }, el("span", { "aria-hidden": "true", text }));
    box.append(el("div", { class: "controls" }, arrow(-1, "‹", "Start before"), arrow(1, "›", "Next start"),
      Loopsim.choice("Start", starts.map((other) => [other.id, other.text.length > 70 ? other.text.slice(0, 69) + "…" : other.text]), one.id, (id) => go(starts.findIndex((other) => other.id === id), "Start")),
      replicates > 1 ? Loopsim.choice("Replicate", Array.from({ length: replicates }, (_, i) => [String(i), "Replicate " + (i + 1)]), String(chosen.replicate), (i) => { chosen.replicate = Number(i); fill("Replicate"); }) : null,
      el("span", { class: "count", text: "start " + (k + 1) + " of " + starts.length })));
    box.append(el("p", { class: "side-text", text: one.text }), films(one, named));
    return box;
  }

  function fill(label) {
    const old = $("side-by-side");
    if (!old) return;
    const next = sideBySide(), scrolled = old.querySelector(".scroll") ? old.querySelector(".scroll").scrollLeft : 0;
    old.replaceWith(next);
    const scroll = next.querySelector(".scroll");
    if (scroll) scroll.scrollLeft = scrolled;
    const again = label ? [...next.querySelectorAll("button, select")].find((element) => element.getAttribute("aria-label") === label) : null;
    if (again && !again.disabled) again.focus({ preventScroll: true });
  }

  function films(one, named) {
    const there = named.filter(({ condition }) => one.rows.has(condition)).map(({ condition, name }) => ({ name, row: one.rows.get(condition)[chosen.replicate] }));
    const rows = there.map(({ row }) => row).filter((row) => row !== undefined), ts = iterations(rows, one.kind), form = data.head.sprites;
    const side = form ? Math.min(160, Math.max(form.width, 120)) : 160;
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The same start, side by side" }, el("table", { class: "side" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "t" }), ...there.map(({ name }) => el("th", { scope: "col", text: name })))),
      el("tbody", {}, ...ts.map((t) => el("tr", {}, el("th", { scope: "row", class: "num", text: String(t) }), ...there.map(({ row }) => el("td", {}, state(row, t, side))))))));
  }

  function state(row, t, side) {
    if (row === undefined || !Loopsim.exists(row, t)) {
      const failed = row !== undefined && data.head.trajectories.failed[row] !== null;
      return el("span", { class: "note", text: row === undefined ? "no such replicate" : failed ? "failed at t = " + data.head.trajectories.failed[row] : "not made" });
    }
    const step = Loopsim.step(row, t), text = step ? (step.text === null ? "(no caption)" : step.text) : "…";
    const picture = el("span", { class: "thumb" }), shown = data.head.sprites && Loopsim.showSprite(picture, row, t, side);
    return el("button", { type: "button", class: "side-state", "aria-label": "t = " + t + ": " + text, onclick: () => Loopsim.select(row, t, { from: "compare" }) }, shown ? picture : null, el("span", { class: "side-caption", text }));
  }

  // ---- all of it ----------------------------------------------------------------------------------------------------

  function show() {
    const section = $("comparison"), here = found();
    section.hidden = !here;
    if (!here) return;
    // Of several runs the comparison is what the page is for; of one it comes after the run itself.
    if (data.head.runs.length === 1 && section.nextElementSibling !== $("what")) $("what").before(section);
    $("comparison-title").textContent = data.head.runs.length > 1 ? "Comparison" : here.by === "group" ? "Groups of starts compared" : "Conditions compared";
    const parts = here.notes.map((text) => el("p", { class: "note caution" }, ...Loopsim.facts.sentence(text)));
    if (here.lines.length) parts.unshift(el("p", { class: "headline", text: summary(here.lines) }));
    else parts.unshift(el("p", { class: "headline", text: "Nothing could be compared." }));
    if (here.lines.length) parts.push(table(), reading(), tests());
    parts.push(el("h3", { class: "sub", text: data.head.runs.length > 1 ? "What differs between the experiments" : "What differs between the conditions" }), settings(), sideBySide());
    if (here.by === "group" && data.head.runs.length === 1) parts.splice(-3, 3);
    $("comparison-body").replaceChildren(...parts.filter(Boolean));
  }

  // Captions come a moment after the pictures' places are known.
  Loopsim.on("steps", () => {
    if (pending || !$("side-by-side")) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; if (!$("side-by-side").contains(document.activeElement) || $("side-by-side").querySelector(".side-caption")) fill(document.activeElement && document.activeElement.getAttribute("aria-label")); });
  });

  return { show };
})();
