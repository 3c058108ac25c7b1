/** What recorded bodies say: the conversation inside of the requests and streams of language models, as the
 *  command line's replay shows it. Whatever is no such body is shown as it is. */

/** `body` is one that is no conversation. */
export type Voice = "text" | "thinking" | "call" | "arguments" | "error" | "body";

export interface Said {
  voice: Voice;
  text: string;
}

type Json = unknown;

function member(value: Json, ...path: (string | number)[]): Json {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null) return undefined;
    at = (at as Record<string | number, unknown>)[key];
  }
  return at;
}

function each(value: Json): Json[] {
  return Array.isArray(value) ? value : [];
}

function say(said: Said[], voice: Voice, value: Json) {
  if (typeof value === "string" && value !== "") said.push({ voice, text: value });
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** Text, or blocks of several kinds. */
function content(value: Json, said: Said[]) {
  say(said, "text", value);
  for (const block of each(value)) {
    say(said, "text", member(block, "text"));
    say(said, "thinking", member(block, "thinking"));
    say(said, "call", member(block, "name"));
    const input = member(block, "input");
    if (typeof input === "object" && input !== null) {
      said.push({ voice: "arguments", text: JSON.stringify(input) });
    }
    // The result of a tool holds text or blocks, and those hold no more of them.
    const inner = member(block, "content");
    if (Array.isArray(inner)) for (const one of inner) say(said, "text", member(one, "text"));
    else say(said, "text", inner);
  }
}

function message(value: Json, said: Said[]) {
  say(said, "thinking", member(value, "reasoning_content"));
  say(said, "text", member(value, "refusal"));
  content(member(value, "content"), said);
  for (const call of each(member(value, "tool_calls"))) {
    say(said, "call", member(call, "function", "name"));
    say(said, "arguments", member(call, "function", "arguments"));
  }
}

function item(value: Json, said: Said[]) {
  content(member(value, "content"), said);
  content(member(value, "summary"), said);
  say(said, "call", member(value, "name"));
  say(said, "arguments", member(value, "arguments"));
  say(said, "text", member(value, "output"));
}

/** What the last turn of a request asks: an agent sends all turns again each time. */
export function question(body: string): Said[] {
  const said: Said[] = [];
  const document = parse(body);
  for (const name of ["messages", "input"]) {
    const turns = each(member(document, name));
    const answered = turns.findLastIndex(
      (turn) => member(turn, "role") === "assistant" || member(turn, "type") === "function_call",
    );
    for (const turn of turns.slice(answered + 1)) {
      const type = member(turn, "type");
      if (type === undefined || type === "message") message(turn, said);
      else item(turn, said);
    }
  }
  say(said, "text", member(document, "input"));
  say(said, "text", member(document, "prompt"));
  return said;
}

/** What a whole answer says; nothing where it is none of a language model. */
export function answer(body: string): Said[] {
  const said: Said[] = [];
  const document = parse(body);
  content(member(document, "content"), said);
  for (const choice of each(member(document, "choices"))) {
    message(member(choice, "message"), said);
    say(said, "text", member(choice, "text"));
  }
  for (const one of each(member(document, "output"))) item(one, said);
  say(said, "error", member(document, "error", "message"));
  return said;
}

/** What one event of a stream says. */
export function streamed(data: string): Said[] {
  const said: Said[] = [];
  const document = parse(data);
  if (document === undefined) return said;
  const type = String(member(document, "type") ?? "");
  say(said, "call", member(document, "content_block", "name"));
  say(said, "call", member(document, "item", "name"));
  for (const choice of each(member(document, "choices"))) {
    for (const call of each(member(choice, "delta", "tool_calls"))) {
      say(said, "call", member(call, "function", "name"));
      say(said, "arguments", member(call, "function", "arguments"));
    }
    say(said, "thinking", member(choice, "delta", "reasoning_content"));
    say(said, "text", member(choice, "delta", "content"));
    say(said, "text", member(choice, "delta", "refusal"));
    say(said, "text", member(choice, "text"));
  }
  const delta = member(document, "delta");
  if (typeof delta === "string") {
    if (type.includes("arguments")) say(said, "arguments", delta);
    else if (type.includes("reasoning")) say(said, "thinking", delta);
    else if (type.endsWith(".delta")) say(said, "text", delta);
  } else {
    say(said, "text", member(delta, "text"));
    say(said, "thinking", member(delta, "thinking"));
    say(said, "arguments", member(delta, "partial_json"));
  }
  say(said, "error", member(document, "error", "message"));
  return said;
}

/** Whether a body begins as an event stream does. */
export function isStream(start: string): boolean {
  return /^(event:|data:|id:|retry:|:)/.test(start);
}
