// Beginning, the bar of iterations and search, keys, addresses of states, and following a run that is still going.
"use strict";

(() => {
  const { $, data, state } = Loopsim;
  const slider = $("slider"), play = $("play"), search = $("search");
  const EVERY = 2000; // milliseconds between two looks at a run that is going
  let timer = 0, ready = false, seen = null;

  function problem(text) { $("problem").textContent = text; $("problem").hidden = !text; }
  Loopsim.on("problem", problem);

  // ---- iterations ---------------------------------------------------------------------------------------------------

  function showT() {
    slider.min = data.first;
    slider.max = data.last;
    slider.value = state.t;
    slider.disabled = play.disabled = data.last <= data.first;
    slider.style.setProperty("--done", (data.last > data.first ? 100 * (state.t - data.first) / (data.last - data.first) : 0) + "%");
    slider.setAttribute("aria-valuetext", state.t === 0 ? "start" : "iteration " + state.t + " of " + data.last);
    $("t-out").textContent = state.t;
    const wanted = state.filters.motif;
    if (ready && ((wanted && wanted.size) || state.sort === "motif")) Loopsim.rows.update();
  }
  Loopsim.on("t", showT);
  slider.addEventListener("input", () => { stop(); Loopsim.setT(Number(slider.value)); });

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.setAttribute("aria-pressed", "false");
    play.setAttribute("aria-label", "Play the iterations");
    play.firstElementChild.textContent = "▶";
  }

  function start() {
    if (state.t >= data.last) Loopsim.setT(data.first);
    play.setAttribute("aria-pressed", "true");
    play.setAttribute("aria-label", "Pause");
    play.firstElementChild.textContent = "❚❚";
    const pace = Math.max(120, Math.min(600, 12000 / Math.max(1, data.last - data.first)));
    timer = setInterval(() => { if (state.t >= data.last) stop(); else Loopsim.setT(state.t + 1); }, pace);
  }
  const toggle = () => { if (timer) stop(); else if (!play.disabled) start(); };
  play.addEventListener("click", toggle);

  // ---- search and keys ----------------------------------------------------------------------------------------------

  let typing = 0;
  search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => Loopsim.rows.search(search.value), 150); });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (search.value) { search.value = ""; Loopsim.rows.search(""); } else search.blur();
    event.stopPropagation();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !ready) return;
    const typed = event.target.closest("input, select, textarea");
    if (event.key === "/" && !(typed && typed.type !== "range" && typed.type !== "checkbox")) { event.preventDefault(); search.focus(); search.select(); }
    else if (event.key === "Escape" && state.open) { event.preventDefault(); Loopsim.detail.close(); }
    else if (event.key === " " && event.target.closest("#grid, #map-canvas, #slider")) { event.preventDefault(); toggle(); }
  });

  // ---- the address of a state: #TRAJECTORY@t ------------------------------------------------------------------------

  function address() {
    const wanted = state.row === null || !state.open ? "" : data.head.trajectories.id[state.row] + "@" + state.t;
    if (decodeURIComponent(location.hash.slice(1)) === wanted || (!wanted && !location.hash)) return;
    try { history.replaceState(null, "", wanted ? "#" + encodeURIComponent(wanted) : location.pathname + location.search); } catch { /* some browsers forbid it from disk; the page works without */ }
  }
  Loopsim.on("select", address);
  Loopsim.on("t", () => { if (state.open) address(); });

  function follow() {
    let wanted = "";
    try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { return; } // not an address of ours
    const cut = wanted.lastIndexOf("@"), row = cut > 0 ? data.byId.get(wanted.slice(0, cut)) : undefined;
    if (row !== undefined) Loopsim.select(row, Number(wanted.slice(cut + 1)) || 0, { from: "address" });
  }
  window.addEventListener("hashchange", follow);

  // ---- beginning ----------------------------------------------------------------------------------------------------

  async function begin() {
    try { await Loopsim.script("data/head.js"); } catch (error) { problem(error.message); return; }
    const head = Loopsim.chunks.get("head");
    if (!head || head.format !== 1) { problem("This page is of another version than its data: make the report again."); return; }
    Loopsim.takeHead(head);
    data.facets = Loopsim.rows.facets();
    state.t = data.last;
    Loopsim.facts.show();
    $("explore").hidden = false;
    showT();
    Loopsim.rows.update();
    Loopsim.grid.start();
    Loopsim.filters.start();
    ready = true;
    await marks();
    Loopsim.map.start();
    Loopsim.curves.start();
    follow();
    document.body.dataset.ready = "true";
    if (head.live && Loopsim.remote) setTimeout(look, EVERY);
  }

  async function marks() {
    try { await Loopsim.load("marks", data.head.marks); } catch (error) { problem(error.message); return; }
    Loopsim.rows.takeMarks();
    data.facets = Loopsim.rows.facets();
    Loopsim.filters.start();
    Loopsim.rows.update();
    Loopsim.tell("colour");
  }

  // ---- a run that is still going ------------------------------------------------------------------------------------

  async function look() {
    let wait = EVERY;
    try {
      const answer = await fetch("data/head.json", { cache: "no-cache" }); // sent again only where it has changed
      if (!answer.ok) throw new Error("the server says " + answer.status);
      const tag = answer.headers.get("ETag");
      if (tag === null || tag !== seen) take(await answer.json());
      seen = tag;
      problem("");
    } catch (error) {
      problem("The run cannot be followed just now (" + error.message + "); what is shown is from before. Is `loopsim view` still there?".replaceAll("`", ""));
      wait = 3 * EVERY;
    }
    setTimeout(look, wait);
  }

  // Takes a newer head: what the reader has chosen stays, and who looked at the last iteration goes along with it.
  function take(head) {
    const before = data.head, atEnd = state.t === data.last, chosen = state.row === null ? null : before.trajectories.id[state.row];
    const version = (one) => JSON.stringify([one.curves, one.maps, one.motifs]);
    const told = (one) => JSON.stringify(one.runs.map((run) => [run.headline, run.notes, run.failures, run.flags, run.measured]));
    if (JSON.stringify(before.trajectories.id) !== JSON.stringify(head.trajectories.id)) { location.reload(); return; } // another run is there now
    Loopsim.takeHead(head);
    state.row = chosen === null || !data.byId.has(chosen) ? null : data.byId.get(chosen);
    data.facets = Loopsim.rows.facets();
    const grown = JSON.stringify(before.trajectories) !== JSON.stringify(head.trajectories);
    if (version(before) !== version(head) || told(before) !== told(head)) {
      Loopsim.facts.show();
      Loopsim.curves.start();
      Loopsim.map.start();
    } else Loopsim.facts.showHead();
    if (!grown) return;
    const places = [$("grid").scrollTop, $("grid").scrollLeft];
    if (atEnd && !timer) state.t = data.last;
    Loopsim.grid.lay();
    [$("grid").scrollTop, $("grid").scrollLeft] = places;
    Loopsim.tell("t");
    if (state.query) Loopsim.rows.search(state.query); else Loopsim.rows.update();
    marks();
  }

  begin();
})();
