// The embedding map: one point a trajectory at the slider's iteration, on a canvas of our own.
"use strict";

Loopsim.map = (() => {
  const { $, data, el, state } = Loopsim;
  const canvas = $("map-canvas"), tip = $("map-tip"), MOTION = 260;
  let charts = [], size = { width: 0, height: 0 }, from = null, began = 0, frame = 0, hovered = null, cursor = null, trails = false;

  function controls() {
    const maps = data.head.maps, box = $("map-controls");
    $("map").hidden = !maps.length;
    $("two").classList.toggle("single", !maps.length);
    if (!maps.length) return;
    const layers = []; // embedder and modality, once for all runs
    maps.forEach((one, i) => { if (!layers.some(([k]) => maps[k].embedder === one.embedder && maps[k].modality === one.modality)) layers.push([i, one]); });
    const several = new Set(maps.map((one) => one.embedder)).size > 1;
    const named = ([i, one]) => [String(i), Loopsim.text.modality(one.modality) + (several ? ", " + one.embedder : "")];
    const pick = (value) => { state.layer = Number(value); Loopsim.tell("layer"); };
    const parts = [layers.length > 3 ? Loopsim.choice("Map of", layers.map(named), String(state.layer), pick) : layers.length > 1 ? Loopsim.segments("Map of", layers.map(named), String(state.layer), pick) : null];
    const options = Loopsim.rows.colourings();
    if (!options.some(([key]) => key === state.colour)) {
      const best = ["group", ...options.map(([key]) => key)].find((key) => options.some(([one]) => one === key));
      state.colour = best;
    }
    parts.push(options.length > 1 ? Loopsim.choice("Colour by", options.map(([key, name]) => [key, "Colour: " + name]), state.colour, (value) => { state.colour = value; Loopsim.tell("colour"); }) : null);
    parts.push(el("label", { class: "check" }, el("input", { type: "checkbox", checked: trails, onchange: (event) => { trails = event.currentTarget.checked; draw(); } }), "trails"));
    box.replaceChildren(...parts.filter(Boolean));
  }

  async function load() {
    const chosen = data.head.maps[state.layer];
    if (!chosen) return;
    const mine = data.head.maps.filter((one) => one.embedder === chosen.embedder && one.modality === chosen.modality);
    const motifs = data.head.motifs.filter((one) => one.embedder === chosen.embedder && one.modality === chosen.modality);
    try { await Promise.all([...mine, ...motifs].map((one) => Loopsim.load(one.file, one.version))); } catch (error) { Loopsim.tell("problem", error.message); return; }
    charts = mine.map((one) => ({ run: one.run, chunk: Loopsim.chunks.get(one.file) }));
    controls();
    note(chosen);
    legend();
    draw();
    Loopsim.tell("motifs");
  }

  function note(chosen) {
    const { explained } = charts[0].chunk, shares = explained.filter((share) => share !== null).map(Loopsim.text.percent);
    const axes = charts.length === 1 && shares.length ? "the two main axes of " + chosen.embedder + " hold " + shares.join(" and ") + " of the variance" : "two main axes of " + chosen.embedder + ", of each run for itself";
    $("map-note").textContent = "One point a trajectory, at t = " + state.t + "; " + axes + ". Near here is not always near in all dimensions.";
  }

  function legend() {
    const { legend: found, key } = Loopsim.rows.colouring(), wanted = state.filters[key];
    $("map-legend").replaceChildren(...found.slice(0, 14).map(([text, colour, value]) => {
      const dot = el("span", { class: "dot" });
      dot.style.backgroundColor = colour;
      return el("button", { type: "button", class: "legend-item", "aria-pressed": String(Boolean(wanted && wanted.has(value))), onclick: () => Loopsim.rows.toggle(key, value) }, dot, text);
    }));
    if (state.colour === "motif") $("map-legend").replaceChildren(el("span", { class: "note", text: "The colours of motifs are those of the list below." }));
  }

  // ---- where points are ---------------------------------------------------------------------------------------------

  function chartOf(row) { return charts.find((one) => one.chunk.points[row - one.chunk.row] !== undefined && data.head.trajectories.run[row] === one.run); }

  // The place of a state in 0 … 1, at its last state where the trajectory has ended; null where it has none.
  function place(row, t) {
    const found = chartOf(row);
    if (!found) return null;
    const flat = found.chunk.points[row - found.chunk.row];
    const k = Math.min(t - found.chunk.t, flat.length / 2 - 1);
    for (let i = k; i >= 0; i--) if (flat[2 * i] >= 0) return { x: flat[2 * i] / 4095, y: 1 - flat[2 * i + 1] / 4095, ended: i < k || t > data.head.trajectories.last[row] };
    return null;
  }

  const pixel = (at) => { const side = Math.min(size.width, size.height) - 28; return [(size.width - side) / 2 + at.x * side, (size.height - side) / 2 + at.y * side]; };

  function placesAt(t) {
    const found = new Map();
    for (let row = 0; row < data.rows; row++) { const at = place(row, t); if (at) found.set(row, at); }
    return found;
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------

  let now = new Map();

  function moveTo() {
    from = now;
    now = placesAt(state.t);
    began = performance.now();
    if (Loopsim.calm.matches || data.rows > 20000 || !from || !from.size) from = null;
    note(data.head.maps[state.layer]);
    tick();
  }

  function tick() {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame((time) => {
      const share = from ? Math.min(1, Math.max(0, (time - began) / MOTION)) : 1;
      paint(share);
      if (share < 1) tick(); else from = null;
    });
  }

  function draw() { if (!charts.length) return; now = placesAt(state.t); from = null; tick(); }

  function between(row, at, share) {
    const old = from && from.get(row);
    if (!old) return at;
    const eased = 1 - (1 - share) ** 3;
    return { x: old.x + (at.x - old.x) * eased, y: old.y + (at.y - old.y) * eased, ended: at.ended };
  }

  function paint(share) {
    const context = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size.width, size.height);
    const style = getComputedStyle(document.documentElement), grey = style.getPropertyValue("--faint").trim(), ink = style.getPropertyValue("--ink").trim(), panel = style.getPropertyValue("--panel").trim();
    const { of } = Loopsim.rows.colouring(), shown = Loopsim.rows.places, filtered = Loopsim.rows.isFiltered();
    const radius = data.rows > 1500 ? 2.4 : data.rows > 300 ? 3.2 : 4.5;
    const dot = (row, at, colour, r) => { const [x, y] = pixel(between(row, at, share)); context.beginPath(); context.arc(x, y, r, 0, 2 * Math.PI); if (at.ended) { context.strokeStyle = colour; context.lineWidth = 1.2; context.stroke(); } else { context.fillStyle = colour; context.fill(); } };
    if (filtered) for (const [row, at] of now) if (!shown.has(row)) dot(row, at, grey, radius * 0.8);
    if (trails) for (const [row] of now) if (shown.has(row)) trail(context, row, of(row), 4, 0.35);
    context.globalAlpha = 0.85;
    for (const [row, at] of now) if (shown.has(row)) dot(row, at, of(row), radius);
    context.globalAlpha = 1;
    if (state.row !== null && now.has(state.row)) {
      trail(context, state.row, ink, Infinity, 0.8);
      const at = now.get(state.row), [x, y] = pixel(between(state.row, at, share));
      context.beginPath(); context.arc(x, y, radius + 4, 0, 2 * Math.PI); context.lineWidth = 4; context.strokeStyle = panel; context.stroke(); context.lineWidth = 2; context.strokeStyle = ink; context.stroke();
      dot(state.row, at, of(state.row), radius + 1.5);
    }
    const ring = cursor !== null && document.activeElement === canvas ? cursor : hovered;
    if (ring !== null && now.has(ring) && ring !== state.row) { const [x, y] = pixel(now.get(ring)); context.beginPath(); context.arc(x, y, radius + 3, 0, 2 * Math.PI); context.lineWidth = 1.5; context.strokeStyle = ink; context.stroke(); }
  }

  // The way of a trajectory up to now, fading into the past.
  function trail(context, row, colour, length, strength) {
    const { t0 } = data.head.trajectories, begin = Math.max(t0[row], state.t - length);
    let last = null;
    context.strokeStyle = colour;
    context.lineWidth = 1.2;
    for (let t = begin; t <= state.t; t++) {
      const at = place(row, t);
      if (!at || at.ended) continue;
      if (last) { context.globalAlpha = strength * (0.15 + 0.85 * (t - begin) / Math.max(1, state.t - begin)); context.beginPath(); context.moveTo(...pixel(last)); context.lineTo(...pixel(at)); context.stroke(); }
      last = at;
    }
    context.globalAlpha = 1;
  }

  // ---- pointing and keys --------------------------------------------------------------------------------------------

  function nearest(x, y, reach) {
    let best = null, least = reach * reach;
    for (const [row, at] of now) {
      if (!Loopsim.rows.places.has(row)) continue;
      const [px, py] = pixel(at), far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least) { least = far; best = row; }
    }
    return best;
  }

  function point(event, reach) { const box = canvas.getBoundingClientRect(); return nearest(event.clientX - box.left, event.clientY - box.top, reach); }

  function hover(row) {
    if (row === hovered && (row === null) === tip.hidden) return;
    hovered = row;
    canvas.classList.toggle("pointing", row !== null);
    tick();
    tip.hidden = row === null;
    if (row === null) return;
    const [x, y] = pixel(now.get(row)), picture = el("span", { class: "thumb" }), t = Math.min(state.t, data.head.trajectories.last[row]);
    const step = Loopsim.step(row, t), has = Loopsim.showSprite(picture, row, t, 72);
    tip.replaceChildren(...[has ? picture : null, el("span", { class: "tip-text", text: step && step.text !== null ? step.text : step ? "" : "…" })].filter(Boolean));
    tip.style.left = Math.min(Math.max(8, x - 90), Math.max(8, size.width - 188)) + "px";
    tip.style.top = y + (y > size.height / 2 ? -12 : 14) + "px";
    tip.classList.toggle("above", y > size.height / 2);
  }

  function towards(dx, dy) {
    const start = cursor !== null && now.has(cursor) ? cursor : state.row !== null && now.has(state.row) ? state.row : [...now.keys()].find((row) => Loopsim.rows.places.has(row));
    if (start === undefined) return;
    if (cursor === null) { cursor = start; hover(start); return; }
    const [x, y] = pixel(now.get(start));
    let best = null, least = Infinity;
    for (const [row, at] of now) {
      if (row === start || !Loopsim.rows.places.has(row)) continue;
      const [px, py] = pixel(at), along = (px - x) * dx + (py - y) * dy, aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      if (along > 0.5 && along + 2 * aside < least) { least = along + 2 * aside; best = row; }
    }
    if (best !== null) { cursor = best; hover(best); }
  }

  canvas.addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") hover(point(event, 16)); });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("click", (event) => { const row = point(event, 22); if (row !== null) { cursor = row; hover(null); Loopsim.select(row, state.t, { from: "map" }); } });
  canvas.addEventListener("blur", () => { hover(null); tick(); });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) { event.preventDefault(); towards(...way); }
    else if (event.key === "Enter" && cursor !== null) { event.preventDefault(); hover(null); Loopsim.select(cursor, state.t, { from: "map" }); }
  });

  function resize() {
    const box = canvas.parentElement.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    size = { width: box.width, height: box.height };
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    draw();
  }
  new ResizeObserver(resize).observe(canvas.parentElement);

  Loopsim.on("t", () => { if (charts.length) moveTo(); });
  Loopsim.on("rows select theme colour", draw);
  Loopsim.on("filters theme colour", () => { if (charts.length) legend(); });
  Loopsim.on("layer", load);

  return { pixel: (row) => (now.has(row) ? pixel(now.get(row)) : null), start() { controls(); return load(); } };
})();
