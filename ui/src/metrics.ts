/** What the gateway adds to a request, from its metrics: quantiles over a sliding window. */

import { useEffect, useState } from "preact/hooks";
import { Problem, text, words } from "./api";

/** One look at a classic histogram: upper bounds in seconds and cumulative counts. */
interface Look {
  atMs: number;
  bounds: number[];
  counts: number[];
}

export interface Point {
  atMs: number;
  /** Seconds; nothing where there was no request. */
  p50: number | undefined;
  p99: number | undefined;
  /** Requests a second. */
  rate: number;
}

export interface Overhead {
  points: Point[];
  /** Over the last minute, else since the start. */
  p50: number | undefined;
  p99: number | undefined;
  isRecent: boolean;
  count: number;
  problem: Problem | undefined;
}

const EVERY_MS = 2_000;
const KEPT = 150;
const POINT_MS = 10_000;
const RECENT_MS = 60_000;
const NAME = "ringward_overhead_seconds_bucket";

const looks: Look[] = [];
const watchers = new Set<(overhead: Overhead) => void>();
let points: Point[] = [];
let timer = 0;

/** The buckets of a histogram in the text of OpenMetrics, all label sets together. */
export function buckets(metrics: string, name: string): { bounds: number[]; counts: number[] } {
  const sums = new Map<number, number>();
  for (const line of metrics.split("\n")) {
    if (!line.startsWith(`${name}{`)) continue;
    const bound = /[{,]le="([^"]+)"/.exec(line)?.[1];
    const value = Number(
      line
        .slice(line.lastIndexOf("}") + 1)
        .trim()
        .split(" ")[0],
    );
    if (bound === undefined || Number.isNaN(value)) continue;
    const le = bound === "+Inf" ? Infinity : Number(bound);
    sums.set(le, (sums.get(le) ?? 0) + value);
  }
  const bounds = [...sums.keys()].sort((a, b) => a - b);
  return { bounds, counts: bounds.map((bound) => sums.get(bound) ?? 0) };
}

/** A quantile of what came between two looks, linear within its bucket. */
export function quantile(q: number, bounds: number[], before: number[], after: number[]): number | undefined {
  const grown = after.map((value, index) => value - (before[index] ?? 0));
  const total = grown.at(-1) ?? 0;
  if (total <= 0) return undefined;
  const rank = q * total;
  const index = grown.findIndex((value) => value >= rank);
  const upper = bounds[index] ?? Infinity;
  const lower = index > 0 ? (bounds[index - 1] ?? 0) : 0;
  if (upper === Infinity) return lower;
  const below = index > 0 ? (grown[index - 1] ?? 0) : 0;
  const inside = (grown[index] ?? 0) - below;
  return inside > 0 ? lower + ((upper - lower) * (rank - below)) / inside : upper;
}

function lookBefore(ms: number, now: number): Look | undefined {
  return looks.find((look) => look.atMs >= now - ms);
}

function summary(problem?: Problem): Overhead {
  const last = looks.at(-1);
  if (!last) return { points, p50: undefined, p99: undefined, isRecent: false, count: 0, problem };
  const first = lookBefore(RECENT_MS, last.atMs) ?? last;
  const recent = (last.counts.at(-1) ?? 0) - (first.counts.at(-1) ?? 0);
  const isRecent = recent > 0;
  const before = isRecent ? first.counts : [];
  return {
    points,
    p50: quantile(0.5, last.bounds, before, last.counts),
    p99: quantile(0.99, last.bounds, before, last.counts),
    isRecent,
    count: isRecent ? recent : (last.counts.at(-1) ?? 0),
    problem,
  };
}

function note(look: Look) {
  const previous = looks.at(-1);
  // Counters that fell: another process answers, and begins anew.
  if (previous && (look.counts.at(-1) ?? 0) < (previous.counts.at(-1) ?? 0)) looks.length = 0;
  looks.push(look);
  if (looks.length > KEPT) looks.shift();
  const first = lookBefore(POINT_MS, look.atMs) ?? look;
  const grown = (look.counts.at(-1) ?? 0) - (first.counts.at(-1) ?? 0);
  const seconds = (look.atMs - first.atMs) / 1_000;
  const point: Point = {
    atMs: look.atMs,
    p50: quantile(0.5, look.bounds, first.counts, look.counts),
    p99: quantile(0.99, look.bounds, first.counts, look.counts),
    rate: seconds > 0 ? grown / seconds : 0,
  };
  points = [...points.slice(-(KEPT - 1)), point];
}

async function poll() {
  let problem: Problem | undefined;
  try {
    if (!document.hidden)
      note({ atMs: Date.now(), ...buckets(await text("/metrics", { background: true }), NAME) });
  } catch (error) {
    problem = error instanceof Problem ? error : new Problem(0, "", words(error));
  }
  const now = summary(problem);
  for (const watcher of watchers) watcher(now);
  if (watchers.size > 0 && problem?.status !== 403 && problem?.status !== 401) {
    timer = window.setTimeout(() => void poll(), EVERY_MS);
  } else {
    timer = 0;
  }
}

/** Overhead as it is now, looked at while somebody looks. */
export function useOverhead(isAllowed: boolean): Overhead {
  const [state, setState] = useState(() => summary());
  useEffect(() => {
    if (!isAllowed) return;
    watchers.add(setState);
    if (timer === 0) {
      timer = -1;
      void poll();
    }
    return () => void watchers.delete(setState);
  }, [isAllowed]);
  return state;
}
