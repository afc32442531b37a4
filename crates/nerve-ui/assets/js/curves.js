"use strict";
// Curves: one chart for the parts of one number (loss of training and validation), several runs in it.

const PARTS = ["train", "epoch", "val", "validation", "test"];
const PART_COLOURS = { train: 0, val: 1, validation: 1, epoch: 2, test: 3 };

// The tags of the runs by chart: `loss/train` and `loss/val` are parts of `loss`.
function grouped(tags) {
  const groups = new Map();
  for (const tag of tags) {
    const cut = tag.lastIndexOf("/");
    const part = tag.slice(cut + 1);
    const name = cut > 0 && PARTS.includes(part) ? tag.slice(0, cut) : tag;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(tag);
  }
  const rank = (name) => (name === "loss" ? 0 : groups.get(name).length > 1 ? 1 : name === "lr" ? 2 : 3);
  return new Map([...groups].sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b)));
}

// The lines of some tags of the shown runs. One run: a colour for each part. Several: one for each run,
// dashed for training.
async function lines(tags, window, { runs = nerve.shown(), label } = {}) {
  const answers = await Promise.all(runs.map((run) =>
    nerve.source.scalars(run, tags, { x: state.x, smooth: state.smooth || null, ...window }).catch(() => ({ curves: {} }))));
  const found = [];
  runs.forEach((run, r) => tags.forEach((tag, t) => {
    const curve = answers[r].curves[tag];
    if (!curve) return;
    const part = tag.slice(tag.lastIndexOf("/") + 1);
    const several = runs.length > 1;
    const training = (part === "train" || part === "epoch") && tags.length > 1;
    const i = PART_COLOURS[part] ?? t;
    found.push({
      key: `${run}\n${tag}`,
      label: several ? `${run}${tags.length > 1 ? ` · ${part}` : ""}` : label?.(tag) ?? (PARTS.includes(part) ? part : tag),
      color: hue(several ? runColour(run) : i),
      dash: several ? (training ? [5, 4] : []) : dash(i),
      points: { x: curve[state.x], value: curve.value, smooth: curve.smooth ?? undefined, total: curve.total, exact: curve.exact },
    });
  }));
  return found;
}

// Where the chosen run was saved, continued and best.
function marks(x) {
  const tags = nerve.tags;
  if (!tags || nerve.shown().length > 1) return [];
  const per = tags.begins.at(-1)?.steps_per_epoch;
  const at = (event) => (x === "step" ? event.step : x === "seconds" ? event.seconds : per ? event.step / per : event.epoch);
  const found = tags.checkpoints.map((event) => ({ x: at(event), kind: "tick" }));
  for (const event of tags.begins.slice(1)) found.push({ x: at(event), kind: "line", label: "resumed" });
  const best = tags.epochs.findLast((event) => event.best);
  if (best) found.push({ x: at(best), kind: "line", label: "★ best", color: css("good") });
  return found;
}

// From where to where the chosen run goes: all its charts show that, also where a number was logged rarely.
function extent(x) {
  const tags = nerve.tags;
  const steps = tags?.begins.at(-1)?.steps_per_epoch;
  const at = (last) => (x === "step" ? last.step : x === "seconds" ? last.seconds : steps ? last.step / steps : last.epoch);
  const ends = Object.values(tags?.tags ?? {}).flatMap(({ last }) => (last ? [at(last)] : []));
  return ends.length ? [0, ends.reduce((a, b) => Math.max(a, b))] : [];
}

nerve.tabs.push({
  id: "curves",
  name: "Curves",
  several: true,

  start(place) {
    this.charts = new Map();
    this.window = null;
    const redraw = () => (writeAddress(), this.update(true));
    const smooth = el("output", {}, state.smooth ? state.smooth.toFixed(2) : "off");
    const slider = el("input", { type: "range", min: "0", max: "0.99", step: "0.01", value: String(state.smooth), "aria-label": "Smoothing", oninput: () => {
      state.smooth = Number(slider.value);
      put(smooth, state.smooth ? state.smooth.toFixed(2) : "off");
      later();
    } });
    const later = throttle(150, redraw);
    const filter = el("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter by name", value: state.filter, oninput: () => ((state.filter = filter.value), later()) });
    put(place,
      el("div", { class: "bar" },
        choice("x axis", Object.entries(X_NAMES), state.x, (x) => ((state.x = x), (this.window = null), redraw())),
        el("label", { class: "field" }, el("span", {}, "Smoothing"), slider, smooth),
        tick("Log scale", state.log, (log) => ((state.log = log), redraw())),
        filter,
        el("button", { class: "quiet", onclick: () => this.zoom(null) }, "Show all of x")),
      (this.grid = el("div", { class: "grid" })),
      el("p", { class: "soft" }, "Drag over a chart to zoom into a part of it; a double click shows all again. The ticks at the bottom are checkpoints."));
    // Charts load when they come into sight.
    this.eye = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) {
        const chart = [...this.charts.values()].find((chart) => chart.root === target);
        if (!chart) continue;
        chart.visible = isIntersecting;
        if (isIntersecting && chart.stale) this.renew(chart);
      }
    }, { rootMargin: "200px" });
    this.update(true);
  },

  async update(all) {
    if (!nerve.tags) return;
    const others = await Promise.all(state.with.filter((run) => run !== state.run).map((run) => nerve.tagsOf(run)));
    const known = [nerve.tags, ...others].flatMap((tags) => Object.keys(tags?.tags ?? {}));
    const wanted = [...new Set(known)].filter((tag) => !/^(system|layer)\//.test(tag));
    const groups = new Map([...grouped(wanted)].filter(([name]) => name.toLowerCase().includes(state.filter.toLowerCase())));
    for (const [name, chart] of this.charts) {
      if (!groups.has(name)) {
        this.eye.unobserve(chart.root);
        chart.destroy();
        this.charts.delete(name);
      }
    }
    for (const [name, tags] of groups) {
      let chart = this.charts.get(name);
      if (!chart) {
        chart = new Chart(`curves/${name}`, name, (window) => lines(chart.tags, window), { zoomed: (window) => this.zoom(window), marks, extent });
        this.charts.set(name, chart);
      }
      chart.tags = tags;
      chart.stale = true;
    }
    const order = [...groups.keys()].map((name) => this.charts.get(name));
    if (order.some((chart, i) => this.grid.children[i] !== chart.root) || this.grid.children.length !== order.length) {
      put(this.grid, order.length ? order.map((chart) => chart.root) : nothing(state.filter ? "No curve has such a name." : "No curve yet: they come with the first steps."));
    }
    for (const chart of order) {
      this.eye.observe(chart.root);
      if (chart.visible) this.renew(chart);
    }
  },

  renew(chart) {
    chart.stale = false;
    chart.window = this.window;
    chart.log = state.log;
    chart.shownX = state.x;
    chart.refresh();
  },

  // All charts show the same part.
  zoom(window) {
    this.window = window;
    for (const chart of this.charts.values()) {
      chart.stale = true;
      if (chart.visible) this.renew(chart);
    }
  },

  stop() {
    this.eye?.disconnect();
    for (const chart of this.charts.values()) chart.destroy();
    this.charts.clear();
  },
});
