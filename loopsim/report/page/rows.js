// Which rows are shown, in which order: filters, search, sorting; and what rows are called and coloured.
"use strict";

Loopsim.rows = (() => {
  const { data, state, chunks } = Loopsim;
  const PALETTE = { light: ["#0072B2", "#D55E00", "#009E73", "#B85C94", "#2F8FC4", "#B87800", "#444444"], dark: ["#5AB4F0", "#FF9147", "#3CCFA3", "#E6A3CB", "#9AD7F7", "#F2BE54", "#D8D8D8"] };
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const MANY = { light: ["#4e79a7", "#d9730d", "#c8433f", "#3f918a", "#478a3e", "#a88500", "#8f6390", "#d0607a", "#7f6046", "#6d6a67", "#1c6ec2", "#7a7f1e"], dark: ["#7ea6d1", "#f5a158", "#ef7b77", "#7cc4be", "#7fc276", "#e6c64d", "#c596c6", "#ff9fb0", "#bd9a7d", "#bab6b2", "#6cb2ff", "#c0c653"] };
  let visible = [];
  let places = new Map(); // row -> place in `visible`
  let hits = null; // row -> [t], or null without a query
  let searched = { done: 0, total: 0 };
  let flagsOf = []; // row -> Set of flag names

  const theme = () => (Loopsim.dark.matches ? "dark" : "light");
  const trajectory = (row) => {
    const all = data.head.trajectories;
    const found = {};
    for (const name of Object.keys(all)) found[name] = all[name][row];
    return found;
  };
  const startOf = (row) => data.head.starts[data.head.trajectories.start[row]];
  const conditionOf = (row) => data.head.conditions[data.head.trajectories.condition[row]];
  const groupOf = (row) => data.head.groups[startOf(row).group];
  const short = (factor) => factor.slice(factor.lastIndexOf(".") + 1);

  // ---- motifs of the chosen embedder and modality -------------------------------------------------------------------

  function layer() { return data.head.maps[state.layer] || null; }

  // The motif chunks of the chosen embedder and modality, one a run.
  function motifChunks() {
    const chosen = layer();
    if (!chosen) return [];
    return data.head.motifs.filter((one) => one.embedder === chosen.embedder && one.modality === chosen.modality)
      .map((entry) => ({ entry, chunk: chunks.get(entry.file) })).filter((one) => one.chunk);
  }

  function motif(row, t) {
    const run = data.head.trajectories.run[row];
    for (const { entry, chunk } of motifChunks()) {
      if (entry.run !== run) continue;
      const line = chunk.labels[row - chunk.row];
      const found = line ? line[t - chunk.t] : undefined;
      return found === undefined || found < 0 ? null : found;
    }
    return null;
  }

  // ---- facets -------------------------------------------------------------------------------------------------------

  const MOST_VALUES = 24; // of a column of the starts: more, and it is a name rather than a group

  // What can be filtered by: key, name, values, and the values that a row has.
  function facets() {
    const head = data.head, found = [];
    const add = (key, name, values, of) => { if (values.length > 1 || (values.length && key === "badge")) found.push({ key, name, values, of }); };
    add("run", "Run", head.runs.map((run) => run.name), (row) => [head.runs[head.trajectories.run[row]].name]);
    const factors = [...new Set(head.conditions.flatMap((one) => one.factors.map(([name]) => name)))];
    for (const factor of factors) {
      const of = (one) => { const pair = one.factors.find(([name]) => name === factor); return pair ? pair[1] : "–"; };
      const alone = factors.filter((one) => short(one) === short(factor)).length === 1;
      add("factor " + factor, (alone ? short(factor) : factor).replaceAll("_", " "), [...new Set(head.conditions.map(of))], (row) => [of(conditionOf(row))]);
    }
    const ofStarts = [...new Set(head.starts.flatMap((one) => (one.factors || []).map(([name]) => name)))];
    for (const factor of ofStarts) {
      const of = (one) => { const pair = (one.factors || []).find(([name]) => name === factor); return pair ? pair[1] : "–"; };
      const values = [...new Set(head.starts.map(of))];
      if (values.length <= MOST_VALUES) add("start " + factor, factor.replaceAll("_", " "), values, (row) => [of(startOf(row))]);
    }
    if (!factors.length) add("condition", "Condition", [...new Set(head.conditions.map((one) => one.label))], (row) => [conditionOf(row).label]);
    add("group", "Starts", head.groups, (row) => [groupOf(row)]);
    const badges = new Set();
    for (let row = 0; row < data.rows; row++) for (const one of badgesOf(row)) badges.add(one.name);
    add("badge", "Marked", [...badges], (row) => badgesOf(row).map((one) => one.name));
    return found;
  }

  const FLAG_WORDS = { empty_caption: "empty caption", black_image: "black picture", constant_image: "one colour", safety_checked: "safety checker", prompt_over_limit: "prompt over limit", caption_truncated: "caption truncated", words_cut: "words cut", not_structured: "not structured", repeat: "repeat" };
  const flagWords = (name) => FLAG_WORDS[name] || name.replaceAll("_", " ");

  function flagNames() { const marks = chunks.get("marks"); return marks ? marks.names : []; }

  function takeMarks() {
    const marks = chunks.get("marks");
    flagsOf = [];
    if (!marks) return;
    flagsOf = marks.flags.map((flat) => { const names = new Set(); for (let k = 1; k < flat.length; k += 2) names.add(marks.names[flat[k]]); return names; });
  }

  // What a reader should see at a row: failed, fixed point, cycle, and the flags of its steps.
  function badgesOf(row) {
    const all = data.head.trajectories, found = [];
    if (all.failed[row] !== null) found.push({ name: "failed", text: "failed at t = " + all.failed[row], kind: "bad" });
    if (all.period[row] === 1) found.push({ name: "fixed point", text: "fixed point from t = " + all.entry[row], kind: "still" });
    if (all.period[row] > 1) found.push({ name: "cycle", text: "cycle of period " + all.period[row] + " from t = " + all.entry[row], kind: "still" });
    for (const name of flagsOf[row] || []) found.push({ name: flagWords(name), text: flagWords(name), kind: /empty|black|constant|safety/.test(name) ? "bad" : "mild" });
    return found;
  }

  function passes(row) {
    for (const facet of data.facets) {
      const wanted = state.filters[facet.key];
      if (wanted && wanted.size && !facet.of(row).some((value) => wanted.has(value))) return false;
    }
    const wanted = state.filters.motif;
    if (wanted && wanted.size && !wanted.has(motif(row, state.t))) return false;
    return true;
  }

  function isFiltered() { return Object.values(state.filters).some((wanted) => wanted && wanted.size) || hits !== null; }

  function order(rows) {
    const all = data.head.trajectories;
    const by = {
      start: (row) => all.start[row],
      motif: (row) => { const found = motif(row, state.t); return found === null ? 1e9 : found; },
      most: (row) => all.drift[row] === null ? 1e9 : -all.drift[row],
      least: (row) => all.drift[row] === null ? 1e9 : all.drift[row],
      hits: (row) => hits && hits.has(row) ? -hits.get(row).length : 0,
    }[state.sort];
    return by ? rows.map((row) => [by(row), row]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((pair) => pair[1]) : rows;
  }

  function update() {
    const rows = [];
    for (let row = 0; row < data.rows; row++) if (passes(row) && (hits === null || hits.has(row))) rows.push(row);
    visible = order(rows);
    places = new Map(visible.map((row, place) => [row, place]));
    Loopsim.tell("rows");
  }

  // ---- search -------------------------------------------------------------------------------------------------------

  const terms = (query) => (query.toLowerCase().match(/"[^"]+"|\S+/g) || []).map((term) => term.replaceAll('"', "")).filter(Boolean);
  let turn = 0;

  function look(chunk, wanted) {
    chunk.text.forEach((line, i) => {
      if (!line) return;
      const found = [];
      line.forEach((text, k) => { if (text !== null && wanted.every((term) => text.toLowerCase().includes(term))) found.push(chunk.t + k); });
      if (found.length) hits.set(chunk.row + i, [...(hits.get(chunk.row + i) || []), ...found]);
    });
  }

  // Looks through all captions; chunks that are not there yet are loaded, a few at a time, and counted as they come.
  async function search(query) {
    const mine = ++turn, wanted = terms(query);
    state.query = query;
    if (!wanted.length) { hits = null; update(); return; }
    hits = new Map();
    const blocks = Loopsim.stepBlocks();
    searched = { done: 0, total: blocks.length };
    for (let i = 0; i < blocks.length; i += 4) {
      const found = await Promise.all(blocks.slice(i, i + 4).map(([row, t]) => Loopsim.loadSteps(row, t).catch(() => null)));
      if (mine !== turn) return;
      for (const chunk of found) if (chunk) look(chunk, wanted);
      searched.done = Math.min(i + 4, blocks.length);
      if (i % 16 === 0) update();
    }
    update();
  }

  // ---- colours ------------------------------------------------------------------------------------------------------

  // What rows may be coloured by.
  function colourings() {
    const found = data.facets.filter((facet) => facet.key !== "badge").map((facet) => [facet.key, facet.name]);
    if (motifChunks().length) found.push(["motif", "Motif"]);
    return found.length ? found : [["none", "One colour"]];
  }

  function palette(count) {
    const colours = count > PALETTE.light.length ? MANY[theme()] : PALETTE[theme()];
    return (i) => i < colours.length || count <= colours.length ? colours[i % colours.length] : "hsl(" + Math.round(i * 137.5 % 360) + " 55% " + (theme() === "dark" ? 65 : 42) + "%)";
  }

  const motifColour = (i) => (i === null ? "#999999" : palette(Math.max(12, i + 1))(i));

  // The function from a row to its colour, and the legend: [[text, colour, value]].
  function colouring() {
    const facet = data.facets.find((one) => one.key === state.colour);
    if (facet) {
      const colour = palette(facet.values.length), place = new Map(facet.values.map((value, i) => [value, i]));
      return { of: (row) => colour(place.get(facet.of(row)[0])), legend: facet.values.map((value, i) => [value, colour(i), value]), key: facet.key };
    }
    if (state.colour === "motif") return { of: (row) => motifColour(motif(row, state.t)), legend: [], key: "motif" };
    return { of: () => palette(1)(0), legend: [], key: "none" };
  }

  function toggle(key, value, only = false) {
    const wanted = state.filters[key] || new Set();
    const had = wanted.has(value) && (!only || wanted.size === 1);
    const next = only ? new Set() : new Set(wanted);
    if (had) next.delete(value); else next.add(value);
    state.filters[key] = next;
    Loopsim.tell("filters");
    update();
  }

  function clear() {
    state.filters = {};
    Loopsim.tell("filters");
    update();
  }

  return {
    DASHES, badgesOf, clear, colouring, colourings, conditionOf, facets, flagNames, flagWords, groupOf, isFiltered, layer, motif, motifChunks,
    motifColour, palette, passes, search, short, startOf, takeMarks, toggle, trajectory, update,
    get hits() { return hits; }, get places() { return places; }, get searched() { return searched; }, get visible() { return visible; },
  };
})();
