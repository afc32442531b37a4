// The page of `nerve serve` in a real browser: `node run.mjs NERVE [FOLDER FOR SCREENSHOTS]`.
//
// NERVE is the command; it trains a digit reader for one epoch, a small table model and one that writes. `MODULES` names the folder
// in which playwright-core is installed, `BROWSER` the browser (/usr/bin/chromium). Any message of the console, any
// fault of a script and any request that leaves the server fails the test.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const { chromium } = createRequire(join(resolve(process.env.MODULES ?? "."), "x.js"))("playwright-core");
const [nerve, shots] = process.argv.slice(2).map((path) => resolve(path));
const work = mkdtempSync(join(tmpdir(), "serving-"));

const rows = Array.from({ length: 90 }, (_, i) => `${i % 7},${["red", "green", "<img src=x onerror=window.__evil=1>"][i % 3]},${i % 2}`);
writeFileSync(join(work, "x.csv"), `a,colour,c\n${rows.join("\n")}\n`);
writeFileSync(
  join(work, "small.toml"),
  `[data]\npath = "x.csv"\n[[input]]\nname = "a"\ntype = "number"\n[[input]]\nname = "colour"\ntype = "category"\n` +
    `[[output]]\nname = "c"\ntype = "category"\n[trainer]\nepochs = 1\n`,
);
const texts = Array.from({ length: 200 }, (_, i) => ["one two", "two three", "three one"][i % 3]);
writeFileSync(join(work, "t.csv"), `text\n${texts.join("\n")}\n`);
writeFileSync(
  join(work, "texts.toml"),
  `task = "generation"\n[data]\npath = "t.csv"\n[[output]]\nname = "text"\ntype = "text"\nend = false\n` +
    `tokenizer = { type = "characters", blanks = "keep", lower = false }\ndecoder = { type = "generator", layers = 1, dim = 32, heads = 2 }\n` +
    `generate = { method = "sample", temperature = 0.7 }\n[trainer]\nepochs = 4\nbatch_size = 16\n`,
);
for (const args of [["small.toml"], ["texts.toml"], ["mnist", "epochs=1"]]) {
  execFileSync(nerve, ["train", ...args, "--progress", "off"], { cwd: work, stdio: ["ignore", "ignore", "inherit"] });
}

const server = spawn(nerve, ["serve", "mnist", "small", "texts", "--http", "127.0.0.1:0", "--json"], { cwd: work, stdio: ["ignore", "pipe", "inherit"] });
const url = await new Promise((found, failed) => {
  server.stdout.once("data", (line) => found(JSON.parse(String(line)).url));
  server.once("exit", (code) => failed(new Error(`nerve serve ended with ${code}`)));
});
const browser = await chromium.launch({ executablePath: process.env.BROWSER ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
  const complaints = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) complaints.push(`a foreign request: ${request.url()}`);
  });
  await page.goto(url);

  // A one is drawn, and told as such.
  const canvas = page.locator("canvas");
  await canvas.waitFor();
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height * 0.2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height * 0.8, { steps: 20 });
  await page.mouse.up();
  await page.locator(".said").waitFor();
  assert.equal(await page.locator(".said").textContent(), "1");
  assert.equal(await page.locator("#answer .row").count(), 10);
  if (shots) await page.screenshot({ path: join(shots, "draw.png") });

  // The same as a file: the picture that is on the canvas.
  const drawn = await canvas.evaluate((it) => it.toDataURL("image/png").split(",")[1]);
  const shares = await page.locator("#answer .row").allTextContents();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.locator("input[type=file]").setInputFiles({ name: "one.png", mimeType: "image/png", buffer: Buffer.from(drawn, "base64") });
  await page.waitForFunction((before) => [...document.querySelectorAll("#answer .row")].map((row) => row.textContent).join() === before, shares.join());

  // A row is filled in; names from data stay text.
  await page.selectOption("#model", { label: "small" });
  await page.locator("input[name=a]").fill("3");
  await page.locator("select[name=colour]").selectOption({ index: 2 });
  await page.getByRole("button", { name: "Ask" }).click();
  await page.locator(".said").waitFor();
  assert.match(await page.locator(".said").textContent(), /^[01]$/);
  assert.equal(await page.evaluate(() => window.__evil), undefined, "a name from data was run");
  if (shots) await page.screenshot({ path: join(shots, "row.png") });

  // A text grows while it is written, and is in the end what the model says without that.
  await page.selectOption("#model", { label: "texts" });
  await page.evaluate(() => {
    window.pieces = 0;
    const count = (records) => records.forEach((it) => it.target.className === "written" && (window.pieces += it.addedNodes.length));
    new MutationObserver(count).observe(document.querySelector("#answer"), { childList: true, subtree: true });
  });
  await page.locator("textarea").fill("one t");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.locator("#answer .note").waitFor();
  const whole = await page.evaluate(async () => {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("/predict/texts", { method: "POST", headers, body: JSON.stringify({ text: "one t" }) });
    return (await answer.json()).text;
  });
  assert.equal(await page.locator(".written").textContent(), whole);
  assert.ok((await page.evaluate(() => window.pieces)) > 3, "it was shown piece by piece");
  if (shots) await page.screenshot({ path: join(shots, "text.png") });
  assert.deepEqual(complaints, []);
  console.log("the page does what it should");
} finally {
  await browser.close();
  server.kill("SIGTERM");
  rmSync(work, { recursive: true, force: true });
}
