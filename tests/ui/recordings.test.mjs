/** What was recorded: sessions, their replay, single requests, and the signed log, checked in the browser. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertClean, launch, visit } from "./browser.mjs";
import { Demo } from "./demo.mjs";

let browser, demo;
before(async () => {
  [browser, demo] = await Promise.all([launch(), Demo.start()]);
  const chat = { model: "m", max_tokens: 100, stream: true };
  const messages = [{ role: "user", content: "Who pays? <b>bold</b> \u202eesrever\u202c" }];
  await demo.ask("/anthropic/v1/messages", {
    json: { ...chat, messages },
    session: "report",
  });
  await demo.ask("/openai/v1/chat/completions", {
    json: { ...chat, messages },
    session: "report",
  });
  const drop = await demo.ask("/warehouse/query", {
    json: { sql: "DROP TABLE orders" },
    session: "report",
  });
  assert.equal(drop.status, 403);
  await demo.ask("/customers", { method: "GET", session: "other" });
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** The session with the three requests above, opened by a click. */
async function openReport(page) {
  const row = page.locator("table.sessions tbody tr").filter({ hasText: "block 1" });
  await row.getByRole("link").click();
  await page.getByRole("region", { name: "Conversation" }).waitFor();
}

test("a stream is replayed as the agent saw it, with what was masked marked", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    path: "sessions",
  });
  await openReport(page);
  const talk = page.getByRole("region", { name: "Conversation" });
  const text = await talk.innerText();
  assert.ok(text.includes("Ada Lovelace writes from [email], pays with card [card …4242]"), text);
  assert.ok(text.includes("Who pays? <b>bold</b> \\u{202e}esrever\\u{202c}"), text);
  assert.ok(text.includes("DROP TABLE orders") && text.includes("Destructive SQL"), text);
  assert.equal(await talk.locator("b").count(), 0);
  // What masks put is known from the configuration, which may come behind the recording.
  for (const put of ["[email]", "[card …4242]", "[project]"])
    await talk.locator("mark.masked").getByText(put, { exact: true }).first().waitFor();
  const rail = page.getByRole("complementary", { name: "Decision" });
  assert.ok((await rail.innerText()).includes("no-destructive-sql"), "the last request is the one shown");
  const turns = page.getByRole("list", { name: "Requests" }).getByRole("button");
  assert.equal(await turns.count(), 3);
  await turns.nth(0).click();
  await rail.getByText("emails").waitFor();
  assert.match(await rail.innerText(), /cards\s+1/);
  assertClean(wrong);
  await close();
});

test("a replay plays, pauses and is scrubbed, by keyboard too", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    path: "sessions",
  });
  await openReport(page);
  const position = page.getByRole("slider", { name: "Position" });
  const talk = page.getByRole("region", { name: "Conversation" });
  const whole = (await talk.innerText()).length;
  await position.focus();
  await page.keyboard.press("Home");
  await page.waitForFunction((most) => document.querySelector(".talk").innerText.length < most / 2, whole);
  await page.getByRole("button", { name: "4×" }).click();
  assert.equal(await page.getByRole("button", { name: "4×" }).getAttribute("aria-pressed"), "true");
  await talk.focus();
  await page.keyboard.press("Space");
  // It ends by itself, with everything said.
  await page.waitForFunction((most) => document.querySelector(".talk").innerText.length >= most, whole);
  await page.getByRole("button", { name: "Play", exact: true }).waitFor();
  await page.keyboard.press("ArrowLeft");
  await page.waitForFunction((most) => document.querySelector(".talk").innerText.length < most, whole);
  assertClean(wrong);
  await close();
});

test("a request shows its decision, its stages and both bodies, and is proven", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    path: "sessions",
  });
  await openReport(page);
  await page.getByRole("region", { name: "Conversation" }).getByRole("link").first().click();
  await page.getByRole("heading", { name: "Stages" }).waitFor();
  const text = await page.locator("main").innerText();
  for (const word of ["allow", "default", "ringward.toml:", "big-spend", "first byte", "agent-7"]) {
    assert.ok(text.includes(word), `${word}: ${text}`);
  }
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("(INTENT) is in the log of").waitFor();
  assertClean(wrong);
  await close();
});

test("the browser checks the log, and notices one that is not the log it knew", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "robin",
    path: "audit",
  });
  await page.getByText("verified", { exact: true }).waitFor();
  await page.getByText("a key that this browser sees for the first time").waitFor();
  await demo.ask("/customers", { method: "GET" });
  await page.reload();
  await page.getByText("the key that this browser knows").waitFor();
  await page.getByText(/records of .* are its beginning, unchanged/).waitFor();
  await page.getByRole("spinbutton", { name: "Record number" }).fill("2");
  await page.getByRole("button", { name: "Prove" }).click();
  await page.getByText(/record 2 .*is in the log of/).waitFor();
  // What this browser kept says something else of the first records than the log does now.
  await page.evaluate(() => {
    const name = Object.keys(localStorage).find((key) => key.startsWith("log "));
    const kept = JSON.parse(localStorage.getItem(name));
    const lines = kept.note.split("\n");
    lines[2] = btoa(String.fromCharCode(...new Uint8Array(32).fill(7)));
    localStorage.setItem(name, JSON.stringify({ ...kept, note: lines.join("\n") }));
  });
  await page.getByRole("button", { name: "Check again" }).click();
  await page.getByText("not to be trusted").waitFor();
  await page.getByText(/are not those that were signed before/).waitFor();
  assertClean(wrong);
  await close();
});

test("sessions are found by caller and by route", async () => {
  const { page, wrong, close } = await visit(browser, demo, { path: "sessions" });
  const rows = page.locator("table.sessions tbody tr");
  await rows.nth(1).waitFor();
  const [caller, route] = ["Caller", "Route"].map((name) => page.getByRole("searchbox", { name }));
  await route.fill("openai");
  await rows.nth(1).waitFor({ state: "detached" });
  assert.match(await rows.nth(0).innerText(), /block 1/, "that of the report alone");
  await route.fill("nowhere");
  await page.getByText("No session fits").waitFor();
  await route.fill("");
  await caller.fill("agent-8");
  await page.getByText("No session fits").waitFor();
  await caller.fill("agent-7");
  await rows.nth(1).waitFor();
  assertClean(wrong);
  await close();
});

test("a proof with one changed bit proves nothing", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "robin",
    path: "audit",
  });
  await page.getByText("verified", { exact: true }).waitFor();
  await page.route("**/api/v1/audit/prove?*", async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).split("\n");
    const path = body[3];
    body[3] = (path.startsWith("A") ? "B" : "A") + path.slice(1);
    await route.fulfill({ response, body: body.join("\n") });
  });
  await page.getByRole("spinbutton", { name: "Record number" }).fill("2");
  await page.getByRole("button", { name: "Prove" }).click();
  await page.getByText(/not in the tree of the checkpoint/).waitFor();
  assertClean(wrong);
  await close();
});
