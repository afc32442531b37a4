"use strict";
// Lines over an x axis: uPlot draws them; this gives it legend, keys, summary, table, and exact points
// for the part that is zoomed into.

const X_NAMES = { step: "Step", epoch: "Epoch", seconds: "Seconds of training" };

class Chart {
  // `load(window)` gives the lines: `{ key, label, color, dash, points: { x, value, smooth, total, exact } }`.
  constructor(id, title, load, { height = 240, zoomed, marks, extent } = {}) {
    Object.assign(this, { id, title, load, height, zoomed, marks, extent, lines: [], window: null, log: false, shownX: "step" });
    this.canvas = el("div", { class: "plot" });
    this.legend = el("ul", { class: "legend" });
    this.summary = el("p", { class: "soft summary" });
    this.flip = withTable(this.canvas, () => this.numbers(), [
      el("button", { class: "quiet", onclick: () => this.csv(), title: "Save the points shown as CSV" }, "CSV"),
      el("button", { class: "quiet", onclick: () => this.png(), title: "Save the picture as PNG" }, "PNG"),
    ]);
    this.root = el("figure", { class: "chart", tabindex: "0", role: "group", "aria-label": `Chart of ${title}: arrows move the cursor, plus and minus zoom, 0 shows all`, onkeydown: (e) => this.key(e) },
      el("figcaption", {}, el("h3", {}, title), this.flip.tools), this.flip.place, this.legend, this.summary);
    this.size = new ResizeObserver(() => this.resize());
    this.size.observe(this.canvas);
    nerve.charts[id] = this.told();
  }

  // What tests and scripts of others see of the chart.
  told() {
    const finite = (x) => x.filter((v) => typeof v === "number");
    const all = this.lines.flatMap((line) => finite(line.points.x));
    return {
      series: this.lines.map((line) => ({ label: line.label, points: line.points.x.length, total: line.points.total, exact: line.points.exact, last: line.points.value.at(-1) })),
      points: this.lines.reduce((sum, line) => sum + line.points.x.length, 0),
      xmin: all.length ? all.reduce((a, b) => Math.min(a, b)) : null,
      xmax: all.length ? all.reduce((a, b) => Math.max(a, b)) : null,
      window: this.window,
    };
  }

  destroy() {
    this.size.disconnect();
    this.plot?.destroy();
    this.plot = null;
    this.gone = true;
    delete nerve.charts[this.id];
  }

  // Asks for the points anew and draws them.
  async refresh() {
    const round = (this.round = (this.round ?? 0) + 1);
    const px = Math.max(200, Math.round(this.canvas.clientWidth || 600));
    const lines = await this.load({ from: this.window?.[0], to: this.window?.[1], px });
    // An older answer that comes later is not shown.
    if (this.gone || round !== this.round) return;
    this.lines = lines;
    this.draw();
  }

  draw() {
    const raw = this.lines.map((line) => line.points.value.map((v) => (typeof v === "number" && (!this.log || v > 0) ? v : null)));
    const tables = [];
    const styles = [{}];
    this.lines.forEach((line, i) => {
      const smooth = line.points.smooth?.map((v) => (typeof v === "number" && (!this.log || v > 0) ? v : null));
      tables.push([line.points.x, raw[i]]);
      styles.push(this.style(line, smooth ? 0.22 : 1, smooth ? 1 : 1.6));
      if (smooth) {
        tables.push([line.points.x, smooth]);
        styles.push(this.style(line, 1, 2));
      }
    });
    const data = tables.length ? uPlot.join(tables.map(ascending)) : [[]];
    const shape = JSON.stringify([styles.map((s) => [s.stroke, s.dash, s.width]), this.log, this.shownX, css("ink")]);
    if (this.plot && shape === this.shape) {
      this.plot.setData(data, false);
      this.scale();
    } else {
      this.shape = shape;
      this.plot?.destroy();
      this.plot = new uPlot(this.options(styles), data, this.canvas);
      this.scale();
    }
    this.tell(null);
    this.flip.refresh();
    nerve.charts[this.id] = this.told();
  }

  style(line, alpha, width) {
    return { label: line.label, stroke: line.color, alpha, width, dash: line.dash, spanGaps: true, points: { show: (plot, i, from, to) => to - from < 40, size: 5 } };
  }

