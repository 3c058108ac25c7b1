/** What pages share: where they are, what time it is, and what they have asked for. */

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { gatewayNow, json, Problem, words } from "./api";

const ROOT = "/ui";

/** The path below `/ui`, without slashes at its ends. */
export function here(): string {
  const path = location.pathname.startsWith(ROOT) ? location.pathname.slice(ROOT.length) : "";
  return path.replace(/^\/+|\/+$/g, "");
}

export function hrefOf(path: string): string {
  return `${ROOT}/${path}`;
}

/** Goes to a page of this interface. */
export function go(path: string, replace = false) {
  if (path === here() && !replace) return;
  history[replace ? "replaceState" : "pushState"](null, "", hrefOf(path));
  dispatchEvent(new Event("went"));
}

/** The path, and again whenever it changes. */
export function usePath(): string {
  const [path, setPath] = useState(here);
  useEffect(() => {
    const went = () => setPath(here());
    addEventListener("popstate", went);
    addEventListener("went", went);
    return () => {
      removeEventListener("popstate", went);
      removeEventListener("went", went);
    };
  }, []);
  return path;
}

/** The gateway's time in milliseconds, again each `everyMs`. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(gatewayNow);
  useEffect(() => {
    const timer = setInterval(() => setNow(gatewayNow()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** Something that was asked for. */
export interface Resource<T> {
  data: T | undefined;
  problem: Problem | undefined;
  loading: boolean;
  reload: () => void;
}

/** Asks for `path`, again when it changes, and each `everyMs` while the page is looked at. What was there
 *  stays until something newer is. */
export function useResource<T>(path: string | null, everyMs = 0): Resource<T> {
  const [data, setData] = useState<T>();
  const [problem, setProblem] = useState<Problem>();
  const [loading, setLoading] = useState(path !== null);
  const [turn, setTurn] = useState(0);
  const asked = useRef<string | null>(null);
  useEffect(() => {
    if (path === null) return;
    if (asked.current !== path) {
      asked.current = path;
      setData(undefined);
      setProblem(undefined);
      setLoading(true);
    }
    const abort = new AbortController();
    let timer = 0;
    const load = async (background: boolean) => {
      try {
        if (!document.hidden || turn === 0) {
          const answer = await json<T>(path, { signal: abort.signal, background });
          if (abort.signal.aborted) return;
          setData(answer);
          setProblem(undefined);
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        setProblem(error instanceof Problem ? error : new Problem(0, "", words(error)));
      }
      setLoading(false);
      if (everyMs > 0) timer = window.setTimeout(() => void load(true), everyMs);
    };
    void load(false);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs, turn]);
  const reload = useCallback(() => setTurn((value) => value + 1), []);
  return { data, problem, loading, reload };
}

/** What `load` makes of one key, once: several answers, or one that is read to its end. */
export function useLoaded<T>(
  key: string,
  load: (key: string, signal: AbortSignal) => Promise<T>,
): { data: T | undefined; problem: Problem | undefined } {
  const [data, setData] = useState<T>();
  const [problem, setProblem] = useState<Problem>();
  useEffect(() => {
    const abort = new AbortController();
    setData(undefined);
    setProblem(undefined);
    load(key, abort.signal).then(
      (loaded) => {
        if (!abort.signal.aborted) setData(loaded);
      },
      (error: unknown) => {
        if (!abort.signal.aborted)
          setProblem(error instanceof Problem ? error : new Problem(0, "", words(error)));
      },
    );
    return () => abort.abort();
  }, [key, load]);
  return { data, problem };
}

/** Whether a key was pressed while somebody writes, or with a modifier. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  const writes = target?.closest?.(
    "input:not([type=radio]):not([type=checkbox]):not([type=range]),textarea,select",
  );
  return Boolean(writes) || event.ctrlKey || event.metaKey || event.altKey;
}

type Keys = Record<string, (event: KeyboardEvent) => void>;

/** Keys that are heard, in the order in which their places appeared. */
const heard = new Set<{ current: Keys }>();
/** When a letter was pressed that no place hears: somebody writes into nothing, and what follows at once are
 *  letters, too. */
let wrote = -Infinity;
/** Milliseconds between two letters of one text. */
const WRITING = 1_000;

function press(event: KeyboardEvent) {
  if (event.defaultPrevented || isTyping(event) || document.querySelector("dialog[open]")) return;
  const places = [...heard].filter((keys) => event.key in keys.current);
  const isLetter = event.key.length === 1 && event.key !== " ";
  if (isLetter && (places.length === 0 || event.timeStamp - wrote < WRITING)) {
    wrote = event.timeStamp;
    for (const keys of heard) keys.current["writing"]?.(event);
    return;
  }
  for (const keys of places) {
    event.preventDefault();
    keys.current[event.key]?.(event);
  }
}

/** Keys of a page: what is pressed and what it does; `writing` is a letter that is none of them. They are
 *  heard before the page they act on is painted: a key that is pressed at once must not be lost. */
export function useKeys(keys: Keys) {
  const latest = useRef(keys);
  latest.current = keys;
  useLayoutEffect(() => {
    if (heard.size === 0) addEventListener("keydown", press);
    heard.add(latest);
    return () => {
      heard.delete(latest);
      if (heard.size === 0) removeEventListener("keydown", press);
    };
  }, []);
}

/** What this browser keeps under `key`. */
export function useKept(key: string, initial: string): [string, (value: string) => void] {
  const [value, setValue] = useState(() => localStorage.getItem(key) ?? initial);
  const keep = useCallback(
    (next: string) => {
      localStorage.setItem(key, next);
      setValue(next);
    },
    [key],
  );
  return [value, keep];
}
