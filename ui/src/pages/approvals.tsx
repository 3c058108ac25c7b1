/** Requests that wait for a person: the queue, and the card that is decided about. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { clock, count, plural, time } from "../format";
import { grouped, type Group } from "../groups";
import { go, useKept, useKeys, useNow } from "../hooks";
import { Inert } from "../inert";
import { useLive } from "../live";
import { Empty, Failed, Link, Tag, Title, Waiting } from "../parts";
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
  const place = `${view} ${id}`;
  const last = useRef({ place, card: "" });
  if (last.current.place !== place) last.current = { place, card: "" };
  const wanted = id || last.current.card;
  const shown = live.cards.find((card) => card.id === wanted) ?? (id ? undefined : list[0]);
  last.current.card = shown?.id ?? "";
  const groups =
    view === "waiting" ? grouped(waiting) : list.map((card) => ({ key: card.id, head: card, rest: [] }));
  const [unfolded, fold] = useUnfolded(groups, shown?.id);
  const rows = groups.flatMap(({ key, head, rest }) => (unfolded.has(key) ? [head, ...rest] : [head]));
  const move = (by: number) => {
    const at = rows.findIndex((card) => card.id === shown?.id);
    const next = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
    if (next) go(`approvals/${next.id}`, true);
  };
  // Another list shows a card of its own, not the one that was looked at in the last one.
  const change = (next: string) => {
    setView(next);
    if (id) go("approvals", true);
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
          <Views view={view} set={change} waiting={waiting.length} />
          {!live.known && <Waiting />}
          {view === "grants" && <Grants />}
          {live.known && view !== "grants" && list.length === 0 && <Nothing view={view} />}
          {list.length > 0 && (
            <ul class="cards" aria-label={view === "waiting" ? "Waiting requests" : "Decided requests"}>
              {groups.map((group) => (
                <Queued
                  key={group.head.id}
                  group={group}
                  now={now}
                  shown={shown?.id}
                  open={unfolded.has(group.key)}
                  fold={() => fold(group.key)}
                />
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

/** Keys of the groups that are unfolded, and what folds or unfolds one. A card that is chosen is in sight. */
function useUnfolded(
  groups: Group[],
  shown: string | undefined,
): [ReadonlySet<string>, (key: string) => void] {
  const [unfolded, setUnfolded] = useState<ReadonlySet<string>>(new Set());
  const chosen = groups.find(({ rest }) => rest.some((card) => card.id === shown))?.key;
  useEffect(() => {
    if (chosen !== undefined) setUnfolded((open) => new Set(open).add(chosen));
  }, [chosen, shown]);
  const fold = (key: string) => {
    const next = new Set(unfolded);
    if (!next.delete(key)) next.add(key);
    setUnfolded(next);
  };
  return [unfolded, fold];
}

/** A card, and what queues behind it. */
function Queued(props: {
  group: Group;
  now: number;
  shown: string | undefined;
  open: boolean;
  fold: () => void;
}): JSX.Element {
  const { head, rest } = props.group;
  const row = (card: Card) => (
    <Row key={card.id} card={card} now={props.now} current={card.id === props.shown} />
  );
  return (
    <>
      {row(head)}
      {rest.length > 0 && (
        <li class="fold">
          <button type="button" class="quiet small" aria-expanded={props.open} onClick={props.fold}>
            {count(rest.length)} more of this caller and policy
          </button>
        </li>
      )}
      {props.open && rest.map(row)}
    </>
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
  if (view === "history") {
    return (
      <Empty
        title="Nothing was decided in the last minutes"
        command="ringward sessions list --decision approve"
      >
        What was decided before that is in the recordings.
      </Empty>
    );
  }
  return (
    <Empty title="Nothing waits for you" command="ringward approvals watch">
      A request appears here when a policy with <code>action = "approve"</code> matches it. In the demo, the
      third of the commands that it prints asks for one. A terminal can wait, too:
    </Empty>
  );
}

/** Seconds that are left of a card. */
export function secondsLeft(card: Card, now: number): number {
  // A card is never younger than the clock that is shown.
  return (Date.parse(card.expires) - Math.max(now, Date.parse(card.asked))) / 1_000;
}

/** One line of the queue. `more`: how many queue behind it, where they are not shown. */
export function Row(props: { card: Card; now: number; current?: boolean; more?: number }): JSX.Element {
  const { card, now, current, more } = props;
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
          {more ? <span class="soft">and {count(more)} more</span> : null}
          {card.client === "away" && card.state === "pending" && <span class="soft">client away</span>}
          {card.state !== "pending" && <span class="soft">{time(card.ended ?? card.asked)}</span>}
        </span>
      </Link>
    </li>
  );
}
