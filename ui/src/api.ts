/** Asking the gateway: JSON in, JSON out, and what it refuses as a `Problem`. */

/** An answer that is no success, as RFC 9457 says it. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly more: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

let clockSkewMs = 0;
let signedOut: (login: string) => void = () => {};

/** The gateway's time, as its answers say: what ends is counted by its clock. */
export function gatewayNow(): number {
  return Date.now() + clockSkewMs;
}

/** Called with the address of the login whenever an answer says that nobody is logged in. */
export function onSignedOut(call: (login: string) => void) {
  signedOut = call;
}

function noteClock(response: Response) {
  const date = Date.parse(response.headers.get("date") ?? "");
  // The field has whole seconds: only a clock that is plainly off is corrected.
  if (!Number.isNaN(date)) {
    const skew = date + 500 - Date.now();
    clockSkewMs = Math.abs(skew) > 2_000 ? skew : 0;
  }
}

/** What a failed answer says. */
export async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  let body: Record<string, unknown> = {};
  try {
    body = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // Something between browser and gateway answered.
  }
  const said = (name: string) => (typeof body[name] === "string" ? (body[name] as string) : "");
  const message = said("message") || said("detail") || `the gateway answered ${response.status}`;
  const problem = new Problem(response.status, said("code"), message, body);
  if (response.status === 401) signedOut(said("login"));
  return problem;
}

export interface Asked {
  method?: string;
  json?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Nobody has asked for this but a clock: it keeps no session open. */
  background?: boolean;
}

/** Asks, and gives the answer itself.
 *  @throws Problem where the gateway refuses or is not there. */
export async function ask(path: string, asked: Asked = {}): Promise<Response> {
  const headers: Record<string, string> = { ...asked.headers };
  const init: RequestInit = { method: asked.method ?? "GET", headers, cache: "no-store" };
  if (asked.signal) init.signal = asked.signal;
  if (asked.background) headers["x-ringward-background"] = "1";
  if (asked.json !== undefined) {
    headers["content-type"] = "application/json";
    init.body = JSON.stringify(asked.json);
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    throw new Problem(0, "unreachable", "The gateway cannot be reached. Is it running?");
  }
  noteClock(response);
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function json<T>(path: string, asked: Asked = {}): Promise<T> {
  return (await (await ask(path, asked)).json()) as T;
}

export async function text(path: string, asked: Asked = {}): Promise<string> {
  return (await ask(path, asked)).text();
}

/** The lines of an answer as they come, each a JSON value.
 *  @throws Problem as `ask`, and an error where the answer is cut. */
export async function* lines<T>(path: string, asked: Asked = {}): AsyncGenerator<T> {
  const response = await ask(path, asked);
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) if (part) yield JSON.parse(part) as T;
    if (done) break;
  }
  if (rest) yield JSON.parse(rest) as T;
}

/** A failure in words, whatever was thrown. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
