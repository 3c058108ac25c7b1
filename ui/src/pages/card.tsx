/** One held request, in the order in which one decides: who, what, why, with which credential, until when. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Problem } from "../api";
import { bytes, clock, plural, short, span, time } from "../format";
import { Inert, InertBlock } from "../inert";
import { askForCard } from "../live";
import { Copy, Facts, Link, Tag } from "../parts";
import { useMay } from "../roles";
import type { Card } from "../types";
import { secondsLeft } from "./approvals";
import { Decide } from "./decide";
import { FreezeDialog } from "./freeze";

export function CardView({ card, now }: { card: Card; now: number }): JSX.Element {
  useRead(card);
  const left = secondsLeft(card, now);
  return (
    <article class="card" aria-labelledby="card-title">
      <header>
        <h2 id="card-title">
          <Inert text={card.subject ?? card.address ?? "An unknown caller"} />{" "}
          <span class="plain">asks to {VERBS[card.method] ?? "call"}</span> <Inert text={card.upstream} />
        </h2>
        <p class="card-id">
          <code>{card.id}</code>
          <Copy text={card.id} what="the id of this approval" />
          <span>revision {card.revision}</span>
        </p>
      </header>
      {card.state === "pending" ? (
        <p class={`time-left ${left < 60 ? "soon" : ""}`}>
          <b>{clock(left)}</b> left
          <span>
            asked {span((now - Date.parse(card.asked)) / 1_000)} ago ·{" "}
            {card.client === "waiting" ? "the client waits" : "the client is away and may come back"}
          </span>
        </p>
      ) : (
        <Ended card={card} />
      )}
      <Changes card={card} />
      <Who card={card} />
      <What card={card} />
      <Why card={card} />
      {card.state === "pending" && <Decide key={card.revision} card={card} />}
      <Stop card={card} />
    </article>
  );
}

const VERBS: Record<string, string> = {
  DELETE: "delete at",
  GET: "read from",
  PUT: "write to",
  PATCH: "change at",
};

/** Fetches the card once for each revision: the gateway records who has read it. */
function useRead(card: Card) {
  useEffect(() => {
    const abort = new AbortController();
    const read = async () => {
      try {
        await askForCard(card.id, "", { signal: abort.signal });
      } catch (error) {
        // It is shown as the stream had it; a card that is gone is told by the stream.
        if (!(error instanceof Problem) && !abort.signal.aborted) throw error;
      }
    };
    void read();
    return () => abort.abort();
  }, [card.id, card.revision]);
}

function Who({ card }: { card: Card }): JSX.Element {
  return (
    <section aria-labelledby="who">
      <h3 id="who">Who</h3>
      <Facts
        rows={[
          ["Caller", card.subject ? <Inert text={card.subject} class="strong" /> : <em>no identity</em>],
          card.address !== null && ["Address", <Inert text={card.address} />],
          card.owner !== null && ["Owner", <Inert text={card.owner} />],
          card.groups.length > 0 && ["Groups", <Inert text={card.groups.join(", ")} />],
          card.purpose !== null && ["Purpose", <Inert text={card.purpose} />],
          [
            "Session",
            <>
              <Inert text={card.session} class="mono" />
              {card.session_claimed && <span class="claim">claimed by the client</span>}
            </>,
          ],
          card.issuer !== null && ["Vouched for by", <Inert text={card.issuer} class="mono" />],
        ]}
      />
    </section>
  );
}

/** Stops whoever asks this. */
function Stop({ card }: { card: Card }): JSX.Element {
  const [open, setOpen] = useState(false);
  const names = { subject: card.subject ?? "", session: card.session, route: card.route };
  return (
    <p class="stop">
      <button type="button" class="quiet small" onClick={() => setOpen(true)}>
        Freeze this caller…
      </button>
      {open && (
        <FreezeDialog
          scope={card.subject === null ? "route" : "subject"}
          names={names}
          close={() => setOpen(false)}
        />
      )}
    </p>
  );
}

