"use strict";
// Overview: how the run stands, what it reached, and what there is to know about it.

{
  // The share of the training that is done.
  nerve.progress = () => {
    const begin = nerve.tags?.begins.at(-1);
    if (!begin?.epochs) return null;
    const steps = begin.steps_per_epoch;
    const step = Math.max(0, ...Object.values(nerve.tags.tags).map((tag) => tag.last?.step ?? 0));
    return steps ? step / (begin.epochs * steps) : (nerve.tags.epochs.at(-1)?.epoch ?? 0) / begin.epochs;
  };

  const card = (name, value, more) => el("div", { class: "card" }, el("span", { class: "soft" }, name), el("b", {}, value), more && el("span", { class: "soft" }, more));

  function cards() {
    const { run, begins, epochs, tags } = nerve.tags;
    const found = [];
    const last = epochs.at(-1);
    const best = epochs.findLast((row) => row.best);
    const goal = run.best?.goal ?? begins.at(-1)?.goal;
    if (run.best) found.push(card(`Best ${goal ?? "score"}`, text.number(run.best.score), `epoch ${run.best.epoch}`));
    else if (best && goal) found.push(card(`Best ${goal}`, text.number(best.scores[goal]), `epoch ${best.epoch}`));
    if (last) {
      const names = Object.keys(last.scores).filter((name) => name !== goal);
      names.sort((a, b) => b.startsWith("val_") - a.startsWith("val_"));
      for (const name of names.slice(0, 3)) found.push(card(name, text.number(last.scores[name]), `epoch ${last.epoch}`));
      found.push(card("Time", text.duration(last.time_s), `${text.duration(last.time_s / last.epoch)} an epoch`));
      const left = begins.at(-1)?.epochs ? ((begins.at(-1).epochs - last.epoch) * last.time_s) / last.epoch : null;
      if (run.status === "running" && left !== null) found.push(card("Left, about", text.duration(left)));
    }
    const pace = tags["time/step_ms"]?.last?.value;
    if (typeof pace === "number") found.push(card("A step", `${text.number(pace)} ms`));
    return found;
  }

  // The scores of the evaluation beside what one reaches without a network.
  function scores(evaluation) {
    const found = [];
    for (const [part, { verdict }] of Object.entries(evaluation.parts)) {
      for (const output of verdict?.outputs ?? []) {
        const baselines = Object.keys(output.baselines ?? {});
        const rows = Object.entries(output.scores ?? {}).map(([name, score]) => ({ name, ...score, ...Object.fromEntries(baselines.map((b) => [`baseline ${b}`, output.baselines[b][name]])) }));
        if (!rows.length) continue;
        const level = verdict.bootstrap?.level ? `${Math.round(100 * verdict.bootstrap.level)} % interval` : "interval";
        found.push(el("h3", {}, `${output.name} on ${part}`, el("span", { class: "soft" }, ` · ${text.count(verdict.examples)} examples`)), table([
          { name: "score", of: (row) => row.name, left: true },
          { name: "value", of: (row) => row.value },
          { name: level, of: (row) => row.low, text: (_, row) => (row.low === null || row.low === undefined ? "" : `${text.number(row.low)} … ${text.number(row.high)}`) },
          ...baselines.map((b) => ({ name: `baseline: ${b}`, of: (row) => row[`baseline ${b}`] })),
        ], rows));
      }
    }
    return found;
  }

  function history() {
    const { epochs } = nerve.tags;
    if (!epochs.length) return nothing("No epoch has ended yet.");
    const names = [...new Set(epochs.flatMap((row) => Object.keys(row.scores)))].sort((a, b) => a.startsWith("val_") - b.startsWith("val_"));
    return table([
      { name: "epoch", of: (row) => row.epoch, text: (v, row) => `${row.best ? "★ " : ""}${v}` },
      ...names.map((name) => ({ name, of: (row) => row.scores[name] ?? null })),
      { name: "lr", of: (row) => row.lr },
      { name: "time", of: (row) => row.time_s, text: text.duration },
    ], [...epochs].reverse(), { most: 15, marked: (row) => row === epochs.findLast((row) => row.best) });
  }

  // What the recipe says otherwise than that of the run before.
  async function changed() {
    const own = nerve.summary(state.run);
    const earlier = nerve.all().filter((run) => run.name !== state.run && (run.began ?? 0) < (own?.began ?? 0)).sort((a, b) => b.began - a.began)[0];
    if (!earlier || nerve.report) return null;
    const [a, b] = await Promise.all([earlier.name, state.run].map((run) => nerve.source.ask(run, "recipe")));
    const differ = nerve.differences([a.settings, b.settings]);
    const title = `Changed since ${earlier.name}`;
    if (!differ.length) return section(title, nothing("Nothing: the recipes are the same."));
    return section(title, table([
      { name: "setting", of: (row) => row.path, left: true },
      { name: earlier.name, of: (row) => row.values[0], text: nerve.setting, left: true },
      { name: state.run, of: (row) => row.values[1], text: nerve.setting, left: true },
    ], differ, { most: 20 }));
  }

  nerve.setting = (value) => (value === undefined ? el("span", { class: "soft" }, "not set") : typeof value === "string" ? value : JSON.stringify(value));

  // Settings that are not the same in all recipes.
  nerve.differences = (recipes) => {
    const paths = [...new Set(recipes.flatMap((one) => Object.keys(one)))].sort();
    const rows = paths.map((path) => ({ path, values: recipes.map((one) => one[path]) }));
    return rows.filter(({ values }) => values.some((value) => JSON.stringify(value) !== JSON.stringify(values[0])));
  };

  function notes() {
    const found = nerve.tags.notes.slice(-50).map((note) => el("li", { class: note.level }, el("span", { class: "soft" }, text.duration(note.seconds)), " ", note.text));
    if (nerve.tags.skipped) found.unshift(el("li", { class: "warning" }, `${text.count(nerve.tags.skipped)} lines of events.jsonl are damaged and were skipped.`));
    return found.length ? section("To know", el("ul", { class: "notes" }, found)) : null;
  }

  function media() {
    const shown = nerve.tags.media.slice(-24).reverse();
    if (!shown.length) return null;
    return section("Pictures and texts", el("div", { class: "cards" }, shown.map((event) => el("figure", { class: "example" },
      event.k === "image" ? nerve.picture(event.file, event.caption || event.tag) : el("pre", {}, event.text),
      el("figcaption", {}, el("b", {}, event.tag), ` step ${text.count(event.step)} `, event.caption)))));
  }

  nerve.picture = (name, about) => {
    const source = nerve.source.picture(state.run, name);
    return source ? el("img", { src: source, alt: about, loading: "lazy" }) : nothing("The picture was left out.");
  };

  nerve.tabs.push({
    id: "overview",
    name: "Overview",

    async start(place) {
      this.place = { cards: el("div", { class: "cards small" }), chart: el("div"), notes: el("div"), history: el("div"), scores: el("div"), changed: el("div"), media: el("div") };
      const recipe = el("pre", { class: "recipe" });
      this.chart = new Chart("overview/loss", "loss", (window) => lines(this.tags(), window, { runs: [state.run] }), { height: 220, marks, extent });
      put(place, this.place.cards, this.place.notes, el("div", { class: "two" }, this.place.chart, this.place.history), this.place.scores, this.place.changed, this.place.media,
        el("details", {}, el("summary", {}, "Recipe, and where the run comes from"), (this.from = el("div")), recipe));
      this.update(true);
      const told = await nerve.source.ask(state.run, "recipe");
      put(recipe, told.text);
      put(this.place.changed, await changed());
      const evaluation = await nerve.source.ask(state.run, "evaluation");
      const found = scores(evaluation);
      if (found.length) put(this.place.scores, section("What it reaches", found));
    },

    tags: () => grouped(Object.keys(nerve.tags.tags)).get("loss") ?? Object.keys(nerve.tags.tags).slice(0, 1),

    update() {
      const { run } = nerve.tags;
      put(this.place.cards, cards());
      put(this.place.notes, notes());
      put(this.place.history, section("Epochs", history()));
      put(this.place.media, media());
      if (this.tags().length) {
        if (!this.place.chart.firstChild) put(this.place.chart, this.chart.root);
        this.chart.shownX = state.x;
        this.chart.refresh();
      }
      const rows = run.rows && `${text.count(run.rows.train)} / ${text.count(run.rows.validation)} / ${text.count(run.rows.test)} rows to train, validate and test`;
      put(this.from, el("dl", {}, [["Began", text.time(run.began)], ["Command", Array.isArray(run.command) ? run.command.join(" ") : "–"], ["Data", rows || "–"], ["Version", nerve.tags.begins.at(-1)?.nerve ?? "–"], ["Events", text.bytes(run.bytes)]].map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
    },

    stop() {
      this.chart?.destroy();
    },
  });
}
