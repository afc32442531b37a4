"use strict";
// Evaluation: which classes are taken for which, the examples behind a cell, and a table for each class.

{
  const most = (rows) => rows.reduce((top, row) => row.reduce((a, b) => Math.max(a, b), top), 0);

  // Shares of a matrix: of its rows, of its columns, or of its largest count.
  function shares(counts, by) {
    const rows = counts.map((row) => row.reduce((a, b) => a + b, 0));
    const columns = counts[0]?.map((_, j) => counts.reduce((sum, row) => sum + row[j], 0)) ?? [];
    const top = most(counts);
    return counts.map((row, i) => row.map((n, j) => n / ((by === "rows" ? rows[i] : by === "columns" ? columns[j] : top) || 1)));
  }

  // Precision, recall and F1 of each class.
  function perClass(labels, counts) {
    return labels.map((name, i) => {
      const support = counts[i].reduce((a, b) => a + b, 0);
      const said = counts.reduce((sum, row) => sum + row[i], 0);
      const [precision, recall] = [said ? counts[i][i] / said : null, support ? counts[i][i] / support : null];
      const f1 = precision !== null && recall !== null && precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : null;
      return { name, precision, recall, f1, support };
    });
  }

  function matrix(labels, counts, by, chosen, pick) {
    const part = shares(counts, by);
    const cell = (i, j) => {
      const shown = by === "counts" ? text.count(counts[i][j]) : counts[i][j] ? (100 * part[i][j]).toFixed(1) : "0";
      const about = `truth ${labels[i]}, said ${labels[j]}: ${text.count(counts[i][j])}${by === "counts" ? "" : `, ${text.percent(part[i][j])}`}`;
      const here = chosen?.[0] === i && chosen?.[1] === j;
      const button = el("button", { title: about, "aria-label": about, "aria-pressed": String(here), "data-truth": labels[i], "data-said": labels[j], class: part[i][j] > 0.55 ? "over" : undefined, onclick: () => pick(i, j) }, shown);
      // Right answers in one colour, wrong ones in another, each by its share.
      const colour = i === j ? heat(0.08 + 0.85 * part[i][j]) : counts[i][j] ? `rgba(${css("miss")},${Math.min(1, 0.1 + 1.6 * Math.sqrt(part[i][j])).toFixed(3)})` : "transparent";
      button.style.background = colour;
      if (i !== j) button.classList.toggle("over", part[i][j] > 0.3);
      return el("td", {}, button);
    };
    return el("div", { class: "matrix" }, el("table", { "aria-label": "Confusion matrix: rows are the truth, columns what was said" },
      el("thead", {}, el("tr", {}, el("td", { class: "axis" }, "truth ↓ said →"), labels.map((name) => el("th", { scope: "col", title: name }, name)))),
      el("tbody", {}, labels.map((name, i) => el("tr", {}, el("th", { scope: "row", title: name }, name), labels.map((_, j) => cell(i, j)))))));
  }

  // Of very many classes a picture, a pixel each, and a list of what is confused most.
  function large(labels, counts, by, pick) {
    const part = shares(counts, by);
    const canvas = el("canvas", { class: "heat", width: labels.length, height: labels.length, role: "img", "aria-label": `Confusion matrix of ${labels.length} classes` });
    const ctx = canvas.getContext("2d");
    part.forEach((row, i) => row.forEach((share, j) => {
      if (!share) return;
      ctx.fillStyle = i === j ? heat(0.1 + 0.9 * share) : `rgba(${css("miss")},${Math.min(1, 0.2 + 1.6 * Math.sqrt(share))})`;
      ctx.fillRect(j, i, 1, 1);
    }));
    canvas.style.maxWidth = "560px";
    canvas.addEventListener("click", (e) => {
      const box = canvas.getBoundingClientRect();
      const place = (at, from, size) => Math.min(labels.length - 1, Math.max(0, Math.floor(((at - from) / size) * labels.length)));
      pick(place(e.clientY, box.top, box.height), place(e.clientX, box.left, box.width));
    });
    return canvas;
  }

  function confused(labels, counts, pick) {
    const pairs = [];
    counts.forEach((row, i) => row.forEach((n, j) => i !== j && n && pairs.push({ i, j, n })));
    pairs.sort((a, b) => b.n - a.n);
    return table([
      { name: "truth", of: (row) => labels[row.i], left: true },
      { name: "said", of: (row) => labels[row.j], left: true },
      { name: "times", of: (row) => row.n, text: (n, row) => el("button", { class: "quiet", onclick: () => pick(row.i, row.j) }, text.count(n)) },
    ], pairs, { most: 12 });
  }

  // How often what was said with some certainty came true.
  function reliability(bins) {
    const [size, left, foot] = [250, 44, 34];
    const at = (v) => left + v * (size - left - 10);
    const up = (v) => size - foot - v * (size - foot - 10);
    const known = bins.filter((bin) => bin.count > 0 && bin.observed !== null);
    const top = Math.max(1, ...known.map((bin) => bin.count));
    const about = `Reliability. ${known.map((bin) => `said ${text.percent(bin.predicted, 0)}, came true ${text.percent(bin.observed, 0)}`).join("; ")}`;
    return el("div", {}, svg("svg", { width: size, height: size, role: "img", "aria-label": about },
      [0, 0.5, 1].flatMap((v) => [svg("line", { class: "axis", x1: at(0), x2: at(1), y1: up(v), y2: up(v) }), svg("text", { class: "soft", x: left - 8, y: up(v) + 4, "text-anchor": "end", "font-size": 11 }, String(v)), svg("text", { class: "soft", x: at(v), y: size - foot + 16, "text-anchor": "middle", "font-size": 11 }, String(v))]),
      svg("line", { class: "even", x1: at(0), y1: up(0), x2: at(1), y2: up(1) }),
      svg("polyline", { points: known.map((bin) => `${at(bin.predicted)},${up(bin.observed)}`).join(" "), fill: "none", stroke: hue(0), "stroke-width": 2 }),
      known.map((bin) => svg("circle", { cx: at(bin.predicted), cy: up(bin.observed), r: 2 + 4 * Math.sqrt(bin.count / top), fill: hue(0) }, svg("title", {}, `${text.count(bin.count)} times said with ${text.percent(bin.predicted)}: true in ${text.percent(bin.observed)}`))),
      svg("text", { class: "soft", x: at(0.5), y: size - 4, "text-anchor": "middle", "font-size": 11 }, "probability that was said")));
  }

  nerve.tabs.push({
    id: "evaluation",
    name: "Evaluation",

    async start(place) {
      Object.assign(this, { by: "counts", source: null, chosen: null, shown: null, epoch: null });
      this.place = { bar: el("div", { class: "bar" }), body: el("div"), examples: el("div", { id: "examples" }), more: el("div") };
      put(place, this.place.bar, this.place.body, this.place.more);
      await this.update();
    },

    async update() {
      // While it trains, the verdict is that of the last look; when it has ended, the last word.
      this.evaluation = await nerve.judged();
      if (!this.place) return;
      const when = nerve.status === "done" ? "after the training" : "at the last look";
      this.sources = [];
      for (const [part, { verdict, problem, rows }] of Object.entries(this.evaluation)) {
        if (problem) this.sources.push({ id: part, name: part, problem });
        for (const output of verdict?.outputs ?? []) this.sources.push({ id: `${part}/${output.name}`, name: `${output.name} on ${part}, ${when}`, part, rows, output });
      }
      for (const tag of nerve.tags.confusions) {
        const { matrices } = await nerve.source.ask(state.run, "confusion", { tag });
        if (matrices.length) this.sources.push({ id: `events/${tag}`, name: `${tag}, while it trained`, matrices, tag });
      }
      if (!this.place) return;
      const ids = JSON.stringify(this.sources.map((one) => [one.id, one.name, one.matrices?.length, one.output?.confusion]));
      if (ids !== this.drawn) {
        const first = !this.drawn;
        this.drawn = ids;
        this.draw();
        // What stands behind a chosen cell has changed with it.
        if (!first && this.shown) await this.examples(...this.shown, false);
      }
    },

    draw() {
      const source = this.sources.find((one) => one.id === this.source) ?? this.sources[0];
      if (!source) return put(this.place.body, nothing("Nothing was judged yet. A confusion matrix comes with the first validation of a network that says classes; ", el("code", {}, "nerve evaluate"), " judges a finished run."));
      if (source.problem) return put(this.place.body, el("p", { class: "problem" }, source.problem));
      const epochs = source.matrices?.length ?? 0;
      const at = Math.min(this.epoch ?? epochs - 1, epochs - 1);
      const { labels, counts } = source.matrices ? source.matrices[at] : { labels: (source.output.confusion && source.output.classes?.map((one) => one.name)) ?? [], counts: source.output.confusion ?? [] };
      const slider = el("input", { type: "range", min: "0", max: String(epochs - 1), value: String(at), "aria-label": "When", oninput: () => ((this.epoch = Number(slider.value)), this.draw()) });
      put(this.place.bar,
        choice("Of", this.sources.map((one) => [one.id, one.name]), source.id, (id) => (Object.assign(this, { source: id, chosen: null, shown: null, epoch: null }), put(this.place.examples), this.draw())),
        labels.length > 0 && choice("Cells", [["counts", "Counts"], ["rows", "Percent of the truth"], ["columns", "Percent of what was said"]], this.by, (by) => ((this.by = by), this.draw())),
        epochs > 1 && el("label", { class: "field" }, el("span", {}, "When"), slider, el("output", {}, `step ${text.count(source.matrices[at].step)}`)));
      const pick = (i, j) => ((this.chosen = [i, j]), this.draw(), this.examples(source, labels[i], labels[j]));
      nerve.charts.confusion = { labels, counts, by: this.by, chosen: this.chosen };
      const right = counts.reduce((sum, row, i) => sum + row[i], 0);
      const total = counts.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0);
      const rows = source.output?.classes ?? perClass(labels, counts);
      const bars = (share) => (typeof share === "number" ? metered(share, text.number(share)) : "–");
      put(this.place.body, labels.length > 0 && el("div", { class: "two wide-first" },
        el("div", {}, section("Confusion", el("p", { class: "soft" }, `${text.count(right)} of ${text.count(total)} right. A click on a cell shows its examples.`), labels.length <= 40 ? matrix(labels, counts, this.by, this.chosen, pick) : large(labels, counts, this.by, pick)), this.place.examples),
        el("div", {}, section("Confused most", confused(labels, counts, pick)), source.output?.reliability?.length > 0 && section("Reliability", reliability(source.output.reliability)))));
      put(this.place.more,
        rows.length > 0 && section("Classes", table([
          { name: "class", of: (row) => row.name, left: true },
          { name: "precision", of: (row) => row.precision, text: bars },
          { name: "recall", of: (row) => row.recall, text: bars },
          { name: "F1", of: (row) => row.f1, text: bars },
          { name: "examples", of: (row) => row.support },
        ], rows, { most: 50 })),
        source.output?.slices?.length > 0 && section("Groups of the data", slices(source.output.slices)),
        source.output?.steps?.length > 0 && section("By how far ahead", table(["step", "mae", "rmse", "bias"].map((name) => ({ name, of: (row) => row[name] })), source.output.steps)),
        !labels.length && source.output && section("Scores", table([{ name: "score", of: ([name]) => name, left: true }, { name: "value", of: ([, score]) => score.value }, { name: "interval", of: ([, score]) => score.low, text: (_, [, score]) => (score.low === null ? "" : `${text.number(score.low)} … ${text.number(score.high)}`) }], Object.entries(source.output.scores ?? {}))));
    },

    async examples(source, truth, said, look = true) {
      this.shown = [source, truth, said];
      const part = source.part ?? source.tag?.split("/")[0];
      const output = source.output?.name ?? source.tag?.split("/").slice(1).join("/");
      const title = `Truth ${truth}, said ${said}`;
      try {
        const found = await nerve.source.ask(state.run, "worst", { part, output, truth, said, n: 60 });
        if (!this.place) return;
        put(this.place.examples, section(title, el("p", { class: "soft" }, nerve.counted(found)), nerve.examples(found.examples)));
        nerve.charts.examples = { truth, said, total: found.total, shown: found.examples.length };
      } catch (error) {
        put(this.place.examples, section(title, nothing(error.status === 404 || nerve.report ? "The examples were not kept: they come with the next look at the validation data." : error.message)));
      }
      if (look) this.place.examples.scrollIntoView({ block: "nearest" });
    },

    stop() {
      this.place = this.evaluation = this.drawn = this.shown = null;
      delete nerve.charts.confusion;
      delete nerve.charts.examples;
    },
  });

  function slices(groups) {
    const names = [...new Set(groups.flatMap((group) => Object.keys(group.scores)))].slice(0, 6);
    return table([
      { name: "column", of: (row) => row.column, left: true },
      { name: "value", of: (row) => row.value, left: true },
      { name: "examples", of: (row) => row.examples },
      ...names.map((name) => ({ name, of: (row) => row.scores[name]?.value ?? null })),
    ], groups, { most: 60 });
  }
}

// A number and a bar for its share, one below the other in every row of a table.
const metered = (share, said, bad) => el("span", {}, meter(share, bad), el("span", { class: "num" }, said));

// A bar for a share from 0 to 1.
function meter(share, bad = false) {
  const bar = el("i");
  bar.style.width = `${Math.min(100, Math.max(0, 100 * share))}%`;
  return el("span", { class: `meter${bad ? " bad" : ""}` }, bar);
}
