// Filters as groups of buttons, the chosen ones as chips, and how many trajectories are left.
"use strict";

Loopsim.filters = (() => {
  const { $, data, el, state } = Loopsim;
  const panel = $("filters"), opener = $("filters-open");

  function start() {
    const facets = data.facets.map((facet) => group(facet.key, facet.name, facet.values.map((value) => [value, value])));
    panel.replaceChildren(...facets, el("button", { type: "button", class: "button", text: "Clear all", onclick: Loopsim.rows.clear }));
    opener.hidden = !facets.length;
    chips();
  }

  function group(key, name, values) {
    return el("fieldset", {}, el("legend", { text: name }), el("div", { class: "options" }, ...values.map(([value, text]) => {
      const button = el("button", { type: "button", class: "option", text, "aria-pressed": "false", onclick: () => Loopsim.rows.toggle(key, value) });
      button.facet = { key, value };
      return button;
    })));
  }

  function chips() {
    for (const button of panel.querySelectorAll(".option")) {
      const wanted = state.filters[button.facet.key];
      button.setAttribute("aria-pressed", String(Boolean(wanted && wanted.has(button.facet.value))));
    }
    const found = [];
    for (const [key, wanted] of Object.entries(state.filters)) {
      const facet = data.facets.find((one) => one.key === key), name = key === "motif" ? "motif at t" : facet ? facet.name : key;
      for (const value of wanted || []) found.push(el("button", { type: "button", class: "chip", "aria-label": "Remove the filter " + name + " " + value, onclick: () => Loopsim.rows.toggle(key, value) }, name + ": " + value, el("span", { "aria-hidden": "true", text: "×" })));
    }
    if (found.length > 1) found.push(el("button", { type: "button", class: "chip clear", text: "Clear all", onclick: Loopsim.rows.clear }));
    $("chips").replaceChildren(...found);
    const count = Object.values(state.filters).reduce((sum, wanted) => sum + (wanted ? wanted.size : 0), 0);
    opener.textContent = count ? "Filter (" + count + ")" : "Filter";
  }

  function count() {
    const { visible, hits, searched } = Loopsim.rows, all = Loopsim.text.integer(data.rows);
    let text = visible.length === data.rows ? all + (data.rows === 1 ? " trajectory" : " trajectories") : Loopsim.text.integer(visible.length) + " of " + all + " trajectories";
    if (hits !== null) {
      const found = visible.reduce((sum, row) => sum + (hits.get(row) || []).length, 0);
      text += ", " + Loopsim.text.integer(found) + (found === 1 ? " caption" : " captions");
      if (searched.done < searched.total) text += " so far (" + Math.round(100 * searched.done / searched.total) + " % searched)";
    }
    $("count").textContent = text;
  }

  function toggle(open) {
    panel.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
  }

  opener.addEventListener("click", () => toggle(panel.hidden));
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); toggle(false); opener.focus(); } });
  Loopsim.on("filters", chips);
  Loopsim.on("rows", count);

  return { start };
})();
