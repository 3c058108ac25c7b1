/** Who did what: recorded sessions, the newest first. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ago, count, time } from "../format";
import { useNow, useResource } from "../hooks";
import { Inert } from "../inert";
import { Command, Empty, Failed, Link, Table, Tag, Title, Waiting, type Column } from "../parts";
import type { Session } from "../types";

interface Page {
  sessions: Session[];
  next?: string;
  encrypted_segments: number;
}

const DECISIONS = ["", "allow", "block", "approve", "refuse"];

export function Sessions(): JSX.Element {
  const [subject, setSubject] = useState("");
  const [decision, setDecision] = useState("");
  const [route, setRoute] = useState("");
  const [after, setAfter] = useState<string[]>([]);
  const query = new URLSearchParams({ limit: "50" });
  if (subject.trim()) query.set("subject", subject.trim());
  if (decision) query.set("decision", decision);
  if (route.trim()) query.set("route", route.trim());
  const cursor = after.at(-1);
  if (cursor) query.set("after", cursor);
  const page = useResource<Page>(`/api/v1/sessions?${query}`, cursor ? 0 : 5_000);
  const now = useNow(5_000);
  const isFiltered = subject.trim() !== "" || decision !== "" || route.trim() !== "";
  // Another list begins at its beginning.
  const filter = (set: (value: string) => void) => (value: string) => {
    set(value);
    setAfter([]);
  };
  return (
    <>
      <Title note="what was recorded, the newest first">Sessions</Title>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <NameFilter label="Caller" value={subject} set={filter(setSubject)} />
        <NameFilter label="Route" value={route} set={filter(setRoute)} />
        <label>
          <span>With a decision</span>
          <select value={decision} onChange={(event) => filter(setDecision)(event.currentTarget.value)}>
            {DECISIONS.map((one) => (
              <option key={one} value={one}>
                {one || "any"}
              </option>
            ))}
          </select>
        </label>
      </form>
      {page.problem && !page.data && <Failed problem={page.problem} again={page.reload} />}
      {page.loading && <Waiting lines={6} />}
      {page.data?.sessions.length === 0 &&
        (isFiltered ? (
          <Empty title="No session fits" />
        ) : (
          <Empty title="Nothing is recorded yet">
            Sessions appear with their first request. Point an agent at the gateway:
            <Command text="ringward env claude-code" />
          </Empty>
        ))}
      {page.data && page.data.sessions.length > 0 && (
        <Table
          class="panel flush"
          tableClass="sessions"
          rows={page.data.sessions}
          id={(one) => one.id}
          columns={columns(now)}
        />
      )}
      {page.data && page.data.encrypted_segments > 0 && (
        <p class="soft">
          {count(page.data.encrypted_segments)} segments are encrypted to auditors and not listed here.
        </p>
      )}
      <div class="pager">
        {after.length > 0 && (
          <button type="button" onClick={() => setAfter(after.slice(0, -1))}>
            Newer
          </button>
        )}
        {page.data?.next && (
          <button type="button" onClick={() => setAfter([...after, page.data?.next ?? ""])}>
            Older
          </button>
        )}
      </div>
    </>
  );
}

function NameFilter(props: { label: string; value: string; set: (value: string) => void }): JSX.Element {
  return (
    <label>
      <span>{props.label}</span>
      <input
        type="search"
        value={props.value}
        placeholder="exact name"
        onInput={(event) => props.set(event.currentTarget.value)}
      />
    </label>
  );
}

function columns(now: number): Column<Session>[] {
  return [
    {
      head: "Caller",
      cell: (one) => (
        <>
          <Link to={`sessions/${one.id}`}>
            <Inert text={one.subject ?? "no identity"} class="strong" />
          </Link>
          {one.owner && (
            <div class="soft">
              <Inert text={one.owner} />
            </div>
          )}
        </>
      ),
    },
    { head: "Purpose", cell: (one) => <Inert text={one.purpose ?? "–"} /> },
    { head: "Route", cell: (one) => <Inert text={one.route ?? "–"} /> },
    { head: "Decisions", class: "nowrap", cell: (one) => <Decisions session={one} /> },
    { head: "Requests", class: "number", cell: (one) => count(one.requests) },
    { head: "Began", class: "nowrap", cell: (one) => time(one.started) },
    { head: "Last", class: "nowrap", cell: (one) => ago(one.last, now) },
  ];
}

function Decisions({ session }: { session: Session }): JSX.Element {
  const met = (["allow", "approve", "block", "refuse"] as const).filter((one) => session.decisions[one] > 0);
  return (
    <span class="tags">
      {met.map((one) => (
        <Tag key={one} kind={one}>
          {one} {count(session.decisions[one])}
        </Tag>
      ))}
    </span>
  );
}
