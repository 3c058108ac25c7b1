/** Takes the pictures of the README, from a demo with real traffic: `node tests/ui/screenshots.mjs`. */

import { mkdirSync } from "node:fs";
import { launch, visit } from "./browser.mjs";
import { Demo } from "./demo.mjs";

const OUT = new URL("../../ui/screenshots/", import.meta.url).pathname;
mkdirSync(OUT, { recursive: true });

const [browser, demo] = await Promise.all([launch(), Demo.start()]);
const waiting = [];
const chat = (path, content, session, more = {}) =>
  demo.ask(path, {
    json: {
      model: "m",
      max_tokens: 800,
      stream: true,
      messages: [{ role: "user", content }],
      ...more,
    },
    session,
  });

for (let index = 0; index < 5; index += 1) {
  await demo.ask("/customers", { method: "GET", session: "support-42" });
  await chat("/anthropic/v1/messages", "Which customers asked about their invoice?", "support-42");
}
await chat("/openai/v1/chat/completions", "Write the nightly report about new customers.", "nightly-report");
await demo.ask("/warehouse/query", {
  json: { sql: "SELECT count(*) FROM orders" },
  session: "nightly-report",
});
await demo.ask("/warehouse/query", {
  json: { sql: "DROP TABLE orders" },
  session: "nightly-report",
});
const tools = [{ name: "send_mail", input_schema: { type: "object" } }];
await chat("/anthropic/v1/messages", "Please use send_mail to tell Ada about it.", "nightly-report", {
  tools,
});
const plan =
  "Refactor the billing module and write the migration. " +
  "Test customer: ada@example.com, card 4242 4242 4242 4242.";
waiting.push(
  chat("/anthropic/v1/messages", plan, "refactor-billing", {
    max_tokens: 64_000,
  }),
);
waiting.push(demo.ask("/customers/c-1003", { method: "DELETE", session: "support-42" }));

for (const theme of ["light", "dark"]) {
  const { page, close } = await visit(browser, demo, {
    theme,
    path: "approvals",
  });
  const shoot = (name) => page.screenshot({ path: `${OUT}${name}-${theme}.png` });
  const go = (path) => page.goto(demo.ui + path);
  await page.locator(".queue .cards li").nth(1).waitFor();
  await page.locator(".queue .cards a").first().click();
  await page.getByText("the client waits").waitFor();
  await shoot("approvals");
  await go("");
  await page.getByText("Latest requests").waitFor();
  // The line needs some looks with requests between them.
  for (let index = 0; index < 9; index += 1) {
    await demo.ask("/customers", { method: "GET", session: "support-42" });
    await page.waitForResponse("**/metrics");
  }
  await shoot("now");
  await go("sessions");
  await page.locator("table.sessions tbody tr").filter({ hasText: "block 1" }).getByRole("link").click();
  await page.locator(".turns button").first().click();
  await page.locator("mark.masked").first().waitFor();
  await shoot("replay");
  await go("audit");
  await page.getByText("verified", { exact: true }).waitFor();
  await shoot("audit");
  await go("policy");
  await page.getByText("no-destructive-sql").first().waitFor();
  await shoot("policy");
  await close();
}
await browser.close();
await demo.stop();
await Promise.allSettled(waiting);
