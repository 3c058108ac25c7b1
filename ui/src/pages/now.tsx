/** How it is at this moment: what waits, who is active, what the gateway costs, whether all is well. */

import type { ComponentChildren, JSX } from "preact";
import { Chart } from "../chart";
import { ago, bytes, count, duration, plural, span, time } from "../format";
import { grouped } from "../groups";
import { useNow, useResource } from "../hooks";
import { Inert } from "../inert";
import { useLive, type Live } from "../live";
import { useOverhead } from "../metrics";
import { Command, Empty, Facts, Failed, Link, Panel, Table, Tag, Title, Waiting } from "../parts";
import { useMay } from "../roles";
import type { Exchange, Session, Status } from "../types";
import { Row } from "./approvals";

export function Now(): JSX.Element {
  const [views, approves, audits] = [useMay("viewer"), useMay("approver"), useMay("auditor")];
  const status = useResource<Status>(views ? "/api/v1/status" : null, 2_000);
  const overhead = useOverhead(views);
  const live = useLive();
  const now = useNow();
  const waiting = live.cards.filter((card) => card.state === "pending");
  const seconds = (value: number | undefined) => (value === undefined ? "–" : duration(value * 1e6));
  return (
    <>
      <Title note={status.data && <Health status={status.data} />}>Now</Title>
      <div class="tiles">
        {approves && (
          <Tile
            label="Waiting for you"
            value={live.known ? count(waiting.length) : "–"}
            loud={waiting.length > 0}
          />
        )}
        {views && (
          <>
            <Tile label="In flight" value={status.data ? count(status.data.requests.in_flight) : "–"} />
            <Tile
              label="Forwarded"
              value={status.data ? count(status.data.requests.forwarded) : "–"}
              note={status.data && `${count(status.data.requests.refused)} refused since the start`}
            />
            <Tile
              label="Overhead p50"
              value={seconds(overhead.p50)}
              note={`p99 ${seconds(overhead.p99)} · ${overhead.isRecent ? "last minute" : "since the start"}`}
            />
          </>
        )}
      </div>
      <div class={views ? "columns" : ""}>
        <div>
          {approves && <Pending live={live} now={now} />}
          {audits && <Active now={now} />}
          {audits && <Recent />}
          {!approves && !audits && <Host status={status.data} />}
        </div>
        {views && (
          <div>
            <Panel title="Overhead" note="what the gateway adds: without upstream and holds">
              {overhead.problem && overhead.points.length === 0 ? (
                <Failed problem={overhead.problem} />
              ) : (
                <Chart points={overhead.points} />
              )}
            </Panel>
            <Panel title="Shards">
              {status.data ? (
                <Shards status={status.data} />
              ) : status.problem ? (
                <Failed problem={status.problem} />
              ) : (
                <Waiting />
              )}
            </Panel>
            {status.data && (
              <Panel title="Audit log">
                <Log status={status.data} audits={audits} />
              </Panel>
            )}
          </div>
        )}
      </div>
    </>
  );
}

function Pending({ live, now }: { live: Live; now: number }): JSX.Element {
  const waiting = live.cards.filter((card) => card.state === "pending");
  return (
    <Panel
      title="Waiting for a decision"
      actions={
        <Link to="approvals" class="more">
          All approvals
        </Link>
      }
    >
      {live.problem && !live.known && <Failed problem={live.problem} />}
      {!live.known && !live.problem && <Waiting />}
      {live.known && waiting.length === 0 && (
        <p class="calm">Nothing waits. A held request appears here the moment it is asked.</p>
      )}
      {waiting.length > 0 && (
        <ul class="cards">
          {grouped(waiting)
            .slice(0, 5)
            .map(({ head, rest }) => (
              <Row key={head.id} card={head} now={now} more={rest.length} />
            ))}
        </ul>
      )}
    </Panel>
  );
}

/** For those who only look: where requests go. */
function Host({ status }: { status: Status | undefined }): JSX.Element {
  return (
    <Panel title="Upstreams">
      {!status && <Waiting />}
      {status && (
        <Facts
          rows={status.upstreams.map(
            (one) =>
              [
                one.name,
                one.last_error ? (
                  <Inert text={one.last_error} class="bad" />
                ) : (
                  `${plural(one.connections.open, "connection")} open, ${count(one.connections.idle)} idle`
                ),
              ] as const,
          )}
        />
      )}
    </Panel>
  );
}

function Tile(props: {
  label: string;
  value: string;
  note?: ComponentChildren;
  loud?: boolean;
}): JSX.Element {
  return (
    <div class={`tile ${props.loud ? "loud" : ""}`}>
      <span class="tile-label">{props.label}</span>
      <span class="tile-value">{props.value}</span>
      {props.note && <span class="tile-note">{props.note}</span>}
    </div>
  );
}

