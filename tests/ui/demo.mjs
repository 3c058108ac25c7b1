/** A demo of its own for each file of tests: real requests through the gateway, held for real. */

import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const BINARY = process.env.RINGWARD_BIN ?? new URL("../../target/debug/ringward", import.meta.url).pathname;
const START_MS = 30_000;
/** Longer than any test lets a request wait. */
const ANSWER_MS = 45_000;

/** What a process prints, as it comes. */
class Printed {
  #text = "";

  constructor(stream) {
    this.stream = stream.setEncoding("utf8");
    stream.on("data", (piece) => (this.#text += piece));
  }

  /** Waits until it holds `pattern`; gives the match. */
  async find(pattern) {
    const signal = AbortSignal.timeout(START_MS);
    for (;;) {
      const found = pattern.exec(this.#text);
      if (found) return found;
      await once(this.stream, "data", { signal });
    }
  }
}

export class Demo {
  static #spawn(more) {
    const home = mkdtempSync(join(tmpdir(), "ringward-ui-"));
    const env = { ...process.env, HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home };
    const child = spawn(BINARY, ["demo", ...more], { env, stdio: ["ignore", "pipe", "inherit"] });
    return { home, env, child };
  }

  /** Starts it as a person does: what it prints is in `printed`. */
  static async shown() {
    const { home, env, child } = Demo.#spawn([]);
    const printed = new Printed(child.stdout);
    const [, issuer] = await printed.find(/^ *issuer +(\S+)/m);
    const [, admin] = await printed.find(/^ *admin +([^,\s]+)/m);
    return Object.assign(new Demo(home, child, { issuer, admin }), { env, printed });
  }

  /** Runs a command that it has printed; gives what that says. */
  async paste(command) {
    const options = { env: this.env, timeout: ANSWER_MS };
    return (await promisify(execFile)("bash", ["-c", command], options)).stdout;
  }

  static async start() {
    const { home, child } = Demo.#spawn(["--json"]);
    const line = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the demo did not start")), START_MS);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the demo ended with ${code}`)));
      createInterface({ input: child.stdout }).once("line", (text) => {
        clearTimeout(timer);
        resolve(text);
      });
    });
    return new Demo(home, child, JSON.parse(line));
  }

  constructor(home, child, ready) {
    Object.assign(this, { home, child, ready });
  }

  /** Where a browser begins. */
  get ui() {
    return new URL("/ui/", this.ready.admin).href;
  }

  /** Changes the configuration and has it read again. */
  change(how) {
    const file = this.ready.config;
    const before = readFileSync(file, "utf8");
    const text = how(before);
    if (text === before) throw new Error("nothing was changed");
    writeFileSync(file, text);
    const admin = `unix:${this.ready.admin_socket}`;
    execFileSync(BINARY, ["reload"], { env: { ...process.env, RINGWARD_ADMIN: admin } });
  }

  async stop() {
    this.child.removeAllListeners("exit");
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = new Promise((resolve) => this.child.once("exit", resolve));
      this.child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.home, { recursive: true, force: true });
  }

  /** Ends the process as a crash does. */
  async kill() {
    this.child.removeAllListeners("exit");
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }

  /** One request of the demo's agent; gives status and body once it is answered. */
  ask(path, asked) {
    const answer = this.#send(path, asked);
    // A test that has failed meanwhile waits for no answer.
    answer.catch(() => {});
    return answer;
  }

  async #send(path, { method = "POST", session, json, text } = {}) {
    const headers = {
      authorization: `Bearer ${this.ready.token}`,
      connection: "close",
    };
    const body = text ?? (json === undefined ? undefined : JSON.stringify(json));
    if (body !== undefined) headers["content-type"] = "application/json";
    if (session) headers["x-session-id"] = session;
    const response = await fetch(this.ready.gateway + path, {
      method,
      headers,
      body,
    });
    const answer = await response.text();
    return { status: response.status, body: answer };
  }

  /** A request that `big-spend` holds for a person. */
  spend(content, { session, tokens = 50_000, stream = false } = {}) {
    const json = {
      model: "m",
      max_tokens: tokens,
      stream,
      messages: [{ role: "user", content }],
    };
    return this.ask("/anthropic/v1/messages", { json, session });
  }
}
