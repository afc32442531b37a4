"use strict";
// What all parts of the page share: elements, numbers as text, colours, and what is shown.
// Text from data only ever becomes text: there is no way here to make markup of it.

const nerve = { tabs: [], charts: {}, errors: [] };
window.__nerve = nerve;
window.addEventListener("error", (e) => nerve.errors.push(String(e.message)));
window.addEventListener("unhandledrejection", (e) => nerve.errors.push(String(e.reason)));

// An element: `el("p", { class: "soft", onclick: f }, "text", child, ...)`.
function el(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// The same for SVG.
function svg(tag, props, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else if (name === "checked" || name === "disabled" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Puts children into an element in place of those it has.
function put(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Numbers as text ---------------------------------------------------------------------------------

// A number from an answer: JSON has no word for those that are not finite.
const numeric = (v) => (typeof v === "number" ? v : v === "NaN" ? NaN : v === "Infinity" ? Infinity : v === "-Infinity" ? -Infinity : null);

const text = {
  // About four digits that count, and exact where `exact`.
  number(v, exact = false) {
    v = numeric(v);
    if (v === null || v === undefined) return "–";
    if (!Number.isFinite(v)) return Number.isNaN(v) ? "NaN" : v > 0 ? "∞" : "−∞";
    if (exact) return String(v).replace("-", "−");
    const size = Math.abs(v);
    let shown;
    if (v === 0) shown = "0";
    else if (Number.isInteger(v) && size < 1e15) shown = text.count(v);
    else if (size >= 1e6 || size < 1e-3) shown = v.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
    else shown = size >= 1000 ? text.count(Math.round(v)) : v.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
    return shown.replaceAll("-", "−");
  },
  count(n) {
    return n === null || n === undefined ? "–" : Math.round(n).toLocaleString("en-US");
  },
  percent(share, digits = 1) {
    return share === null || !Number.isFinite(share) ? "–" : `${(100 * share).toFixed(digits)} %`;
  },
  bytes(n) {
    if (n === null || n === undefined || !Number.isFinite(n)) return "–";
    const units = ["B", "kB", "MB", "GB", "TB"];
    let i = 0;
    while (Math.abs(n) >= 1000 && i < units.length - 1) (n /= 1000), i++;
    return `${i === 0 ? n : n.toPrecision(3)} ${units[i]}`;
  },
  duration(s) {
    if (s === null || s === undefined || !Number.isFinite(s)) return "–";
    if (s < 1) return `${Math.round(s * 1000)} ms`;
    if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.round(s % 60)).padStart(2, "0")} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  },
  ago(s) {
    return s < 2 ? "just now" : `${text.duration(s)} ago`;
  },
  time(t) {
    return t ? new Date(t * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "–";
  },
};

// Colours -----------------------------------------------------------------------------------------

// A colour of the style sheet: canvases cannot read it there themselves.
function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
// Eight that people with any kind of colour vision tell apart; dashes for what goes beyond.
const hue = (i) => css(`c${((i % 8) + 8) % 8}`);
const dash = (i) => [[], [6, 3], [2, 3], [8, 3, 2, 3]][Math.floor(i / 8) % 4];

// A colour for a share of the most, on the paper: from nothing to full.
function heat(share) {
  const [r, g, b] = css("heat").split(",").map(Number);
  return `rgba(${r},${g},${b},${Math.max(0, Math.min(1, share)).toFixed(3)})`;
}

// A run keeps its colour as long as it is shown: the one its name asks for, or the next that is free.
const runColours = new Map();
function runColour(name) {
  for (const known of runColours.keys()) if (!nerve.shown().includes(known)) runColours.delete(known);
  if (!runColours.has(name)) {
    let wanted = 0;
    for (const c of name) wanted = (wanted * 31 + c.codePointAt(0)) >>> 0;
    wanted %= 8;
    const taken = new Set(runColours.values());
    for (let i = 0; i < 8 && taken.has(wanted); i++) wanted = (wanted + 1) % 8;
    runColours.set(name, wanted);
  }
  return runColours.get(name);
}

// What is shown -----------------------------------------------------------------------------------

// It stands in the address, so that a page can be reloaded, kept and sent on.
const state = { run: null, tab: "overview", with: [], x: "step", smooth: 0, log: false, filter: "" };
nerve.state = state;
nerve.shown = () => [...new Set([state.run, ...state.with].filter((name) => name !== null))];

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  state.run = asked.get("run");
  state.tab = asked.get("tab") ?? "overview";
  state.with = asked.getAll("with");
  state.x = ["step", "epoch", "seconds"].find((x) => x === asked.get("x")) ?? "step";
  state.smooth = Math.min(0.99, Math.max(0, Number(asked.get("smooth")) || 0));
  state.log = asked.get("log") === "1";
  state.filter = asked.get("filter") ?? "";
}

function writeAddress(newEntry = false) {
  const said = new URLSearchParams();
  if (state.run !== null) said.set("run", state.run);
  if (state.tab !== "overview") said.set("tab", state.tab);
  for (const name of state.with) said.append("with", name);
  if (state.x !== "step") said.set("x", state.x);
  if (state.smooth) said.set("smooth", state.smooth);
  if (state.log) said.set("log", "1");
  if (state.filter) said.set("filter", state.filter);
  const address = `#${said}`;
  if (address !== location.hash) history[newEntry ? "pushState" : "replaceState"](null, "", address);
}

// Calls `f` at most once in so many milliseconds, the last time for sure.
function throttle(ms, f) {
  let timer = null;
  let last = 0;
  return () => {
    if (timer !== null) return;
    const wait = Math.max(0, last + ms - performance.now());
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      f();
    }, wait);
  };
}

// Saves something as a file of the reader's.
function save(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// A quiet line where there is nothing to see, which says why.
const nothing = (...said) => el("p", { class: "nothing" }, ...said);
const section = (title, ...children) => el("section", {}, title && el("h2", {}, title), ...children);

// A choice among few: `choice("x axis", [["step", "Step"], ...], "step", set)`.
function choice(label, options, value, set) {
  const select = el("select", { onchange: () => set(select.value) });
  for (const [name, shown] of options) select.append(el("option", { value: name, selected: name === value }, shown));
  return el("label", { class: "field" }, el("span", {}, label), select);
}
const tick = (label, checked, set) => {
  const box = el("input", { type: "checkbox", checked, onchange: () => set(box.checked) });
  return el("label", { class: "field" }, box, el("span", {}, label));
};
