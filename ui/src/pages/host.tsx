/** The process and its machine: shards, listeners, upstreams, limits, versions. */

import type { JSX } from "preact";
import { bytes, count, span, time } from "../format";
import { useResource } from "../hooks";
import { Inert } from "../inert";
import { Facts, Failed, Panel, Tag, Title, Waiting } from "../parts";
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
      <div tabIndex={0} role="group" aria-label="Table" class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Shard</th>
              <th scope="col">CPU</th>
              <th scope="col">Driver</th>
              <th scope="col" class="number">
                Connections
              </th>
              <th scope="col" class="number">
                Memory
              </th>
            </tr>
          </thead>
          <tbody>
            {status.shards.map((shard) => (
              <tr key={shard.index}>
                <td>{shard.index}</td>
                <td>{shard.cpu ?? "any"}</td>
                <td>{shard.driver}</td>
                <td class="number">{count(shard.connections)}</td>
                <td class="number">{bytes(shard.memory_bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Upstreams({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Upstreams">
      <div tabIndex={0} role="group" aria-label="Table" class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Address</th>
              <th scope="col" class="number">
                Open
              </th>
              <th scope="col" class="number">
                Idle
              </th>
              <th scope="col" class="number">
                Reused
              </th>
              <th scope="col" class="number">
                Failed
              </th>
            </tr>
          </thead>
          <tbody>
            {status.upstreams.map((one) => (
              <tr key={one.name}>
                <td>
                  <b>{one.name}</b>
                </td>
                <td>
                  {one.last_error ? (
                    <Inert text={one.last_error} class="bad" />
                  ) : (
                    <Inert text={one.addresses.join(" ") || one.host} class="mono" />
                  )}
                </td>
                <td class="number">{count(one.connections.open)}</td>
                <td class="number">{count(one.connections.idle)}</td>
                <td class="number">{count(one.connections.reused)}</td>
                <td class="number">{count(one.connections.failed)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Listeners({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Listeners">
      <div tabIndex={0} role="group" aria-label="Table" class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Address</th>
              <th scope="col">TLS</th>
            </tr>
          </thead>
          <tbody>
            {status.listeners.map((one) => (
              <tr key={one.name}>
                <td>
                  <b>{one.name}</b>
                </td>
                <td class="mono">{one.addr}</td>
                <td>
                  {one.tls
                    ? one.certificates.map((certificate) => (
                        <span key={certificate.serial}>
                          <Inert text={certificate.names.join(", ")} />, ends in {span(certificate.expires_s)}
                        </span>
                      ))
                    : "no"}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
