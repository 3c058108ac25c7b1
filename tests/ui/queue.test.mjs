/** What waits: found from the demo's own words, and many requests of one caller as one card. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, assertClean, launch, visit } from "./browser.mjs";
import { Demo } from "./demo.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const decide = async (card) => {
  await card.getByRole("button", { name: "Approve" }).click();
  await card.getByRole("button", { name: "Approve once" }).click();
};

test("the address that the demo prints leads through the login to the card that waits", async (t) => {
  const demo = await Demo.shown();
  t.after(() => demo.stop());
  const [, command] = await demo.printed.find(/# More than 40,000 tokens wait[^\n]*\n([^]+?)\n\n/);
  const asked = demo.paste(command);
  const [, id, url] = await demo.printed.find(/^(apr_\S+) waits for you: (\S+)$/m);
  assert.ok(url.startsWith(demo.ui), url);
  const { page, wrong, close } = await visit(browser, demo, { as: "sam", path: url.slice(demo.ui.length) });
  const card = page.locator("article.card");
  await card.getByText(id, { exact: true }).waitFor();
  await card.getByText("More than 40,000 output tokens.").waitFor();
  const [paint] = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint"));
  t.diagnostic(`first contentful paint after ${Math.round(paint?.startTime ?? 0)} ms`);
  await decide(card);
  const answer = JSON.parse(await asked);
  assert.equal(answer.role, "assistant", JSON.stringify(answer));
  await card.getByText("Approved and sent").waitFor();
  assertClean(wrong);
  await close();
});

test("many requests of one caller under one policy are one card that unfolds", async (t) => {
  const demo = await Demo.start();
  t.after(() => demo.stop());
  const { page, wrong, close } = await visit(browser, demo, { as: "sam", path: "approvals" });
  await page.getByText("Nothing waits for you").waitFor();
  const rows = page.locator(".queue .cards .row");
  const asked = [];
  for (const session of ["first", "second", "third"]) {
    asked.push(demo.spend(`The ${session}`, { session }));
    // The order in which they came is that of their cards.
    await page.getByText(`${asked.length} request`, { exact: false }).first().waitFor();
  }
  const other = demo.ask("/customers/c-1003", { method: "DELETE", session: "other" });
  await page.getByText("4 requests waiting").waitFor();
  assert.equal(await rows.count(), 2, "one for each policy");
  const fold = page.getByRole("button", { name: "2 more of this caller and policy" });
  assert.equal(await fold.getAttribute("aria-expanded"), "false");
  const card = page.locator("article.card");
  await card.getByText("first", { exact: true }).waitFor();
  // What is folded is passed over.
  await page.keyboard.press("j");
  await card.getByText("other", { exact: true }).waitFor();
  await fold.click();
  assert.equal(await rows.count(), 4);
  await assertAccessible(page, "an unfolded group");
  await rows.nth(1).click();
  await card.getByText("second", { exact: true }).waitFor();
  await decide(card);
  assert.equal((await asked[1]).status, 200);
  await page.getByText("3 requests waiting").waitFor();
  await page.getByRole("button", { name: "1 more of this caller and policy" }).click();
  assert.equal(await rows.count(), 2);
  await rows.nth(0).click();
  await card.getByText("first", { exact: true }).waitFor();
  await decide(card);
  assert.equal((await asked[0]).status, 200);
  // The one behind it stands for itself now.
  await page.getByText("2 requests waiting").waitFor();
  assert.equal(await page.locator(".queue .fold").count(), 0);
  for (const session of ["third", "other"]) {
    await rows.filter({ hasText: session === "other" ? "DELETE" : "POST" }).click();
    await card.getByText(session, { exact: true }).waitFor();
    await page.keyboard.press("d");
    await page.getByRole("textbox", { name: /Reason/ }).fill("No.");
    await page.keyboard.press("Enter");
    await card.getByText("Denied").first().waitFor();
  }
  assert.equal((await asked[2]).status, 403);
  assert.equal((await other).status, 403);
  assertClean(wrong);
  await close();
});
