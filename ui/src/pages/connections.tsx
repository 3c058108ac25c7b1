/** Where requests go: the routes in force, and a form for a new way to an upstream. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { json } from "../api";
import { go, useResource } from "../hooks";
import { Inert } from "../inert";
import { Failed, Link, Panel, Table, Tag, Title, Waiting, type Column } from "../parts";
import { useMay } from "../roles";
import { check, FileEditor, Files, Verdict, type Checked, type Edited } from "./files";

interface Route {
  name: string;
  place: string;
  listen: string | null;
  host: string | null;
  path: string | null;
  identity: string[];
  upstream: string;
  url: string;
  protocol: string;
  secrets: string[];
  policies: string[];
  masks: string[];
  recorded: boolean;
}

interface Configured {
  routes: Route[];
  config: {
    identity?: { name: string }[];
    policy?: { name: string }[];
    mask?: { name: string }[];
    secrets?: Record<string, unknown>;
    listen?: { name: string }[];
  };
}

const EXAMPLE = `[upstreams.billing]
url = "https://billing.example.com"

[[route]]
name = "billing"
match = { path = "/billing/**", strip_prefix = "/billing" }
identity = ["people"]
upstream = "billing"
policies = ["default"]
`;

export function Connections({ name }: { name: string }): JSX.Element {
  if (name === "add") return <Add />;
  if (name) {
    return <FileEditor key={name} folder="connections.d" name={name} page="connections" example={EXAMPLE} />;
  }
  return <List />;
}

function List(): JSX.Element {
  const { data, problem, loading } = useResource<Configured>("/api/v1/config", 5_000);
  const edits = useMay("admin");
  return (
    <>
      <Title
        note="where requests go, and with which credential"
        actions={
          edits && (
            <Link to="connections/add" class="button primary">
              Connect an upstream
            </Link>
          )
        }
      >
        Connections
      </Title>
      {loading && <Waiting lines={6} />}
      {problem && !data && <Failed problem={problem} />}
      {data && <Table class="panel flush" rows={data.routes} id={(route) => route.name} columns={COLUMNS} />}
      <Files folder="connections.d" page="connections" />
    </>
  );
}

const COLUMNS: Column<Route>[] = [
  {
    head: "Route",
    cell: (route) => (
      <>
        <b>{route.name}</b>
        <div class="soft">{route.protocol}</div>
      </>
    ),
  },
  {
    head: "Requests",
    cell: (route) => (
      <>
        <Inert text={`${route.host ?? ""}${route.path ?? "/**"}`} class="mono" />
        <div class="soft">
          {route.identity.length > 0 ? `tokens of ${route.identity.join(", ")}` : "anybody"}
          {route.listen && ` · ${route.listen}`}
        </div>
      </>
    ),
  },
  {
    head: "Upstream",
    cell: (route) => (
      <>
        <Inert text={route.url} class="mono" />
        <div class="soft">
          {route.secrets.length > 0 ? `with ${route.secrets.join(", ")}` : "no credential"}
        </div>
      </>
    ),
  },
  {
    head: "Policies",
    cell: (route) => (
      <>
        <Inert text={route.policies.join(", ")} />
        {!route.recorded && <Tag kind="held">not recorded</Tag>}
      </>
    ),
  },
  { head: "Masks", cell: (route) => <Inert text={route.masks.join(", ") || "none"} /> },
];

const PROTOCOLS = ["http", "anthropic", "openai", "mcp"];

interface Form {
  name: string;
  url: string;
  protocol: string;
  secret: string;
  listen: string;
  path: string;
  identity: string[];
  policies: string[];
  masks: string[];
}

const NOTHING: Form = {
  name: "",
  url: "",
  protocol: "http",
  secret: "",
  listen: "",
  path: "",
  identity: [],
  policies: [],
  masks: [],
};

function Add(): JSX.Element {
  const { data, problem } = useResource<Configured>("/api/v1/config");
  const [form, setForm] = useState<Form>(NOTHING);
  const [checked, setChecked] = useState<Checked>();
  const [busy, setBusy] = useState(false);
  const set = (change: Partial<Form>) => setForm({ ...form, ...change });
  useEffect(() => setChecked(undefined), [form]);
  const names = (list: { name: string }[] | undefined) => (list ?? []).map((one) => one.name);
  const send = async (isDry: boolean) => {
    setBusy(true);
    const path = `/api/v1/connections${isDry ? "?dry_run=true" : ""}`;
    const result = await check(() => json<Edited>(path, { method: "POST", json: body(form) }));
    setBusy(false);
    setChecked(result);
    if (!isDry && result.edited) go(`connections/${form.name}`, true);
  };
  const submit = (event: Event) => {
    event.preventDefault();
    void send(true);
  };
  if (problem) return <Failed problem={problem} />;
  return (
    <>
      <Title note={<Link to="connections">all connections</Link>}>Connect an upstream</Title>
      <div class="columns">
        <Panel title="Connection" note="written as one file of connections.d">
          <form class="grid-form" onSubmit={submit}>
            <Field label="Name" hint="small letters, digits and -">
              <input
                type="text"
                required
                pattern="[a-z0-9\-]{1,64}"
                value={form.name}
                onInput={(event) => set({ name: event.currentTarget.value })}
              />
            </Field>
            <Field label="Address" hint="https://api.example.com">
              <input
                type="url"
                required
                value={form.url}
                onInput={(event) => set({ url: event.currentTarget.value })}
              />
            </Field>
            <Field label="It speaks">
              <select
                value={form.protocol}
                onChange={(event) => set({ protocol: event.currentTarget.value })}
              >
                {PROTOCOLS.map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </select>
            </Field>
            <Field label="Credential" hint="put in by the gateway; named, never typed here">
              <select value={form.secret} onChange={(event) => set({ secret: event.currentTarget.value })}>
                <option value="">none</option>
                {Object.keys(data?.config.secrets ?? {}).map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </select>
            </Field>
            <Field label="Path" hint={`empty: /${form.name || "NAME"}/**, cut off on the way`}>
              <input
                type="text"
                value={form.path}
                onInput={(event) => set({ path: event.currentTarget.value })}
              />
            </Field>
            <Field label="Listener">
              <select value={form.listen} onChange={(event) => set({ listen: event.currentTarget.value })}>
                <option value="">all</option>
                {names(data?.config.listen).map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </select>
            </Field>
            <Choices
              label="Tokens of"
              all={names(data?.config.identity)}
              chosen={form.identity}
              set={(identity) => set({ identity })}
            />
            <Choices
              label="Policies, in the order in which they are chosen"
              all={names(data?.config.policy)}
              chosen={form.policies}
              set={(policies) => set({ policies })}
              isOrdered
            />
            <Choices
              label="Masks"
              all={names(data?.config.mask)}
              chosen={form.masks}
              set={(masks) => set({ masks })}
            />
            <div class="decide-buttons">
              <button type="submit" class={checked?.edited ? "" : "primary"} disabled={busy}>
                Check
              </button>
              {checked?.edited && (
                <button type="button" class="primary" disabled={busy} onClick={() => void send(false)}>
                  Write and reload
                </button>
              )}
            </div>
          </form>
        </Panel>
        <div>
          {checked && (
            <Panel title="Check">
              <Verdict checked={checked} />
            </Panel>
          )}
        </div>
      </div>
    </>
  );
}

/** As the gateway takes it: what is empty is left out. */
function body(form: Form): Record<string, unknown> {
  const { secret, listen, path, ...rest } = form;
  return {
    ...rest,
    ...(secret ? { secret: `\${secret:${secret}}` } : {}),
    ...(listen ? { listen } : {}),
    ...(path ? { path } : {}),
  };
}

function Field(props: { label: string; hint?: string; children: JSX.Element }): JSX.Element {
  return (
    <label class="field">
      <span>
        {props.label} {props.hint && <small>{props.hint}</small>}
      </span>
      {props.children}
    </label>
  );
}

function Choices(props: {
  label: string;
  all: string[];
  chosen: string[];
  set: (chosen: string[]) => void;
  isOrdered?: boolean;
}): JSX.Element {
  const toggle = (name: string) => {
    const isChosen = props.chosen.includes(name);
    props.set(isChosen ? props.chosen.filter((one) => one !== name) : [...props.chosen, name]);
  };
  return (
    <fieldset class="choices">
      <legend>{props.label}</legend>
      {props.all.length === 0 && <span class="soft">none is configured</span>}
      {props.all.map((name) => (
        <label key={name}>
          <input type="checkbox" checked={props.chosen.includes(name)} onChange={() => toggle(name)} />
          {name}
          {props.isOrdered && props.chosen.includes(name) && <small>{props.chosen.indexOf(name) + 1}</small>}
        </label>
      ))}
    </fieldset>
  );
}
