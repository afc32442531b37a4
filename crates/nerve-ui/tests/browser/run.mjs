// The dashboard in a real browser: `node run.mjs NERVE FIXTURE [FOLDER FOR SCREENSHOTS]`.
//
// NERVE is the command, FIXTURE the example of this crate that writes run folders. `MODULES` names the
// folder in which playwright-core and axe-core are installed, `BROWSER` the browser (/usr/bin/chromium). `ASSETS` may name the folder of the page's files, which
// then take the place of those in the binary: to try a change without building, `ONLY` a part of the names of tests.
// Assertions are about data (`window.__nerve`) and text, not about pixels. Any message of the browser's
// console, any fault of a script and any request that leaves the server fails the test.

import assert from "node:assert/strict";
import { spawn, execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const modules = createRequire(join(resolve(process.env.MODULES ?? "."), "x.js"));
const { chromium } = modules("playwright-core");
const axe = readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");
const [nerve, fixture, shots] = process.argv.slice(2).map((path) => resolve(path));
const work = mkdtempSync(join(tmpdir(), "dashboard-"));
const runs = join(work, "runs");
const children = new Set();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function start(program, args) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  child.on("exit", () => children.delete(child));
  return child;
}

// Serves a folder; gives the address that the command prints.
async function serve(folder, port = 0) {
  const child = start(nerve, ["ui", folder, "--port", String(port), "--no-open", "--json"]);
  const url = await new Promise((found, failed) => {
    child.stdout.once("data", (line) => found(JSON.parse(String(line)).url));
    child.once("exit", (code) => failed(new Error(`nerve ui ended with ${code}`)));
  });
  return { child, url, port: Number(new URL(url).port), stop: () => ended(child) };
}

const ended = (child) => new Promise((done) => (child.exitCode !== null ? done() : (child.once("exit", done), child.kill("SIGKILL"))));

const finished = (child) => new Promise((done) => (child.exitCode !== null ? done(child.exitCode) : child.once("exit", done)));

// A page whose every complaint is kept.
async function open(browser, base, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 }, reducedMotion: "reduce", ...options });
  page.complaints = [];
  page.lostIsFine = false;
  page.on("console", (message) => {
    if (page.lostIsFine && /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/.test(message.text())) return;
    if (["error", "warning"].includes(message.type())) page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !/^(data|blob):/.test(request.url())) page.complaints.push(`a foreign request: ${request.url()}`);
  });
  if (process.env.ASSETS && base.startsWith("http")) {
    const own = (url) => join(process.env.ASSETS, url.pathname.replace("/assets/", ""));
    await page.route((url) => url.href.startsWith(base) && /\.(js|css)$/.test(url.pathname) && existsSync(own(url)), (route) => route.fulfill({ path: own(new URL(route.request().url())) }));
  }
  page.clean = async () => {
    assert.deepEqual(page.complaints, []);
    assert.deepEqual(await page.evaluate(() => window.__nerve.errors), []);
    assert.equal(await page.evaluate(() => window.__evil), undefined, "a name from data was run");
  };
  page.tab = async (name) => {
    await page.getByRole("tab", { name, exact: true }).click();
    await page.waitForFunction((name) => document.querySelector('[role=tab][aria-selected="true"]').textContent === name, name);
    await sleep(400);
    if (shots) await page.screenshot({ path: join(shots, `${page.title_ ?? "page"}-${name.replaceAll(" ", "-")}.png`) });
  };
  page.chart = (id) => page.evaluate((id) => window.__nerve.charts[id], id);
  return page;
}

