/** Every page, light and dark, wide and narrow: no serious finding of axe, nothing wider than the screen. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, assertClean, launch, visit } from "./browser.mjs";
import { Demo } from "./demo.mjs";

let browser, demo, held;
before(async () => {
  [browser, demo] = await Promise.all([launch(), Demo.start()]);
  await demo.ask("/customers", { method: "GET", session: "one" });
  await demo.ask("/warehouse/query", {
    json: { sql: "DROP TABLE orders" },
    session: "one",
  });
  held = demo.spend("Something to decide about", { session: "two" }).catch(() => {});
});
after(async () => {
  await browser?.close();
  await demo?.stop();
  await held;
});

const PAGES = [
  "",
  "approvals",
  "sessions",
  "policy",
  "policy/+new",
  "connections",
  "connections/add",
  "identity",
  "audit",
  "host",
];

/** Goes where a click on the first row leads. */
async function follow(page, path, selector) {
  await page.goto(demo.ui + path);
  await page.locator(selector).first().click();
  await page.waitForURL((url) => !url.pathname.endsWith(path));
}

for (const theme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    test(`${theme}, ${width} wide`, async () => {
      const { page, wrong, close } = await visit(browser, demo, {
        theme,
        width,
      });
      const look = async (where) => {
        await page.locator("main h1").first().waitFor();
        await page.locator(".waiting").first().waitFor({ state: "detached" });
        await assertAccessible(page, `${where} ${theme} ${width}`);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(over <= 0, `${where} is ${over} px too wide at ${width}`);
      };
      for (const path of PAGES) {
        await page.goto(demo.ui + path);
        await look(path || "now");
      }
      await follow(page, "sessions", "table.sessions tbody a");
      await look("replay");
      await page.locator(".talk a").first().click();
      await page.getByRole("heading", { name: "Proof" }).waitFor();
      await look("request");
      await follow(page, "approvals", ".queue .cards a");
      await page.keyboard.press("a");
      await look("a card that is approved");
      await page.keyboard.press("Escape");
      await page.keyboard.press("d");
      await look("a card that is denied");
      assertClean(wrong);
      await close();
    });
  }
}

test("the page may not be framed, and takes nothing from elsewhere", async () => {
  const response = await fetch(demo.ui);
  const policy = response.headers.get("content-security-policy");
  assert.ok(policy.includes("frame-ancestors 'none'") && !policy.includes("unsafe"), policy);
  assert.equal(response.headers.get("x-content-type-options"), "nosniff");
  const script = /src="(\/ui\/assets\/[^"]+)"/.exec(await response.text())[1];
  const asset = await fetch(new URL(script, demo.ui));
  assert.match(asset.headers.get("cache-control"), /immutable/);
  const again = await fetch(new URL(script, demo.ui), {
    headers: { "if-none-match": asset.headers.get("etag") },
  });
  assert.equal(again.status, 304);
  const root = await fetch(demo.ready.admin, { redirect: "manual" });
  assert.equal(root.headers.get("location"), "/ui/");
});
