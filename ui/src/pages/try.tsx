/** What policies would do: with a request that nobody made, and with those that were recorded. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { json, Problem, words } from "../api";
import { count, plural, time } from "../format";
import { useResource } from "../hooks";
import { Inert } from "../inert";
import { Failed, Link, Panel, Tag } from "../parts";
import { useMay } from "../roles";

/** A file as it is being written; without it the configuration in force is meant. */
export interface Candidate {
  name: string;
  toml: string;
}

interface Tried {
  route: string | null;
  answer: string;
  code: string | null;
  reason: string | null;
  decision: {
    action: string;
    policy: string | null;
    place: string | null;
    predicates: { policy: string; name: string; held: boolean }[];
  } | null;
}

interface Side {
  decision: string;
  policy: string | null;
  code: string | null;
}

interface Replayed {
  exchanges: number;
  same: number;
  different: number;
  unknown: number;
  changes: Record<string, number>;
  differences: {
    id: string;
    time: string;
    subject: string | null;
    method: string | null;
    path: string | null;
    change: string;
    old: Side | null;
    new: Side | null;
  }[];
  differences_left_off: number;
}

function named(candidate: Candidate | undefined): { candidate?: Candidate } {
  if (!candidate) return {};
  // A file that has no name yet stands in nobody's place.
  return { candidate: candidate.name.startsWith("+") ? { ...candidate, name: "new-file" } : candidate };
}

export function Try({ candidate }: { candidate?: Candidate }): JSX.Element {
  const audits = useMay("auditor");
  return (
    <>
      <Imagine {...(candidate ? { candidate } : {})} />
      {audits && candidate && <Replay candidate={candidate} />}
    </>
  );
}

interface Routes {
  routes: { name: string; identity: string[] }[];
}

function Imagine({ candidate }: { candidate?: Candidate }): JSX.Element {
  const config = useResource<Routes>("/api/v1/config");
  const [route, setRoute] = useState("");
  const [method, setMethod] = useState("POST");
  const [path, setPath] = useState("");
  const [body, setBody] = useState("");
  const [subject, setSubject] = useState("agent-7");
  const [tried, setTried] = useState<Tried>();
  const [problem, setProblem] = useState<Problem>();
  const submit = async (event: Event) => {
    event.preventDefault();
    const identity = { subject, groups: ["agents"], purpose: "test" };
    const request = {
      ...(route ? { route } : {}),
      ...(path ? { path } : {}),
      method,
      ...(body ? { body: parsed(body), headers: { "content-type": "application/json" } } : {}),
      ...(subject ? { identity } : {}),
    };
    setProblem(undefined);
    setTried(undefined);
    try {
      const asked = { method: "POST", json: { ...named(candidate), request } };
      setTried(await json<Tried>("/api/v1/policies:test", asked));
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "", words(error)));
    }
  };
  return (
    <Panel title="Try a request" note={candidate ? "with this text in force" : "with what is in force"}>
      <form class="grid-form" onSubmit={(event) => void submit(event)}>
        <div class="two">
          <label class="field">
            <span>Route</span>
            <select value={route} onChange={(event) => setRoute(event.currentTarget.value)}>
              <option value="">by its path</option>
              {config.data?.routes.map((one) => (
                <option key={one.name}>{one.name}</option>
              ))}
            </select>
          </label>
          <label class="field">
            <span>Method</span>
            <select value={method} onChange={(event) => setMethod(event.currentTarget.value)}>
              {["GET", "POST", "PUT", "PATCH", "DELETE"].map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
        </div>
        <label class="field">
          <span>
            Path <small>{route ? "empty: one that the route takes" : "says which route it is"}</small>
          </span>
          <input
            type="text"
            value={path}
            required={!route}
            placeholder={route ? "" : "/…"}
            onInput={(event) => setPath(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>
            Caller <small>empty: no token</small>
          </span>
          <input type="text" value={subject} onInput={(event) => setSubject(event.currentTarget.value)} />
        </label>
        <label class="field">
          <span>Body</span>
          <textarea
            class="code"
            rows={4}
            spellcheck={false}
            value={body}
            onInput={(event) => setBody(event.currentTarget.value)}
          />
        </label>
        <div class="decide-buttons">
          <button type="submit" class="primary">
            Try
          </button>
        </div>
      </form>
      {problem && <Failed problem={problem} />}
      {tried && <Answer tried={tried} />}
    </Panel>
  );
}

/** JSON as such, anything else as text. */
function parsed(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return body;
  }
}

function Answer({ tried }: { tried: Tried }): JSX.Element {
  const by = tried.decision?.policy ?? tried.code ?? "";
  return (
    <div role="status" class="checked">
      <p class="verdict">
        <Tag kind={tried.answer} /> <Inert text={by} class="strong" />{" "}
        <Inert text={tried.decision?.place ?? ""} class="mono soft" />
      </p>
      {tried.reason && (
        <p class="reason">
          <Inert text={tried.reason} />
        </p>
      )}
      <p class="soft">{tried.route ? `route ${tried.route}` : "no route takes it"}</p>
      {tried.decision && tried.decision.predicates.length > 0 && (
        <ul class="predicates">
          {tried.decision.predicates.map((one, index) => (
            <li key={index} class={one.held ? "held" : ""}>
              <span aria-hidden="true" class="held-mark" />
              <span class="sr-only">{one.held ? "held:" : "did not hold:"}</span>
              <Inert text={one.policy} class="strong" /> <Inert text={one.name} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Replay({ candidate }: { candidate: Candidate }): JSX.Element {
  const [replayed, setReplayed] = useState<Replayed>();
  const [problem, setProblem] = useState<Problem>();
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    setProblem(undefined);
    try {
      const asked = { method: "POST", json: { ...named(candidate), limit: 1_000 } };
      setReplayed(await json<Replayed>("/api/v1/policies:replay", asked));
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "", words(error)));
    }
    setBusy(false);
  };
  return (
    <Panel title="What would have happened" note="with the last 1,000 recorded requests">
      <div class="decide-buttons">
        <button type="button" disabled={busy} onClick={() => void run()}>
          {busy ? "Deciding again …" : "Decide them again"}
        </button>
      </div>
      {problem && <Failed problem={problem} />}
      {replayed && <Outcome replayed={replayed} />}
    </Panel>
  );
}

function Outcome({ replayed }: { replayed: Replayed }): JSX.Element {
  return (
    <div role="status" class="checked">
      <p class="verdict">
        <b>{count(replayed.different)}</b> of {plural(replayed.exchanges, "request")} would go otherwise,{" "}
        {count(replayed.same)} the same{replayed.unknown > 0 && `, ${count(replayed.unknown)} unknown`}.
      </p>
      {Object.keys(replayed.changes).length > 0 && (
        <p class="tags">
          {Object.entries(replayed.changes).map(([change, times]) => (
            <Tag key={change} kind="plain">
              {change} {count(times)}
            </Tag>
          ))}
        </p>
      )}
      <ul class="differences">
        {replayed.differences.slice(0, 20).map((one) => (
          <li key={one.id}>
            <p>
              <span class="soft">{time(one.time)}</span> <Inert text={one.subject ?? "no identity"} />{" "}
              <Link to={`requests/${one.id}`}>
                <Inert text={`${one.method ?? "?"} ${one.path ?? ""}`} class="mono" />
              </Link>
            </p>
            <p class="tags">
              {one.old && <Tag kind={one.old.decision} />} → {one.new && <Tag kind={one.new.decision} />}
              <Inert text={one.new?.policy ?? one.new?.code ?? ""} />
            </p>
          </li>
        ))}
      </ul>
    </div>
  );
}
