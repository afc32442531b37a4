"use strict";
// Tuning: every trial as a line through its parameters, which parameters decided, how the best value came down.

{
  const isDone = (trial) => typeof trial.value === "number";

  // Where a value stands on its axis, from 0 to 1.
  function axis(values, { labels, log }) {
    if (labels) return (v) => (labels.length > 1 ? labels.indexOf(v) / (labels.length - 1) : 0.5);
    const scale = log ? Math.log : (v) => v;
    const numbers = values.filter((v) => typeof v === "number").map(scale);
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    return (v) => (high > low ? (scale(v) - low) / (high - low) : 0.5);
  }

  function parallel(study, done) {
    const columns = [...study.parameters.map((parameter, i) => ({ ...parameter, of: (trial) => trial.values[i] })), { name: "value", of: (trial) => trial.value }];
    const [gap, high, top, side] = [Math.max(110, Math.min(210, 980 / columns.length)), 300, 34, 66];
    const at = columns.map((column) => axis(done.map(column.of), column));
    const up = (i, v) => top + (1 - at[i](v)) * high;
    const values = done.map((trial) => trial.value).sort((a, b) => (study.minimize ? a - b : b - a));
    const rank = (trial) => values.indexOf(trial.value) / Math.max(1, values.length - 1);
    const width = (columns.length - 1) * gap + 2 * side;
    const mix = (share) => `color-mix(in oklab, var(--c0) ${Math.round(100 * (1 - share))}%, var(--c1))`;
    // The best on top of the others.
    const trials = [...done].sort((a, b) => rank(b) - rank(a)).map((trial) => {
      const line = svg("polyline", { class: "trial", points: columns.map((column, i) => `${side + i * gap},${up(i, column.of(trial)).toFixed(1)}`).join(" ") }, svg("title", {}, `trial ${trial.trial}: ${text.number(trial.value)}`));
      line.style.stroke = mix(rank(trial));
      if (trial.trial === study.best) Object.assign(line.style, { opacity: 1, strokeWidth: 3 });
      return line;
    });
    const axes = columns.map((column, i) => {
      const x = side + i * gap;
      const all = done.map(column.of);
      const numbers = all.filter((v) => typeof v === "number");
      const ends = column.labels ? column.labels.map((label, j) => [column.labels.length > 1 ? j / (column.labels.length - 1) : 0.5, label]) : [[0, text.number(Math.min(...numbers))], [1, text.number(Math.max(...numbers))]];
      const short = column.name.split(".").at(-1);
      return [svg("line", { class: "axis", x1: x, x2: x, y1: top, y2: top + high }),
        svg("text", { x, y: 16, "text-anchor": "middle", "font-weight": 600 }, short, svg("title", {}, column.name)),
        ends.map(([share, said]) => svg("text", { class: "soft", x, y: top + (1 - share) * high + (share === 0 ? 15 : share === 1 ? -5 : 4), "text-anchor": "middle", "font-size": 11 }, said.length > 18 ? `${said.slice(0, 17)}…` : said))];
    });
    return el("div", { class: "drawing" }, svg("svg", { width, height: high + top + 26, role: "img", "aria-label": `Parallel coordinates of ${done.length} trials over ${study.parameters.length} parameters; the table below has them all` }, axes.flat(2).slice(0), trials));
  }

  nerve.tabs.push({
    id: "tuning",
    name: "Tuning",
    hidden: () => Boolean(nerve.report),

    async start(place) {
      this.place = place;
      this.chosen = null;
      await this.update();
      this.timer = setInterval(() => document.hidden || this.update().catch(() => {}), 3000);
    },

    async update() {
      const { tunings } = await nerve.source.tunings();
      if (!this.place) return;
      if (!tunings.length) return put(this.place, nothing("There is no tuning in this folder: ", el("code", {}, "nerve tune"), " makes one."));
      const name = tunings.includes(this.chosen) ? this.chosen : tunings.find((one) => state.run && one.startsWith(state.run)) ?? tunings[0];
      const study = await nerve.source.tuning(name);
      if (!this.place) return;
      const version = JSON.stringify([name, study.trials.map((trial) => [trial.outcome, trial.reports.length])]);
      if (version === this.version) return;
      this.version = version;
      this.draw(tunings, study);
    },

    draw(tunings, study) {
      const done = study.trials.filter(isDone);
      const best = study.trials.find((trial) => trial.trial === study.best);
      const count = (outcome) => study.trials.filter((trial) => trial.outcome === outcome).length;
      const cards = [["Best value", best ? text.number(best.value) : "–"], ["Trials done", text.count(count("told"))], ["Ended early", text.count(count("pruned"))], ["Failed", text.count(count("failed"))], ["Running", text.count(count("running"))]];
      const ranked = study.parameters.map((parameter) => ({ ...parameter, share: numeric(parameter.importance) ?? 0 })).sort((a, b) => b.share - a.share);
      this.chart?.destroy();
      // The best so far, beside each trial's value.
      const load = async () => {
        let so = null;
        const bests = done.map((trial) => (so = so === null ? trial.value : study.minimize ? Math.min(so, trial.value) : Math.max(so, trial.value)));
        const points = (value) => ({ x: done.map((trial) => trial.trial), value, total: done.length, exact: true });
        return [{ label: "trial", color: hue(7), dash: [2, 3], points: points(done.map((trial) => trial.value)) }, { label: "best so far", color: hue(0), points: points(bests) }];
      };
      this.chart = new Chart("tuning/best", "Value of the trials", load, { height: 220 });
      this.chart.shownX = "trial";
      nerve.charts.tuning = { name: study.name, trials: study.trials.length, best: study.best, importance: ranked.map((one) => [one.name, one.share]) };
      put(this.place,
        tunings.length > 1 && el("div", { class: "bar" }, choice("Tuning", tunings.map((one) => [one, one]), study.name, (one) => ((this.chosen = one), this.update()))),
        el("div", { class: "cards small" }, cards.map(([name, value]) => el("div", { class: "card" }, el("span", { class: "soft" }, name), el("b", {}, value)))),
        done.length > 0 && section("Trials", el("p", { class: "soft" }, "A line is a trial: the bluer, the better; the thick one is the best."), parallel(study, done)),
        el("div", { class: "two" }, el("div", {}, this.chart.root), section("What decided", table([
          { name: "parameter", of: (row) => row.name, left: true },
          { name: "importance", of: (row) => row.share, text: (v) => metered(v, text.percent(v, 0)) },
          { name: "best", of: (row) => best?.values[study.parameters.findIndex((one) => one.name === row.name)] },
        ], ranked))),
        section("All trials", table([
          { name: "trial", of: (row) => row.trial },
          { name: "how it ended", of: (row) => row.outcome, left: true },
          { name: "value", of: (row) => row.value },
          ...study.parameters.map((parameter, i) => ({ name: parameter.name, of: (row) => row.values[i] })),
          { name: "time", of: (row) => row.seconds, text: text.duration },
          { name: "reason", of: (row) => row.reason, left: true },
        ], study.trials, { most: 100, marked: (row) => row.trial === study.best })));
      this.chart.refresh();
    },

    stop() {
      clearInterval(this.timer);
      this.chart?.destroy();
      this.chart = this.place = this.version = null;
      delete nerve.charts.tuning;
    },
  });
}
