// Curves over iterations with interval bands, drawn by Plotly, which is loaded after the page has been shown.
"use strict";

Loopsim.curves = (() => {
  const { $, data, el, state } = Loopsim;
  const chosen = { metric: null, modality: null, embedder: null, item: "" };
  const CROWD = 12; // more lines than this are coloured by one setting, and have no bands
  let plotly = null, drawn = null, waiting = false, lines = [], panels = [];

  const entry = () => data.head.curves.find((one) => one.metric === chosen.metric);

  function controls() {
    const found = data.head.curves, box = $("curves-controls");
    if (!found.length) { box.replaceChildren(); return; }
    if (!entry()) chosen.metric = found[0].metric;
    const named = (one) => one.what.charAt(0).toUpperCase() + one.what.slice(1);
    const parts = [Loopsim.choice("Measure", found.map((one, i) => [one.metric, named(one), i < 8 ? "First" : "All measures"]), chosen.metric, (value) => { chosen.metric = value; chosen.item = ""; controls(); draw(); })];
    const { modalities, embedders } = entry();
    if (!embedders.includes(chosen.embedder)) chosen.embedder = embedders[0] || null;
    if (embedders.length > 1) parts.push(Loopsim.choice("Embedder", embedders.map((name) => [name, name]), chosen.embedder, (value) => { chosen.embedder = value; draw(); }));
    if (modalities.length > 1) {
      if (chosen.modality !== "both" && !modalities.includes(chosen.modality)) chosen.modality = "both";
      const options = [...modalities.map((name) => [name, Loopsim.text.modality(name)]), ["both", "both"]];
      parts.push(Loopsim.segments("Of", options, chosen.modality, (value) => { chosen.modality = value; draw(); }));
    } else chosen.modality = modalities[0] || null;
    box.replaceChildren(...parts);
  }

  function none(text) {
    $("curves-plot").replaceChildren(el("p", { class: "none", text }));
    $("curves-plot").classList.add("empty");
    $("curves-note").textContent = "";
  }

  async function draw() {
    if (!data.head.curves.length) {
      none(data.head.runs.some((run) => run.measured) ? "There is no measure with a value at each iteration." : "Not measured yet: curves appear when the run has been embedded and measured.");
      return;
    }
    const wanted = entry();
    try {
      await Loopsim.load(wanted.file, wanted.version);
      // Reading 5 MB of script takes a second on a slow machine: the page is there first.
      if (!window.Plotly) await new Promise((done) => (window.requestIdleCallback || setTimeout)(done, { timeout: 500 }));
      if (!window.Plotly) await Loopsim.script("page/plotly.min.js");
    } catch (error) { none(error.message); return; }
    if (wanted !== entry()) return;
    plotly = window.Plotly;
    const all = Loopsim.chunks.get(wanted.file).lines;
    const items = [...new Set(all.map((line) => line.item || ""))];
    if (!items.includes(chosen.item)) chosen.item = items.includes("all") ? "all" : items[0];
    const old = $("curves-item");
    if (old) old.remove();
    if (items.length > 1) {
      const select = Loopsim.choice("Of what", items.map((item) => [item, item || "all"]), chosen.item, (value) => { chosen.item = value; draw(); });
      select.id = "curves-item";
      $("curves-controls").append(select);
    }
    const both = chosen.modality === "both";
    lines = all.filter((line) => (line.item || "") === chosen.item && (both || line.modality === chosen.modality) && (!line.embedder || line.embedder === chosen.embedder));
    panels = [...new Set(lines.map((line) => line.modality))];
    show();
  }

  // Plotly reads a little markup in names; ours are texts.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const brief = (text) => (text.length > 46 ? text.slice(0, 30) + " … " + text.slice(-13) : text);
  const keyOf = (run, label, group) => JSON.stringify([run, label || null, group || null]);

  // A trajectory of each line, to know the values of its filters by.
  function rowsOfLines() {
    const found = new Map();
    for (let row = 0; row < data.rows; row++) {
      const run = data.head.trajectories.run[row], { label } = Loopsim.rows.conditionOf(row), group = Loopsim.rows.groupOf(row);
      for (const key of [keyOf(run, label, group), keyOf(run, label, null), keyOf(run, null, group), keyOf(run, null, null)]) if (!found.has(key)) found.set(key, row);
    }
    return (line) => found.get(keyOf(line.run, line.label, line.group));
  }

  // What lines are called and look like: colour by condition (or by group, where there is one condition), dashes by group.
  // Nobody can tell a crowd of lines apart: it is coloured by one setting, the map's where that is one.
  function looks() {
    const runs = data.head.runs.length > 1;
    const label = (line) => (runs ? data.head.runs[line.run].name + (line.label && line.label !== "all" ? ": " + line.label : "") : line.label || "all");
    const labels = [...new Set(lines.map(label))], groups = [...new Set(lines.map((line) => line.group || "all"))];
    const byLabel = labels.length > 1, colour = Loopsim.rows.palette(byLabel ? labels.length : groups.length);
    const full = (line) => [byLabel ? label(line) : "", groups.length > 1 || !byLabel ? line.group || "all" : ""].filter(Boolean).join(", ");
    const usable = data.facets.filter((facet) => facet.key !== "badge" && facet.values.length <= 12);
    const facet = isCrowd() ? usable.find((one) => one.key === state.colour) || usable[0] : null;
    if (facet) {
      const rowOf = rowsOfLines(), shade = Loopsim.rows.palette(facet.values.length);
      return (line) => {
        const row = rowOf(line), value = row === undefined ? "–" : facet.of(row)[0];
        return { name: facet.name + " " + value, full: full(line), colour: shade(Math.max(0, facet.values.indexOf(value))), dash: "solid" };
      };
    }
    return (line) => {
      const i = labels.indexOf(label(line)), j = groups.indexOf(line.group || "all");
      return { name: full(line), full: full(line), colour: colour(byLabel ? i : j), dash: byLabel ? Loopsim.rows.DASHES[j % 4] : "solid" };
    };
  }

  const isCrowd = () => lines.length / Math.max(1, panels.length) > CROWD;

  // Whether the filters let some trajectory of a line through.
  function lit(line) {
    if (!Loopsim.rows.isFiltered()) return true;
    return Loopsim.rows.visible.some((row) => {
      const condition = Loopsim.rows.conditionOf(row);
      return data.head.trajectories.run[row] === line.run && (!line.label || condition.label === line.label) && (!line.group || Loopsim.rows.groupOf(row) === line.group);
    });
  }

  function faded(colour, share) {
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = colour;
    const hex = probe.fillStyle;
    return hex.startsWith("#") ? "rgba(" + [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",") + "," + share + ")" : hex;
  }

  function traces() {
    const look = looks(), seen = new Set(), found = [], bands = lines.filter(lit).length / Math.max(1, panels.length) <= CROWD;
    const stacked = panels.length > 1 && narrow();
    for (const line of lines) {
      const { name, full, colour, dash } = look(line), on = lit(line), i = panels.indexOf(line.modality);
      const axis = i ? { xaxis: stacked ? "x" : "x2", yaxis: stacked ? "y2" : "y" } : {};
      const whole = line.t.map((_, k) => (line.low[k] === null || line.high[k] === null ? null : k)).filter((k) => k !== null);
      const shared = { legendgroup: "of " + name, hoverinfo: "skip", mode: "lines", line: { width: 0, color: colour }, showlegend: false, ...axis };
      if (whole.length > 1 && on && bands) {
        // A band where neighbours have intervals, whiskers where one stands alone.
        found.push({ ...shared, x: line.t, y: line.low.map((value, k) => (line.high[k] === null ? null : value)) });
        found.push({ ...shared, x: line.t, y: line.high.map((value, k) => (line.low[k] === null ? null : value)), fill: "tonexty", fillcolor: faded(colour, lines.length > 8 ? 0.07 : 0.14) });
      }
      const alone = whole.length && whole.length < line.t.length / 2;
      found.push({
        name: plain(brief(name)), x: line.t, y: line.value, mode: line.t.length > 60 || line.t.length < 2 ? (line.t.length < 2 ? "markers" : "lines") : "lines+markers", legendgroup: "of " + name, showlegend: !seen.has(name),
        line: { color: colour, width: 2, dash }, marker: { size: 4, color: colour }, opacity: on ? 1 : 0.18, connectgaps: false, ...axis,
        error_y: alone && on && bands ? { type: "data", symmetric: false, array: line.value.map((v, k) => (line.high[k] === null ? 0 : line.high[k] - v)), arrayminus: line.value.map((v, k) => (line.low[k] === null ? 0 : v - line.low[k])), color: colour, thickness: 1.2, width: 3 } : undefined,
        customdata: line.t.map((_, k) => [line.low[k] === null ? "" : " [" + Loopsim.text.number(line.low[k]) + ", " + Loopsim.text.number(line.high[k]) + "]", plain(full)]),
        hovertemplate: "%{customdata[1]}<br>t = %{x}: %{y:.4~g}%{customdata[0]}<extra></extra>", meta: { run: line.run, label: line.label, group: line.group },
      });
      seen.add(name);
    }
    return found;
  }

  const narrow = () => $("curves-plot").clientWidth < 520;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function layout() {
    const ink = css("--ink"), muted = css("--muted"), line = css("--line"), stacked = panels.length > 1 && narrow();
    const look = looks(), names = new Set(lines.map((one) => look(one).name)).size;
    const axis = { gridcolor: line, zeroline: false, linecolor: line, tickfont: { color: muted }, automargin: true };
    const pad = Math.max(0.25, (data.last - data.first) / 50);
    const x = { ...axis, title: { text: "iteration", font: { color: muted, size: 12 }, standoff: 6 }, tickformat: "d", range: [data.first - pad, data.last + pad], dtick: data.last - data.first < 10 ? 1 : undefined, showgrid: false };
    const rows = Math.ceil(names / (narrow() ? 1 : 3));
    const result = {
      font: { family: css("--sans"), size: 12, color: ink }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: narrow() ? false : "zoom",
      margin: { l: 48, r: 12, t: panels.length > 1 ? 30 : 14, b: 44 }, height: (stacked ? 500 : 330) + (names > 1 ? 22 * Math.min(rows, 12) : 0),
      hoverlabel: { font: { family: css("--sans"), size: 12 } }, uirevision: chosen.metric + chosen.modality,
      legend: { orientation: "h", y: stacked ? -0.14 : -0.2, x: 0, font: { size: 12, color: ink }, itemclick: "toggle" }, showlegend: names > 1,
      annotations: panels.length < 2 ? [] : panels.map((name, i) => ({ text: Loopsim.text.modality(name), showarrow: false, xref: "paper", yref: "paper", x: stacked ? 0 : i * 0.53, xanchor: "left", y: stacked && i ? 0.45 : 1, yanchor: "bottom", font: { size: 13, color: muted } })),
    };
    if (panels.length < 2) Object.assign(result, { xaxis: x, yaxis: axis });
    else if (stacked) Object.assign(result, { xaxis: { ...x, anchor: "y2" }, yaxis: { ...axis, domain: [0.55, 1] }, yaxis2: { ...axis, domain: [0, 0.43], matches: "y" } });
    else Object.assign(result, { xaxis: { ...x, domain: [0, 0.47] }, xaxis2: { ...x, domain: [0.53, 1], anchor: "y" }, yaxis: axis });
    result.shapes = shapes(stacked);
    return result;
  }

  // A thin line at the iteration that everything else shows.
  function shapes(stacked) {
    const one = (xref) => ({ type: "line", xref, yref: "paper", x0: state.t, x1: state.t, y0: 0, y1: 1, line: { color: css("--accent"), width: 1, dash: "dot" } });
    return panels.length > 1 && !stacked ? [one("x"), one("x2")] : [one("x")];
  }

  async function show() {
    const place = $("curves-plot");
    if (place.classList.contains("empty")) { place.replaceChildren(); place.classList.remove("empty"); }
    const { what } = entry();
    place.setAttribute("role", "img");
    const look = looks();
    place.setAttribute("aria-label", what + " over iterations; " + lines.map((line) => [Loopsim.text.modality(line.modality), look(line).full].join(" ") + " from " + Loopsim.text.number(line.value[0]) + " to " + Loopsim.text.number(line.value[line.value.length - 1])).slice(0, 12).join("; "));
    $("curves-note").textContent = what.charAt(0).toUpperCase() + what.slice(1) + (isCrowd() ? ". So many conditions are coloured by one setting (that of the map); bands appear where filters leave " + CROWD + " or fewer" : "") + ". Bands: 95 % intervals over starts" + (chosen.embedder && lines.some((line) => line.embedder) ? "; embedder " + chosen.embedder : "") + ". A click on a point selects its iteration and its condition.";
    await plotly.react(place, traces(), layout(), { displayModeBar: false, responsive: true, displaylogo: false });
    if (drawn !== place) { drawn = place; place.on("plotly_click", clicked); }
  }

  // One condition and group: everything else shows these only; the same click again shows all.
  function clicked(event) {
    const point = event.points[0], { run, label, group } = point.data.meta || {};
    Loopsim.setT(point.x);
    const { rows } = Loopsim, filters = {};
    const like = data.head.conditions.find((one) => one.run === run && one.label === label);
    for (const facet of data.facets) {
      if (facet.key === "run") filters.run = new Set([data.head.runs[run].name]);
      else if (facet.key === "group" && group) filters.group = new Set([group]);
      else if (facet.key === "condition" && label) filters.condition = new Set([label]);
      else if (facet.key.startsWith("factor ") && like) {
        const pair = like.factors.find(([name]) => "factor " + name === facet.key);
        if (pair) filters[facet.key] = new Set([pair[1]]);
      }
    }
    const said = (one) => JSON.stringify(Object.entries(one).filter(([, set]) => set && set.size).map(([key, set]) => [key, [...set]]).sort());
    state.filters = said(filters) === said(state.filters) ? {} : filters;
    Loopsim.tell("filters");
    rows.update();
  }

  // Many changes in a moment are drawn once.
  function soon() {
    if (waiting || !plotly || !drawn) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; if (lines.length) show(); });
  }

  let moved = false;
  function move() {
    if (moved || !drawn || !lines.length) return;
    moved = true;
    requestAnimationFrame(() => { moved = false; plotly.relayout(drawn, { shapes: shapes(panels.length > 1 && narrow()) }); });
  }

  Loopsim.on("rows theme colour", soon);
  Loopsim.on("t", move);
  let width = 0;
  new ResizeObserver(() => { const now = $("curves-plot").clientWidth; if (Math.abs(now - width) > 4) { width = now; soon(); } }).observe($("curves-plot"));

  return { start() { controls(); return draw(); } };
})();
