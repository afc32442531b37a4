"use strict";
// Where the data come from: the server, or the file itself where this is a report.

nerve.report = document.getElementById("data") ? JSON.parse(document.getElementById("data").textContent) : null;

const address = (run, what, params) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = String(query);
  return `/api/runs/${encodeURIComponent(run)}/${what}${text && `?${text}`}`;
};

// Curve names as the server takes them in one list.
const listed = (tags) => tags.map((tag) => tag.replace(/[\\,]/g, "\\$&")).join(",");

async function load(path) {
  const answer = await fetch(path);
  const value = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(value.error ?? answer.statusText), { status: answer.status });
  return value;
}

const live = {
  runs: () => load("/api/runs"),
  tunings: () => load("/api/tunings"),
  tuning: (name) => load(`/api/tunings/${encodeURIComponent(name)}`),
  ask: (run, what, params) => load(address(run, what, params)),
  scalars: (run, tags, params) => load(address(run, "scalars", { tags: listed(tags), ...params })),
  picture: (run, name) => address(run, "picture", { name }),

  // Calls `heard` with the events that are new, and `stands` with how the run stands. A connection
  // that breaks comes back by itself, from where it was.
  follow(run, offset, heard, stands, connected) {
    const source = new EventSource(address(run, "events", { from: offset }));
    source.onmessage = (message) => {
      const events = [];
      for (const line of message.data.split("\n")) {
        try {
          events.push(JSON.parse(line));
        } catch {
          // A torn line counts as skipped, and the server says how many there are.
        }
      }
      nerve.heard = { offset: Number(message.lastEventId), events: (nerve.heard?.events ?? 0) + events.length };
      heard(events);
    };
    source.addEventListener("state", (message) => stands(JSON.parse(message.data)));
    source.onopen = () => connected(true);
    source.onerror = () => connected(false);
    return () => source.close();
  },
};

const inlined = {
  runs: async () => nerve.report.runs,
  tunings: async () => ({ tunings: [] }),
  ask: async (_, what, params) => {
    const kept = nerve.report[what] ?? null;
    if (what === "confusion") return kept[params?.tag ?? Object.keys(kept)[0]] ?? { tag: "", matrices: [] };
    if (what === "histograms") return kept[params.tag];
    if (what === "worst") return chosen(kept[params.part], params);
    return kept;
  },
  scalars: async (_, tags, params) => {
    const all = nerve.report.scalars.curves;
    const curves = {};
    for (const tag of tags) if (all[tag]) curves[tag] = { ...all[tag], smooth: smoothed(all[tag], params.smooth ?? 0) };
    return { curves };
  },
  picture: (_, name) => nerve.report.pictures[name] ?? null,
  follow: () => () => {},
};

// The examples of a report that are asked for; those that were left out cannot be found in it.
function chosen(kept, ask) {
  if (!kept) throw new Error("no examples were kept");
  const fits = (row) =>
    (!ask.output || row.output === ask.output) && (ask.truth === undefined || ask.truth === null || row.truth === ask.truth) &&
    (ask.said === undefined || ask.said === null || row.said === ask.said) && (!ask.wrong || row.truth !== row.said);
  const examples = kept.examples.filter(fits);
  const all = examples.length === kept.examples.length;
  return { total: all ? kept.total : examples.length, skipped: kept.skipped, examples: examples.slice(0, ask.n ?? 60), cut: kept.total > kept.examples.length };
}

// As the server smooths, for points of which some may be left out: a gap counts for as many as it lost.
function smoothed(curve, weight) {
  const { step, value, total } = curve;
  if (!weight || total < 50) return undefined;
  const gap = total > 1 ? (step.at(-1) - step[0]) / (total - 1) || 1 : 1;
  let mean = 0;
  let mass = 0;
  return value.map((v, i) => {
    const keep = weight ** Math.max(i ? (step[i] - step[i - 1]) / gap : 1, 0);
    if (typeof v !== "number") return v;
    mean = keep * mean + (1 - keep) * v;
    mass = keep * mass + (1 - keep);
    return mass ? mean / mass : v;
  });
}

nerve.source = nerve.report ? inlined : live;

// How the parts of the data were judged. While a run trains that changes now and then: it is asked for anew
// after some seconds, and when the run has ended.
{
  let last = null;
  nerve.judged = async () => {
    const [run, status] = [state.run, nerve.status];
    if (!last || last.run !== run || last.status !== status || performance.now() - last.at > 2500) {
      const { parts } = await nerve.source.ask(run, "evaluation");
      last = { run, status, at: performance.now(), parts };
    }
    return last.parts;
  };
}
