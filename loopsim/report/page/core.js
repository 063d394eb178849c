// The page's memory: data that chunks hand over, what the reader has chosen, and who wants to know of changes.
"use strict";

const Loopsim = (() => {
  const chunks = new Map(); // name -> value
  const loading = new Map(); // name -> {version, promise}
  const listeners = new Map(); // event -> functions
  const remote = location.protocol.startsWith("http");

  function on(events, listener) {
    for (const event of events.split(" ")) {
      if (!listeners.has(event)) listeners.set(event, []);
      listeners.get(event).push(listener);
    }
  }

  function tell(event, detail) {
    for (const listener of listeners.get(event) || []) listener(detail);
  }

  // Every data file calls this one function.
  function chunk(name, value) {
    chunks.set(name, value);
  }

  function script(source) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = source;
      element.onload = () => { element.remove(); resolve(); };
      element.onerror = () => { element.remove(); reject(new Error(source + " cannot be read; is the folder whole?")); };
      document.head.append(element);
    });
  }

  // Loads data/NAME.js once a version. From disk a file has no versions, and a query would only spoil the cache.
  function load(name, version) {
    const known = loading.get(name);
    if (known && known.version === version) return known.promise;
    const promise = script("data/" + name + ".js" + (remote ? "?v=" + encodeURIComponent(version) : ""))
      .then(() => chunks.get(name))
      .catch((error) => { loading.delete(name); throw error; });
    loading.set(name, { version, promise });
    return promise;
  }

  // ---- what the head says -------------------------------------------------------------------------------------------

  const pad = (number) => String(number).padStart(4, "0");
  const data = { head: null, rows: 0, marks: null, first: 0, last: 0, versions: new Map() };

  function takeHead(head) {
    data.head = head;
    const all = head.trajectories;
    data.rows = all.id.length;
    data.byId = new Map(all.id.map((id, row) => [id, row]));
    let first = Infinity, last = -Infinity;
    for (let row = 0; row < data.rows; row++) {
      if (all.last[row] < all.t0[row]) continue;
      first = Math.min(first, all.t0[row]);
      last = Math.max(last, all.last[row]);
    }
    data.first = first === Infinity ? 0 : first;
    data.last = last === -Infinity ? 0 : last;
    data.versions.clear();
  }

  // The number of states of a block of rows and iterations is the version of its chunk or sheet.
  function version(rowBlock, tBlock, rows, iterations) {
    const key = rows + "/" + rowBlock + "/" + tBlock;
    let count = data.versions.get(key);
    if (count === undefined) {
      const { t0, last } = data.head.trajectories;
      count = 0;
      const end = Math.min((rowBlock + 1) * rows, data.rows);
      for (let row = rowBlock * rows; row < end; row++) {
        const low = Math.max(t0[row], tBlock * iterations), high = Math.min(last[row], (tBlock + 1) * iterations - 1);
        if (high >= low) count += high - low + 1;
      }
      data.versions.set(key, count);
    }
    return count;
  }

  function stepBlock(row, t) {
    const { rows, iterations } = data.head.blocks;
    return [Math.floor(row / rows), Math.floor(t / iterations)];
  }

  function exists(row, t) {
    const { t0, last } = data.head.trajectories;
    return t >= t0[row] && t <= last[row];
  }

  function loadSteps(rowBlock, tBlock) {
    const count = version(rowBlock, tBlock, data.head.blocks.rows, data.head.blocks.iterations);
    if (!count) return Promise.resolve(null);
    const name = "steps-" + pad(rowBlock) + "-" + pad(tBlock);
    const known = loading.get(name);
    const fresh = !(known && known.version === count);
    const promise = load(name, count);
    if (fresh) promise.then(() => tell("steps", { rowBlock, tBlock }), (error) => tell("problem", error.message));
    return promise;
  }

  // One state, or null where its chunk is not there yet (it is asked for) or there is no such state.
  function step(row, t) {
    if (!exists(row, t)) return null;
    const [rowBlock, tBlock] = stepBlock(row, t);
    loadSteps(rowBlock, tBlock).catch(() => {});
    const found = chunks.get("steps-" + pad(rowBlock) + "-" + pad(tBlock));
    if (!found) return null;
    const i = row - found.row, k = t - found.t;
    const get = (name) => { const line = found[name][i]; return line && line[k] !== undefined ? line[k] : null; };
    if (get("picture") === null) return null; // stored since: the chunk that is here is the one before
    return {
      row, t, text: get("text"), drawn: get("drawn"), flags: get("flags") || [], seeds: get("seeds") || [null, null],
      tokens: get("tokens") || [null, null], seconds: get("seconds"), parent: get("parent"), picture: get("picture"),
      details: get("details"),
    };
  }

  // All blocks of steps, for a search.
  function stepBlocks() {
    const { rows, iterations } = data.head.blocks;
    const found = [];
    for (let rowBlock = 0; rowBlock * rows < data.rows; rowBlock++)
      for (let tBlock = Math.floor(data.first / iterations); tBlock * iterations <= data.last; tBlock++)
        if (version(rowBlock, tBlock, rows, iterations)) found.push([rowBlock, tBlock]);
    return found;
  }

  // Where the small picture of a state is: the sheet's address, and its line and column there.
  function sprite(row, t) {
    const form = data.head.sprites;
    if (!form || !exists(row, t)) return null;
    const start = data.head.starts[data.head.trajectories.start[row]];
    if (t === data.head.trajectories.t0[row] && start.kind !== "image") return null;
    const rowBlock = Math.floor(row / form.rows), tBlock = Math.floor(t / form.iterations);
    const query = remote ? "?v=" + version(rowBlock, tBlock, form.rows, form.iterations) : "";
    return { src: "sprites/" + pad(rowBlock) + "-" + pad(tBlock) + "." + form.ext + query, line: row % form.rows, column: t % form.iterations };
  }

  // Shows the picture of a state as the background of an element of a width in CSS pixels.
  function showSprite(element, row, t, width) {
    const found = sprite(row, t), form = data.head.sprites;
    if (!found) { element.style.backgroundImage = "none"; return false; }
    const height = width * form.height / form.width;
    element.style.width = width + "px";
    element.style.height = height + "px";
    element.style.backgroundImage = 'url("' + found.src + '")';
    element.style.backgroundSize = width * form.iterations + "px " + height * form.rows + "px";
    element.style.backgroundPosition = -found.column * width + "px " + -found.line * height + "px";
    element.classList.toggle("crisp", width >= 2 * form.width);
    return true;
  }

  // ---- what the reader has chosen -----------------------------------------------------------------------------------

  const state = { t: 0, row: null, open: false, query: "", layer: 0, colour: "", filters: {}, sort: "plan" };

  function setT(t) {
    const next = Math.max(data.first, Math.min(data.last, Math.round(t)));
    if (next !== state.t) { state.t = next; tell("t"); }
  }

  // Selects a state everywhere; `open` shows its details, `from` says which panel it was chosen in.
  function select(row, t, { open = true, from = "" } = {}) {
    const { t0, last } = data.head.trajectories;
    state.row = row;
    state.open = row !== null && open;
    if (row !== null) {
      const at = Math.max(t0[row], Math.min(Math.max(last[row], t0[row]), t));
      if (at !== state.t) { state.t = at; tell("t"); }
    }
    tell("select", { from });
  }

  // ---- small helpers ------------------------------------------------------------------------------------------------

  // An element with properties, attributes and children; texts are texts, never markup.
  function el(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "class") element.className = value;
      else if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  function choice(label, options, value, change) {
    const select = el("select", { "aria-label": label, onchange: () => change(select.value) });
    for (const [key, text, group] of options) {
      let parent = select;
      if (group) {
        parent = [...select.querySelectorAll("optgroup")].find((one) => one.label === group);
        if (!parent) { parent = el("optgroup", { label: group }); select.append(parent); }
      }
      parent.append(el("option", { value: key, text }));
    }
    select.value = value;
    return select;
  }

  // One of a few, as a row of buttons.
  function segments(label, options, value, change) {
    const box = el("div", { class: "segments", role: "group", "aria-label": label });
    for (const [key, text] of options) {
      box.append(el("button", {
        type: "button", text, "aria-pressed": String(key === value),
        onclick: (event) => {
          for (const other of box.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
          change(key);
        },
      }));
    }
    return box;
  }

  const $ = (id) => document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => tell("theme"));

  return {
    $, calm, chunk, chunks, choice, dark, data, el, exists, load, loadSteps, on, remote, script, segments, select, setT,
    showSprite, sprite, state, step, stepBlocks, takeHead, tell,
  };
})();
