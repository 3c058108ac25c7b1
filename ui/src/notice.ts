/** Notifications of the browser: that a request waits, for who has asked for them. Nothing that a caller
 *  wrote is in one. */

import { useEffect, useRef } from "preact/hooks";
import { go, useKept } from "./hooks";
import type { Live } from "./live";

/** What the button says; nothing where this browser has none. */
export type Wanted = "on" | "off" | "blocked" | undefined;

/** Tells of cards that come while this page is open. The first list is no news. */
export function useNotices(live: Live): { wanted: Wanted; toggle: () => void } {
  const [kept, keep] = useKept("notices", "off");
  const known = useRef<Set<string>>(undefined);
  const isThere = "Notification" in window;
  const wanted = !isThere ? undefined : Notification.permission === "denied" ? "blocked" : kept;
  useEffect(() => {
    if (!live.known) return;
    const waiting = live.cards.filter((card) => card.state === "pending");
    const fresh = known.current ? waiting.filter((card) => !known.current?.has(card.id)) : [];
    known.current = new Set(live.cards.map((card) => card.id));
    if (kept !== "on" || !isThere || Notification.permission !== "granted") return;
    for (const card of fresh) {
      const notice = new Notification("A request waits for you", {
        body: `Policy ${card.policy} holds it on route ${card.route}.`,
        tag: card.id,
      });
      notice.onclick = () => {
        window.focus();
        go(`approvals/${card.id}`);
        notice.close();
      };
    }
  }, [live.cards, live.known, kept, isThere]);
  const toggle = () => {
    if (kept === "on") return keep("off");
    // Asked for by a click alone: browsers refuse it otherwise.
    void Notification.requestPermission().then((given) => keep(given === "granted" ? "on" : "off"));
  };
  return { wanted: wanted as Wanted, toggle };
}