  options(styles) {
    const axis = { stroke: css("soft"), grid: { stroke: css("line"), width: 0.6 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width: this.canvas.clientWidth || 600,
      height: this.height,
      series: styles,
      legend: { show: false },
      padding: [8, 22, 0, 0],
      scales: { x: { time: false, auto: false }, y: { distr: this.log ? 3 : 1 } },
      axes: [
        { ...axis, size: 28, values: (_, ticks) => ticks.map((v) => (this.shownX === "seconds" ? text.duration(v) : text.number(v))) },
        { ...axis, size: 58, values: (_, ticks) => ticks.map((v) => (v === null ? "" : text.number(v))) },
      ],
      cursor: { sync: { key: "x", scales: ["x", null] }, points: { size: 7 }, drag: { x: true, y: false, setScale: false }, focus: { prox: 24 } },
      hooks: {
        setCursor: [(plot) => this.tell(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)],
        setSelect: [(plot) => {
          if (plot.select.width < 4) return;
          const ends = [plot.select.left, plot.select.left + plot.select.width].map((at) => plot.posToVal(at, "x"));
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          this.zoom(ends);
        }],
        ready: [(plot) => plot.over.addEventListener("dblclick", () => this.zoom(null))],
        draw: [(plot) => this.drawMarks(plot)],
      },
    };
  }

  // The x axis shows the window, or all there is.
  scale() {
    const ends = this.lines.flatMap((line) => [line.points.x[0], line.points.x.at(-1)]);
    const all = [...ends, ...(this.extent?.(this.shownX) ?? [])].filter((x) => x !== undefined);
    let [low, high] = this.window ?? [Math.min(...all), Math.max(...all)];
    if (!Number.isFinite(low)) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    this.plot.setScale("x", { min: low, max: high });
  }

  zoom(window) {
    this.window = window;
    if (this.zoomed) this.zoomed(window);
    else this.refresh();
  }

  // Where the training was saved, continued, and best; and where there was no number to draw.
  drawMarks(plot) {
    const { ctx, bbox } = plot;
    const unit = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${10 * unit}px system-ui, sans-serif`;
    for (const mark of this.marks?.(this.shownX) ?? []) {
      const x = Math.round(plot.valToPos(mark.x, "x", true));
      ctx.strokeStyle = ctx.fillStyle = mark.color ?? css("soft");
      ctx.lineWidth = unit;
      ctx.globalAlpha = 0.8;
      ctx.beginPath();
      if (mark.kind === "tick") {
        ctx.moveTo(x, bbox.top + bbox.height - 6 * unit);
        ctx.lineTo(x, bbox.top + bbox.height);
      } else {
        ctx.setLineDash([4 * unit, 4 * unit]);
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
      }
      ctx.stroke();
      ctx.setLineDash([]);
      const left = x + 60 * unit > bbox.left + bbox.width;
      ctx.textAlign = left ? "right" : "left";
      if (mark.label) ctx.fillText(mark.label, x + (left ? -4 : 4) * unit, bbox.top + 11 * unit);
    }
    ctx.globalAlpha = 1;
    for (const line of this.lines) {
      ctx.strokeStyle = line.color;
      ctx.lineWidth = 1.5 * unit;
      line.points.value.forEach((v, i) => {
        if (typeof v === "number") return;
        const [x, y, r] = [plot.valToPos(line.points.x[i], "x", true), bbox.top + bbox.height - 8 * unit, 3.5 * unit];
        ctx.beginPath();
        ctx.moveTo(x - r, y - r), ctx.lineTo(x + r, y + r), ctx.moveTo(x - r, y + r), ctx.lineTo(x + r, y - r);
        ctx.stroke();
      });
    }
    ctx.restore();
  }

  // The legend: the values under the cursor, exactly; without one the last.
  tell(x) {
    const name = X_NAMES[this.shownX] ?? this.shownX;
    const rows = this.lines.map((line) => {
      const at = x === null ? line.points.x.length - 1 : nearest(line.points.x, x);
      const v = line.points.value[at];
      const where = line.points.x[at];
      const key = el("span", { class: "key" });
      key.style.borderTopColor = line.color;
      if (line.dash?.length) key.style.borderTopStyle = "dashed";
      const shown = x === null ? text.number(v) : text.number(v, true);
      return el("li", {}, key, el("span", { class: "name" }, line.label), el("b", {}, shown), x !== null && el("span", { class: "soft" }, ` at ${this.shownX === "seconds" ? text.duration(where) : text.number(where, true)}`));
    });
    put(this.legend, rows);
    if (x !== null) return;
    const total = this.lines.reduce((sum, line) => sum + (line.points.total ?? 0), 0);
    const drawn = this.lines.reduce((sum, line) => sum + line.points.x.length, 0);
    const lost = this.lines.flatMap((line) => line.points.value).filter((v) => typeof v !== "number").length;
    const exact = this.lines.every((line) => line.points.exact);
    const part = this.window ? ` · ${name} ${text.number(this.window[0])} to ${text.number(this.window[1])} (double click: all)` : "";
    const thinned = exact ? (this.window ? `${text.count(drawn)} of ${text.count(total)} points, each one of this part` : `${text.count(total)} points`) : `${text.count(total)} points, drawn by the lowest and highest of each pixel`;
    const mark = lost ? ` · × ${text.count(lost)} that are no number` : "";
    put(this.summary, this.lines.length ? thinned + part + mark : "No points yet.");
    const values = this.lines.map((line) => {
      const numbers = line.points.value.filter((v) => typeof v === "number");
      return numbers.length ? `${line.label}: last ${text.number(numbers.at(-1))}, lowest ${text.number(numbers.reduce((a, b) => Math.min(a, b)))}, highest ${text.number(numbers.reduce((a, b) => Math.max(a, b)))}` : `${line.label}: no numbers`;
    });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${this.title}. ${values.join(". ")}.`);
  }