// What axe-core finds on a page that keeps people from using it. It runs beside the page, not as a script of it.
async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const bad = violations.filter((one) => ["serious", "critical"].includes(one.impact));
  return bad.map((one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 4).map((node) => `${node.target.join(" ")} ${(node.any[0] ?? node.all[0] ?? node.none[0])?.message ?? ""}`).join(" | ")}`);
}

// The bones of what is shown: roles and names of headings, regions, tables, charts and what can be used, without numbers.
const bones = (page) => page.evaluate(() => {
  const found = [];
  for (const one of document.querySelectorAll("h1, h2, h3, [role], table, th, select, input, button, progress, canvas, figure")) {
    if (!one.checkVisibility() || one.closest(".matrix td, .example, .runs li, nav .row")) continue;
    const said = one.getAttribute("aria-label") ?? (one.children.length ? "" : one.textContent);
    const line = `${one.tagName.toLowerCase()}${one.getAttribute("role") ? `[${one.getAttribute("role")}]` : ""} ${said.replace(/[\d.,:%−-]+/g, "0").trim().slice(0, 60)}`.trim();
    if (found.at(-1) !== line) found.push(line);
  }
  return found;
});

const ready = (page) => page.waitForFunction(() => window.__nerve?.ready && window.__nerve.drawn);
const TABS = ["Overview", "Curves", "Evaluation", "Worst examples", "Health", "Model", "System", "Tuning", "Compare"];
const tests = [];
const test = (name, run) => tests.push({ name, run });

test("every tab of a run with a hostile class name opens, and the name stays text", async (browser, { url }) => {
  const page = await open(browser, url);
  page.title_ = "hostile";
  await page.goto(`${url}/#run=mnist-evil`);
  await ready(page);
  for (const name of TABS) {
    await page.tab(name);
    await page.clean();
    assert.equal(await page.locator(".problem").count(), 0, name);
  }
  await page.tab("Evaluation");
  await page.getByText("<img src=x onerror=").first().waitFor();
  assert.equal(await page.locator('img[src="x"]').count(), 0);
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, select")].filter((one) => !one.textContent.trim() && !one.getAttribute("aria-label") && !one.closest("label")).length);
  assert.equal(unnamed, 0, "everything that can be used has a name");
  await page.close();
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe-core has nothing serious to say of any tab, ${colorScheme}`, async (browser, { url }) => {
    const page = await open(browser, url, { colorScheme });
    page.title_ = colorScheme;
    await page.goto(`${url}/#run=mnist&with=mnist-fast`);
    await ready(page);
    for (const name of TABS) {
      await page.tab(name);
      assert.deepEqual(await violations(page), [], name);
    }
    await page.clean();
    await page.close();
  });
}

test("the structure of each tab is what it was", async (browser, { url }) => {
  const page = await open(browser, url);
  await page.goto(`${url}/#run=mnist`);
  await ready(page);
  const seen = [];
  for (const name of TABS) {
    await page.tab(name);
    seen.push(`# ${name}`, ...(await bones(page)), "");
  }
  const kept = new URL("structure.txt", import.meta.url);
  const text = seen.join("\n");
  // UPDATE=1 keeps what is there now: look at the difference before it is committed.
  if (process.env.UPDATE) writeFileSync(kept, text);
  assert.equal(text, readFileSync(kept, "utf8"));
  await page.close();
});

test("a click on a cell of the confusion matrix shows its examples", async (browser, { url }) => {
  const page = await open(browser, url);
  await page.goto(`${url}/#run=mnist&tab=evaluation`);
  await ready(page);
  await page.waitForFunction(() => window.__nerve.charts.confusion);
  const { counts, labels } = await page.chart("confusion");
  const [i, j] = counts.flatMap((row, i) => row.map((n, j) => [i, j, n])).filter(([i, j]) => i !== j).sort((a, b) => b[2] - a[2])[0];
  await page.locator(`button[data-truth="${labels[i]}"][data-said="${labels[j]}"]`).click();
  await page.waitForFunction(() => window.__nerve.charts.examples);
  const examples = await page.chart("examples");
  assert.deepEqual([examples.truth, examples.said, examples.total], [labels[i], labels[j], counts[i][j]]);
  await page.waitForFunction((n) => [...document.querySelectorAll("#examples img")].filter((one) => one.naturalWidth > 0).length === n, examples.shown);
  await page.getByLabel("Cells").selectOption("rows");
  await page.waitForFunction(() => window.__nerve.charts.confusion.by === "rows");
  if (shots) await page.screenshot({ path: join(shots, "cell.png") });
  await page.clean();
  await page.close();
});

