/** Who vouches for callers, and which credentials the gateway holds: names and ages, never values. */

import type { JSX } from "preact";
import { span } from "../format";
import { useResource } from "../hooks";
import { Inert } from "../inert";
import { Command, Empty, Failed, Panel, Table, Tag, Title, Waiting } from "../parts";
import type { ConfiguredSecret, Status } from "../types";

export function Identity(): JSX.Element {
  const { data: status, problem } = useResource<Status>("/api/v1/status", 5_000);
  return (
    <>
      <Title note="names and ages; a value is never shown">Identity & secrets</Title>
      {problem && !status && <Failed problem={problem} />}
      {!status && !problem && <Waiting lines={6} />}
      {status && (
        <>
          <Issuers status={status} />
          <Secrets />
        </>
      )}
    </>
  );
}

/** Where something comes from, and why that fails. */
function Place({ text, error }: { text: string; error: string | null }): JSX.Element {
  return (
    <>
      <Inert text={text} class="mono" />
      {error && (
        <p>
          <Inert text={error} class="bad" />
        </p>
      )}
    </>
  );
}

function age(seconds: number | null): string {
  return seconds === null ? "never" : `${span(seconds)} ago`;
}

function Issuers({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Issuers" note="who vouches for callers">
      {status.issuers.length === 0 ? (
        <Empty title="No issuer is configured" command="ringward config explain identity">
          Routes without identity take anybody.
        </Empty>
      ) : (
        <Table
          rows={status.issuers}
          id={(one) => one.name}
          columns={[
            { head: "Name", cell: (one) => <b>{one.name}</b> },
            { head: "Issuer", cell: (one) => <Place text={one.issuer} error={one.last_error} /> },
            {
              head: "State",
              cell: (one) => (
                <Tag kind={one.ready ? "ready" : "failed"}>{one.ready ? "ready" : "no keys"}</Tag>
              ),
            },
            { head: "Keys", class: "number", cell: (one) => one.keys },
            { head: "Fetched", class: "number", cell: (one) => age(one.age_s) },
          ]}
        />
      )}
    </Panel>
  );
}

/** A secret that is fetched for each request has no age. */
function state(secret: ConfiguredSecret): [kind: string, text: string] {
  if (secret.kind === "exchange") return ["ready", "for each request"];
  if (secret.age_s === null) return ["failed", "not read"];
  return secret.last_error ? ["failed", "old"] : ["ready", "ready"];
}

function Secrets(): JSX.Element {
  const path = "/api/v1/secrets";
  const { data, problem } = useResource<{ secrets: ConfiguredSecret[] }>(path, 5_000);
  return (
    <Panel title="Secrets" note="put into requests for the upstream; no caller ever holds one">
      {problem && !data && <Failed problem={problem} />}
      {data?.secrets.length === 0 && (
        <Empty title="No secret is configured">
          <Command text="ringward config explain secrets" />
        </Empty>
      )}
      {data && data.secrets.length > 0 && (
        <Table
          rows={data.secrets}
          id={(one) => one.name}
          columns={[
            { head: "Name", cell: (one) => <b>{one.name}</b> },
            { head: "Source", cell: (one) => <Place text={one.source} error={one.last_error} /> },
            { head: "Upstreams", cell: (one) => <Inert text={one.upstreams.join(", ")} /> },
            {
              head: "State",
              cell: (one) => {
                const [kind, text] = state(one);
                return <Tag kind={kind}>{text}</Tag>;
              },
            },
            {
              head: "Read",
              class: "number",
              cell: (one) => (one.kind === "exchange" ? "–" : age(one.age_s)),
            },
          ]}
        />
      )}
    </Panel>
  );
}
