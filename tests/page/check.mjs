// Uses the page of `spanqa serve` as people do, in headless Chromium: with the mouse, with keys, on a phone.
//
//   npm install playwright-core            (anywhere that Node finds it: NODE_PATH does not work for modules, so run it there)
//   node check.mjs path/to/spanqa [path/to/chromium]

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const { chromium } = createRequire(path.join(process.cwd(), "x.js"))("playwright-core");
const [binary, browserPath = "/usr/bin/chromium"] = process.argv.slice(2);

const server = spawn(binary, ["serve", "--port", "0", "--shutdown-delay", "0"], { stdio: ["ignore", "pipe", "inherit"] });
const url = await new Promise(resolve => createInterface({ input: server.stdout }).once("line", resolve));
while ((await fetch(url + "/ready")).status !== 200) await new Promise(resolve => setTimeout(resolve, 50));
const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });

const TEXT = "The lighthouse of Skarvholm was built in 1871 by Ingrid Dahl 👑. The last keeper, Olav Brekke, left the island in 1986.";

async function opened(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const outside = [];
  const errors = [];
  page.on("request", request => { if (!request.url().startsWith(url) && !request.url().startsWith("data:")) outside.push(request.url()); });
  page.on("console", message => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", error => errors.push(String(error)));
  await page.goto(url + "/");
  return { page, done: async () => { assert.deepEqual([outside, errors], [[], []]); await context.close(); } };
}

try {
  // A person with a keyboard.
  {
    const { page, done } = await opened({ viewport: { width: 1200, height: 900 } });
    await page.fill("#text", TEXT);
    await page.locator("h1").click();
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "question");
    await page.keyboard.type("Who was the last keeper?");
    await page.keyboard.press("Enter");
    await page.locator("#answers button").first().waitFor();
    assert.equal(await page.textContent("#verdict"), "Olav Brekke");
    // Characters outside the first plane count as two: marks stand where the words are.
    // Another span that overlaps cuts the mark in pieces.
    assert.equal((await page.locator("mark.now").allTextContents()).join(""), "Olav Brekke");
    assert.equal((await page.textContent("pre")), TEXT);
    await page.keyboard.press("Escape");
    await page.keyboard.press("n");
    assert.equal(await page.getAttribute("#answers li:nth-child(2) button", "aria-current"), "true");
    await page.keyboard.press("p");
    await page.keyboard.press("w");
    await page.locator("#reasons table").waitFor();
    assert.match(await page.textContent("#reasons"), /Olav Brekke.*logit/s);
    // "No answer" is an answer.
    await page.fill("#question", "How much does the ticket cost?");
    await page.click("#ask");
    await page.getByText("No answer", { exact: true }).waitFor();
    assert.ok(await page.locator("mark.near").count() > 0);
    await done();
  }
  // Several files, one of them no text, and markup that must stay text.
  {
    const { page, done } = await opened({});
    await page.setInputFiles("#pick", [
      { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from(TEXT) },
      { name: "b.html", mimeType: "text/html", buffer: Buffer.from("<img src=x onerror=alert(1)> Ferries leave at noon.") },
      { name: "c.bin", mimeType: "application/octet-stream", buffer: Buffer.from([0xff, 0xfe, 0x80]) },
    ]);
    await page.getByText("c.bin is not text").waitFor();
    assert.equal(await page.locator("#files li").count(), 2);
    await page.fill("#question", "When do ferries leave?");
    await page.click("#ask");
    await page.locator("mark").first().waitFor();
    assert.match(await page.textContent("#answers li:first-child"), /noon.*b\.html, line 1/s);
    assert.equal(await page.locator("#pages img").count(), 0);
    await page.click("#files li:first-child button");
    assert.equal(await page.locator("#files li").count(), 1);
    await done();
  }
  // A phone: nothing is wider than the screen.
  {
    const { page, done } = await opened({ viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true });
    await page.fill("#text", TEXT + " " + "w".repeat(500));
    await page.fill("#question", "Who built the lighthouse?");
    await page.tap("#ask");
    await page.locator("#answers button").first().waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await done();
  }
  // The page that describes the paths.
  {
    const { page, done } = await opened({});
    await page.goto(url + "/docs");
    await page.locator("details").first().waitFor();
    assert.ok(await page.locator("details").count() > 20);
    await done();
  }
  console.log("the page works");
} finally {
  await browser.close();
  server.kill("SIGTERM");
}
