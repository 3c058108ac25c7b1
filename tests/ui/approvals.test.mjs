/** Held requests, decided in the browser. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, assertClean, launch, visit } from "./browser.mjs";
import { Demo } from "./demo.mjs";

let browser, demo;
before(async () => {
  [browser, demo] = await Promise.all([launch(), Demo.start()]);
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

const cards = (page) => page.locator(".queue .cards li");
/** Opens the youngest card, which must be that of this session. */
async function open(page, session) {
  await cards(page).last().click();
  const card = page.locator("article.card");
  await card.getByText(session, { exact: true }).waitFor();
  return card;
}

test("an answer that comes behind newer events changes nothing", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "sam",
    path: "approvals",
  });
  const card = page.locator("article.card");
  const delivered = card.getByText("its answer was delivered whole");
  await page.route("**/decision", async (route) => {
    const response = await route.fetch();
    assert.equal((await response.json()).outcome, "it is being sent");
    await delivered.waitFor();
    await route.fulfill({ response });
  });
  const asked = demo.spend("Write to grace@example.com", { session: "late" });
  await card.getByText("late", { exact: true }).waitFor();
  await card.getByRole("button", { name: "Approve" }).click();
  const answered = page.waitForResponse("**/decision");
  await card.getByRole("button", { name: "Approve once" }).click();
  assert.equal((await asked).status, 200);
  await (await answered).finished();
  await card.getByText("Approved and sent").waitFor();
  assert.ok(await delivered.isVisible(), await card.innerText());
  assertClean(wrong);
  await close();
});

test("a held request appears by itself, is approved once, and is sent", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "sam",
    path: "approvals",
  });
  await page.getByText("Nothing waits for you").waitFor();
  const asked = demo.spend("Write to ada@example.com", { session: "one" });
  const card = page.locator("article.card");
  await card.getByText("one", { exact: true }).waitFor();
  const text = await card.innerText();
  const order = [
    "agent-7",
    "grace.hopper@example.com",
    "claimed by the client",
    "/anthropic/v1/messages",
    "Model",
    "[email]",
    "More than 40,000 output tokens.",
    "big-spend",
    "ringward.toml:",
    "anthropic",
  ];
  for (const word of order) assert.ok(text.includes(word), `${word} is missing: ${text}`);
  assert.ok(!text.includes("ada@example.com"), "it is masked for people, too");
  assert.ok(
    text.indexOf("Who") < text.indexOf("What") && text.indexOf("What") < text.indexOf("Why it waits"),
  );
  assert.match(await page.locator(".time-left b").innerText(), /^1[23]:\d\d$/);
  assert.match(await page.title(), /^\(1\) Approvals/);
  await card.getByRole("button", { name: "Approve" }).click();
  await card.getByRole("button", { name: "Approve once" }).click();
  assert.equal((await asked).status, 200);
  await card.getByText("Approved and sent").waitFor();
  assertClean(wrong);
  await close();
});

test("a denial needs a reason, and the agent reads it", async () => {
  const { page, wrong, close } = await visit(browser, demo, { as: "sam" });
  const asked = demo.spend("Spend it all", { session: "two" });
  await page
    .getByRole("link", { name: /Approvals/ })
    .first()
    .click();
  const card = await open(page, "two");
  await card.getByRole("button", { name: "Deny" }).click();
  assert.ok(await card.getByRole("button", { name: "Deny" }).isDisabled(), "no reason, no denial");
  await card.getByRole("textbox", { name: /Reason/ }).fill("Not on a Friday.");
  await card.getByRole("button", { name: "Deny" }).click();
  const { status, body } = await asked;
  assert.equal(status, 403);
  assert.ok(JSON.parse(body).error.message.includes("Not on a Friday."), body);
  await card.getByText("Denied").first().waitFor();
  await card.getByText("Not on a Friday.").waitFor();
  assertClean(wrong);
  await close();
});

