/** The policies in force, and the files in which they may be changed. */

import type { JSX } from "preact";
import { count } from "../format";
import { useResource } from "../hooks";
import { Inert } from "../inert";
import { Empty, Failed, Panel, Tag, Title, Waiting } from "../parts";
import { FileEditor, Files } from "./files";
import { Try } from "./try";

interface Policy {
  name: string;
  place: string;
  action: string;
  reason: string | null;
  dry_run: boolean;
  when: unknown;
  approval: unknown;
  routes: { route: string; position: number }[];
  decisions: number;
}

const EXAMPLE = `# What it is for, and who asked for it.
[[policy]]
name = "no-exports"
when = { path = "/customers/export" }
action = "block"
reason = "Exports leave through the data team. Ask #data."
`;

export function PolicyPage({ name }: { name: string }): JSX.Element {
  if (name) {
    return (
      <FileEditor
        key={name}
        folder="policies.d"
        name={name}
        page="policy"
        example={EXAMPLE}
        beside={(toml) => <Try candidate={{ name, toml }} />}
      />
    );
  }
  return (
    <>
      <Title note="in the order in which they were written; each route tries its own list">Policy</Title>
      <div class="columns">
        <div>
          <Policies />
        </div>
        <div>
          <Files folder="policies.d" page="policy" />
          <Try />
        </div>
      </div>
    </>
  );
}

function Policies(): JSX.Element {
  const { data, problem, loading } = useResource<{ generation: number; policies: Policy[] }>(
    "/api/v1/policies",
    5_000,
  );
  return (
    <Panel title="Policies" note={data && `generation ${data.generation}`}>
      {loading && <Waiting lines={6} />}
      {problem && !data && <Failed problem={problem} />}
      {data?.policies.length === 0 && (
        <Empty title="No policy is configured" command="ringward config explain policy" />
      )}
      <ul class="policies">
        {data?.policies.map((policy) => (
          <li key={policy.name}>
            <p class="row-main">
              <span>
                <Tag kind={policy.action} /> <b>{policy.name}</b>
                {policy.dry_run && <span class="claim">on trial</span>}
              </span>
              <span class="soft">{count(policy.decisions)} decided</span>
            </p>
            {policy.reason && (
              <p>
                <Inert text={policy.reason} />
              </p>
            )}
            {policy.when !== null && <code class="when">{JSON.stringify(policy.when)}</code>}
            <p class="soft">
              <Inert text={policy.place} class="mono" /> ·{" "}
              {policy.routes.length === 0 ? (
                <span class="bad">no route tries it</span>
              ) : (
                `tried by ${policy.routes.map((use) => use.route).join(", ")}`
              )}
            </p>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