function What({ card }: { card: Card }): JSX.Element {
  const [raw, setRaw] = useState(false);
  const pretty = formatted(card.excerpt, card.excerpt_is_new);
  const hidden = card.hidden_bytes;
  return (
    <section aria-labelledby="what">
      <h3 id="what">What</h3>
      <p class="call">
        <Inert text={card.method} class="strong" /> <Inert text={card.target} />
      </p>
      <Facts
        rows={[
          ["Route", <Inert text={card.route} />],
          ["Upstream", <Inert text={card.upstream} />],
          card.model !== null && ["Model", <Inert text={card.model} class="strong" />],
          ["Body", bytes(card.body_bytes)],
        ]}
      />
      {card.excerpt && (
        <>
          <div class="excerpt-head">
            <span>
              {card.excerpt_is_new
                ? "What is new in its conversation, what matched first, personal data masked"
                : "What it would send, personal data masked"}
            </span>
            {pretty !== undefined && (
              <button type="button" class="quiet small" aria-pressed={raw} onClick={() => setRaw(!raw)}>
                {raw ? "Formatted" : "As sent"}
              </button>
            )}
          </div>
          <InertBlock text={raw ? card.excerpt : (pretty ?? card.excerpt)} label="The request's body" />
        </>
      )}
      {hidden > 0 && <p class="soft">{plural(hidden, "byte")} not shown.</p>}
    </section>
  );
}

/** JSON with line ends; nothing where it is none, or not all of it. What is new has a value in each line. */
function formatted(text: string, inLines: boolean): string | undefined {
  if (inLines) {
    const lines = text.split("\n").map((line) => [line, formatted(line, false)] as const);
    return lines.some(([, value]) => value)
      ? lines.map(([line, value]) => value ?? line).join("\n")
      : undefined;
  }
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : undefined;
  } catch {
    return undefined;
  }
}

function Why({ card }: { card: Card }): JSX.Element {
  const reads = useMay("auditor");
  return (
    <section aria-labelledby="why">
      <h3 id="why">Why it waits</h3>
      <p class="reason">
        <Inert text={card.reason} />
      </p>
      <Facts
        rows={[
          [
            "Policy",
            <>
              <Inert text={card.policy} class="strong" /> <Inert text={card.place} class="mono soft" />
            </>,
          ],
          [
            "Credential",
            card.secrets.length > 0 ? (
              <>
                <Inert text={card.secrets.join(", ")} class="strong" /> would be used; its value is never
                shown
              </>
            ) : (
              "none"
            ),
          ],
          ["Who may decide", <Inert text={card.by.join(", ") || "nobody"} />],
          card.approvals_min > 1 && ["Approvals", `${card.approvals.length} of ${card.approvals_min}`],
          ...card.approvals.map(
            (voice) =>
              [
                "Approved by",
                <>
                  <Inert text={voice.by} /> at {time(voice.at)}
                  {voice.reason && (
                    <>
                      : <Inert text={voice.reason} />
                    </>
                  )}
                </>,
              ] as const,
          ),
          [
            "Request",
            reads ? (
              <Link to={`requests/${card.request}`}>{short(card.request)}</Link>
            ) : (
              <code>{card.request}</code>
            ),
          ],
        ]}
      />
    </section>
  );
}

/** What differs from the revision that was shown before. */
function Changes({ card }: { card: Card }): JSX.Element | null {
  if (card.changes.length === 0) return null;
  return (
    <section class="changes" aria-labelledby="changes">
      <h3 id="changes">Changed since revision {card.revision - 1}</h3>
      <p class="soft">
        The client sent the request again with differences; what was said about it before does not hold.
      </p>
      <table>
        <thead>
          <tr>
            <th scope="col">Part</th>
            <th scope="col">Before</th>
            <th scope="col">Now</th>
          </tr>
        </thead>
        <tbody>
          {card.changes.map((change) => (
            <tr key={change.what}>
              <th scope="row">
                <Inert text={change.what} />
              </th>
              <td>
                {change.before === null ? <em>absent</em> : <Inert text={change.before} class="mono" />}
              </td>
              <td>{change.after === null ? <em>absent</em> : <Inert text={change.after} class="mono" />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Ended({ card }: { card: Card }): JSX.Element {
  const reads = useMay("auditor");
  return (
    <div class={`ended ended-${card.state}`} role="status">
      <Tag kind={card.state}>{STATES[card.state]}</Tag>
      <span>
        {card.ended && time(card.ended)}
        {card.denied_by && (
          <>
            {" "}
            by <Inert text={card.denied_by} />
          </>
        )}
        {card.outcome && ` · ${card.outcome}`}
      </span>
      {card.denied_reason && (
        <p>
          <Inert text={card.denied_reason} />
        </p>
      )}
      {card.used_by && reads && (
        <p>
          <Link to={`requests/${card.used_by}`}>The request that was sent</Link>
        </p>
      )}
    </div>
  );
}

const STATES: Record<Card["state"], string> = {
  pending: "Waiting",
  approved: "Approved, its client has not come back yet",
  denied: "Denied",
  expired: "Expired: nobody decided in time",
  abandoned: "Abandoned: its client did not come back",
  consumed: "Approved and sent",
};
