"use strict";
// System: processor, memory, the time that the training waits for data, the pace of its steps.

{
  const TITLES = { "system/cpu": "Busy cores", "system/memory": "Memory in MB", "system/data_wait": "Share of the time spent waiting for data", "time/step_ms": "Time of a step in ms" };

  nerve.tabs.push({
    id: "system",
    name: "System",

    start(place) {
      this.charts = new Map();
      this.grid = el("div", { class: "grid" });
      put(place, this.grid);
      this.update();
    },

    update() {
      const groups = new Map();
      for (const tag of Object.keys(nerve.tags.tags)) {
        const name = Object.keys(TITLES).find((name) => tag === name || tag.startsWith(`${name}/`));
        if (name) groups.set(name, [...(groups.get(name) ?? []), tag]);
      }
      if (!groups.size) return put(this.grid, nothing("Nothing was measured yet."));
      for (const name of Object.keys(TITLES).filter((name) => groups.has(name))) {
        let chart = this.charts.get(name);
        if (!chart) {
          const load = async (window) => {
            const found = await lines(chart.tags, window, { runs: [state.run], label: (tag) => tag.slice(tag.lastIndexOf("/") + 1) });
            if (name === "system/memory") for (const line of found) line.points = { ...line.points, value: line.points.value.map((v) => (typeof v === "number" ? v / 1e6 : v)), smooth: undefined };
            return found;
          };
          chart = new Chart(`system/${name}`, TITLES[name], load, { marks, extent });
          this.charts.set(name, chart);
          this.grid.append(chart.root);
        }
        Object.assign(chart, { tags: groups.get(name), shownX: state.x });
        chart.refresh();
      }
    },

    stop() {
      this.charts?.forEach((chart) => chart.destroy());
    },
  });
}
