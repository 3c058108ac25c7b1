/** Who vouches for callers, and which credentials the gateway holds: names and ages, never values. */

import type { JSX } from "preact";
import { span } from "../format";
import { useResource } from "../hooks";
import { Inert } from "../inert";
import { Command, Empty, Failed, Panel, Tag, Title, Waiting } from "../parts";
import type { Status } from "../types";

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
          <Secrets status={status} />
        </>
      )}
    </>
  );
}

function Issuers({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Issuers" note="who vouches for callers">
      {status.issuers.length === 0 ? (
        <Empty title="No issuer is configured" command="ringward config explain identity">
          Routes without identity take anybody.
        </Empty>
      ) : (
        <div tabIndex={0} role="group" aria-label="Table" class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Issuer</th>
                <th scope="col">State</th>
                <th scope="col" class="number">
                  Keys
                </th>
                <th scope="col" class="number">
                  Fetched
                </th>
              </tr>
            </thead>
            <tbody>
              {status.issuers.map((one) => (
                <tr key={one.name}>
                  <td>
                    <b>{one.name}</b>
                  </td>
                  <td>
                    <Inert text={one.issuer} class="mono" />
                    {one.last_error && (
                      <p>
                        <Inert text={one.last_error} class="bad" />
                      </p>
                    )}
                  </td>
                  <td>
                    <Tag kind={one.ready ? "ready" : "failed"}>{one.ready ? "ready" : "no keys"}</Tag>
                  </td>
                  <td class="number">{one.keys}</td>
                  <td class="number">{one.age_s === null ? "never" : `${span(one.age_s)} ago`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Secrets({ status }: { status: Status }): JSX.Element {
  return (
    <Panel title="Secrets" note="put into requests for the upstream; no caller ever holds one">
      {status.secrets.length === 0 ? (
        <Empty title="No secret is configured">
          <Command text="ringward config explain secrets" />
        </Empty>
      ) : (
        <div tabIndex={0} role="group" aria-label="Table" class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Source</th>
                <th scope="col">State</th>
                <th scope="col" class="number">
                  Read
                </th>
              </tr>
            </thead>
            <tbody>
              {status.secrets.map((one) => (
                <tr key={one.name}>
                  <td>
                    <b>{one.name}</b>
                  </td>
                  <td>
                    <Inert text={one.source} class="mono" />
                    {one.last_error && (
                      <p>
                        <Inert text={one.last_error} class="bad" />
                      </p>
                    )}
                  </td>
                  <td>
                    <Tag kind={one.age_s !== null && !one.last_error ? "ready" : "failed"}>
                      {one.age_s === null ? "not read" : one.last_error ? "old" : "ready"}
                    </Tag>
                  </td>
                  <td class="number">{one.age_s === null ? "never" : `${span(one.age_s)} ago`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