  key(e) {
    if (!this.plot || e.target !== this.root || e.ctrlKey || e.metaKey || e.altKey) return;
    const { min, max } = this.plot.scales.x;
    const [middle, half] = [(min + max) / 2, (max - min) / 2];
    const move = (by) => this.zoom([min + by, max + by]);
    const act = {
      "+": () => this.zoom([middle - half / 2, middle + half / 2]),
      "=": () => this.zoom([middle - half / 2, middle + half / 2]),
      "-": () => this.zoom([middle - half * 2, middle + half * 2]),
      0: () => this.zoom(null),
      Escape: () => this.zoom(null),
      ArrowLeft: () => (e.shiftKey ? move(-half / 2) : this.walk(-1)),
      ArrowRight: () => (e.shiftKey ? move(half / 2) : this.walk(1)),
      Home: () => this.walk(-Infinity),
      End: () => this.walk(Infinity),
    }[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  }

  // Moves the cursor from point to point of the first line.
  walk(by) {
    const xs = this.lines[0]?.points.x ?? [];
    if (!xs.length) return;
    this.at = Math.min(xs.length - 1, Math.max(0, (this.at ?? xs.length - 1) + by));
    this.plot.setCursor({ left: this.plot.valToPos(xs[this.at], "x"), top: this.plot.height / 3 });
  }

  // All points shown, a row for each x.
  rows() {
    const by = new Map();
    this.lines.forEach((line, i) => line.points.x.forEach((x, at) => {
      if (!by.has(x)) by.set(x, { x });
      by.get(x)[i] = line.points.value[at];
    }));
    return [...by.values()].sort((a, b) => a.x - b.x);
  }

  numbers() {
    const columns = [{ name: X_NAMES[this.shownX] ?? this.shownX, of: (row) => row.x }];
    this.lines.forEach((line, i) => columns.push({ name: line.label, of: (row) => row[i], text: (v) => (v === undefined ? "" : text.number(v, true)) }));
    return table(columns, this.rows(), { caption: this.title, most: 100 });
  }

  csv() {
    const names = this.lines.map((line) => line.label);
    saveCsv(this.title.replace(/[^\w.-]+/g, "_"), [this.shownX, ...names], this.rows().map((row) => [row.x, ...names.map((_, i) => row[i])]));
  }

  png() {
    const from = this.canvas.querySelector("canvas");
    if (!from) return;
    const copy = el("canvas", { width: from.width, height: from.height });
    const ctx = copy.getContext("2d");
    ctx.fillStyle = css("panel");
    ctx.fillRect(0, 0, copy.width, copy.height);
    ctx.drawImage(from, 0, 0);
    copy.toBlob((blob) => save(`${this.title.replace(/[^\w.-]+/g, "_")}.png`, blob));
  }

  resize() {
    const width = Math.round(this.canvas.clientWidth);
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }
}

// Where a value stands in an ascending list, or the nearest to it.
function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
}

// uPlot joins tables by x and wants each x once: of several the last counts.
function ascending([xs, ys]) {
  if (xs.every((x, i) => i === 0 || x > xs[i - 1])) return [xs, ys];
  const by = new Map(xs.map((x, i) => [x, ys[i]]));
  const keys = [...by.keys()].sort((a, b) => a - b);
  return [keys, keys.map((x) => by.get(x))];
}
