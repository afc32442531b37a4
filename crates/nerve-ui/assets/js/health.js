"use strict";
// Health: how weights, gradients and activations are distributed over time, which units are dead, how far a
// step moves the weights, what each layer costs.

{
  const KINDS = { weights: "Weights", grads: "Gradients", acts: "Activations" };

  // The value below which a share of a histogram lies, evenly spread within a bin.
  function quantile({ edges, counts }, share) {
    const total = counts.reduce((a, b) => a + b, 0);
    let left = share * total;
    for (let i = 0; i < counts.length; i++) {
      if (left <= counts[i] && counts[i] > 0) return edges[i] + ((edges[i + 1] - edges[i]) * left) / counts[i];
      left -= counts[i];
    }
    return edges.at(-1);
  }

  // A column for each time, a row for each value: the darker, the more.
  function strip(tag, histograms) {
    // The outermost thousandths would make the rest a line.
    const low = Math.min(...histograms.map((one) => quantile(one, 0.001)));
    let high = Math.max(...histograms.map((one) => quantile(one, 0.999)));
    if (!(high > low)) high = low + 1e-12;
    const rows = 64;
    const canvas = el("canvas", { class: "heat", width: histograms.length, height: rows, role: "img" });
    canvas.setAttribute("aria-label", `${tag}: between ${text.number(low)} and ${text.number(high)}; in the end the middle half lies between ${text.number(quantile(histograms.at(-1), 0.25))} and ${text.number(quantile(histograms.at(-1), 0.75))}`);
    const ctx = canvas.getContext("2d");
    histograms.forEach((one, x) => {
      const density = new Float64Array(rows);
      one.counts.forEach((n, i) => {
        const [a, b] = [one.edges[i], one.edges[i + 1]].map((v) => ((v - low) / (high - low)) * rows);
        for (let r = Math.max(0, Math.floor(a)); r < Math.min(rows, b); r++) density[r] += (n * (Math.min(b, r + 1) - Math.max(a, r))) / Math.max(b - a, 1e-12);
      });
      const top = Math.max(...density) || 1;
      density.forEach((d, r) => {
        if (d <= 0) return;
        ctx.fillStyle = heat(0.04 + 0.96 * Math.sqrt(d / top));
        ctx.fillRect(x, rows - 1 - r, 1, 1);
      });
    });
    const bad = histograms.reduce((sum, one) => sum + (one.bad ?? 0), 0);
    const picture = el("div", { class: "strip" }, canvas, el("div", { class: "ends" }, el("span", {}, text.number(high)), el("span", {}, text.number(low))),
      el("div", { class: "foot" }, el("span", {}, `step ${text.count(histograms[0].step)}`), el("span", {}, `step ${text.count(histograms.at(-1).step)}`)));
    const flip = withTable(picture, () => table([
      { name: "step", of: (one) => one.step },
      ...[["lowest", 0], ["25 %", 0.25], ["middle", 0.5], ["75 %", 0.75], ["highest", 1]].map(([name, share]) => ({ name, of: (one) => quantile(one, share) })),
      { name: "no number", of: (one) => one.bad ?? 0 },
    ], histograms, { most: 50 }));
    return el("figure", { class: "chart", tabindex: "0" }, el("figcaption", {}, el("h3", {}, tag.slice(tag.indexOf("/") + 1)), flip.tools), flip.place, bad > 0 && el("p", { class: "problem" }, `${text.count(bad)} values were no number`));
  }

  // What is to be said of a layer.
  function judged({ dead, update_ratio: ratio }) {
    const said = [];
    if (typeof dead === "number" && dead > 0.4) said.push(`${text.percent(dead, 0)} of its units are never active: a lower learning rate, or LeakyReLU or GELU`);
    if (typeof ratio === "number" && ratio > 1e-2) said.push("a step moves its weights by more than 1 %: the learning rate is high");
    if (typeof ratio === "number" && ratio > 0 && ratio < 1e-5) said.push("a step hardly moves its weights");
    if (ratio === "NaN" || ratio === "Infinity") said.push("its update is no number");
    return said.join("; ");
  }

  nerve.tabs.push({
    id: "health",
    name: "Health",

    async start(place) {
      Object.assign(this, { kind: null, charts: [], loaded: new Map() });
      this.place = { layers: el("div"), charts: el("div", { class: "grid" }), bar: el("div", { class: "bar" }), strips: el("div", { class: "grid" }) };
      put(place, this.place.layers, this.place.charts, el("div", { class: "gap" }), this.place.bar, this.place.strips);
      await this.update();
    },

    async update() {
      const { layers } = await nerve.source.ask(state.run, "layers");
      if (!this.place) return;
      const rows = Object.entries(layers).map(([name, values]) => ({ name, ...values }));
      const longest = Math.max(...rows.map((row) => numeric(row.time_ms) ?? 0), 1e-9);
      const tags = nerve.tags.histograms;
      if (!rows.length && !tags.length) return put(this.place.layers, nothing("Nothing was measured yet. The first figures come with the end of an epoch."));
      put(this.place.layers, rows.length > 0 && section("Layers", table([
        { name: "layer", of: (row) => row.name, left: true },
        { name: "dead units", of: (row) => row.dead, text: (v) => (v === undefined ? "" : metered(numeric(v), text.percent(numeric(v), 0), v > 0.4)) },
        { name: "update ‖Δw‖/‖w‖", of: (row) => row.update_ratio, text: (v) => (v === undefined ? "" : text.number(v)) },
        { name: "time", of: (row) => row.time_ms, text: (v) => (v === undefined ? "" : metered(numeric(v) / longest, `${text.number(v)} ms`)) },
        { name: "remark", of: judged, left: true, text: (said) => el("span", { class: "soft" }, said) },
      ], rows)));
      this.lineCharts(rows);
      await this.strips(tags);
    },

    lineCharts(rows) {
      const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => name !== "name");
      const titles = { dead: "Dead units", update_ratio: "Update ratio", time_ms: "Time of a step in ms" };
      for (const name of names) {
        const tags = rows.filter((row) => row[name] !== undefined).map((row) => `layer/${row.name}/${name}`).slice(0, 24);
        let chart = this.charts.find((chart) => chart.name === name);
        if (!chart) {
          chart = new Chart(`health/${name}`, titles[name] ?? name, (window) => lines(chart.tags, window, { runs: [state.run], label: (tag) => tag.slice(6, -name.length - 1) }), { height: 190, marks, extent });
          chart.name = name;
          chart.log = name === "update_ratio";
          this.charts.push(chart);
          this.place.charts.append(chart.root);
        }
        Object.assign(chart, { tags, shownX: state.x });
        chart.refresh();
      }
    },

    async strips(tags) {
      const kinds = [...new Set(tags.map((tag) => tag.split("/")[0]))];
      if (!kinds.length) return;
      this.kind ??= kinds.includes("weights") ? "weights" : kinds[0];
      put(this.place.bar, el("h2", {}, "Distributions over time"), choice("Of", kinds.map((kind) => [kind, KINDS[kind] ?? kind]), this.kind, (kind) => ((this.kind = kind), this.strips(nerve.tags.histograms))));
      const shown = tags.filter((tag) => tag.startsWith(`${this.kind}/`));
      const found = await Promise.all(shown.slice(0, 60).map((tag) => nerve.source.ask(state.run, "histograms", { tag })));
      if (!this.place) return;
      nerve.charts.histograms = { kind: this.kind, tags: found.map((one) => [one.tag, one.histograms.length]) };
      const version = JSON.stringify(nerve.charts.histograms);
      // Drawn anew only where something is new: a table that somebody opened stays open.
      if (version === this.version) return;
      this.version = version;
      put(this.place.strips, found.map((one) => strip(one.tag, one.histograms)), shown.length > 60 && nothing(`${shown.length - 60} more are not shown.`));
    },

    stop() {
      this.charts?.forEach((chart) => chart.destroy());
      this.place = this.version = null;
      delete nerve.charts.histograms;
    },
  });
}