test("curves of several runs: smoothing, axes, zoom with exact points, table, keys", async (browser, { url }) => {
  const page = await open(browser, url);
  await page.goto(`${url}/#run=mnist&tab=curves`);
  await ready(page);
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"]?.points > 0);
  assert.deepEqual((await page.chart("curves/loss")).series.map((one) => one.label), ["train", "val"]);
  await page.getByLabel("Show mnist-fast beside the chosen run").click();
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"].series.length === 4);
  await page.getByLabel("x axis").selectOption("epoch");
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"].xmax === 10);
  await page.getByLabel("x axis").selectOption("step");
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"].xmax === 1200);
  await page.getByLabel("Smoothing").fill("0.9");
  await page.getByLabel("Log scale").click();
  await sleep(500);
  const plot = page.locator(".chart .u-over").first();
  const box = await plot.boundingBox();
  await page.mouse.move(box.x + 100, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + 200, box.y + 70, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"].window);
  const zoomed = await page.chart("curves/loss");
  assert.ok(zoomed.series.every((one) => one.exact) && zoomed.xmax < 1200 && zoomed.xmin > 1, JSON.stringify(zoomed));
  await plot.dblclick();
  await page.waitForFunction(() => !window.__nerve.charts["curves/loss"].window);
  const chart = page.locator(".chart").first();
  await chart.focus();
  await page.keyboard.press("+");
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"].window);
  await page.keyboard.press("0");
  await page.waitForFunction(() => !window.__nerve.charts["curves/loss"].window);
  await chart.hover();
  await chart.getByRole("button", { name: "Table" }).click();
  assert.ok((await chart.locator("tbody tr").count()) > 20);
  assert.match(page.url(), /with=mnist-fast.*smooth=0.9.*log=1/);
  await page.reload();
  await ready(page);
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"]?.series.length === 4);
  await page.clean();
  await page.close();
});

test("a run that trains grows, is told to have crashed, and goes on where it was", async (browser, { url }) => {
  const trainer = start(fixture, [runs, "live", "300"]);
  const page = await open(browser, url);
  await sleep(1500);
  await page.goto(`${url}/#run=live&tab=curves`);
  await ready(page);
  await page.waitForFunction(() => window.__nerve.status === "running" && window.__nerve.charts["curves/loss"]?.points > 5);
  const first = (await page.chart("curves/loss")).points;
  await page.waitForFunction((first) => window.__nerve.charts["curves/loss"].points > first + 20, first);
  const killed = Date.now();
  await ended(trainer);
  await page.waitForFunction(() => window.__nerve.status === "crashed", null, { timeout: 15000 });
  console.log(`    crashed was shown after ${((Date.now() - killed) / 1000).toFixed(1)} s`);
  await page.locator(".standing .pill.crashed").waitFor();
  const before = (await page.chart("curves/loss")).xmax;
  const second = start(fixture, [runs, "resume", "300"]);
  await page.waitForFunction((before) => window.__nerve.status === "running" && window.__nerve.charts["curves/loss"].xmax > before + 10, before);
  assert.equal(await page.evaluate(() => window.__nerve.tags.begins.length), 2);
  const { points, xmax } = await page.chart("curves/loss");
  assert.equal(points, xmax, "each step once");
  if (shots) await page.screenshot({ path: join(shots, "resumed.png") });
  await page.clean();
  await ended(second);
  await page.close();
});

// Clicks the cell that is confused most, waits for pictures of its examples, and gives its count.
async function cell(page) {
  const { counts, labels } = await page.chart("confusion");
  const [i, j] = counts.flatMap((row, i) => row.map((n, j) => [i, j, n])).filter(([i, j]) => i !== j).sort((a, b) => b[2] - a[2])[0];
  await page.locator(`button[data-truth="${labels[i]}"][data-said="${labels[j]}"]`).click();
  await page.waitForFunction(() => [...document.querySelectorAll("#examples img")].some((one) => one.naturalWidth > 0));
  return counts[i][j];
}

test("a real training: it grows, is killed, is resumed, ends, and its mistakes can be looked at", async (browser, { url }) => {
  const folder = ["--runs", runs, "--progress", "off"];
  const trainer = start(nerve, ["train", "mnist", "epochs=30", "log.every=5", "log.checkpoint_steps=40", "--name", "real", ...folder]);
  const page = await open(browser, url);
  await page.goto(`${url}/#tab=curves`);
  await page.getByRole("button", { name: /^real/ }).click({ timeout: 60000 });
  await page.waitForFunction(() => window.__nerve.status === "running" && window.__nerve.charts["curves/loss"]?.points > 5, null, { timeout: 60000 });
  const first = (await page.chart("curves/loss")).points;
  await page.waitForFunction((first) => window.__nerve.charts["curves/loss"].points > first && window.__nerve.tags.checkpoints.length > 0, first, { timeout: 60000 });
  // Its mistakes so far, while it trains.
  await page.tab("Evaluation");
  await page.waitForFunction(() => window.__nerve.charts.confusion, null, { timeout: 120000 });
  await cell(page);
  assert.equal(await page.evaluate(() => window.__nerve.status), "running");
  await page.tab("Curves");
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"]?.points > 0);
  await ended(trainer);
  await page.waitForFunction(() => window.__nerve.status === "crashed", null, { timeout: 15000 });
  const before = (await page.chart("curves/loss")).xmax;
  // Two epochs more than it has begun, however far it came; how long they take is the machine's business.
  const { points } = await page.chart("curves/accuracy") ?? { points: 0 };
  const second = start(nerve, ["resume", "real", `epochs=${points + 2}`, ...folder]);
  await page.waitForFunction((before) => window.__nerve.charts["curves/loss"].xmax > before && window.__nerve.tags.begins.length === 2, before, { timeout: 60000 });
  assert.equal(await finished(second), 0);
  await page.waitForFunction(() => window.__nerve.status === "done", null, { timeout: 15000 });
  await page.waitForFunction(() => window.__nerve.charts["curves/accuracy"]?.points > 0);
  if (shots) await page.screenshot({ path: join(shots, "real-Curves.png") });
  page.title_ = "real";
  for (const name of ["Overview", "Model", "System", "Health", "Worst examples", "Evaluation"]) {
    await page.tab(name);
    assert.equal(await page.locator(".problem").count(), 0, name);
  }
  await page.waitForFunction(() => window.__nerve.charts.confusion);
  const count = await cell(page);
  assert.equal((await page.chart("examples")).total, count);
  if (shots) await page.screenshot({ path: join(shots, "real-cell.png") });
  await page.clean();
  await page.close();
});

test("a server that comes back is found again, and nothing is lost", async (browser) => {
  let server = await serve(runs);
  const page = await open(browser, server.url);
  const trainer = start(fixture, [runs, "resume", "300"]);
  await page.goto(`${server.url}/#run=live&tab=curves`);
  await ready(page);
  await page.waitForFunction(() => window.__nerve.status === "running" && window.__nerve.charts["curves/loss"]?.points > 0);
  page.lostIsFine = true;
  await server.stop();
  await page.getByText("connection lost").waitFor();
  const before = (await page.chart("curves/loss")).xmax;
  server = await serve(runs, server.port);
  await page.waitForFunction((before) => window.__nerve.charts["curves/loss"].xmax > before + 10, before);
  const { points, xmax } = await page.chart("curves/loss");
  assert.equal(points, xmax);
  await page.clean();
  await ended(trainer);
  await server.stop();
  await page.close();
});

test("the report is the same page in one file", async (browser) => {
  const file = join(work, "report.html");
  execFileSync(nerve, ["report", "mnist-evil", "--runs", runs, "-o", file]);
  const base = String(pathToFileURL(file));
  const page = await open(browser, base);
  page.title_ = "report";
  await page.goto(base);
  await ready(page);
  for (const name of ["Overview", "Curves", "Evaluation", "Worst examples", "Health", "Model", "System"]) {
    await page.tab(name);
    assert.equal(await page.locator(".problem").count(), 0, name);
  }
  await page.waitForFunction(() => window.__nerve.status === "done");
  await page.tab("Worst examples");
  await page.waitForFunction(() => [...document.querySelectorAll(".example img")].some((one) => one.naturalWidth > 0));
  await page.tab("Curves");
  await page.waitForFunction(() => window.__nerve.charts["curves/loss"]?.points > 100);
  await page.clean();
  await page.close();
});

test("a million points and five hundred runs", async (browser) => {
  const folder = join(work, "large");
  execFileSync(fixture, [folder, "big", "1000000"]);
  execFileSync(fixture, [folder, "many", "500"]);
  const server = await serve(folder);
  const page = await open(browser, server.url);
  let began = Date.now();
  await page.goto(`${server.url}/#run=big&tab=curves`);
  await page.waitForFunction(() => window.__nerve?.charts["curves/loss"]?.points > 0 || window.__nerve?.charts["curves/loss/train"]?.points > 0);
  console.log(`    a million points were shown after ${Date.now() - began} ms`);
  const { series } = (await page.chart("curves/loss")) ?? (await page.chart("curves/loss/train"));
  assert.equal(series[0].total, 250000);
  assert.equal(series[0].exact, false);
  await page.getByText("501 of 501 runs").waitFor();
  await server.stop();
  const again = await serve(folder);
  began = Date.now();
  const list = await (await fetch(`${again.url}/api/runs`)).json();
  console.log(`    ${list.runs.length} runs were listed after ${Date.now() - began} ms`);
  assert.equal(list.runs.length, 501);
  const heap = await page.evaluate(() => performance.memory?.usedJSHeapSize ?? 0);
  assert.ok(heap < 200e6, `the page uses ${heap} bytes`);
  await again.stop();
  await page.close();
});

let failed = 0;
if (shots) mkdirSync(shots, { recursive: true });
execFileSync(fixture, [runs, "demo"]);
const browser = await chromium.launch({ executablePath: process.env.BROWSER ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
const server = await serve(runs);
const chosen = tests.filter(({ name }) => name.includes(process.env.ONLY ?? ""));
for (const { name, run } of chosen) {
  try {
    await run(browser, server);
    console.log(`ok  ${name}`);
  } catch (error) {
    failed++;
    console.log(`NOT ${name}\n${error.stack}`);
  }
}
await browser.close();
await Promise.all([...children].map(ended));
rmSync(work, { recursive: true, force: true });
console.log(failed ? `${failed} of ${chosen.length} failed` : `${chosen.length} tests in the browser passed`);
process.exit(failed ? 1 : 0);
