// Looks at the page of `spanqa attention --html` as people do, in headless Chromium: on a desk, on a phone, in the dark, with keys.
//
//   npm install playwright-core            (anywhere; run it there)
//   node attention.mjs path/to/spanqa [path/to/chromium [folder for pictures]]

import { execFileSync } from "node:child_process";
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdtempSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(path.join(process.cwd(), "x.js"))("playwright-core");
const [binary, browserPath = "/usr/bin/chromium", pictures] = process.argv.slice(2);
const folder = mkdtempSync(path.join(os.tmpdir(), "attention-"));

const FACT = "The lighthouse of Skarvholm was built in 1871 by Ingrid Dahl. The last keeper, Olav Brekke, left the island in 1986. ";
const FILLER = "Ferries to the island leave from the northern pier in summer, and the museum keeps the lamp, the logbooks and a map of the coast. ";

function made(name, text, question, ...more) {
  const file = path.join(folder, name);
  const run = ["attention", "--quiet", "-q", question, "-c", text, "-o", file, ...more];
  try { execFileSync(binary, run); } catch (error) { assert.equal(error.status, 1, String(error.stderr)); }
  return pathToFileURL(file).href;
}

const short = made("short.html", FACT, "Who was the last keeper?");
// A window of 384 tokens, which is as long as they get unless told otherwise.
const long = made("long.html", FACT + FILLER.repeat(20), "Who was the last keeper?", "--read", "all");
const none = made("none.html", FACT, "How much does the ticket cost?");
const hostile = made("hostile.html", "</script><img src=x onerror=alert(1)> Olav <b>Brekke</b> left.", "Who left </title><script>?");
const single = made("single.html", FACT, "Who was the last keeper?", "--layers", "2", "--heads", "3");

const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });

async function opened(url, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const wrong = [];
  page.on("request", request => { if (request.url() !== url) wrong.push(request.url()); });
  page.on("console", message => { if (message.type() === "error") wrong.push(message.text()); });
  page.on("pageerror", error => wrong.push(String(error)));
  await page.goto(url);
  await page.locator("#grid button").first().waitFor({ state: "attached" });
  const picture = async name => { if (pictures) await page.screenshot({ path: path.join(pictures, name), fullPage: false }); };
  return { page, picture, done: async () => { assert.deepEqual(wrong, []); await context.close(); } };
}

const fits = page => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
const lines = page => page.locator("#lines line").count();

try {
  // On a desk, with the mouse.
  {
    const { page, picture, done } = await opened(short, { viewport: { width: 1280, height: 900 } });
    assert.equal(await page.textContent("h1"), "Who was the last keeper?");
    assert.match(await page.textContent("#verdict"), /^Olav Brekke, margin \+\d/);
    assert.equal(await page.textContent("#shown"), "mean of 6 layers, mean of 12 heads");
    // Six layers and twelve heads, with a mean of each.
    assert.equal(await page.locator("#grid button").count(), 7 * 13);
    assert.deepEqual(await page.locator("#lines ol").first().locator("li").allTextContents(), ["Olav", "Brekke"]);
    assert.ok(await lines(page) > 10);
    await picture("desk.png");
    await page.getByRole("button", { name: "layer 4, head 3", exact: true }).click();
    assert.equal(await page.textContent("#shown"), "layer 4, head 3");
    await page.locator("#text span", { hasText: /^keeper$/ }).last().click();
    assert.equal(await page.locator("#text .from").textContent(), "keeper");
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#text .from").count(), 0);
    // What a head pays sums to 1, so no word gets more.
    const titles = await page.locator("#text span").evaluateAll(all => all.map(word => Number(word.title)));
    assert.ok(titles.every(share => share >= 0 && share <= 1) && titles.some(share => share > 0.01));
    await page.selectOption("#from", "question");
    assert.equal(await page.locator("#lines ol").first().locator("li").count(), 6);
    await page.click("#show-gradient");
    assert.ok(await page.locator("#scores tr").count() > 10);
    assert.match(await page.textContent("#scores"), /keeper/);
    assert.ok(await fits(page));
    await picture("gradient.png");
    await done();
  }
  // With keys alone.
  {
    const { page, done } = await opened(short);
    await page.locator("#grid button[aria-pressed=true]").focus();
    for (const key of ["ArrowDown", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
    assert.equal(await page.textContent("#shown"), "layer 0, head 1");
    await page.locator("#text span").first().focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("#text .from").textContent(), "was");
    await page.keyboard.press("Escape");
    await page.locator("#lines ol").first().locator("li").first().focus();
    await page.keyboard.press("ArrowDown");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Brekke");
    await done();
  }
  // A long window on a phone, in the dark.
  {
    const { page, picture, done } = await opened(long, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme: "dark" });
    assert.ok(await page.locator("#text span").count() > 300);
    assert.ok((await page.locator("#lines ol").last().locator("li").count()) <= 32);
    assert.ok(await fits(page), "nothing is wider than the screen");
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(20, 22, 26)");
    await page.tap("#show-gradient");
    await page.tap("#show-attention");
    await page.selectOption("#to", "all");
    await page.selectOption("#from", "all");
    const started = Date.now();
    await page.getByRole("button", { name: "layer 5, head 0", exact: true }).tap();
    assert.equal(await page.textContent("#shown"), "layer 5, head 0");
    console.log(`every word to every word of ${await page.locator("#text span").count()}: ${Date.now() - started} ms, ${await lines(page)} lines`);
    assert.ok(await fits(page));
    await page.selectOption("#from", "answer");
    await page.selectOption("#to", "most");
    await page.evaluate(() => window.scrollTo(0, 0));
    await picture("phone.png");
    await page.locator("#lines").scrollIntoViewIfNeeded();
    await picture("phone-lines.png");
    await page.locator("#grid").scrollIntoViewIfNeeded();
    await picture("phone-grid.png");
    await done();
  }
  // No answer, markup, and one head of one layer.
  {
    const { page, done } = await opened(none);
    assert.match(await page.textContent("#verdict"), /^No answer; nearest is “.+”, margin -\d/);
    await done();
  }
  {
    const { page, done } = await opened(hostile);
    assert.equal(await page.textContent("h1"), "Who left </title><script>?");
    assert.equal(await page.locator("img").count(), 0);
    await done();
  }
  {
    const { page, done } = await opened(single);
    assert.equal(await page.textContent("#shown"), "layer 2, head 3");
    assert.equal(await page.locator("#grid button").count(), 1);
    await done();
  }
  console.log("the page works");
} finally {
  await browser.close();
}
