// A reader's walk through the archive in a real browser: gallery, search, record, boxes, compare, failures, bringing in; with
// and without JavaScript; every page looked at by axe in light and dark; pictures of every page in three widths.
//
//   node pages.mjs --base URL --token TOKEN --upload FILE --shots FOLDER [--gone DIGEST] [--broken DIGEST]
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: given } = parseArgs({
  options: Object.fromEntries(
    ["base", "token", "upload", "shots", "word", "gone", "broken", "chromium"].map((name) => [name, { type: "string" }]),
  ),
});
const { base, token, upload, shots } = given;
const word = given.word ?? "scaling language";
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const profile = await mkdtemp(join(tmpdir(), "ocelli-browser-"));
const args = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
];
const WIDTHS = [[360, 780], [1280, 860], [2560, 1440]];
const PATIENCE = 60_000;

const launch = (more) => chromium.launchPersistentContext(join(profile, Math.random().toString(36).slice(2)), {
  executablePath: given.chromium ?? "/usr/bin/chromium",
  args,
  baseURL: base,
  viewport: { width: 1280, height: 860 },
  ...more,
});
const step = (text) => console.log(`- ${text}`);

/** What a browser complained about: code that a policy stopped, scripts that failed, files that are not there. */
function complaints(page) {
  const said = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) said.push(message.text());
  });
  page.on("pageerror", (error) => said.push(String(error)));
  return said;
}

