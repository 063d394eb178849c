// The filmstrips: rows are trajectories, columns iterations; elements exist for what is in sight only.
"use strict";

Loopsim.grid = (() => {
  const { $, data, el, state } = Loopsim;
  const box = $("grid"), sizer = el("div", { class: "grid-sizer", role: "presentation" }), header = el("div", { class: "grid-head", role: "row", "aria-rowindex": "1" });
  const SIZES = { small: [56, 0], medium: [96, 3], large: [168, 4] };
  const look = { size: "medium", captions: true, every: 1 };
  const rows = new Map(), free = [];
  let ts = [], columns = new Map(), geometry = null, active = { place: 0, column: 0 }, pending = false, flagsAt = new Map();

  box.append(sizer);
  sizer.append(header);

  // What can be set: more of it while a run goes on, since the first look is often before the first picture.
  function offers() {
    const picks = [["plan", "In order"], ["start", "By start"], ["motif", "By motif at t"], ["most", "Most drifted first"], ["least", "Least drifted first"], ["hits", "Most hits first"]];
    const useful = picks.filter(([key]) => (key !== "motif" || Loopsim.rows.motifChunks().length) && (!["most", "least"].includes(key) || data.head.trajectories.drift.some((one) => one !== null)));
    return { useful, spans: [1, 2, 5, 10, 50].filter((every) => every === 1 || (data.last - data.first) / every >= 6), pictures: Boolean(data.head.sprites) };
  }

  let offered = "";
  function controls() {
    const { useful, spans, pictures } = offers();
    offered = JSON.stringify(offers());
    $("films-controls").replaceChildren(...[
      Loopsim.choice("Sort", useful, state.sort, (value) => { state.sort = value; Loopsim.rows.update(); box.scrollTop = 0; }),
      spans.length > 1 ? Loopsim.choice("Iterations", spans.map((every) => [String(every), every === 1 ? "Every iteration" : "Every " + every + "th"]), String(look.every), (value) => { look.every = Number(value); lay(); }) : null,
      pictures ? Loopsim.segments("Size", [["small", "S"], ["medium", "M"], ["large", "L"]], look.size, (value) => { look.size = value; lay(); }) : null,
      pictures ? el("label", { class: "check" }, el("input", { type: "checkbox", checked: look.captions, onchange: (event) => { look.captions = event.currentTarget.checked; lay(); } }), "captions") : null,
    ].filter(Boolean));
  }

  // Sizes of everything, and which iterations have a column.
  function lay() {
    if (offered && offered !== JSON.stringify(offers())) controls();
    const [side, size] = SIZES[look.size], form = data.head.sprites, phone = box.clientWidth < 560;
    const lines = !form ? 7 : look.captions ? (size || 2) : 0;
    const picture = form ? (phone && look.size === "medium" ? 84 : side) : 0;
    const height = form ? Math.round(picture * form.height / form.width) : 0;
    const width = form ? Math.max(picture, lines ? 84 : 0) + 10 : 150;
    geometry = { picture, lines, cell: width, row: Math.max(height + (lines ? lines * 14 + 4 : 0) + 14, 66), head: 30, side: phone ? 118 : 232 };
    ts = [];
    // A start that is a text stands at the side already.
    const { t0, start } = data.head.trajectories, said = t0.every((t, row) => t === data.first && data.head.starts[start[row]].kind === "text" && data.head.starts[start[row]].text !== null);
    const first = data.first + (said && data.last > data.first ? 1 : 0);
    for (let t = first; t <= data.last; t++) if ((t - data.first) % look.every === 0 || t === data.last || t === first) ts.push(t);
    columns = new Map(ts.map((t, column) => [t, column]));
    for (const [name, value] of [["--cell", geometry.cell], ["--row", geometry.row], ["--side", geometry.side], ["--lines", geometry.lines]]) box.style.setProperty(name, name === "--lines" ? value : value + "px");
    box.setAttribute("aria-colcount", String(ts.length + 1));
    for (const element of [...rows.values()]) drop(element);
    rows.clear();
    header.replaceChildren();
    resize();
  }

  function resize() {
    if (!geometry) return;
    const count = Loopsim.rows.visible.length;
    sizer.style.width = geometry.side + ts.length * geometry.cell + "px";
    sizer.style.height = geometry.head + count * geometry.row + "px";
    box.style.height = Math.min(geometry.head + count * geometry.row + 18, Math.max(300, Math.round(window.innerHeight * 0.78))) + "px";
    box.setAttribute("aria-rowcount", String(count + 1));
    box.hidden = !count;
    $("films-none").hidden = Boolean(count);
    $("films-none").textContent = data.rows ? "No trajectory fits what is asked for." : "There are no trajectories yet.";
    active.place = Math.min(active.place, Math.max(0, count - 1));
    active.column = Math.min(active.column, Math.max(0, ts.length - 1));
    render();
  }

  // ---- elements in sight --------------------------------------------------------------------------------------------

  function range(scroll, length, size, count) {
    const first = Math.max(0, Math.floor(scroll / size) - 1);
    return [first, Math.min(count, Math.ceil((scroll + length) / size) + 1)];
  }

  function render() {
    if (!geometry || box.hidden) return;
    const [i0, i1] = range(box.scrollTop, box.clientHeight - geometry.head, geometry.row, Loopsim.rows.visible.length);
    const [j0, j1] = range(box.scrollLeft, box.clientWidth - geometry.side, geometry.cell, ts.length);
    renderHead(j0, j1);
    for (const [place, element] of rows) if (place < i0 || place >= i1 || element.row !== Loopsim.rows.visible[place]) { drop(element); rows.delete(place); }
    for (let place = i0; place < i1; place++) {
      let element = rows.get(place);
      if (!element) { element = take(place); rows.set(place, element); }
      renderCells(element, place, j0, j1);
    }
  }

  function soon() { if (!pending) { pending = true; requestAnimationFrame(() => { pending = false; render(); }); } }

  function renderHead(j0, j1) {
    const key = j0 + "/" + j1 + "/" + state.t + "/" + ts.length;
    if (header.dataset.key === key && header.childElementCount) return;
    header.dataset.key = key;
    const corner = el("span", { class: "grid-corner", role: "columnheader", "aria-colindex": "1", text: "Trajectory" });
    header.replaceChildren(corner, ...ts.slice(j0, j1).map((t, k) => {
      const cell = el("button", { type: "button", tabindex: "-1", class: "grid-t" + (t === state.t ? " now" : ""), role: "columnheader", "aria-colindex": String(j0 + k + 2), text: t === 0 ? "start" : "t = " + t, onclick: () => Loopsim.setT(t) });
      cell.style.left = geometry.side + (j0 + k) * geometry.cell + "px";
      return cell;
    }));
  }

  function drop(element) { element.node.remove(); free.push(element); }

  function take(place) {
    let element = free.pop();
    if (!element) {
      const side = el("div", { class: "grid-side", role: "rowheader", "aria-colindex": "1" }), node = el("div", { class: "grid-row", role: "row" }, side);
      element = { node, side, cells: new Map(), spare: [], row: -1 };
    }
    const row = Loopsim.rows.visible[place];
    element.node.style.transform = "translateY(" + (geometry.head + place * geometry.row) + "px)";
    element.node.setAttribute("aria-rowindex", String(place + 2));
    element.node.classList.toggle("chosen", row === state.row);
    if (element.row !== row) {
      element.row = row;
      for (const cell of element.cells.values()) { cell.node.remove(); element.spare.push(cell); }
      element.cells.clear();
    }
    fillSide(element, row);
    sizer.append(element.node);
    return element;
  }

  function fillSide(element, row) {
    const all = data.head.trajectories, start = Loopsim.rows.startOf(row), condition = Loopsim.rows.conditionOf(row);
    const parts = [];
    if (data.head.runs.length > 1) parts.push(data.head.runs[all.run[row]].name);
    if (data.head.conditions.length > 1 && condition.label !== "all") parts.push(...(condition.factors.length && condition.factors.length < 5 ? condition.factors.map(([name, value]) => Loopsim.rows.short(name).replaceAll("_", " ") + " " + (value.length > 40 ? value.slice(0, 39) + "…" : value)) : [condition.label]));
    if (data.head.groups.length > 1) parts.push(Loopsim.rows.groupOf(row));
    if (data.head.runs.some((run) => run.replicates > 1)) parts.push("replicate " + (all.replicate[row] + 1));
    const dot = el("span", { class: "dot" }), badges = Loopsim.rows.badgesOf(row);
    dot.style.backgroundColor = Loopsim.rows.colouring().of(row);
    element.side.replaceChildren(
      el("p", { class: "side-start", text: start.text === null ? (start.kind === "image" ? "(a picture)" : "(no text)") : start.text, title: start.text || "" }),
      el("p", { class: "side-meta" }, dot, parts.join(" · ") || all.id[row].slice(0, 8)),
      badges.length ? el("p", { class: "badges" }, ...badges.slice(0, 3).map((badge) => el("span", { class: "badge " + badge.kind, text: badge.text })), badges.length > 3 ? el("span", { class: "badge", text: "+" + (badges.length - 3) }) : null) : "");
  }

  function renderCells(element, place, j0, j1) {
    for (const [column, cell] of element.cells) if (column < j0 || column >= j1) { cell.node.remove(); element.spare.push(cell); element.cells.delete(column); }
    for (let column = j0; column < j1; column++) {
      let cell = element.cells.get(column);
      if (!cell) { cell = element.spare.pop() || makeCell(); element.cells.set(column, cell); element.node.append(cell.node); cell.key = ""; }
      fillCell(cell, element.row, place, column);
    }
  }

  function makeCell() {
    const picture = el("span", { class: "thumb" }), caption = el("span", { class: "cell-text" }), marks = el("span", { class: "cell-marks", "aria-hidden": "true" });
    return { node: el("div", { class: "cell", role: "gridcell" }, picture, caption, marks), picture, caption, marks, key: "" };
  }

  function fillCell(cell, row, place, column) {
    const t = ts[column], exists = Loopsim.exists(row, t), step = exists ? Loopsim.step(row, t) : null, hits = Loopsim.rows.hits;
    const hit = hits !== null && hits.has(row) && hits.get(row).includes(t);
    const chosen = row === state.row && t === state.t, now = t === state.t, focus = place === active.place && column === active.column;
    const failed = data.head.trajectories.failed[row] === t;
    const key = [row, t, step !== null, hit, chosen, now, focus, exists, failed, geometry.picture, geometry.lines].join();
    if (cell.key === key) return;
    cell.key = key;
    const { node, picture, caption, marks } = cell;
    node.style.left = geometry.side + column * geometry.cell + "px";
    node.className = "cell" + (hit ? " hit" : "") + (chosen ? " chosen" : "") + (now ? " now" : "") + (focus ? " focus" : "") + (exists ? "" : " absent");
    node.id = "cell-" + row + "-" + t;
    node.dataset.place = String(place);
    node.dataset.column = String(column);
    node.setAttribute("aria-colindex", String(column + 2));
    node.setAttribute("aria-selected", String(chosen));
    const text = step ? step.text : null, flags = step ? step.flags.map((i) => Loopsim.rows.flagWords(Loopsim.rows.flagNames()[i] || "flag")) : [];
    node.setAttribute("aria-label", (t === 0 ? "start" : "t = " + t) + ": " + (failed ? "failed" : !exists ? "nothing" : text === null ? (step ? "no caption" : "loading") : text) + (flags.length ? "; " + flags.join(", ") : ""));
    const shown = exists && geometry.picture > 0 && !(step && step.picture === 0) && Loopsim.showSprite(picture, row, t, geometry.picture);
    picture.hidden = !shown;
    if (shown) { picture.setAttribute("role", "img"); picture.setAttribute("aria-label", text || "picture at t = " + t); }
    caption.textContent = failed ? "failed" : step ? (text === null ? "–" : text) : exists ? "…" : "";
    caption.className = "cell-text" + (failed ? " failed" : "") + (shown ? "" : " alone");
    caption.hidden = shown && !geometry.lines;
    marks.textContent = flags.length ? "⚑" : "";
    marks.title = flags.join(", ");
  }

  // ---- moving -------------------------------------------------------------------------------------------------------

  function bring(place, column, { middle = false } = {}) {
    const top = place * geometry.row, left = column * geometry.cell, height = box.clientHeight - geometry.head, width = box.clientWidth - geometry.side;
    if (middle ? top < box.scrollTop || top + geometry.row > box.scrollTop + height : false) box.scrollTop = Math.max(0, top - (height - geometry.row) / 2);
    else if (top < box.scrollTop) box.scrollTop = top;
    else if (top + geometry.row > box.scrollTop + height) box.scrollTop = top + geometry.row - height;
    const out = left < box.scrollLeft || left + geometry.cell > box.scrollLeft + width;
    if (out && middle) box.scrollLeft = Math.max(0, left - (width - geometry.cell) / 2);
    else if (left < box.scrollLeft) box.scrollLeft = left;
    else if (out) box.scrollLeft = left + geometry.cell - width;
  }

  function go(place, column) {
    active = { place: Math.max(0, Math.min(Loopsim.rows.visible.length - 1, place)), column: Math.max(0, Math.min(ts.length - 1, column)) };
    bring(active.place, active.column);
    render();
    const row = Loopsim.rows.visible[active.place];
    if (row !== undefined) box.setAttribute("aria-activedescendant", "cell-" + row + "-" + ts[active.column]);
  }

  // The column of an iteration, or of the last one before it that has any.
  function columnOf(t) {
    if (columns.has(t)) return columns.get(t);
    const after = ts.findIndex((one) => one > t);
    return after < 0 ? ts.length - 1 : Math.max(0, after - 1);
  }

  function chosen({ from }) {
    if (state.row !== null && Loopsim.rows.places.has(state.row)) {
      active = { place: Loopsim.rows.places.get(state.row), column: columnOf(state.t) };
      bring(active.place, active.column, { middle: from !== "grid" });
      box.setAttribute("aria-activedescendant", "cell-" + state.row + "-" + ts[active.column]);
    }
    for (const element of rows.values()) element.node.classList.toggle("chosen", element.row === state.row);
    render();
  }

  function openActive() {
    const row = Loopsim.rows.visible[active.place];
    if (row !== undefined) Loopsim.select(row, ts[active.column], { from: "grid" });
  }

  box.addEventListener("scroll", soon, { passive: true });
  box.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell"), side = event.target.closest(".grid-side");
    if (cell) { active = { place: Number(cell.dataset.place), column: Number(cell.dataset.column) }; openActive(); }
    else if (side) { const place = Number(side.parentElement.getAttribute("aria-rowindex")) - 2; active = { place, column: columnOf(state.t) }; openActive(); }
  });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== box) return;
    const page = Math.max(1, Math.floor((box.clientHeight - geometry.head) / geometry.row));
    const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-page, 0], PageDown: [page, 0], Home: [0, -Infinity], End: [0, Infinity] }[event.key];
    if (way) { event.preventDefault(); go(active.place + way[0], active.column + way[1]); }
    else if (event.key === "Enter") { event.preventDefault(); openActive(); }
  });
  box.addEventListener("focus", () => { go(active.place, active.column); });
  box.addEventListener("blur", soon);
  let width = 0;
  new ResizeObserver(() => { if (geometry && box.clientWidth !== width) { width = box.clientWidth; if (width < 560 !== geometry.side < 200) lay(); else resize(); if (state.open) bring(active.place, active.column, { middle: true }); } }).observe(box);

  Loopsim.on("rows", resize);
  Loopsim.on("select", chosen);
  Loopsim.on("steps", soon);
  Loopsim.on("t", soon);
  Loopsim.on("colour theme motifs", () => { for (const element of rows.values()) fillSide(element, element.row); });
  Loopsim.on("motifs", controls);

  return { focus: () => box.focus({ preventScroll: true }), lay, start() { controls(); lay(); } };
})();
