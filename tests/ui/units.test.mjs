/** The parts of the page that need no browser. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { createServer } from "vite";

let vite;
before(async () => {
  const root = new URL("../../ui", import.meta.url).pathname;
  vite = await createServer({
    root,
    server: { middlewareMode: true, hmr: false, ws: false },
    logLevel: "error",
  });
});
after(() => vite?.close());

const load = (name) => vite.ssrLoadModule(`/src/${name}`);

test("a stream is cut anywhere and gives the same events", async () => {
  const { EventReader } = await load("events.ts");
  const text =
    ': open\nid: 7\n\nid: 8\nevent: approval\ndata: {"a":\ndata: 1}\n\n: ping\n\nid: 9\ndata: x\r\n\r\n';
  const whole = new EventReader("").push(text);
  assert.deepEqual(whole, [
    { id: "8", name: "approval", data: '{"a":\n1}' },
    { id: "9", name: "message", data: "x" },
  ]);
  for (let at = 0; at <= text.length; at += 1) {
    // A line end of two characters is whole in each piece, as the gateway sends it.
    if (text.slice(0, at).endsWith("\r")) continue;
    const reader = new EventReader("");
    assert.deepEqual(
      [...reader.push(text.slice(0, at)), ...reader.push(text.slice(at))],
      whole,
      `cut at ${at}`,
    );
    assert.equal(reader.id, "9");
  }
});

test("whatever hides or reorders is a mark, and nothing else is changed", async () => {
  const { inertText } = await load("inert.tsx");
  const cases = [
    ["plain é 日本 \u{1f600}", "plain é 日本 \u{1f600}"],
    ["\u001b[31mred\u0007", "\\x1b[31mred\\x07"],
    ["\u009b31m", "\\u{9b}31m"],
    ["a\u202eb\u2066c", "a\\u{202e}b\\u{2066}c"],
    ["\u200b\ufeff\u{e0041}", "\\u{200b}\\u{feff}\\u{e0041}"],
    ["a\nb\tc", "a\\x0ab\\x09c"],
    ["\ud800x", "\\u{d800}x"],
  ];
  for (const [text, shown] of cases) assert.equal(inertText(text), shown);
  const hidden = /[\p{Cc}\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u;
  for (let code = 0; code <= 0x10ffff; code += 1) {
    const shown = inertText(String.fromCodePoint(code));
    assert.ok(!hidden.test(shown) && !/[\u{e0000}-\u{e0fff}]/u.test(shown), code.toString(16));
  }
});

test("the conversation is found in every dialect", async () => {
  const { answer, question, streamed } = await load("conversation.ts");
  const said = (list) => list.map((one) => `${one.voice}:${one.text}`);
  assert.deepEqual(
    said(streamed('{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}')),
    ["text:a"],
  );
  assert.deepEqual(said(streamed('{"choices":[{"delta":{"content":"b","reasoning_content":"hm"}}]}')), [
    "thinking:hm",
    "text:b",
  ]);
  assert.deepEqual(said(streamed('{"type":"response.output_text.delta","delta":"c"}')), ["text:c"]);
  assert.deepEqual(said(streamed('{"type":"response.function_call_arguments.delta","delta":"{"}')), [
    "arguments:{",
  ]);
  assert.deepEqual(said(streamed("[DONE]")), []);
  const turns = {
    messages: [
      { role: "user", content: "old" },
      { role: "assistant", content: "was" },
      { role: "user", content: [{ type: "text", text: "new" }] },
    ],
  };
  assert.deepEqual(said(question(JSON.stringify(turns))), ["text:new"]);
  const tool = {
    content: [{ type: "tool_use", name: "run", input: { a: 1 } }],
  };
  assert.deepEqual(said(answer(JSON.stringify(tool))), ["call:run", 'arguments:{"a":1}']);
  assert.deepEqual(answer("no JSON"), []);
});

test("pauses are as they were, or a second", async () => {
  const { Pace, timelineOf } = await load("timeline.ts");
  const body = (text, at) => ({
    bytes: text.length,
    whole: true,
    pieces: [{ at_us: at, offset: 0, bytes: 1, text }],
  });
  const turn = (startS) => ({
    id: `req_${startS}`,
    started_us: startS * 1e6,
    duration_us: 500_000,
    masks: {},
    request: body('{"messages":[{"role":"user","content":"q"}]}', 0),
    response: body('{"content":"a"}', 400_000),
  });
  const timeline = timelineOf([turn(100), turn(160)]);
  assert.equal(timeline.lengthUs, 60_500_000);
  const [all, skips] = [new Pace(timeline, false), new Pace(timeline, true)];
  assert.equal(all.lengthUs, 60_500_000);
  assert.equal(skips.lengthUs, 2_000_000, "half a second, a pause of one, half a second");
  for (const us of [0, 250_000, 500_000, 30_000_000, 60_500_000]) {
    assert.ok(Math.abs(skips.toRecorded(skips.toPlayed(us)) - us) < 2, `${us}`);
  }
});

test("quantiles are read from what came between two looks", async () => {
  const { buckets, quantile } = await load("metrics.ts");
  const text = (a, b, c) =>
    `x_bucket{le="0.001"} ${a}\nx_bucket{le="0.01"} ${b}\nx_bucket{le="+Inf"} ${c}\nx_sum 1\n`;
  const [before, after] = [buckets(text(10, 10, 10), "x_bucket"), buckets(text(10, 20, 20), "x_bucket")];
  assert.deepEqual(after.bounds, [0.001, 0.01, Infinity]);
  assert.ok(Math.abs(quantile(0.5, after.bounds, before.counts, after.counts) - 0.0055) < 1e-9);
  assert.equal(quantile(0.5, after.bounds, after.counts, after.counts), undefined);
  assert.equal(quantile(0.99, [1, Infinity], [0, 0], [0, 5]), 1, "beyond the last bound: at least that");
});

test("replacements of masks are found, and patterns in them are text", async () => {
  const { matcher } = await load("masks.tsx");
  const find = matcher([
    { name: "cards", replace: "[card …{last4}]" },
    { name: "odd", replace: "(.*)" },
  ]);
  const found = (text) => [...text.matchAll(find)].map((one) => one[0]);
  assert.deepEqual(found("pays [card …4242], or (.*) or [email]"), ["[card …4242]", "(.*)"]);
  assert.equal(matcher([]), undefined);
});

test("sources stay readable: files of 600 lines, lines of 110 characters", () => {
  const root = new URL("../../", import.meta.url).pathname;
  const all = ["ui/src", "tests/ui"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
  );
  const sources = all.filter((path) => /\.(tsx?|css|mjs)$/.test(path) && !path.includes("node_modules"));
  assert.ok(sources.length > 30, sources.join());
  for (const path of sources) {
    const lines = readFileSync(join(root, path), "utf8").split("\n");
    assert.ok(lines.length <= 600, `${path} has ${lines.length} lines`);
    lines.forEach((line, at) => assert.ok(line.length <= 110, `${path}:${at + 1} is too long`));
  }
});

test("the whole page weighs at most 120 KB as it travels", () => {
  const root = new URL("../../ui/dist", import.meta.url).pathname;
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && entry.name !== "files.rs",
  );
  assert.ok(files.length >= 3, files.join());
  const bytes = files.map((entry) => gzipSync(readFileSync(join(entry.parentPath, entry.name))).length);
  const total = bytes.reduce((sum, one) => sum + one, 0);
  assert.ok(total <= 120_000, `${total} bytes compressed`);
});

test("what waits of one caller under one policy is one group, in the order of the oldest", async () => {
  const { grouped } = await load("groups.ts");
  const card = (id, subject, policy, more) => ({ id, issuer: "i", subject, address: null, policy, ...more });
  const cards = [
    card("1", "a", "p"),
    card("2", "b", "p"),
    card("3", "a", "q"),
    card("4", "a", "p"),
    card("5", "a", "p", { issuer: "other" }),
    card("6", "a", "p"),
  ];
  const shape = grouped(cards).map(({ head, rest }) => [head.id, ...rest.map(({ id }) => id)]);
  assert.deepEqual(shape, [["1", "4", "6"], ["2"], ["3"], ["5"]]);
});
