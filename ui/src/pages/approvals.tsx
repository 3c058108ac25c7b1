/** Requests that wait for a person: the queue, and the card that is decided about. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { clock, plural, time } from "../format";
import { go, useKept, useKeys, useNow } from "../hooks";
import { Inert } from "../inert";
import { useLive } from "../live";
import { Command, Empty, Failed, Link, Tag, Title, Waiting } from "../parts";
import type { Card } from "../types";
import { CardView } from "./card";
import { Grants } from "./grants";

export function Approvals({ id }: { id: string }): JSX.Element {
  const live = useLive();
  const now = useNow();
  const [view, setView] = useKept("approvals-view", "waiting");
  const waiting = live.cards.filter((card) => card.state === "pending");
  const decided = live.cards.filter((card) => card.state !== "pending").reverse();
  const list = view === "waiting" ? waiting : view === "history" ? decided : [];
  // A card that was just decided stays in sight until another one is chosen.
  const last = useRef("");
  useEffect(() => {
    last.current = "";
  }, [id, view]);
  const wanted = id || last.current;
  const shown = live.cards.find((card) => card.id === wanted) ?? (id ? undefined : list[0]);
  last.current = shown?.id ?? "";
  const move = (by: number) => {
    const at = list.findIndex((card) => card.id === shown?.id);
    const next = list[at < 0 ? 0 : Math.min(Math.max(at + by, 0), list.length - 1)];
    if (next) go(`approvals/${next.id}`, true);
  };
  useKeys({ j: () => move(1), k: () => move(-1) });
  if (live.problem && !live.known) {
    return (
      <>
        <Title>Approvals</Title>
        <Failed problem={live.problem} />
      </>
    );
  }
  return (
    <div class="approvals">
      <Title note={live.known ? `${plural(waiting.length, "request")} waiting` : undefined}>Approvals</Title>
      <div class={`split ${id && view !== "grants" ? "chosen" : ""}`}>
        {id && (
          <Link to="approvals" class="back">
            All requests
          </Link>
        )}
        <div class="queue">
          <Views view={view} set={setView} waiting={waiting.length} />
          {!live.known && <Waiting />}
          {view === "grants" && <Grants />}
          {live.known && view !== "grants" && list.length === 0 && <Nothing view={view} />}
          {list.length > 0 && (
            <ul class="cards" aria-label={view === "waiting" ? "Waiting requests" : "Decided requests"}>
              {list.map((card) => (
                <Row key={card.id} card={card} now={now} current={card.id === shown?.id} />
              ))}
            </ul>
          )}
        </div>
        {view !== "grants" && shown && <CardView key={shown.id} card={shown} now={now} />}
        {view !== "grants" && !shown && id && live.known && (
          <Empty title="This card is gone" command={`ringward sessions list --decision approve`}>
            Cards are kept for some minutes after their decision. The recording has it for as long as the log
            is kept.
          </Empty>
        )}
      </div>
    </div>
  );
}

const VIEWS: [string, string][] = [
  ["waiting", "Waiting"],
  ["history", "Decided"],
  ["grants", "Grants & freezes"],
];

function Views(props: { view: string; set: (view: string) => void; waiting: number }): JSX.Element {
  return (
    <div class="tabs" role="group" aria-label="Which requests">
      {VIEWS.map(([name, label]) => (
        <button type="button" key={name} aria-pressed={props.view === name} onClick={() => props.set(name)}>
          {label}
          {name === "waiting" && props.waiting > 0 && <b class="count">{props.waiting}</b>}
        </button>
      ))}
    </div>
  );
}

function Nothing({ view }: { view: string }): JSX.Element {
  if (view === "history") return <Empty title="Nothing was decided in the last minutes" />;
  return (
    <Empty title="Nothing waits for you">
      A request appears here when a policy with <code>action = "approve"</code> matches it. In the demo, this
      asks for one:
      <Command text={ASK} />
    </Empty>
  );
}

const ASK =
  'curl -s -H "Authorization: Bearer $(ringward token --profile demo)" "$GATEWAY/anthropic/v1/messages" ' +
  "-H 'content-type: application/json' " +
  '-d \'{"model":"m","max_tokens":50000,"messages":[{"role":"user","content":"Hi"}]}\'';

/** Seconds that are left of a card. */
export function secondsLeft(card: Card, now: number): number {
  // A card is never younger than the clock that is shown.
  return (Date.parse(card.expires) - Math.max(now, Date.parse(card.asked))) / 1_000;
}

/** One line of the queue. */
export function Row({ card, now, current }: { card: Card; now: number; current?: boolean }): JSX.Element {
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (current) row.current?.scrollIntoView({ block: "nearest" });
  }, [current]);
  const left = secondsLeft(card, now);
  return (
    <li ref={row}>
      <Link to={`approvals/${card.id}`} class="row" current={current ?? false}>
        <span class="row-main">
          <Inert text={card.subject ?? card.address ?? "unknown caller"} class="strong" />
          {card.state === "pending" ? (
            <span class={`left ${left < 60 ? "soon" : ""}`} title="time left">
              {clock(left)}
            </span>
          ) : (
            <Tag kind={card.state} />
          )}
        </span>
        <span class="row-more">
          <Inert text={`${card.method} ${card.target}`} class="mono clip" />
        </span>
        <span class="row-more">
          <Inert text={card.policy} />
          {card.client === "away" && card.state === "pending" && <span class="soft">client away</span>}
          {card.state !== "pending" && <span class="soft">{time(card.ended ?? card.asked)}</span>}
        </span>
      </Link>
    </li>
  );
}