/** One line: all well, or what is not. */
function Health({ status }: { status: Status }): JSX.Element {
  const wrong = [
    status.draining && "draining: no new connections",
    status.audit.state !== "recording" && `audit log ${status.audit.state}`,
    status.audit.disk_full && "the disk of the audit log is full",
    status.config.last_reload_error !== null && "the last reload was refused",
    ...status.issuers.filter((one) => !one.ready).map((one) => `no keys of issuer ${one.name}`),
    ...status.secrets
      .filter((one) => one.last_error !== null)
      .map((one) => `secret ${one.name} cannot be read`),
  ].filter((one): one is string => typeof one === "string");
  if (wrong.length > 0) return <span class="bad">{wrong.join(" · ")}</span>;
  return (
    <>
      All well · up {span(status.uptime_s)} · {plural(status.limits.connections, "connection")}
    </>
  );
}

function Shards({ status }: { status: Status }): JSX.Element {
  const most = Math.max(1, ...status.shards.map((shard) => shard.connections));
  return (
    <ul class="bars">
      {status.shards.map((shard) => (
        <li key={shard.index}>
          <span class="bar-name">
            {shard.index}
            <small>
              {shard.cpu === null ? "" : `cpu ${shard.cpu} · `}
              {shard.driver}
            </small>
          </span>
          <span class="bar" aria-hidden="true">
            <i style={{ width: `${(shard.connections / most) * 100}%` }} />
          </span>
          <span class="bar-value">
            {plural(shard.connections, "conn.", "conn.")}
            <small>{bytes(shard.memory_bytes)}</small>
          </span>
        </li>
      ))}
    </ul>
  );
}

function Log({ status: { audit }, audits }: { status: Status; audits: boolean }): JSX.Element {
  const unsigned = Math.max(0, audit.sequence - audit.signed_through);
  const signed = unsigned === 0 ? "all" : `all but the newest ${count(unsigned)}`;
  return (
    <p class="log-line">
      <b>{count(audit.sequence)}</b> records, {signed} signed · {bytes(audit.disk_available_bytes)} free
      {audits && (
        <>
          {" · "}
          <Link to="audit">verify</Link>
        </>
      )}
    </p>
  );
}

const ACTIVE_MS = 15 * 60_000;

function Active({ now }: { now: number }): JSX.Element {
  const sessions = useResource<{ sessions: Session[] }>("/api/v1/sessions?limit=8", 5_000);
  const active = sessions.data?.sessions.filter((one) => now - Date.parse(one.last) < ACTIVE_MS) ?? [];
  return (
    <Panel
      title="Active sessions"
      note="last 15 minutes"
      actions={
        <Link to="sessions" class="more">
          All sessions
        </Link>
      }
    >
      {sessions.problem && !sessions.data && <Failed problem={sessions.problem} />}
      {sessions.loading && <Waiting />}
      {sessions.data && active.length === 0 && (
        <Empty title="Nobody is active">
          Point an agent at the gateway:
          <Command text="ringward env claude-code" />
        </Empty>
      )}
      {active.length > 0 && (
        <ul class="rows">
          {active.map((session) => (
            <li key={session.id}>
              <Link to={`sessions/${session.id}`} class="row">
                <span class="row-main">
                  <Inert text={session.subject ?? "no identity"} class="strong" />
                  <span class="soft">{ago(session.last, now)}</span>
                </span>
                <span class="row-more">
                  <Inert text={session.purpose ?? session.route ?? ""} />
                  <span class="soft">{plural(session.requests, "request")}</span>
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Recent(): JSX.Element | null {
  const recent = useResource<{ exchanges: Exchange[] }>("/api/v1/exchanges?limit=8", 3_000);
  const rows = [...(recent.data?.exchanges ?? [])].reverse();
  if (rows.length === 0) return null;
  return (
    <Panel title="Latest requests">
      <Table
        rows={rows}
        id={(one) => one.id}
        columns={[
          { head: "Time", class: "nowrap", cell: (one) => time(one.started) },
          { head: "Caller", class: "nowrap", cell: (one) => <Inert text={one.subject ?? "–"} /> },
          {
            head: "Request",
            class: "wide",
            cell: (one) => (
              <Link to={`requests/${one.id}`} class="clip">
                <Inert text={`${one.method ?? "?"} ${one.target ?? ""}`} class="mono" />
              </Link>
            ),
          },
          { head: "Decision", cell: (one) => one.decision && <Tag kind={one.decision} /> },
          { head: "Status", class: "number", cell: (one) => one.status ?? "–" },
          {
            head: "Took",
            class: "number",
            cell: (one) => (one.duration_us === null ? "runs" : duration(one.duration_us)),
          },
        ]}
      />
    </Panel>
  );
}
