"use strict";
// Compare: the scores of several runs, and in what their recipes differ.

nerve.tabs.push({
  id: "compare",
  name: "Compare",
  several: true,
  hidden: () => Boolean(nerve.report),

  async start(place) {
    this.place = place;
    await this.update(true);
  },

  async update(all) {
    const runs = nerve.shown();
    if (!all && runs.every((run) => nerve.summary(run)?.status !== "running")) return;
    if (runs.length < 2) return put(this.place, nothing("Tick other runs in the list at the left: they stand here beside this one."));
    const summaries = runs.map((run) => nerve.summary(run));
    const [recipes, verdicts] = await Promise.all([
      Promise.all(runs.map((run) => nerve.source.ask(run, "recipe").catch(() => ({ settings: {} })))),
      Promise.all(runs.map((run) => nerve.source.ask(run, "evaluation").catch(() => ({ parts: {} })))),
    ]);
    if (!this.place) return;
    const head = (i) => ({ name: runs[i], of: (row) => row.values[i], left: false });
    const last = [...new Set(summaries.flatMap((one) => Object.keys(one?.last ?? {})))].filter((name) => name !== "epoch" && name !== "step");
    const rows = [
      { path: "status", values: summaries.map((one) => one?.status) },
      { path: "epochs", values: summaries.map((one) => one?.epoch) },
      { path: "best", values: summaries.map((one) => one?.best?.score) },
      ...last.map((name) => ({ path: name === "time_s" ? "time in seconds" : `${name}, last epoch`, values: summaries.map((one) => one?.last[name]) })),
    ];
    const scores = new Map();
    verdicts.forEach(({ parts }, i) => Object.entries(parts).forEach(([part, { verdict }]) => verdict?.outputs?.forEach((output) => Object.entries(output.scores ?? {}).forEach(([name, score]) => {
      const path = `${output.name} · ${name} on ${part}`;
      if (!scores.has(path)) scores.set(path, { path, values: runs.map(() => undefined) });
      scores.get(path).values[i] = score;
    }))));
    const interval = (score) => (score === undefined ? "–" : [el("b", {}, text.number(score.value)), score.low !== null && score.low !== undefined && el("span", { class: "soft" }, ` ${text.number(score.low)} … ${text.number(score.high)}`)].filter(Boolean));
    const columns = runs.map((_, i) => head(i));
    const differ = nerve.differences(recipes.map((one) => one.settings));
    nerve.charts.compare = { runs, rows: rows.length, differ: differ.map((row) => row.path) };
    put(this.place,
      section("Scores", table([{ name: "score", of: (row) => row.path, left: true }, ...columns], rows, { sortable: false })),
      scores.size > 0 && section("Judged after the training", table([{ name: "score", of: (row) => row.path, left: true }, ...columns.map((column) => ({ ...column, text: interval }))], [...scores.values()], { sortable: false }), el("p", { class: "soft" }, "Intervals that overlap widely say that the runs may well be equal.")),
      section("Settings that differ", differ.length ? table([{ name: "setting", of: (row) => row.path, left: true }, ...columns.map((column) => ({ ...column, text: nerve.setting }))], differ, { sortable: false }) : nothing("None: the recipes are the same.")));
  },

  stop() {
    this.place = null;
    delete nerve.charts.compare;
  },
});
