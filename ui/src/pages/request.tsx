/** One recorded request: how it was decided, what passed, and the proof that the log holds it. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { json, lines, Problem } from "../api";
import { bytes, count, duration, plural, time } from "../format";
import { useLoaded, useResource } from "../hooks";
import { Inert, InertBlock } from "../inert";
import { Copy, Facts, Failed, Link, Panel, Tag, Title, Waiting } from "../parts";
import { bodyText } from "../timeline";
import type { Body, Exchange, Recording } from "../types";
import { proven } from "./audit";
import { ApprovalEvents, Predicates } from "./rail";

export function RequestPage({ id }: { id: string }): JSX.Element {
  const { data: recording, problem } = useLoaded(id, load);
  if (problem) {
    return (
      <>
        <Title>Request</Title>
        <Failed problem={problem} />
      </>
    );
  }
  if (!recording) return <Waiting lines={8} />;
  return <Shown recording={recording} />;
}

/** A request is found in its session, and read by its record. */
async function load(id: string, signal: AbortSignal): Promise<Recording> {
  const path = `/api/v1/sessions/${encodeURIComponent(id)}`;
  const { session, exchanges } = await json<{ session: { id: string }; exchanges: Exchange[] }>(
    `${path}?limit=10000`,
    { signal },
  );
  const exchange = exchanges.find((one) => one.id === id);
  if (!exchange) throw new Problem(404, "not_found", "this request is not recorded");
  const query = `format=jsonl&purpose=replay&after=${exchange.sequence - 1}&limit=1`;
  for await (const recording of lines<Recording>(`/api/v1/sessions/${session.id}/export?${query}`, {
    signal,
  })) {
    if (recording.id === id) return recording;
  }
  throw new Problem(404, "not_found", "this request is not recorded");
}

function Shown({ recording }: { recording: Recording }): JSX.Element {
  return (
    <>
      <Title
        note={
          <>
            <code>{recording.id}</code> <Copy text={recording.id} what="the id of this request" /> ·{" "}
            {time(recording.started)} · <Link to={`sessions/${recording.session}`}>its session</Link>
          </>
        }
      >
        <Inert text={`${recording.method ?? "?"} ${recording.target ?? ""}`} class="mono" />
      </Title>
      <div class="columns">
        <div>
          <Exchanged title="Request" fields={recording.headers} body={recording.request} />
          <Exchanged title="Response" fields={recording.response_headers} body={recording.response} />
        </div>
        <div>
          <Decision recording={recording} />
          <Stages recording={recording} />
          <Who recording={recording} />
          <Proof recording={recording} />
        </div>
      </div>
    </>
  );
}

function Decision({ recording }: { recording: Recording }): JSX.Element {
  const masks = Object.entries(recording.masks);
  return (
    <Panel title="Decision">
      <p class="verdict">
        {recording.decision ? <Tag kind={recording.decision} /> : <Tag kind="plain">undecided</Tag>}{" "}
        <Inert text={recording.ruling?.policy ?? recording.policy ?? ""} class="strong" />{" "}
        <Inert text={recording.ruling?.place ?? ""} class="mono soft" />
      </p>
      {(recording.ruling?.reason ?? recording.reason) && (
        <p class="reason">
          <Inert text={recording.ruling?.reason ?? recording.reason ?? ""} />
        </p>
      )}
      <Facts
        rows={[
          ["Route", <Inert text={recording.route ?? "–"} />],
          ["Upstream", <Inert text={recording.upstream ?? "–"} />],
          ["Credential", <Inert text={recording.secrets.join(", ") || "none"} />],
          ["Status", recording.status ?? "none"],
          ["Took", recording.duration_us === null ? "still runs" : duration(recording.duration_us)],
          ["Ended", (recording.cause ?? "not yet").replaceAll("_", " ")],
          masks.length > 0 && [
            "Masked",
            <Inert text={masks.map(([name, times]) => `${name} ${count(times)}`).join(", ")} />,
          ],
          recording.ruling !== null &&
            recording.ruling.dry_runs.length > 0 && [
              "On trial",
              <Inert text={`${recording.ruling.dry_runs.join(", ")} would have decided`} />,
            ],
        ]}
      />
      <Predicates recording={recording} />
      <ApprovalEvents recording={recording} />
    </Panel>
  );
}

/** Microseconds of each stage; nothing where it was refused. */
interface Explained {
  stages: Record<string, number> | null;
}

