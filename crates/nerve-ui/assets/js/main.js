"use strict";
// The page: the list of runs at the left, the tabs of the chosen one, and what keeps both new.

{
  const list = document.getElementById("runs");
  const main = document.getElementById("main");
  const WORDS = { running: "running", done: "done", stopped: "stopped", crashed: "crashed", failed: "failed", diverged: "diverged", unknown: "unknown" };
  let all = [];
  let filter = "";
  let order = "new";
  let tab = null;
  let unfollow = () => {};
  let shownRun = null;

  // ---- Runs ----

  const rows = el("ul", { class: "runs" });
  const count = el("p", { class: "soft" });
  const search = el("input", { type: "search", placeholder: "Find a run", "aria-label": "Find a run", oninput: () => ((filter = search.value.toLowerCase()), drawRuns()) });
  const sorting = el("select", { "aria-label": "Order of the runs", onchange: () => ((order = sorting.value), drawRuns()) },
    [["new", "Newest first"], ["name", "By name"], ["best", "By best score"]].map(([value, shown]) => el("option", { value }, shown)));

  const pill = (status) => el("span", { class: `pill ${WORDS[status] ?? "unknown"}` }, WORDS[status] ?? "unknown");
  nerve.pill = pill;
  nerve.summary = (name) => all.find((run) => run.name === name) ?? null;
  nerve.all = () => all;

  function drawRuns() {
    const found = all.filter((run) => run.name.toLowerCase().includes(filter));
    const score = (run) => numeric(run.best?.score) ?? Infinity;
    if (order === "new") found.sort((a, b) => (b.began ?? 0) - (a.began ?? 0) || a.name.localeCompare(b.name));
    if (order === "name") found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    if (order === "best") found.sort((a, b) => (a.best?.goal ?? "~").localeCompare(b.best?.goal ?? "~") || (/loss|error|mae|rmse/.test(a.best?.goal ?? "") ? score(a) - score(b) : score(b) - score(a)));
    put(rows, found.map(runRow));
    put(count, `${text.count(found.length)} of ${text.count(all.length)} runs`);
  }

  function runRow(run) {
    const chosen = run.name === state.run;
    const beside = el("input", {
      type: "checkbox", checked: chosen || state.with.includes(run.name), title: chosen ? "The chosen run" : "Show it beside the chosen run", "aria-label": `Show ${run.name} beside the chosen run`,
      onchange: () => {
        if (chosen) return void (beside.checked = true);
        state.with = beside.checked ? [...state.with, run.name] : state.with.filter((name) => name !== run.name);
        writeAddress();
        drawRuns();
        tab?.update?.(true);
      },
    });
    if (nerve.shown().includes(run.name)) beside.style.accentColor = hue(runColour(run.name));
    const best = run.best ? `${run.best.goal ?? "best"} ${text.number(run.best.score)}` : run.last.val_loss !== undefined ? `val_loss ${text.number(run.last.val_loss)}` : run.last.loss !== undefined ? `loss ${text.number(run.last.loss)}` : "";
    const how = run.status === "running" && run.epochs ? ` · epoch ${run.epoch}/${run.epochs}` : "";
    return el("li", { class: chosen ? "chosen" : undefined }, beside,
      el("button", { class: "run", "aria-current": chosen ? "true" : undefined, onclick: () => choose(run.name) },
        el("span", { class: "name" }, run.name), pill(run.status), el("span", { class: "soft" }, best + how)));
  }

  function choose(name) {
    state.run = name;
    state.with = state.with.filter((other) => other !== name);
    writeAddress(true);
    show();
  }

  async function renewRuns() {
    const answer = await nerve.source.runs();
    const before = JSON.stringify(all.map(({ age, heartbeat, bytes, ...rest }) => rest));
    all = answer.runs;
    nerve.now = answer.now;
    if (JSON.stringify(all.map(({ age, heartbeat, bytes, ...rest }) => rest)) !== before) drawRuns();
    put(folder, answer.root);
    if (state.run === null || !all.some((run) => run.name === state.run)) {
      const newest = [...all].sort((a, b) => (b.began ?? 0) - (a.began ?? 0))[0];
      if ((newest?.name ?? null) !== state.run) {
        state.run = newest?.name ?? null;
        show();
      }
    }
    nerve.listed = performance.now();
  }

  // ---- The chosen run ----

  const folder = el("span", { class: "soft" });
  const title = el("h1");
  const standing = el("div", { class: "standing", role: "status" });
  const tabs = el("div", { class: "tabs", role: "tablist", onkeydown: walkTabs });
  const panel = el("div", { class: "panel", role: "tabpanel", id: "panel", tabindex: "0" });
  const link = el("span", { class: "soft link" });
  const empty = el("div", { class: "empty" }, el("h1", {}, "No runs yet"), el("p", {}, "A run appears here as soon as one begins:"), el("pre", {}, "nerve train mnist"));

  function drawStanding(summary) {
    if (!summary) return;
    nerve.status = summary.status;
    const share = summary.epochs && summary.epoch !== null ? Math.min(1, nerve.progress?.() ?? summary.epoch / summary.epochs) : null;
    const bar = share !== null && el("progress", { max: "1", value: String(share), "aria-label": "Progress" });
    const said = [summary.epochs !== null && summary.epochs !== undefined && `epoch ${text.count(summary.epoch)} of ${text.count(summary.epochs)}`, summary.step && `step ${text.count(summary.step)}`].filter(Boolean).join(" · ");
    const quiet = summary.status === "crashed" ? `last heard of ${text.ago(summary.age)}: killed, or its machine is gone` : summary.reason;
    put(standing, pill(summary.status), summary.status === "running" && bar, el("span", {}, said), quiet && el("span", { class: "soft" }, quiet));
  }

  function drawTabs() {
    put(tabs, nerve.tabs.filter((one) => !one.hidden?.()).map((one) => el("button", {
      role: "tab", id: `tab-${one.id}`, "aria-selected": String(one.id === state.tab), "aria-controls": "panel", tabindex: one.id === state.tab ? "0" : "-1",
      onclick: () => ((state.tab = one.id), writeAddress(true), openTab()),
    }, one.name)));
  }

  function walkTabs(e) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!by) return;
    const buttons = [...tabs.children];
    const next = buttons[(buttons.indexOf(document.activeElement) + by + buttons.length) % buttons.length];
    next.click();
    document.getElementById(next.id)?.focus();
  }

  function openTab() {
    tab?.stop?.();
    for (const one of nerve.tabs) one.open = false;
    tab = nerve.tabs.find((one) => one.id === state.tab && !one.hidden?.()) ?? nerve.tabs[0];
    tab.open = true;
    drawTabs();
    panel.setAttribute("aria-labelledby", `tab-${tab.id}`);
    put(panel);
    panel.className = `panel ${tab.id}`;
    guarded(() => tab.start(panel));
  }

  // A fault in one tab is said in its place; the others go on.
  async function guarded(work) {
    try {
      await work();
    } catch (error) {
      nerve.errors.push(String(error.stack ?? error));
      panel.append(el("p", { class: "problem" }, `This cannot be shown: ${error.message}`));
    }
  }

  const otherTags = new Map();
  nerve.tagsOf = async (run) => {
    const known = otherTags.get(run);
    if (known && performance.now() - known.at < 2000) return known.tags;
    const tags = await nerve.source.ask(run, "tags").catch(() => null);
    otherTags.set(run, { at: performance.now(), tags });
    return tags;
  };

  async function renewTags() {
    const run = state.run;
    if (run === null) return;
    const tags = await nerve.source.ask(run, "tags");
    if (run !== state.run) return;
    nerve.tags = tags;
    drawStanding(tags.run);
    await guarded(() => tab?.update?.(false));
    nerve.drawn = performance.now();
  }
  const soon = throttle(700, () => renewTags().catch(() => {}));

  async function show() {
    drawRuns();
    unfollow();
    unfollow = () => {};
    nerve.tags = null;
    tab?.stop?.();
    tab = null;
    shownRun = state.run;
    document.title = state.run === null ? "nerve" : `${state.run} · nerve`;
    if (state.run === null) return put(main, empty);
    put(title, state.run);
    put(standing);
    put(main, el("header", {}, el("div", { class: "line" }, title, link, el("button", { class: "quiet print", onclick: () => print() }, "Print")), standing, tabs), panel);
    const run = state.run;
    try {
      nerve.tags = await nerve.source.ask(run, "tags");
    } catch (error) {
      return put(panel, el("p", { class: "problem" }, `This run cannot be read: ${error.message}`));
    }
    if (run !== state.run || shownRun !== run) return;
    drawStanding(nerve.tags.run);
    openTab();
    nerve.drawn = performance.now();
    unfollow = nerve.source.follow(run, nerve.tags.offset, soon, (summary) => {
      drawStanding(summary);
      soon();
      renewRuns().catch(() => {});
    }, (well) => put(link, well ? "" : "connection lost, trying again"));
  }

  // ---- Start ----

  addEventListener("popstate", () => {
    const [run, before] = [state.run, state.tab];
    readAddress();
    if (state.run !== run) show();
    else if (state.tab !== before) openTab();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tab && openTab());
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));

  if (nerve.report) document.body.classList.add("report");
  put(list, el("div", { class: "brand" }, el("b", {}, "nerve"), folder), !nerve.report && [search, el("div", { class: "line" }, count, sorting)], rows);
  readAddress();
  renewRuns()
    .then(() => shownRun === null && show())
    .then(() => (nerve.ready = true))
    .catch((error) => put(main, el("p", { class: "problem" }, `The server does not answer: ${error.message}`)));
  if (!nerve.report) setInterval(() => document.hidden || renewRuns().catch(() => put(link, "connection lost, trying again")), 2000);
}