test("an approval for the session opens a grant that can be revoked", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "sam",
    path: "approvals",
  });
  const asked = demo.spend("First of many", { session: "three" });
  const card = await open(page, "three");
  await card.getByRole("button", { name: "Approve" }).click();
  await card.getByRole("radio", { name: /This session/ }).check();
  await card.getByRole("textbox", { name: /Note/ }).fill("Migration day.");
  await card.getByRole("button", { name: "Approve for this session" }).click();
  assert.equal((await asked).status, 200);
  assert.equal((await demo.spend("Second of many", { session: "three" })).status, 200, "the grant covers it");
  await page.getByRole("button", { name: "Grants & freezes" }).click();
  const grant = page.locator(".standing-row").first();
  await grant.getByText("big-spend").waitFor();
  assert.match(await grant.innerText(), /used [12] of 50/);
  await grant.getByRole("button", { name: "Revoke" }).click();
  await page.getByText("No grant stands").waitFor();
  assertClean(wrong);
  await close();
});

test("the keyboard alone finds, reads and decides", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "sam",
    path: "approvals",
  });
  const first = demo.spend("Number one", { session: "k-1" });
  await cards(page).nth(0).waitFor();
  const second = demo.ask("/customers/c-1003", {
    method: "DELETE",
    session: "k-2",
  });
  await cards(page).nth(1).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.locator("article.card").getByText("k-2", { exact: true }).waitFor();
  await page.keyboard.press("k");
  await page.locator("article.card").getByText("k-1", { exact: true }).waitFor();
  await page.keyboard.press("a");
  await page.getByRole("button", { name: "Approve once" }).waitFor();
  await page.keyboard.press("Enter");
  assert.equal((await first).status, 200);
  await page.locator("article.card").getByText("Approved and sent").waitFor();
  await page.keyboard.press("j");
  await page.locator("article.card").getByText("k-2", { exact: true }).waitFor();
  await page.keyboard.press("d");
  await page.getByRole("textbox", { name: /Reason/ }).waitFor();
  await page.keyboard.type("Keep that customer, and j and a are letters here.");
  await page.keyboard.press("Enter");
  const denied = await second;
  assert.equal(denied.status, 403);
  assert.ok(denied.body.includes("j and a are letters here"), denied.body);
  assertClean(wrong);
  await close();
});

// Letters that were meant for a reason opened the other form, and a space between them approved.
test("whoever writes into nothing decides nothing", async () => {
  const asked = demo.spend("Archive", { session: "prose" });
  // The first letter of the second one opens the form, and the next closes it. A space presses no button.
  for (const keys of [["Use the archive instead of this"], ["a reason", "Enter"], ["a", "Space"]]) {
    const { page, wrong, close } = await visit(browser, demo, { as: "sam", path: "approvals" });
    const card = await open(page, "prose");
    for (const one of keys) {
      if (one.length > 1 && one.includes(" ")) await page.keyboard.type(one);
      else await page.keyboard.press(one);
    }
    const form = page.getByRole("button", { name: "Approve once" });
    if (keys.at(-1) === "Space") await form.waitFor();
    else await card.getByRole("button", { name: /^Deny/ }).waitFor();
    if (keys.at(-1) === "Space") {
      await page.keyboard.press("d");
      await page.getByRole("textbox", { name: /Reason/ }).fill("Use the archive instead.");
      await page.keyboard.press("Enter");
    }
    assertClean(wrong);
    await close();
  }
  const { status, body } = await asked;
  assert.equal(status, 403, body);
});

// The card that had been looked at there was still shown, for up to a second.
test("keys are for the card of the list that was chosen", async () => {
  const { page, wrong, close } = await visit(browser, demo, { as: "sam", path: "approvals" });
  const first = demo.spend("Decided", { session: "v-1" });
  await open(page, "v-1");
  await page.keyboard.press("d");
  await page.getByRole("textbox", { name: /Reason/ }).fill("No.");
  await page.keyboard.press("Enter");
  assert.equal((await first).status, 403);
  const second = demo.spend("Waits", { session: "v-2" });
  await page.getByRole("list", { name: "Waiting requests" }).getByRole("listitem").first().waitFor();
  await page.getByRole("button", { name: /^Decided/ }).click();
  await page.getByRole("list", { name: "Decided requests" }).getByRole("link").first().waitFor();
  await page.getByRole("button", { name: /^Waiting/ }).click();
  await page.keyboard.press("d");
  await page.getByRole("textbox", { name: /Reason/ }).fill("No, again.");
  await page.keyboard.press("Enter");
  assert.equal((await second).status, 403);
  assertClean(wrong);
  await close();
});

