/** Policies and connections, changed in the browser; and a card that nobody decides about. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { assertClean, launch, visit } from "./browser.mjs";
import { Demo } from "./demo.mjs";

/** The browser notes answers that refuse. */
const REFUSED = /status of 4(04|12|22)/;

let browser, demo, upstream, address;
before(async () => {
  [browser, demo] = await Promise.all([launch(), Demo.start()]);
  upstream = createServer((request, response) => response.end(`${request.method} ${request.url}`));
  await new Promise((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${upstream.address().port}`;
});
after(async () => {
  upstream?.close();
  await browser?.close();
  await demo?.stop();
});

test("a policy is written only once it is good, and keeps its comments", async () => {
  const { page, wrong, close } = await visit(browser, demo, { path: "policy" });
  await page.getByText("no-destructive-sql").first().waitFor();
  await page.getByRole("link", { name: "New file" }).click();
  await page.getByRole("textbox", { name: /Name/ }).fill("exports");
  const text = page.getByRole("textbox", { name: "TOML" });
  await text.fill('[[policy]]\nname = "exports"\nwhen = { paths = "/x" }\naction = "block"\n');
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByText("not written", { exact: true }).waitFor();
  const found = await page.getByRole("alert").innerText();
  assert.ok(found.includes("policies.d/exports.toml") && found.includes("paths"), found);
  const good =
    '# asked for by the data team\n[[policy]]\nname = "exports"\nwhen = { path = "/x" }\n' +
    'action = "block"\nreason = "Ask #data."\n';
  await text.fill(good);
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByText("good, not written yet").waitFor();
  assert.ok((await page.locator(".diff").innerText()).includes("+# asked for by the data team"));
  await page.getByRole("button", { name: "Write and reload" }).click();
  await page.waitForURL("**/ui/policy/exports");
  await page.getByRole("heading", { name: "policies.d/exports.toml" }).waitFor();
  assert.equal(await page.getByRole("textbox", { name: "TOML" }).inputValue(), good);
  await page.getByRole("link", { name: "all files" }).click();
  await page.getByText("no route tries it").waitFor();
  assertClean(wrong, REFUSED);
  await close();
});

test("a change of a file that somebody else has changed meanwhile is refused", async () => {
  const one = await visit(browser, demo, { path: "policy" });
  await one.page.getByRole("link", { name: "New file" }).click();
  await one.page.getByRole("textbox", { name: /Name/ }).fill("shared");
  await one.page.getByRole("button", { name: "Check" }).click();
  await one.page.getByRole("button", { name: "Write and reload" }).click();
  await one.page.getByRole("heading", { name: "policies.d/shared.toml" }).waitFor();
  const other = await visit(browser, demo, { path: "policy/shared" });
  const change = async (page, comment) => {
    const text = page.getByRole("textbox", { name: "TOML" });
    await text.fill(`# ${comment}\n${await text.inputValue()}`);
    await page.getByRole("button", { name: "Check" }).click();
    await page.getByRole("button", { name: "Write and reload" }).click();
  };
  await other.page.getByRole("textbox", { name: "TOML" }).waitFor();
  const text = one.page.getByRole("textbox", { name: "TOML" });
  await text.fill(`# first\n${await text.inputValue()}`);
  await one.page.getByRole("button", { name: "Check" }).click();
  await one.page.getByRole("button", { name: "Write and reload" }).waitFor();
  await change(other.page, "second");
  await other.page.waitForFunction(() =>
    document.querySelector("textarea.code").value.startsWith("# second"),
  );
  await one.page.getByRole("button", { name: "Write and reload" }).click();
  await one.page.getByText("not written", { exact: true }).waitFor();
  assertClean(one.wrong, REFUSED);
  assertClean(other.wrong, REFUSED);
  await one.close();
  await other.close();
});

test("a request that nobody made is tried, in force and with a candidate", async () => {
  const { page, wrong, close } = await visit(browser, demo, { path: "policy" });
  await page.getByRole("combobox", { name: "Route" }).selectOption("warehouse");
  await page.getByRole("textbox", { name: /Path/ }).fill("/warehouse/query");
  await page.getByRole("textbox", { name: "Body" }).fill('{"sql":"DROP TABLE orders"}');
  await page.getByRole("button", { name: "Try", exact: true }).click();
  const answer = page.getByRole("status").filter({ hasText: "no-destructive-sql" });
  await answer.waitFor();
  assert.ok((await answer.innerText()).includes("block"));
  assertClean(wrong, REFUSED);
  await close();
});

test("an upstream is connected with a form, and requests go there", async () => {
  const { page, wrong, close } = await visit(browser, demo, {
    path: "connections",
  });
  await page.getByRole("link", { name: "Connect an upstream" }).click();
  await page.getByRole("textbox", { name: /Name/ }).fill("mirror");
  await page.getByRole("textbox", { name: /Address/ }).fill(address);
  await page.getByRole("combobox", { name: "Listener" }).selectOption("agents");
  await page.getByRole("checkbox", { name: "people" }).check();
  await page.getByRole("checkbox", { name: "default" }).check();
  await page.getByRole("checkbox", { name: "emails" }).check();
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByText("good, not written yet").waitFor();
  assert.ok((await page.locator(".diff").innerText()).includes("[upstreams.mirror]"));
  await page.getByRole("button", { name: "Write and reload" }).click();
  await page.waitForURL("**/ui/connections/mirror");
  const { status, body } = await demo.ask("/mirror/hello", { method: "GET" });
  assert.deepEqual([status, body], [200, "GET /hello"]);
  assertClean(wrong, REFUSED);
  await close();
});

test("a card that nobody decides about expires, and says so", async () => {
  const { page, wrong, close } = await visit(browser, demo, { path: "policy" });
  const write = async (folder, name, toml) => {
    const status = await page.evaluate(
      async ([path, body]) =>
        (
          await fetch(path, {
            method: "PUT",
            headers: {
              "content-type": "application/json",
              "if-none-match": "*",
            },
            body: JSON.stringify({ toml: body }),
          })
        ).status,
      [`/api/v1/${folder}/${name}`, toml],
    );
    assert.equal(status, 201, `${folder}/${name}`);
  };
  const approval = '{ by = ["group:sre"], self = true, timeout = "2s" }';
  await write(
    "policies.d",
    "quick",
    `[[policy]]\nname = "quick"\naction = "approve"\nreason = "Quick."\napproval = ${approval}\n`,
  );
  await write(
    "connections.d",
    "quick",
    `[upstreams.quick]\nurl = "${address}"\n[[route]]\nname = "quick"\n` +
      'match = { listen = "agents", path = "/quick/**" }\nidentity = ["people"]\nupstream = "quick"\n' +
      'policies = ["quick"]\n',
  );
  const asked = demo.ask("/quick/one", { method: "GET" });
  await page
    .getByRole("link", { name: /Approvals/ })
    .first()
    .click();
  await page.locator(".queue .cards li").first().click();
  await page.locator("article.card").getByText("Expired: nobody decided in time").waitFor();
  const { status, body } = await asked;
  assert.equal(status, 403);
  assert.ok(body.includes("approval_expired"), body);
  assertClean(wrong, REFUSED);
  await close();
});
