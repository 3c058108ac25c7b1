/** A browser that notices what must never happen: errors, blocked sources, dialogs, requests elsewhere. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const DEADLINE_MS = 15_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function launch() {
  // Chromium's own sandbox needs what containers do not give.
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: ["--no-sandbox", "--disable-gpu"],
  });
}

/** A page of its own, signed in as one of the demo's people, and what it did wrong. */
export async function visit(
  browser,
  demo,
  { as = "alex", width = 1280, theme = "light", path = "", init } = {},
) {
  const height = width < 600 ? 844 : 800;
  const options = {
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: "reduce",
  };
  const context = await browser.newContext(options);
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  const wrong = [];
  const own = [new URL(demo.ready.admin).host, new URL(demo.ready.issuer).host];
  page.on("console", (message) => {
    const { url } = message.location();
    // The issuer's page is not ours.
    if (message.type() === "error" && !url.startsWith(demo.ready.issuer))
      wrong.push(`${message.text()} ${url}`);
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  context.on("request", (request) => {
    if (!own.includes(new URL(request.url()).host)) wrong.push(`request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  if (init) await page.addInitScript(init);
  await page.goto(demo.ui + path);
  if (as) await signIn(page, demo, as, path);
  return { page, wrong, close: () => context.close() };
}

async function signIn(page, demo, as, path) {
  await page.getByRole("link", { name: "Sign in" }).click();
  await page.locator(`button[value="${as}"]`).click();
  await page.waitForURL(demo.ui + path);
  await page.locator("main#main h1").waitFor();
}

/** Nothing went wrong, but for what a test expects: a question to the gateway that it refuses. */
export function assertClean(wrong, expected = /(?!)/) {
  // Who is not logged in yet is told so: the browser notes the 401.
  const known = (text) => /status of 401/.test(text) || expected.test(text);
  assert.deepEqual(
    wrong.filter((text) => !known(text)),
    [],
  );
}

/** Findings of axe that people are hindered by. */
export async function assertAccessible(page, where) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, {
      resultTypes: ["violations"],
      runOnly: ["wcag2a", "wcag2aa", "wcag21aa"],
    }),
  );
  const said = violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(said, [], where);
}