test("two who decide at once: the second is told, and sees how it is", async () => {
  const asked = demo.spend("Race", { session: "race" });
  const one = await visit(browser, demo, { as: "sam", path: "approvals" });
  const other = await visit(browser, demo, { as: "alex", path: "approvals" });
  await open(one.page, "race");
  await one.page.keyboard.press("a");
  await one.page.getByRole("button", { name: "Approve once" }).waitFor();
  // The second does not hear of it before it has decided itself.
  await other.page.route("**/api/v1/events*", (route) => route.abort());
  await open(other.page, "race");
  await other.page.keyboard.press("a");
  await one.page.keyboard.press("Enter");
  assert.equal((await asked).status, 200);
  await other.page
    .locator("article.card")
    .getByText(/Approved and sent|is consumed already/)
    .first()
    .waitFor();
  assertClean(one.wrong);
  await one.close();
  await other.close();
});

test("the same request with other bytes is another revision, and says what differs", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "sam",
    path: "approvals",
  });
  const path = "/anthropic/v1/messages";
  const body = (user) => ({
    model: "m",
    max_tokens: 50_000,
    metadata: { user_id: user },
    messages: [{ role: "user", content: "Same question" }],
  });
  const first = demo.ask(path, { json: body("u-1"), session: "rev" });
  const card = await open(page, "rev");
  await page.keyboard.press("a");
  await page.getByRole("button", { name: "Approve once" }).waitFor();
  const second = demo.ask(path, { json: body("u-2"), session: "rev" });
  await card.getByText("Changed since revision 1").waitFor();
  await card.getByText("revision 2", { exact: true }).waitFor();
  // What was about to be approved is not there any more.
  assert.equal(await page.getByRole("button", { name: "Approve once" }).count(), 0);
  await page.keyboard.press("d");
  await page.getByRole("textbox", { name: /Reason/ }).fill("Make up your mind.");
  await page.keyboard.press("Enter");
  assert.equal((await second).status, 403);
  await first;
  assertClean(wrong);
  await close();
});

test("what an agent wrote is text and nothing else", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "sam",
    path: "approvals",
  });
  const hostile =
    '<img src="http://evil.example/x.png" onerror="alert(1)"><script>alert(2)</script>' +
    "[click](javascript:alert(3)) https://evil.example/ \u202eelbisivni\u202c \u200bzero\u2066 \u001b[31mred";
  const asked = demo.spend(hostile, { session: "inert" });
  const card = await open(page, "inert");
  const block = card.getByRole("region", { name: "The request's body" });
  const text = await block.innerText();
  for (const word of [
    "<img src=",
    "<script>alert(2)</script>",
    "https://evil.example/",
    "\\u{202e}",
    "\\u{200b}",
  ]) {
    assert.ok(text.includes(word), `${word}: ${text}`);
  }
  assert.ok(!/[\u202a-\u202e\u2066-\u2069\u200b\u001b]/.test(await page.locator("body").innerText()));
  assert.equal(await card.locator("img, script, b b, iframe, section pre a").count(), 0);
  assert.equal(await card.locator('a[href*="evil"], a[href^="javascript"]').count(), 0);
  assert.ok((await card.locator(".hidden-mark").count()) >= 4);
  await card.getByRole("button", { name: "As sent" }).click();
  assert.ok((await block.innerText()).includes("alert(2)"));
  await page.keyboard.press("d");
  await page.getByRole("textbox", { name: /Reason/ }).fill("No.");
  await page.keyboard.press("Enter");
  assert.equal((await asked).status, 403);
  assertClean(wrong);
  await close();
});

