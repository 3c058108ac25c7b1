/** How one request was decided, beside what was said in it. */

import type { JSX } from "preact";
import { bytes, count, duration, short, time } from "../format";
import { Inert } from "../inert";
import { Facts, Link, Tag } from "../parts";
import type { Turn } from "../timeline";
import type { Recording } from "../types";

export function Rail({ turn }: { turn: Turn }): JSX.Element {
  const { recording } = turn;
  const masks = Object.entries(recording.masks);
  return (
    <aside class="rail" aria-label="Decision">
      <h2>
        {recording.decision ? <Tag kind={recording.decision} /> : <Tag kind="plain">undecided</Tag>}{" "}
        <Inert text={recording.ruling?.policy ?? recording.policy ?? ""} />
      </h2>
      {recording.ruling?.reason && (
        <p class="reason">
          <Inert text={recording.ruling.reason} />
        </p>
      )}
      <Facts
        rows={[
          recording.ruling?.place
            ? ["Written in", <Inert text={recording.ruling.place} class="mono" />]
            : null,
          ["Route", <Inert text={recording.route ?? "–"} />],
          ["Upstream", <Inert text={recording.upstream ?? "–"} />],
          ["Credential", <Inert text={recording.secrets.join(", ") || "none"} />],
          ["Status", recording.status ?? "none"],
          ["Took", recording.duration_us === null ? "still runs" : duration(recording.duration_us)],
          ["Sent", bytes(recording.request.bytes)],
          ["Received", bytes(recording.response.bytes)],
          ["Ended", (recording.cause ?? "not yet").replaceAll("_", " ")],
        ]}
      />
      {masks.length > 0 && (
        <>
          <h3>Masked</h3>
          <ul class="mask-counts">
            {masks.map(([name, times]) => (
              <li key={name}>
                <Inert text={name} />
                <b>{count(times)}</b>
              </li>
            ))}
          </ul>
        </>
      )}
      <Predicates recording={recording} />
      <ApprovalEvents recording={recording} />
      <p>
        <Link to={`requests/${recording.id}`} class="more">
          Request {short(recording.id)}
        </Link>
      </p>
    </aside>
  );
}

/** Every condition that was looked at, and whether it held. */
export function Predicates({ recording }: { recording: Recording }): JSX.Element | null {
  const all = recording.ruling?.predicates ?? [];
  if (all.length === 0) return null;
  return (
    <>
      <h3>Conditions</h3>
      <ul class="predicates">
        {all.map(([policy, name, held], index) => (
          <li key={index} class={held ? "held" : ""}>
            <span aria-hidden="true" class="held-mark" />
            <span class="sr-only">{held ? "held:" : "did not hold:"}</span>
            <Inert text={policy} class="strong" /> <Inert text={name} />
          </li>
        ))}
      </ul>
    </>
  );
}

export function ApprovalEvents({ recording }: { recording: Recording }): JSX.Element | null {
  const events = recording.approvals ?? [];
  if (events.length === 0) return null;
  return (
    <>
      <h3>Approval</h3>
      <ol class="events">
        {events.map((event, index) => (
          <li key={index}>
            <span class="soft">{time(event.at)}</span> {event.event}
            {event.by && (
              <>
                {" by "}
                <Inert text={event.by} />
              </>
            )}
            {event.reason && (
              <>
                : <Inert text={event.reason} />
              </>
            )}
          </li>
        ))}
      </ol>
    </>
  );
}
