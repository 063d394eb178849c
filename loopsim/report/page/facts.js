// What was run, what it shows, and what to take away: the texts and tables around the panels.
"use strict";

Loopsim.facts = (() => {
  const { $, data, el } = Loopsim;
  const { bytes, integer, interval, modality, percent } = Loopsim.text;

  function plural(count, one, many = one + "s") { return integer(count) + " " + (count === 1 ? one : many); }

  // Code in `ticks` in a sentence of ours, the rest as it is.
  function sentence(text) {
    const parts = text.split("`");
    return parts.map((part, i) => (i % 2 ? el("code", { text: part }) : part));
  }

  function showHead() {
    const { head } = data, runs = head.runs;
    document.title = head.title + " · loopsim report";
    $("title").textContent = head.title;
    $("made").textContent = "· " + (head.live ? "live" : head.made.slice(0, 10));
    const description = runs.length === 1 ? runs[0].description : "";
    $("description").textContent = description;
    $("description").hidden = !description;
    const numbers = [];
    if (runs.length > 1) numbers.push(plural(runs.length, "run"));
    numbers.push(plural(data.rows, "trajectory", "trajectories"));
    if (head.conditions.length > 1) numbers.push(plural(head.conditions.length, "condition"));
    numbers.push(plural(runs.reduce((sum, run) => sum + run.starts, 0), "start"));
    const steps = runs.reduce((sum, run) => sum + run.done, 0), iterations = Math.max(...runs.map((run) => run.iterations));
    numbers.push(plural(iterations, "iteration"), plural(steps, "step"));
    const failed = runs.reduce((sum, run) => sum + run.failed, 0);
    if (failed) numbers.push(integer(failed) + " failed");
    $("numbers").textContent = numbers.join("  ·  ");
    showProgress();
  }

  const STATES = { running: "Running", waiting: "Waiting", measuring: "Embedding and measuring", finished: "Finished", stopped: "Stopped before its end", gone: "Gone" };

  function showProgress() {
    const unfinished = data.head.runs.filter((run) => data.head.live || run.done < run.total);
    $("progress").hidden = !unfinished.length;
    $("progress").replaceChildren(...unfinished.map((run) => {
      const share = run.total ? run.done / run.total : 1;
      const rate = run.rate && run.state === "running" ? " · " + run.rate.toPrecision(2) + " steps a second" : "";
      const left = rate && run.total > run.done ? " · " + duration((run.total - run.done) / run.rate) + " to go" : "";
      const bar = el("progress", { max: String(run.total || 1), value: String(run.total ? run.done : 1), "aria-label": "Steps done" });
      return el("div", { class: "progress-run" }, bar, el("p", {
        text: (STATES[run.state] || run.state) + ": " + integer(run.done) + " of " + plural(run.total, "step") + " (" + Math.floor(share * 100) + " %)" + rate + left
          + (run.state === "stopped" ? " · the same `loopsim run` command goes on".replaceAll("`", "") : ""),
      }));
    }));
  }

  const duration = (seconds) => seconds < 90 ? Math.ceil(seconds) + " s" : seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";

  // ---- the finding --------------------------------------------------------------------------------------------------

  function showFinding() {
    const parts = [];
    for (const run of data.head.runs) {
      if (data.head.runs.length > 1) parts.push(el("h2", { class: "run-name", text: run.name }));
      run.headline.forEach((text, i) => parts.push(el("p", { class: i < 2 ? "headline" : "headline second" }, ...sentence(text))));
      for (const note of run.notes) parts.push(el("p", { class: "note" }, ...sentence(note)));
      if (run.verdicts.length) parts.push(verdicts(run));
    }
    $("finding").replaceChildren(...parts);
  }

  function verdicts(run) {
    const many = (name) => new Set(run.verdicts.map((line) => line[name])).size > 1;
    const columns = [["label", "Condition"], ["group", "Starts"], ["embedder", "Embedder"]].filter(([name]) => many(name));
    const firsts = new Set(run.verdicts.map((line) => line.first_t)), lasts = new Set(run.verdicts.map((line) => line.last_t));
    const at = (set, word) => (set.size === 1 ? "t = " + [...set][0] : word);
    const head = el("tr", {}, ...[...columns.map(([, text]) => text), "Of", at(firsts, "First"), at(lasts, "Last"), "Half-life", "Start explains", "Verdict"].map((text) => el("th", { scope: "col", text })));
    const rows = run.verdicts.map((line) => el("tr", {},
      ...columns.map(([name]) => el("th", { scope: "row", text: line[name] || "all" })),
      el("td", { text: modality(line.modality) }), el("td", { class: "num", text: interval(line.first) }), el("td", { class: "num", text: interval(line.last) }),
      el("td", { class: "num", text: interval(line.half_life, 1) }), el("td", { class: "num", text: line.memory[0] === null ? "–" : interval(line.memory) }),
      el("td", {}, verdict(line.verdict), el("span", { class: "reason", text: line.reason }))));
    const table = el("table", {}, el("caption", { text: "Mean cosine distance between trajectories [95 % interval], and what it does" }), el("thead", {}, head), el("tbody", {}, ...rows));
    return el("details", { class: "more" }, el("summary", { text: "Every verdict, with its reason" }), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Verdicts" }, table));
  }

  const verdict = (name) => el("span", { class: "verdict", "data-verdict": name, text: name });

  // ---- what was run -------------------------------------------------------------------------------------------------

  function showWhat() {
    const parts = [];
    for (const run of data.head.runs) {
      if (data.head.runs.length > 1) parts.push(el("h3", { class: "run-name", text: run.name }));
      parts.push(el("div", { class: "cards" }, ...run.models.map(model), experiment(run)));
      parts.push(flags(run), failures(run));
    }
    $("what-body").replaceChildren(...parts.filter(Boolean));
  }

  function pairs(list) {
    return el("dl", {}, ...list.filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: String(value) }))));
  }

  const words = (name) => name.replaceAll("_", " ");

  function model(one) {
    const revision = one.revision || (one.files ? "its " + plural(one.files, "file") + " are hashed in the manifest" : "");
    return el("article", { class: "card" }, el("p", { class: "eyebrow", text: one.role }), el("h3", { text: one.model }),
      pairs([["revision", revision], ...one.settings.map(([name, value]) => [words(name), value])]));
  }

  function experiment(run) {
    return el("article", { class: "card" }, el("p", { class: "eyebrow", text: run.imported ? "import" : "experiment" }), el("h3", { text: run.name }), pairs([
      ["imported from", run.imported], ["starts", integer(run.starts)], ["replicates", run.imported ? "" : run.replicates], ["iterations", run.iterations],
      ["trajectories", integer(run.trajectories)], ["noise", run.noise], ["seed", run.seed], ["judged by", run.embedders.join(", ") || "no embedder"],
      ["made", run.created.slice(0, 10)], ["loopsim", run.loopsim],
    ]));
  }

  function flags(run) {
    if (!run.flags.length) return el("p", { class: "note", text: "No step carries a flag: no caption is empty, cut or repeated, no picture black, no prompt over the encoder’s limit." });
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Flags" }, el("table", { class: "flags" }, el("caption", { text: "Flags" }),
      el("thead", {}, el("tr", {}, ...["Flag", "Meaning", "Steps", "Share"].map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, ...run.flags.map((flag) => el("tr", {}, el("th", { scope: "row", text: Loopsim.rows.flagWords(flag.name) }), el("td", { text: flag.meaning }),
        el("td", { class: "num", text: integer(flag.steps) }), el("td", { class: "num", text: percent(flag.share) }))))));
  }

  function failures(run) {
    if (!run.failures.length) return null;
    const shown = run.failures.map((one) => el("li", {},
      el("button", { type: "button", class: "link", text: "t = " + one.t, onclick: () => one.row !== null && Loopsim.select(one.row, one.t - 1, { from: "facts" }) }),
      " " + one.role + " " + one.model + ": ", el("span", { class: "message", text: one.message })));
    const rest = run.failed - run.failures.length;
    return el("details", { class: "more", open: run.failed <= 5 }, el("summary", { text: plural(run.failed, "trajectory", "trajectories") + " failed" + (run.failed < run.trajectories ? "; the others went on" : "") }), el("ul", { class: "failures" }, ...shown),
      rest > 0 ? el("p", { class: "note", text: "The first " + integer(run.failures.length) + " are listed; Filter shows all that are marked as failed." }) : null);
  }

  // ---- downloads ----------------------------------------------------------------------------------------------------

  const KINDS = { figure: "Figures", table: "Tables", experiment: "Experiment", citation: "To cite" };

  function showDownloads() {
    const files = data.head.downloads;
    $("downloads").hidden = !files.length;
    const several = data.head.runs.length > 1;
    const link = (file, text) => el("a", { href: file.file.split("/").map(encodeURIComponent).join("/"), download: file.name, text, title: file.name + ", " + bytes(file.bytes) });
    const parts = Object.entries(KINDS).map(([kind, name]) => {
      const mine = files.filter((file) => file.kind === kind);
      if (!mine.length) return null;
      const stems = new Map(); // a figure once, its formats after it
      for (const file of mine) {
        const dot = file.name.lastIndexOf("."), parts = file.file.split("/"), folder = several && parts.length > 2 ? parts[1] + ": " : "";
        const stem = folder + (kind === "figure" ? file.name.slice(0, dot) : file.name);
        if (!stems.has(stem)) stems.set(stem, []);
        stems.get(stem).push([kind === "figure" ? file.name.slice(dot + 1).toUpperCase() : bytes(file.bytes), file]);
      }
      return el("div", {}, el("h3", { text: name }), el("ul", { class: "files" }, ...[...stems].map(([stem, formats]) => el("li", {},
        kind === "figure" ? el("span", { text: stem }) : link(formats[0][1], stem),
        el("span", { class: "formats" }, ...(kind === "figure" ? formats.flatMap(([text, file]) => [link(file, text)]) : [formats[0][0]]))))));
    });
    $("downloads-body").replaceChildren(...parts.filter(Boolean));
    $("foot").textContent = "Made with loopsim " + data.head.loopsim + ". Intervals are over starts like these, and speak of these models only.";
  }

  function show() {
    showHead();
    showFinding();
    Loopsim.compare.show();
    showWhat();
    showDownloads();
  }

  return { sentence, show, showHead };
})();
