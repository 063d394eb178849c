// One state in full: picture, caption and what changed, seeds, flags, and the trajectory's other captions.
"use strict";

Loopsim.detail = (() => {
  const { $, data, el, state } = Loopsim;
  const box = $("detail"), AROUND = 25;
  let compared = "before", from = "", wide = false;

  function show(detail = {}) {
    const { row } = state;
    if (row === null || !state.open) { hide(); return; }
    const opening = box.hidden;
    if (detail.from) from = detail.from;
    const t = at(), scroll = box.scrollTop;
    box.replaceChildren(top(row, t), body(row, t));
    box.hidden = false;
    document.body.classList.add("with-detail");
    box.scrollTop = opening ? 0 : scroll;
    if (opening) box.querySelector(".detail-close").focus({ preventScroll: true });
  }

  // The iteration that is shown: the slider's, within the trajectory.
  function at() {
    const { t0, last } = data.head.trajectories;
    return Math.max(t0[state.row], Math.min(Math.max(last[state.row], t0[state.row]), state.t));
  }

  function hide() {
    if (box.hidden) return;
    box.hidden = true;
    document.body.classList.remove("with-detail");
    if (from === "map") $("map-canvas").focus({ preventScroll: true });
    else Loopsim.grid.focus();
  }

  function close() { state.open = false; Loopsim.tell("select", { from: "detail" }); }

  function top(row, t) {
    const all = data.head.trajectories, step = (by, text, label) => el("button", { type: "button", class: "icon", "aria-label": label, disabled: t + by < all.t0[row] || t + by > all.last[row], onclick: () => { Loopsim.setT(t + by); refocus(label); } }, el("span", { "aria-hidden": "true", text }));
    return el("div", { class: "detail-top" },
      el("h2", { id: "detail-title", text: t === all.t0[row] ? (t === 0 ? "The start" : "Branch at t = " + t) : "Iteration " + t }),
      step(-1, "‹", "Iteration before"), step(1, "›", "Iteration after"),
      el("button", { type: "button", class: "icon detail-close", "aria-label": "Close details", onclick: close }, el("span", { "aria-hidden": "true", text: "×" })));
  }

  function refocus(label) { const again = [...box.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === label); if (again && !again.disabled) again.focus({ preventScroll: true }); }

  function body(row, t) {
    const step = Loopsim.step(row, t), picture = el("span", { class: "thumb big", role: "img" }), form = data.head.sprites;
    const all = data.head.trajectories, parts = [];
    const side = form ? Math.round(Math.min(304, form.width >= form.height ? 304 : 304 * form.width / form.height)) : 0;
    const shown = form && Loopsim.exists(row, t) && Loopsim.showSprite(picture, row, t, side);
    if (shown) { picture.setAttribute("aria-label", (step && step.text) || "picture"); parts.push(el("div", { class: "detail-picture" }, picture)); }
    if (all.failed[row] !== null && t === all.last[row]) parts.push(failure(row));
    parts.push(caption(row, t, step));
    if (step && step.drawn !== null && t > all.t0[row]) parts.push(el("p", { class: "drawn" }, el("span", { class: "eyebrow", text: "drawn from" }), el("span", { text: step.drawn })));
    if (step) parts.push(flags(step));
    parts.push(badges(row), facts(row, t, step), strip(row, t));
    return el("div", { class: "detail-body" }, ...parts.filter(Boolean));
  }

  function failure(row) {
    const run = data.head.runs[data.head.trajectories.run[row]], found = run.failures.find((one) => one.row === row);
    return el("p", { class: "problem" }, "It failed at t = " + data.head.trajectories.failed[row] + (found ? ", " + found.role + " " + found.model + ": " : "."), found ? el("span", { class: "message", text: found.message }) : null);
  }

  function caption(row, t, step) {
    const all = data.head.trajectories, first = all.t0[row], text = el("blockquote", { class: "caption" });
    if (!step) { text.textContent = Loopsim.exists(row, t) ? "…" : "Nothing is stored."; return text; }
    const before = compared === "plain" || t === first ? null : Loopsim.step(row, compared === "start" ? first : t - 1);
    if (step.text === null) text.textContent = "(no caption)";
    else if (before && before.text !== null) Loopsim.text.showDifference(text, before.text, step.text);
    else text.textContent = step.text;
    if (t === first) return text;
    const options = [["before", "since t = " + (t - 1)], ["start", "since the start"], ["plain", "plain"]];
    return el("div", {}, text, el("div", { class: "detail-compare" }, el("span", { class: "eyebrow", text: "changed words" }), Loopsim.segments("Changed words", options, compared, (value) => { compared = value; show(); })));
  }

  function flags(step) {
    if (!step.flags.length) return null;
    const names = Loopsim.rows.flagNames(), run = data.head.runs[data.head.trajectories.run[step.row]];
    return el("ul", { class: "flag-list" }, ...step.flags.map((i) => {
      const known = run.flags.find((one) => one.name === names[i]);
      return el("li", {}, el("span", { class: "badge mild", text: Loopsim.rows.flagWords(names[i] || "flag") }), " ", known ? known.meaning : "");
    }));
  }

  function badges(row) {
    const found = Loopsim.rows.badgesOf(row).filter((one) => one.kind === "still" || one.name === "failed");
    return found.length ? el("p", { class: "badges" }, ...found.map((one) => el("span", { class: "badge " + one.kind, text: one.text }))) : null;
  }

  function facts(row, t, step) {
    const one = Loopsim.rows.trajectory(row), start = Loopsim.rows.startOf(row), condition = Loopsim.rows.conditionOf(row), motif = Loopsim.rows.motif(row, t), head = data.head, list = [];
    const add = (name, value, kind = "") => { if (value !== null && value !== undefined && value !== "") list.push(el("div", {}, el("dt", { text: name }), el("dd", { class: kind, text: String(value) }))); };
    add("start", start.text === null ? "(a picture)" : start.text);
    if (head.runs.length > 1) add("run", head.runs[one.run].name);
    for (const [name, value] of condition.factors) add((data.facets.find((one) => one.key === "factor " + name) || { name }).name, value);
    for (const [name, value] of start.factors || []) add(name, value);
    if (!condition.factors.length && head.conditions.length > 1) add("condition", condition.label);
    if (head.groups.length > 1) add("starts", Loopsim.rows.groupOf(row));
    add("replicate", one.replicate + 1);
    if (motif !== null) add("motif", motif + motifWords(row, motif));
    if (one.drift !== null) add("drift", one.drift.toFixed(3) + " from first to last");
    if (one.parent) add("branched from", one.parent, "code");
    add("trajectory", one.id, "code");
    if (step) {
      add("generator seed", step.seeds[0], "code");
      add("captioner seed", step.seeds[1], "code");
      add("tokens", [step.tokens[0] === null ? "" : step.tokens[0] + " read", step.tokens[1] === null ? "" : step.tokens[1] + " said"].filter(Boolean).join(", "));
      if (step.seconds !== null) add("seconds", step.seconds);
      if (step.parent !== null) add("text from", head.trajectories.id[step.parent], "code");
      add("details", step.details, "code");
    }
    return el("dl", { class: "detail-facts" }, ...list);
  }

  function motifWords(row, motif) {
    const run = data.head.trajectories.run[row], found = Loopsim.rows.motifChunks().find((one) => one.entry.run === run);
    const words = found ? found.chunk.words[motif] : [];
    return words && words.length ? " (" + words.join(", ") + ")" : "";
  }

  // The other captions of the trajectory, those near this iteration unless all are asked for.
  function strip(row, t) {
    const { t0, last } = data.head.trajectories, low = wide ? t0[row] : Math.max(t0[row], t - AROUND), high = wide ? last[row] : Math.min(last[row], t + AROUND), items = [];
    if (high < low) return null;
    for (let k = low; k <= high; k++) {
      const step = Loopsim.step(row, k), before = k > t0[row] && compared !== "plain" ? Loopsim.step(row, compared === "start" ? t0[row] : k - 1) : null, text = el("span", { class: "strip-text" }), picture = el("span", { class: "thumb" });
      const shown = Loopsim.showSprite && data.head.sprites && Loopsim.showSprite(picture, row, k, 40);
      if (step && step.text !== null && before && before.text !== null) Loopsim.text.showDifference(text, before.text, step.text);
      else text.textContent = step ? step.text === null ? "–" : step.text : "…";
      items.push(el("li", {}, el("button", { type: "button", class: "strip" + (k === t ? " now" : ""), "aria-current": k === t ? "step" : null, "aria-label": "t = " + k, onclick: () => { Loopsim.setT(k); refocus("t = " + k); } }, el("span", { class: "strip-t", text: String(k) }), shown ? picture : null, text)));
    }
    const hidden = last[row] - t0[row] + 1 - items.length;
    return el("section", { class: "strips", "aria-label": "All captions" }, el("h3", { text: "From caption to caption" }), el("ol", {}, ...items),
      hidden ? el("button", { type: "button", class: "button", text: "Show " + hidden + " more", onclick: () => { wide = true; show(); } }) : null);
  }

  Loopsim.on("select", (detail) => { wide = false; show(detail); });
  Loopsim.on("t steps motifs", () => { if (!box.hidden) show(); });
  box.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select")) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") { event.preventDefault(); Loopsim.setT(at() + (event.key === "ArrowLeft" ? -1 : 1)); if (!box.contains(document.activeElement)) box.querySelector(".detail-close").focus({ preventScroll: true }); }
  });

  return { close };
})();