/** No violation of WCAG 2.2 A and AA, nor of good practice. */
async function accessible(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    const told = found.violations.map((one) => {
      const nodes = one.nodes.slice(0, 3).map((node) => `${node.target} ${node.html.slice(0, 160)}\n      ${node.failureSummary}`);
      return `${one.id}: ${one.help}\n    ${nodes.join("\n    ")}`;
    });
    assert.deepEqual(told, [], `${name}, ${colorScheme}:\n  ${told.join("\n  ")}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

/** Pictures of a page, and that nothing of it is wider than the screen. */
async function picture(page, name) {
  for (const [width, height] of WIDTHS) {
    await page.setViewportSize({ width, height });
    // Those further down are loaded when somebody comes there.
    await page.evaluate(() => Promise.all([...document.images]
      .filter((image) => image.getBoundingClientRect().top < innerHeight)
      .map((image) => image.decode().catch(() => {}))));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `${name} is ${wide} px wider than a screen of ${width}`);
    for (const colorScheme of width === 1280 ? ["light", "dark"] : ["light"]) {
      await page.emulateMedia({ colorScheme });
      const dark = colorScheme === "dark" ? "-dark" : "";
      await page.screenshot({ path: join(shots, `${name}-${width}${dark}.png`) });
    }
    await page.emulateMedia({ colorScheme: "light" });
  }
  await page.setViewportSize({ width: 1280, height: 860 });
}

async function signIn(page) {
  await page.goto("/sign-in");
  await page.getByLabel("Token of the archive").fill(token);
  await page.locator("main").getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(/\/$/);
}

/** Where models disagree, the comparison behind it, and what was quoted. */
async function disagree(page) {
  await page.goto("/disagreements");
  assert.ok(await page.locator(".hit").count() >= 2, "pairs are listed");
  const choices = await page.getByLabel("Analyzers").locator("option").count();
  assert.ok(choices >= 2, "and can be chosen");
  await page.getByLabel("Analyzers").selectOption({ index: 1 });
  await page.locator("main").getByRole("button", { name: "Show" }).click();
  await page.waitForURL(/pair=/);
  await page.locator(".hit h2 a").first().click();
  await page.waitForURL(/\/compare\//);
  assert.ok(await page.locator(".agreement q").count() >= 1, "a comparison shows quotes");
}

/** A search is kept, found again and forgotten. */
async function keep(page) {
  await page.goto(`/search?q=${encodeURIComponent(word)}&facets=1`);
  await page.getByLabel("Name of this search").fill("About models");
  await page.locator("main").getByRole("button", { name: "Save" }).click();
  const saved = page.locator(".saved").getByRole("link", { name: "About models" });
  await saved.waitFor();
  await page.goto("/search?q=nothing&facets=1");
  await saved.click();
  await page.waitForURL((url) => url.searchParams.get("q") === word);
}

async function forget(page) {
  await page.goto("/search?facets=1");
  await page.getByRole("button", { name: "Forget About models" }).click();
  await page.waitForURL(/facets=1/);
  assert.equal(await page.locator(".saved").count(), 0);
}

/** Many queries at once come back as a file. */
async function many(page) {
  await page.goto("/search/batch");
  await page.getByLabel("Queries, one in a line").fill(`${word}\nzzzz`);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.locator("main").getByRole("button", { name: "Search" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "hits.csv");
  assert.match(await readFile(await download.path(), "utf8"), /^query,digest,/);
}

/** The walk that needs no script. */
async function walk(page) {
  await page.goto("/");
  assert.equal(await page.locator("h1").innerText(), "Gallery");
  assert.ok(await page.locator(".sheet .card").count() >= 3, "the gallery shows images");
  await page.getByLabel("Search the archive").fill(word);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/search\?q=/);
  assert.ok(await page.locator(".hit mark").count() >= 1, "words that were found are marked");
  assert.ok(await page.locator(".hit .who").first().innerText() !== "", "and say who read them");
  await page.locator(".hit h2 a").first().click();
  await page.waitForURL(/\/record\//);
  const record = page.url();
  assert.ok(await page.getByRole("heading", { name: "First Seen" }).isVisible());
  assert.ok(await page.locator(".boxes g.lit").count() >= 1, "words that were found are lit in the image");
  const box = await page.locator(".boxes g.lit rect").first().boundingBox();
  const view = await page.locator("img.view").boundingBox();
  assert.ok(box.x >= view.x - 1 && box.x + box.width <= view.x + view.width + 1, "and lie over it");
  return record;
}

async function scripted() {
  const context = await launch({});
  const page = await context.newPage();
  const said = complaints(page);
  await page.goto("/");
  step("gallery, search, record, boxes");
  const record = await walk(page);

  step("keys: b shows the boxes, / leads to the search, j and k to other images");
  const shown = () => page.locator("#boxes").isChecked();
  const before = await shown();
  await page.locator("body").press("b");
  assert.equal(await shown(), !before);
  await page.locator("body").press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "q");
  await page.keyboard.press("Escape");
  const steps = await page.locator("a[data-key='j']").count() > 0 ? ["j", "k"] : ["k", "j"];
  await page.locator("body").press(steps[0]);
  await page.waitForURL((url) => url.pathname !== new URL(record).pathname);
  await page.locator("body").press(steps[1]);
  await page.waitForURL((url) => url.pathname === new URL(record).pathname);
  await page.goto("/");
  await page.locator("body").press("j");
  await page.locator(".card.here").waitFor();

  step("facets come by themselves, more images too");
  await page.goto(`/search?q=${encodeURIComponent(word)}`);
  await page.locator("#narrow details").first().waitFor();
  await page.setViewportSize({ width: 360, height: 780 });
  const first = await page.locator(".hit").first().boundingBox();
  assert.ok(first.y < 500, "on a telephone what was found comes before what it can be narrowed by");
  assert.ok(!await page.locator("#narrow details").first().isVisible());
  await page.locator("label[for='narrowing']").click();
  assert.ok(await page.locator("#narrow details").first().isVisible());
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.goto("/");
  await page.getByRole("link", { name: "Narrow down …" }).click();
  await page.locator("#narrow details").first().waitFor();
  await page.goto("/?limit=2");
  const cards = page.locator(".sheet .card");
  await page.waitForFunction(() => document.querySelectorAll(".sheet .card").length > 2);
  assert.ok(await cards.count() > 2);

  step("sign in, bring an image in, and see it being read");
  await signIn(page);
  await page.goto("/bring");
  await page.locator("#files").setInputFiles(upload);
  await page.getByLabel("Name of the batch").fill("brought by a browser");
  await page.locator("main").getByRole("button", { name: "Bring in" }).click();
  await page.waitForURL(/\/batch\//);
  const batch = page.url();
  await page.getByText("Everything is done.").waitFor({ timeout: PATIENCE });
  assert.ok(await page.locator(".thumbs img").count() >= 1);

  step("models disagree, a search is kept, many are asked, a record is taken out");
  await disagree(page);
  await keep(page);
  await many(page);
  await page.goto(record);
  const [taken] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "hOCR" }).click()]);
  assert.match(taken.suggestedFilename(), /\.hocr$/);

  step("a failed job tells its attempts");
  await page.goto("/failures");
  await page.locator(".examples .remark a").first().click();
  await page.waitForURL(/\/attempts\//);
  const attempts = page.url();
  assert.ok(await page.locator(".timeline li").count() >= 2);

  step("failures are tried again, an analyzer is paused and goes on");
  await page.goto("/failures");
  const groups = await page.locator(".group").count();
  if (groups > 0) {
    await page.getByRole("button", { name: "Try again" }).first().click();
    await page.locator(".did").waitFor();
    assert.match(await page.locator(".did").innerText(), /open again/);
  }
  await page.goto("/fleet");
  await page.getByRole("button", { name: "Pause tesseract-ocr" }).click();
  await page.getByRole("button", { name: "Resume tesseract-ocr" }).click();
  await page.getByRole("button", { name: "Pause tesseract-ocr" }).waitFor();

  step("who only looks at the fleet sees that somebody else has paused an analyzer, and keeps their place");
  await page.evaluate(() => { window.isTheSamePage = true; document.querySelector("nav a").focus(); });
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.getByLabel("Why tesseract-ocr is paused").fill("while the disk is changed");
  await other.getByRole("button", { name: "Pause tesseract-ocr" }).click();
  await page.getByText("paused on the web site: while the disk is changed").waitFor();
  await other.getByRole("button", { name: "Resume tesseract-ocr" }).click();
  await page.getByRole("button", { name: "Pause tesseract-ocr" }).waitFor();
  await other.close();
  assert.ok(await page.evaluate(() => window.isTheSamePage && document.activeElement.matches("nav a")));

  step("every page: axe, pictures, no complaint");
  const digest = new URL(record).pathname.split("/").pop();
  const pages = {
    gallery: "/", search: `/search?q=${encodeURIComponent(word)}&facets=1`, record: `/record/${digest}?q=${encodeURIComponent(word)}`,
    compare: `/compare/${digest}`, fleet: "/fleet", failures: "/failures", bring: "/bring", batch: new URL(batch).pathname,
    log: "/log", help: "/help", disagreements: "/disagreements", "batch-search": "/search/batch",
    attempts: attempts.slice(base.length), "sign-in": "/sign-in", missing: "/nowhere", wrong: "/search?q=(", nothing: "/search?q=zzzzqqqq",
  };
  if (given.gone) pages.gone = `/record/${given.gone}`;
  if (given.broken) pages.broken = `/record/${given.broken}`;
  for (const [name, path] of Object.entries(pages)) {
    await page.goto(path);
    await accessible(page, name);
    await picture(page, name);
  }
  await forget(page);
  if (given.broken) {
    await page.goto("/");
    const blank = page.locator(`a[href^="/record/${given.broken}"] img`);
    assert.match(await blank.getAttribute("alt"), /cannot be shown/);
    await blank.scrollIntoViewIfNeeded();
    await page.waitForFunction((image) => image.complete, await blank.elementHandle());
    assert.ok(await blank.evaluate((image) => image.naturalWidth > 0), "something is drawn where an image cannot be shown");
  }
  // A page that is not there, a query that is none and an image that is gone are answered with their status, which browsers note.
  const real = said.filter((text) => !/status of (400|404)/.test(text));
  assert.deepEqual(real, [], "the browser has nothing to complain about");
  await context.close();
}

async function plain() {
  const context = await launch({ javaScriptEnabled: false });
  const page = await context.newPage();
  step("without JavaScript: the same walk");
  await walk(page);
  await page.goto("/");
  await page.getByRole("link", { name: "Narrow down …" }).click();
  await page.waitForURL(/facets=1/);
  assert.ok(await page.locator("#narrow details").count() >= 3, "the gallery counts what it can be narrowed by");
  await page.goto("/?limit=2");
  await page.getByRole("link", { name: "More images" }).click();
  await page.waitForURL(/cursor=/);
  assert.ok(await page.locator(".sheet .card").count() >= 1);
  await page.goto(`/search?q=${encodeURIComponent(word)}`);
  await page.getByRole("link", { name: "Narrow down …" }).click();
  assert.ok(await page.locator("#narrow details").count() >= 1);
  await page.locator(".hit h2 a").first().click();
  if (await page.locator("label[for='boxes']").count()) {
    const shown = await page.locator("#boxes").isChecked();
    await page.locator("label[for='boxes']").click();
    assert.equal(await page.locator("#boxes").isChecked(), !shown, "boxes are shown and hidden without a script");
  }
  await signIn(page);
  await page.goto("/bring");
  await page.getByLabel("Addresses, one in a line").fill("file:///etc/passwd");
  await page.locator("main").getByRole("button", { name: "Bring in" }).click();
  assert.match(await page.locator("h1").innerText(), /only http and https/);
  await page.goto("/bring");
  await page.locator("#files").setInputFiles(upload);
  await page.locator("main").getByRole("button", { name: "Bring in" }).click();
  await page.waitForURL(/\/batch\//);
  await disagree(page);
  await keep(page);
  await forget(page);
  await many(page);
  await page.goto("/log");
  assert.match(await page.locator("main").innerText(), /images brought in/);
  assert.match(await page.locator("main").innerText(), /search saved/);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto("/bring");
  assert.ok(await page.getByRole("heading", { name: "Sign in first" }).isVisible());
  await context.close();
}

try {
  await mkdir(shots, { recursive: true });
  await scripted();
  await plain();
  console.log("the walk is over");
} finally {
  await rm(profile, { recursive: true, force: true });
}