test("a freeze is foreseen, ordered and taken away in the browser, and ends what is silent", async (t) => {
  const own = await Demo.start();
  t.after(() => own.stop());
  const { page, wrong, close } = await visit(browser, own, { as: "sam", path: "approvals" });
  const asked = own.spend("Stop me", { session: "stop" });
  const card = page.locator("article.card");
  await card.getByText("stop", { exact: true }).waitFor();
  await card.getByRole("button", { name: "Freeze this caller" }).click();
  const dialog = page.getByRole("dialog", { name: "Freeze" });
  assert.equal(await dialog.getByRole("textbox", { name: "Name" }).inputValue(), "agent-7");
  assert.ok(await dialog.getByRole("button", { name: "Freeze…" }).isDisabled(), "no reason, no stop");
  await dialog.getByRole("textbox", { name: /Reason/ }).fill("Looking into it.");
  await assertAccessible(page, "the dialog of a freeze");
  await dialog.getByRole("button", { name: "Freeze…" }).click();
  await dialog.getByText("subject agent-7 is stopped").waitFor();
  await dialog.getByText(/pending, then denied/).waitFor();
  // Until here nothing has happened.
  assert.equal((await own.ask("/customers/c-1003", { method: "GET" })).status, 200);
  await dialog.getByRole("button", { name: "Freeze now" }).click();
  await dialog.waitFor({ state: "detached" });
  const stopped = await asked;
  assert.equal(stopped.status, 403);
  assert.equal(JSON.parse(stopped.body).code, "frozen", stopped.body);
  assert.equal((await own.ask("/customers/c-1003", { method: "GET" })).status, 403);
  await page.getByRole("button", { name: "Grants & freezes" }).click();
  const row = page.locator(".standing-row").filter({ hasText: "Looking into it." });
  await row.getByText("subject agent-7").waitFor();
  await row.getByRole("button", { name: "Thaw" }).click();
  await page.getByText("Nobody is stopped").waitFor();
  assert.equal((await own.ask("/customers/c-1003", { method: "GET" })).status, 200);
  await page.getByRole("button", { name: "Freeze somebody" }).click();
  await dialog.getByRole("radio", { name: /Everything/ }).check();
  assert.equal(await dialog.getByRole("textbox", { name: "Name" }).count(), 0);
  assertClean(wrong);
  await close();
});

test("several must approve: each once, and never who owns the caller", async (t) => {
  const own = await Demo.start();
  t.after(() => own.stop());
  own.change((text) =>
    text
      .replace("approval = { self = true }", 'approval = { min = 2, by = ["group:sre", "user:alex"] }')
      .replace('"group:sre", {', '"group:sre", "user:alex", {'),
  );
  const sam = await visit(browser, own, { as: "sam", path: "approvals" });
  const grace = await visit(browser, own, { as: "grace", path: "approvals" });
  const alex = await visit(browser, own, { as: "alex", path: "approvals" });
  const asked = own.spend("Two of you", { session: "several" });
  const approve = async ({ page }) => {
    const card = await open(page, "several");
    await card.getByRole("button", { name: "Approve" }).click();
    await card.getByRole("button", { name: "Approve once" }).click();
    return card;
  };
  const own_card = await approve(grace);
  await own_card.getByText(/is the owner of the caller: somebody else must approve/).waitFor();
  const first = await approve(sam);
  await first.getByText("You have approved it; somebody else must too.").waitFor();
  assert.ok(await first.getByRole("button", { name: "Approve" }).isDisabled(), "once each");
  await approve(alex);
  assert.equal((await asked).status, 200);
  for (const { page } of [sam, alex])
    await page.locator("article.card").getByText("Approved and sent").waitFor();
  assertClean(sam.wrong);
  assertClean(alex.wrong);
  assertClean(grace.wrong, /status of 403/);
  for (const visitor of [sam, grace, alex]) await visitor.close();
});

/** Notes the notifications that a page shows, and lets a test click them. */
function noting() {
  window.noted = [];
  window.Notification = class {
    static permission = "default";
    static async requestPermission() {
      return (window.Notification.permission = "granted");
    }
    constructor(title, options) {
      window.noted.push({ title, ...options, click: () => this.onclick() });
    }
    close() {}
  };
}

