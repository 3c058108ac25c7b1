/** Held requests as they change: one stream for the whole page, which comes back by itself.
 *
 *  The list is asked for once the stream is open, so that nothing falls between the two. Behind a break the
 *  stream goes on at the last event (`Last-Event-ID`), and the list is asked for again: the gateway may have
 *  begun anew. */

import { useEffect, useState } from "preact/hooks";
import { json, Problem, problemOf, type Asked } from "./api";
import { EventReader } from "./events";
import type { Card } from "./types";

/** How the connection is. */
export type Link = "connecting" | "open" | "lost" | "refused";

export interface Live {
  link: Link;
  cards: Card[];
  /** Whether the list has been there. */
  known: boolean;
  problem: Problem | undefined;
}

/** The gateway says something at least this often. */
const SILENCE_MS = 40_000;
const RETRY_MS = [500, 1_000, 2_000, 5_000, 10_000];

let live: Live = { link: "connecting", cards: [], known: false, problem: undefined };
const watchers = new Set<(live: Live) => void>();
let lastId = "";
let failures = 0;
let running: AbortController | undefined;
let retryTimer = 0;

function say(change: Partial<Live>) {
  live = { ...live, ...change };
  for (const watcher of watchers) watcher(live);
}

/** How many events have told of a card. */
const told = new Map<string, number>();

/** Asks for a card, or decides about it. What the stream has told meanwhile is newer than the answer. */
export async function askForCard(id: string, path = "", asked: Asked = {}): Promise<void> {
  const before = told.get(id);
  const card = await json<Card>(`/api/v1/approvals/${id}${path}`, asked);
  if (told.get(id) === before) noteCard(card);
}

/** Puts a card in its place, unless what is known of it is newer. */
function noteCard(card: Card) {
  const known = live.cards.find((one) => one.id === card.id);
  if (known && known.revision > card.revision) return;
  const others = live.cards.filter((one) => one.id !== card.id);
  say({ cards: sorted([...others, card]) });
}

/** The oldest first, as they are asked. */
function sorted(cards: Card[]): Card[] {
  return cards.sort((a, b) => Date.parse(a.asked) - Date.parse(b.asked) || (a.id < b.id ? -1 : 1));
}

async function listen(abort: AbortController) {
  let silence = 0;
  const heard = () => {
    clearTimeout(silence);
    silence = window.setTimeout(() => abort.abort(), SILENCE_MS);
  };
  try {
    heard();
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (lastId) headers["last-event-id"] = lastId;
    const response = await fetch("/api/v1/events", { headers, signal: abort.signal, cache: "no-store" });
    if (!response.ok) throw await problemOf(response);
    if (!response.body) throw new Error("no stream");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const list = await json<{ approvals: Card[] }>("/api/v1/approvals", {
      signal: abort.signal,
      background: true,
    });
    failures = 0;
    say({ cards: sorted(list.approvals), known: true, link: "open", problem: undefined });
    const events = new EventReader(lastId);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      heard();
      for (const event of events.push(value)) {
        if (event.name !== "approval") continue;
        const card = JSON.parse(event.data) as Card;
        told.set(card.id, (told.get(card.id) ?? 0) + 1);
        noteCard(card);
      }
      lastId = events.id;
    }
  } finally {
    clearTimeout(silence);
  }
}

async function run() {
  clearTimeout(retryTimer);
  const abort = new AbortController();
  running = abort;
  let refused: Problem | undefined;
  try {
    await listen(abort);
  } catch (error) {
    if (error instanceof Problem && error.status >= 400 && error.status < 500) refused = error;
  }
  if (running !== abort) return;
  if (refused) {
    running = undefined;
    say({ link: "refused", problem: refused });
    return;
  }
  // A connection ends by itself now and then: only one that does not come back is lost.
  if (failures > 0) say({ link: "lost" });
  const wait = failures === 0 ? 50 : (RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] ?? 10_000);
  failures += 1;
  retryTimer = window.setTimeout(() => void run(), wait);
}

/** Begins to listen, or tries again at once. */
export function connect() {
  running?.abort();
  say({ link: live.known ? live.link : "connecting" });
  void run();
}

addEventListener("online", () => live.link === "lost" && connect());

/** Held requests and the state of the connection. */
export function useLive(): Live {
  const [state, setState] = useState(live);
  useEffect(() => {
    watchers.add(setState);
    setState(live);
    return () => void watchers.delete(setState);
  }, []);
  return state;
}