function Stages({ recording }: { recording: Recording }): JSX.Element | null {
  const explained = useResource<Explained>(`/api/v1/requests/${recording.id}/explain`);
  const all = Object.entries(explained.data?.stages ?? {});
  const stages = all
    .map(([name, us]): [string, number] => [name.replace(/_us$/, "").replaceAll("_", " "), us])
    .filter(([name, us]) => name !== "total" && us > 0);
  const first = recording.response.pieces[0]?.at_us;
  if (stages.length === 0 && first !== undefined && recording.duration_us !== null) {
    stages.push(
      ["to the first byte", first],
      ["to the last byte", Math.max(0, recording.duration_us - first)],
    );
  }
  if (stages.length === 0) return null;
  const total = Math.max(
    1,
    stages.reduce((sum, [, us]) => sum + us, 0),
  );
  return (
    <Panel title="Stages">
      <ul class="bars">
        {stages.map(([name, us]) => (
          <li key={name}>
            <span class="bar-name">{name}</span>
            <span class="bar" aria-hidden="true">
              <i style={{ width: `${(us / total) * 100}%` }} />
            </span>
            <span class="bar-value">{duration(us)}</span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Who({ recording }: { recording: Recording }): JSX.Element {
  const { who } = recording;
  return (
    <Panel title="Who">
      <Facts
        rows={[
          ["Caller", who ? <Inert text={who.subject} class="strong" /> : <em>no identity</em>],
          who?.owner ? ["Owner", <Inert text={who.owner} />] : null,
          who && who.groups.length > 0 ? ["Groups", <Inert text={who.groups.join(", ")} />] : null,
          who?.purpose ? ["Purpose", <Inert text={who.purpose} />] : null,
          who ? ["Vouched for by", <Inert text={who.issuer} class="mono wrap" />] : null,
          [
            "Session",
            <>
              <Inert text={recording.session_name} class="mono wrap" />
              {recording.session_named_by === "client" && <span class="claim">claimed by the client</span>}
            </>,
          ],
          recording.peer ? ["From", <Inert text={recording.peer} class="mono" />] : null,
          ["Listener", <Inert text={recording.listener} />],
        ]}
      />
    </Panel>
  );
}

function Exchanged({
  title,
  fields,
  body,
}: {
  title: string;
  fields: [string, string][];
  body: Body;
}): JSX.Element {
  const [raw, setRaw] = useState(false);
  const text = bodyText(body);
  const pretty = formatted(text);
  return (
    <Panel
      title={title}
      note={`${bytes(body.bytes)} in ${plural(body.pieces.length, "piece")}`}
      actions={
        <>
          {pretty !== undefined && (
            <button type="button" class="quiet small" aria-pressed={raw} onClick={() => setRaw(!raw)}>
              {raw ? "Formatted" : "As it passed"}
            </button>
          )}
          {text && <Copy text={text} what={`the body of the ${title.toLowerCase()}`} />}
        </>
      }
    >
      {fields.length > 0 && (
        <details>
          <summary>{plural(fields.length, "field")}</summary>
          <dl class="facts fields">
            {fields.map(([name, value], index) => (
              <div key={index}>
                <dt>
                  <Inert text={name} />
                </dt>
                <dd>
                  <Inert text={value} class="mono wrap" />
                </dd>
              </div>
            ))}
          </dl>
        </details>
      )}
      {text ? (
        <InertBlock text={raw ? text : (pretty ?? text)} label={`Body of the ${title.toLowerCase()}`} />
      ) : (
        <p class="calm">{body.bytes > 0 ? "Its bytes were not kept, only their length." : "No body."}</p>
      )}
      {!body.whole && text && <p class="soft">Not all of {plural(body.bytes, "byte")} were kept.</p>}
    </Panel>
  );
}

function formatted(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : undefined;
  } catch {
    return undefined;
  }
}

function Proof({ recording }: { recording: Recording }): JSX.Element {
  const [result, setResult] = useState<JSX.Element>();
  const [busy, setBusy] = useState(false);
  const only = `format=jsonl&after=${recording.sequence - 1}&limit=1`;
  const exported = `/api/v1/sessions/${recording.session}/export?${only}`;
  const prove = async (record: number) => {
    setBusy(true);
    setResult(await proven(record, []));
    setBusy(false);
  };
  return (
    <Panel title="Proof">
      <p class="calm">
        It begins with record <b>{count(recording.sequence)}</b>
        {recording.ended_sequence !== null && (
          <>
            {" "}
            and ends with record <b>{count(recording.ended_sequence)}</b>
          </>
        )}
        . This browser checks that the signed log holds it.
      </p>
      <div class="decide-buttons">
        <button type="button" class="primary" disabled={busy} onClick={() => void prove(recording.sequence)}>
          Verify
        </button>
        <a class="button" href={exported} download>
          Export
        </a>
      </div>
      {result}
    </Panel>
  );
}