test("whoever wants it is notified, without a word of the agent's, and led to the card", async (t) => {
  const own = await Demo.start();
  t.after(() => own.stop());
  const { page, wrong, close } = await visit(browser, own, { as: "sam", path: "", init: noting });
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Notify: off" }).click();
  await page.getByRole("button", { name: "Notify: on" }).waitFor();
  const asked = own.spend("Secret words", { session: "notice" });
  await page.waitForFunction(() => window.noted.length === 1);
  const noted = await page.evaluate(() => window.noted[0]);
  assert.match(noted.body, /big-spend.*anthropic/);
  assert.ok(!/Secret words|notice/.test(JSON.stringify(noted).replace("noted", "")), JSON.stringify(noted));
  await page.evaluate(() => window.noted[0].click());
  const card = page.locator("article.card");
  await card.getByText("notice", { exact: true }).waitFor();
  await card.getByRole("button", { name: "Approve" }).click();
  await card.getByRole("button", { name: "Approve once" }).click();
  assert.equal((await asked).status, 200);
  assertClean(wrong);
  await close();
});

test("somebody with another role is not shown what they may not have", async () => {
  const { page, wrong, close } = await visit(browser, demo, { as: "riley" });
  const pages = await page.getByRole("navigation", { name: "Pages" }).getByRole("link").allInnerTexts();
  assert.ok(pages.includes("Now") && !pages.includes("Approvals") && !pages.includes("Audit"), pages.join());
  await page.getByText("All well").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("link", { name: "Sign in" }).waitFor();
  assertClean(wrong);
  await close();
});

/** Lets a test break the stream of events as a network does. */
function breakable() {
  const real = window.fetch;
  window.streams = [];
  window.fetch = async (input, init) => {
    const response = await real(input, init);
    if (!String(input).includes("/api/v1/events")) return response;
    const cut = new AbortController();
    window.streams.push({ cut, last: init.headers["last-event-id"] });
    const body = response.body.pipeThrough(new TransformStream(), {
      signal: cut.signal,
    });
    return new Response(body, { status: response.status });
  };
}

test("a stream that breaks goes on where it was", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    as: "sam",
    path: "approvals",
    init: breakable,
  });
  await page.getByText("Live", { exact: true }).waitFor();
  const asked = demo.spend("Before", { session: "before" });
  await open(page, "before");
  await page.evaluate(() => window.streams.at(-1).cut.abort());
  await page.waitForFunction(() => window.streams.length === 2);
  assert.match(await page.evaluate(() => window.streams[1].last), /^[1-9]\d*$/);
  const other = demo.ask("/customers/c-1002", {
    method: "DELETE",
    session: "after",
  });
  await cards(page).nth(1).waitFor();
  await open(page, "after");
  for (const [session, answer] of [
    ["after", other],
    ["before", asked],
  ]) {
    const card = await open(page, session);
    await page.keyboard.press("a");
    await page.getByRole("button", { name: "Approve once" }).waitFor();
    await page.keyboard.press("Enter");
    assert.ok([200, 204].includes((await answer).status), session);
    // Once it has left the queue, the youngest is the other one.
    await card.getByText("Approved and sent").waitFor();
  }
  assertClean(wrong);
  await close();
});

/** Puts off what a page does behind its next frame, as a busy machine does. */
function tardy() {
  const [timeout, frame] = [window.setTimeout, window.requestAnimationFrame];
  window.setTimeout = (act, ms, ...rest) => timeout(act, Math.max(ms ?? 0, 400), ...rest);
  window.requestAnimationFrame = (act) => frame((now) => timeout(act, 400, now));
}

test("keys are heard as soon as what they act on is seen", async () => {
  const { page, wrong, close } = await visit(browser, demo, { as: "sam", path: "approvals", init: tardy });
  const asked = demo.spend("Quick", { session: "quick" });
  await page.locator("article.card").getByText("quick", { exact: true }).waitFor();
  await page.keyboard.press("a");
  await page.getByRole("button", { name: "Approve once" }).waitFor();
  await page.keyboard.press("Enter");
  assert.equal((await asked).status, 200);
  assertClean(wrong);
  await close();
});

test("a connection that does not come back is said to be lost", async () => {
  const own = await Demo.start();
  const { page, close } = await visit(browser, own, {
    as: "sam",
    path: "approvals",
  });
  await page.getByText("Live", { exact: true }).waitFor();
  await own.kill();
  await page.getByText("Connection lost.").waitFor();
  await page.getByText("Connection lost", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Try now" }).waitFor();
  await close();
  await own.stop();
});
