"use strict";
// The model: its layers as a graph from top to bottom, and as a table.

{
  // Each layer stands below those that it reads; within a row near the middle of its neighbours above.
  function placed(layers, edges) {
    const above = layers.map(() => []);
    const below = layers.map(() => []);
    for (const [from, to] of edges) {
      above[to].push(from);
      below[from].push(to);
    }
    const depth = layers.map(() => 0);
    const waiting = above.map((from) => from.length);
    const ready = waiting.flatMap((n, i) => (n === 0 ? [i] : []));
    let done = 0;
    for (; done < ready.length; done++) {
      for (const next of below[ready[done]]) {
        depth[next] = Math.max(depth[next], depth[ready[done]] + 1);
        if (--waiting[next] === 0) ready.push(next);
      }
    }
    if (done < layers.length) return null; // A circle: no graph of layers.
    const rows = [];
    for (const i of ready) (rows[depth[i]] ??= []).push(i);
    const x = layers.map(() => 0);
    const spread = (row) => {
      row.sort((a, b) => x[a] - x[b]);
      const middle = row.reduce((sum, i) => sum + x[i], 0) / row.length;
      row.forEach((i, at) => (x[i] = middle + at - (row.length - 1) / 2));
    };
    const mean = (of) => of.reduce((sum, i) => sum + x[i], 0) / of.length;
    rows.forEach((row) => row.forEach((i, at) => (x[i] = at - (row.length - 1) / 2)));
    for (let round = 0; round < 4; round++) {
      for (const row of rows) {
        for (const i of row) if (above[i].length) x[i] = mean(above[i]);
        spread(row);
      }
      for (const row of [...rows].reverse()) {
        for (const i of row) if (below[i].length) x[i] = mean(below[i]);
        spread(row);
      }
    }
    return { x, depth, rows: rows.length };
  }

  const shape = (sizes) => (Array.isArray(sizes) ? sizes.join(" × ") : "");

  function drawing(layers, edges, chosen) {
    const places = placed(layers, edges);
    if (!places) return nothing("The layers run in a circle: they are in the table only.");
    const [wide, high, gapX, gapY] = [188, 44, 22, 26];
    const [low, top] = [Math.min(...places.x), Math.max(...places.x)];
    const left = (i) => (places.x[i] - low) * (wide + gapX) + 8;
    const up = (i) => places.depth[i] * (high + gapY) + 8;
    const size = [(top - low) * (wide + gapX) + wide + 16, places.rows * (high + gapY) - gapY + 16];
    const paths = edges.map(([a, b]) => {
      const [x1, y1, x2, y2] = [left(a) + wide / 2, up(a) + high, left(b) + wide / 2, up(b)];
      // Past rows between them an edge runs beside the boxes.
      const around = places.depth[b] - places.depth[a] > 1 && Math.abs(x1 - x2) < wide ? wide / 2 + gapX + 14 : 0;
      const middle = (y1 + y2) / 2;
      const d = around ? `M${x1} ${y1}C${x1} ${y1 + 18},${x1 + around} ${y1 + 4},${x1 + around} ${y1 + 30}L${x1 + around} ${y2 - 30}C${x1 + around} ${y2 - 4},${x2} ${y2 - 18},${x2} ${y2}` : `M${x1} ${y1}C${x1} ${middle},${x2} ${middle},${x2} ${y2}`;
      return svg("path", { class: "edge", d, "marker-end": "url(#tip)" });
    });
    const boxes = layers.map((layer, i) => {
      const about = `${layer.name}, ${layer.type}, gives ${shape(layer.output)}, ${text.count(layer.parameters)} parameters`;
      const tell = () => chosen(i);
      return svg("g", { class: "node", tabindex: "0", role: "img", "aria-label": about, onclick: tell, onfocus: tell },
        svg("rect", { class: `box${layer.parameters > 0 ? " learns" : ""}`, x: left(i), y: up(i), width: wide, height: high, rx: 8 }),
        svg("text", { x: left(i) + 10, y: up(i) + 18, "font-weight": 600 }, cut(layer.type, 24)),
        svg("text", { class: "soft", x: left(i) + 10, y: up(i) + 34, "font-size": 11 }, cut(`${layer.name} · ${shape(layer.output)}`, 30)),
        svg("title", {}, about));
    });
    const extra = edges.some(([a, b]) => places.depth[b] - places.depth[a] > 1) ? 60 : 0;
    return svg("svg", { width: size[0] + extra, height: size[1], viewBox: `0 0 ${size[0] + extra} ${size[1]}`, role: "group", "aria-label": `The network: ${layers.length} layers, ${edges.length} connections; the table below has them all` },
      svg("defs", {}, svg("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0 8 4 0 8Z", fill: css("soft") }))), paths, boxes);
  }

  const cut = (said, most) => (said.length > most ? `${said.slice(0, most - 1)}…` : said);

  nerve.tabs.push({
    id: "model",
    name: "Model",

    async start(place) {
      const [model, { layers: health }] = await Promise.all([nerve.source.ask(state.run, "model"), nerve.source.ask(state.run, "layers")]);
      if (!Array.isArray(model?.layers)) return put(place, nothing("This run has no list of its layers (model.json): ", el("code", {}, "nerve check"), " shows those of its recipe."));
      const layers = model.layers.map((layer) => ({ name: String(layer.name ?? ""), type: String(layer.type ?? ""), output: layer.output, parameters: Number(layer.parameters) || 0, flops: Number(layer.flops) || 0 }));
      const fits = (i) => Number.isInteger(i) && i >= 0 && i < layers.length;
      const edges = (Array.isArray(model.edges) ? model.edges : layers.slice(1).map((_, i) => [i, i + 1])).filter(([a, b]) => fits(a) && fits(b) && a !== b);
      const total = (of) => layers.reduce((sum, layer) => sum + layer[of], 0);
      const time = (layer) => numeric(health[layer.name]?.time_ms) ?? null;
      const told = el("p", { class: "soft", "aria-live": "polite" }, "A layer with a blue border learns. Choose one to see more.");
      const chosen = (i) => {
        const layer = layers[i];
        put(told, el("b", {}, layer.name), ` · ${layer.type} · gives ${shape(layer.output)} · ${text.count(layer.parameters)} parameters · ${text.number(layer.flops / 1e6)} MFLOP an example`, time(layer) !== null && ` · ${text.number(time(layer))} ms a step`);
      };
      nerve.charts.model = { layers: layers.length, edges: edges.length };
      const share = (of) => (v) => metered(total(of) ? v / total(of) : 0, text.count(v));
      put(place,
        el("div", { class: "cards small" }, [["Parameters", text.count(total("parameters"))], ["Size in f32", text.bytes(4 * total("parameters"))], ["An example costs", `${text.number(total("flops") / 1e6)} MFLOP`], ["Layers", text.count(layers.length)]].map(([name, value]) => el("div", { class: "card" }, el("span", { class: "soft" }, name), el("b", {}, value)))),
        el("div", { class: "two" },
          section("Graph", told, el("div", { class: "drawing" }, layers.length <= 600 ? drawing(layers, edges, chosen) : nothing("More layers than a picture can hold: see the table."))),
          section("Layers", table([
            { name: "layer", of: (row) => row.name, left: true },
            { name: "type", of: (row) => row.type, left: true },
            { name: "gives", of: (row) => shape(row.output) },
            { name: "parameters", of: (row) => row.parameters, text: share("parameters") },
            { name: "MFLOP", of: (row) => row.flops / 1e6 },
            ...(layers.some((layer) => time(layer) !== null) ? [{ name: "ms a step", of: time }] : []),
          ], layers))));
    },

    stop() {
      delete nerve.charts.model;
    },
  });
}
