/** The process and its machine: shards, listeners, upstreams, limits, versions. */

import type { JSX } from "preact";
import { bytes, count, span, time } from "../format";
import { useResource } from "../hooks";
import { Inert } from "../inert";
import { Facts, Failed, Panel, Table, Tag, Title, Waiting } from "../parts";
import type { Status } from "../types";

export function Host(): JSX.Element {
  const { data: status, problem } = useResource<Status>("/api/v1/status", 3_000);
  return (
    <>
      <Title note={status && `ringward ${status.version} · up ${span(status.uptime_s)}`}>Host</Title>
      {problem && !status && <Failed problem={problem} />}
      {!status && !problem && <Waiting lines={6} />}
      {status && (
        <div class="columns">
          <div>
            <Shards status={status} />
            <Upstreams status={status} />
            <Listeners status={status} />
          </div>
          <div>
            <Process status={status} />
            <Limits status={status} />
          </div>
        </div>
      )}
    </>
  );
}

function Process({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Process">
      <Facts
        rows={[
          ["Version", status.version],
          ["Process id", status.pid],
          ["Started", time(status.started)],
          ["State", status.draining ? <Tag kind="held">draining</Tag> : <Tag kind="ready">serving</Tag>],
          ["Configuration", <Inert text={status.config.path ?? "built in"} class="mono" />],
          ["Generation", `${status.config.generation}, loaded ${time(status.config.loaded_at)}`],
          status.config.last_reload_error !== null && [
            "Last reload",
            <Inert text={status.config.last_reload_error} class="bad" />,
          ],
        ]}
      />
    </Panel>
  );
}

function Limits({ status: { limits, audit } }: { status: Status }): JSX.Element {
  const met = limits.hits.filter(([, hits]) => hits > 0);
  return (
    <Panel title="Limits">
      <Facts
        rows={[
          ["Connections", `${count(limits.connections)} of ${count(limits.connections_max)}`],
          ["Memory", `${bytes(limits.memory_bytes)} of ${bytes(limits.memory_max_bytes)}`],
          ["Audit disk", `${bytes(audit.disk_available_bytes)} free of ${bytes(audit.disk_bytes)}`],
          ...met.map(([name, hits]) => [name.replaceAll("_", " "), `met ${count(hits)} times`] as const),
        ]}
      />
    </Panel>
  );
}

function Shards({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Shards">
      <Table
        rows={status.shards}
        id={(shard) => shard.index}
        columns={[
          { head: "Shard", cell: (shard) => shard.index },
          { head: "CPU", cell: (shard) => shard.cpu ?? "any" },
          { head: "Driver", cell: (shard) => shard.driver },
          { head: "Connections", class: "number", cell: (shard) => count(shard.connections) },
          { head: "Memory", class: "number", cell: (shard) => bytes(shard.memory_bytes) },
        ]}
      />
    </Panel>
  );
}

function Upstreams({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Upstreams">
      <Table
        rows={status.upstreams}
        id={(one) => one.name}
        columns={[
          { head: "Name", cell: (one) => <b>{one.name}</b> },
          {
            head: "Address",
            cell: (one) =>
              one.last_error ? (
                <Inert text={one.last_error} class="bad" />
              ) : (
                <Inert text={one.addresses.join(" ") || one.host} class="mono" />
              ),
          },
          { head: "Open", class: "number", cell: (one) => count(one.connections.open) },
          { head: "Idle", class: "number", cell: (one) => count(one.connections.idle) },
          { head: "Reused", class: "number", cell: (one) => count(one.connections.reused) },
          { head: "Failed", class: "number", cell: (one) => count(one.connections.failed) },
        ]}
      />
    </Panel>
  );
}

function Listeners({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Listeners">
      <Table
        rows={status.listeners}
        id={(one) => one.name}
        columns={[
          { head: "Name", cell: (one) => <b>{one.name}</b> },
          { head: "Address", class: "mono", cell: (one) => one.addr },
          {
            head: "TLS",
            cell: (one) =>
              one.tls
                ? one.certificates.map((certificate) => (
                    <span key={certificate.serial}>
                      <Inert text={certificate.names.join(", ")} />, ends in {span(certificate.expires_s)}
                    </span>
                  ))
                : "no",
          },
        ]}
      />
    </Panel>
  );
}
