"use strict";
// The worst examples: what the network is most wrong about, with the place where each stands.

nerve.counted = (found) => `${text.count(found.examples.length)} of ${text.count(found.total)}, the highest loss first${found.cut ? " (of those that the report holds)" : ""}${found.skipped ? `; ${text.count(found.skipped)} damaged lines were skipped` : ""}`;

// Cards of examples.
nerve.examples = (examples) => examples.length === 0 ? nothing("There are none.") : el("div", { class: "examples" }, examples.map((row) => {
  const wrong = row.truth !== row.said;
  const cells = Object.entries(row.cells ?? {});
  return el("figure", { class: "example" },
    row.picture && nerve.picture(row.picture, `example ${row.row}`),
    row.text && el("pre", {}, row.text),
    cells.length > 0 && el("dl", {}, cells.slice(0, 12).map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
    el("div", { class: "verdict" }, el("span", { class: wrong ? "wrong" : "right" }, String(row.said)), wrong && [" instead of ", el("b", {}, String(row.truth))]),
    el("figcaption", { class: "soft" }, [row.p !== undefined && `sure ${text.percent(numeric(row.p), 0)}`, row.loss !== undefined && `loss ${text.number(row.loss)}`].filter(Boolean).join(" · "), el("br"), row.where ?? `row ${row.row}`));
}));

nerve.tabs.push({
  id: "worst",
  name: "Worst examples",

  async start(place) {
    Object.assign(this, { ask: { n: 60, wrong: false } });
    this.place = { bar: el("div", { class: "bar" }), body: el("div") };
    put(place, this.place.bar, this.place.body);
    await this.update();
  },

  // After each look at the validation data there are others.
  async update() {
    const parts = await nerve.judged();
    if (!this.place) return;
    const judged = JSON.stringify(parts);
    if (judged === this.judged) return;
    this.judged = judged;
    this.parts = Object.entries(parts).filter(([, part]) => part.rows);
    if (!this.parts.length) return put(this.place.body, nothing("No examples were kept yet: they come with the first look at the validation data, soon after the first epoch."));
    if (!this.parts.some(([part]) => part === this.ask.part)) this.ask.part = this.parts[0][0];
    this.bar();
    await this.load();
  },

  bar() {
    const verdict = this.parts.find(([part]) => part === this.ask.part)[1].verdict;
    const outputs = verdict.outputs.map((output) => output.name);
    const output = verdict.outputs.find((one) => one.name === this.ask.output) ?? verdict.outputs[0];
    const classes = output?.classes?.map((one) => one.name) ?? [];
    const set = (name) => (value) => {
      this.ask[name] = value === "" ? undefined : value;
      if (name === "part" || name === "output") Object.assign(this.ask, { truth: undefined, said: undefined });
      this.bar();
      this.load();
    };
    const any = [["", "any"], ...classes.map((name) => [name, name])];
    put(this.place.bar,
      this.parts.length > 1 && choice("Part", this.parts.map(([part]) => [part, part]), this.ask.part, set("part")),
      outputs.length > 1 && choice("Output", outputs.map((name) => [name, name]), this.ask.output ?? outputs[0], set("output")),
      classes.length > 0 && [choice("Truth", any, this.ask.truth ?? "", set("truth")), choice("Said", any, this.ask.said ?? "", set("said")), tick("Only wrong ones", this.ask.wrong, set("wrong"))]);
  },

  async load() {
    const { wrong, ...ask } = this.ask;
    const found = await nerve.source.ask(state.run, "worst", { ...ask, wrong: wrong ? true : undefined });
    if (!this.place) return;
    const more = found.total > found.examples.length && this.ask.n < 500 && !found.cut && el("button", { class: "quiet", onclick: () => ((this.ask.n = Math.min(500, this.ask.n * 3)), this.load()) }, "Show more");
    put(this.place.body, section(null, el("p", { class: "soft" }, nerve.counted(found)), nerve.examples(found.examples), more));
    nerve.charts.worst = { total: found.total, shown: found.examples.length };
  },

  stop() {
    this.place = this.judged = null;
    delete nerve.charts.worst;
  },
});
