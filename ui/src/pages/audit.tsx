/** The signed log: its head, and checks that this browser does by itself. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { json, Problem, text, words } from "../api";
import { bytes, count, plural, time } from "../format";
import { useResource } from "../hooks";
import { Inert } from "../inert";
import { Command, Copy, Empty, Facts, Failed, Panel, sentence, Tag, Title } from "../parts";
import type { Status } from "../types";
import {
  checkConsistency,
  checkHead,
  checkProof,
  hex,
  keyChain,
  readHead,
  type Head,
  type PublicKey,
  type StatedKey,
} from "../verify";

/** What this browser keeps of a log: its first key, and the newest head that it has believed. */
interface Kept {
  key: string;
  note: string;
  at: string;
}

function kept(origin: string): Kept | undefined {
  try {
    return JSON.parse(localStorage.getItem(`log ${origin}`) ?? "") as Kept;
  } catch {
    return undefined;
  }
}

type Step = { name: string; state: "good" | "bad"; said: string };

interface Verdict {
  steps: Step[];
  head?: Head;
  keys: PublicKey[];
  problem?: Problem;
}

export function Audit(): JSX.Element {
  const [verdict, setVerdict] = useState<Verdict>();
  const [turn, setTurn] = useState(0);
  const status = useResource<Status>("/api/v1/status", 5_000);
  useEffect(() => {
    let isCurrent = true;
    void verify().then((found) => isCurrent && setVerdict(found));
    return () => {
      isCurrent = false;
    };
  }, [turn]);
  return (
    <>
      <Title note="checked by this browser, not by the gateway">Audit</Title>
      <div class="columns">
        <div>
          <Panel
            title="The log"
            actions={
              <button type="button" onClick={() => setTurn(turn + 1)}>
                Check again
              </button>
            }
          >
            {!verdict && <p class="calm">Checking signatures and proofs …</p>}
            {verdict?.problem && <Failed problem={verdict.problem} />}
            {verdict && !verdict.problem && <Steps steps={verdict.steps} />}
          </Panel>
          <Prove keys={verdict?.keys ?? []} />
        </div>
        <div>
          {verdict?.head && <HeadPanel head={verdict.head} />}
          {status.data && <State status={status.data} />}
          <Panel title="Elsewhere">
            <p class="calm">
              A browser that has seen a head once notices a log that was rolled back. So does anybody who
              keeps one:
            </p>
            <Command text="ringward audit head > checkpoint.txt" />
            <p class="calm">Every record, hash and signature is checked by</p>
            <Command text="ringward audit verify" />
          </Panel>
        </div>
      </div>
    </>
  );
}

/** Head, keys, and that the head which this browser saw last is its beginning. */
async function verify(): Promise<Verdict> {
  const steps: Step[] = [];
  let keys: PublicKey[] = [];
  try {
    const stated = await json<{ keys: StatedKey[] }>("/api/v1/audit/keys");
    const note = await text("/api/v1/audit/head");
    const before = kept(readHead(note).origin);
    const check = async (name: string, work: () => Promise<string>) => {
      try {
        steps.push({ name, state: "good", said: await work() });
        return true;
      } catch (error) {
        if (error instanceof Problem) throw error;
        steps.push({ name, state: "bad", said: sentence(words(error)) });
        return false;
      }
    };
    let head: Head | undefined;
    const isGood =
      (await check("Keys", async () => {
        keys = await keyChain(stated.keys);
        const first = keys[0]?.text;
        if (before && before.key !== first)
          throw new Error("this is not the key that this browser has known");
        return before ? "the key that this browser knows" : "a key that this browser sees for the first time";
      })) &&
      (await check("Signature", async () => {
        const found = await checkHead(note, keys);
        head = found.head;
        return `${plural(head.size, "record")}, signed with Ed25519`;
      })) &&
      (await check("Only appended", async () => {
        if (!before || !head) return "nothing to compare with yet: this head is kept here now";
        const old = readHead(before.note);
        if (old.size > head.size) throw new Error(`the log had ${old.size} records and has ${head.size} now`);
        const path = `/api/v1/audit/consistency?from=${old.size}&to=${head.size}`;
        const { proof } = await json<{ proof: string[] }>(path);
        await checkConsistency(old, head, proof);
        return `the ${count(old.size)} records of ${time(before.at)} are its beginning, unchanged`;
      }));
    if (isGood && head && keys[0]) {
      const now: Kept = { key: keys[0].text, note, at: new Date().toISOString() };
      localStorage.setItem(`log ${head.origin}`, JSON.stringify(now));
    }
    return head ? { steps, head, keys } : { steps, keys };
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem(0, "", sentence(words(error)));
    return { steps, keys, problem };
  }
}

export function Steps({ steps }: { steps: Step[] }): JSX.Element {
  const isGood = steps.every((step) => step.state === "good");
  return (
    <div role="status">
      <p class="verdict">
        {isGood ? <Tag kind="verified">verified</Tag> : <Tag kind="failed">not to be trusted</Tag>}
      </p>
      <ol class="steps">
        {steps.map((step) => (
          <li key={step.name} class={step.state}>
            <b>{step.name}</b> <Inert text={step.said} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function HeadPanel({ head }: { head: Head }): JSX.Element {
  return (
    <Panel title="Head" actions={<Copy text={head.note} what="the checkpoint" />}>
      <Facts
        rows={[
          ["Log", <Inert text={head.origin} class="mono wrap" />],
          ["Records", count(head.size)],
          ["Root", <code class="wrap">{hex(head.root)}</code>],
        ]}
      />
    </Panel>
  );
}

function State({ status: { audit } }: { status: Status }): JSX.Element {
  return (
    <Panel title="Journal">
      <Facts
        rows={[
          ["State", <Tag kind={audit.state === "recording" ? "ready" : "failed"}>{audit.state}</Tag>],
          ["Written", count(audit.sequence)],
          ["Safe on disk", count(audit.durable_sequence)],
          ["Signed", count(audit.signed_through)],
          ["On their way", count(audit.queue_depth)],
          ["Folder", <Inert text={audit.dir} class="mono wrap" />],
          ["Disk", `${bytes(audit.disk_available_bytes)} free of ${bytes(audit.disk_bytes)}`],
          audit.removed_segment > 0 && ["Removed by retention", `up to segment ${audit.removed_segment}`],
          audit.last_error !== null && ["Error", <Inert text={audit.last_error} class="bad" />],
        ]}
      />
    </Panel>
  );
}

function Prove({ keys }: { keys: PublicKey[] }): JSX.Element {
  const [record, setRecord] = useState("");
  const [result, setResult] = useState<JSX.Element>();
  const submit = async (event: Event) => {
    event.preventDefault();
    setResult(undefined);
    setResult(await proven(Number(record), keys));
  };
  return (
    <Panel title="One record" note="a proof that it is in the log, checked here">
      <form class="filters" onSubmit={(event) => void submit(event)}>
        <label>
          <span>Record number</span>
          <input
            type="number"
            min={1}
            required
            value={record}
            onInput={(event) => setRecord(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="primary">
          Prove
        </button>
      </form>
      {result ?? (
        <Empty title="Which record?">
          Requests name theirs. Who asks for the proof of a record is recorded, for it holds the record
          itself.
        </Empty>
      )}
    </Panel>
  );
}

/** Fetches the proof of a record and checks it. */
export async function proven(record: number, known: PublicKey[]): Promise<JSX.Element> {
  try {
    const keys =
      known.length > 0
        ? known
        : await keyChain((await json<{ keys: StatedKey[] }>("/api/v1/audit/keys")).keys);
    const proof = await text(`/api/v1/audit/prove?record=${record}`);
    const { head, leaf, kind } = await checkProof(proof, record, keys);
    return (
      <div role="status">
        <p class="verdict">
          <Tag kind="verified">verified</Tag> record {count(record)}
          {kind && ` (${kind})`} is in the log of {plural(head.size, "record")}
        </p>
        <Facts
          rows={[
            ["Leaf", <code class="wrap">{hex(leaf)}</code>],
            ["Root", <code class="wrap">{hex(head.root)}</code>],
          ]}
        />
        <p>
          <Copy text={proof} what="the proof" />{" "}
          <span class="soft">
            and check it anywhere with <code>ringward audit check-proof -</code>
          </span>
        </p>
      </div>
    );
  } catch (error) {
    if (error instanceof Problem) return <Failed problem={error} />;
    return (
      <p class="verdict" role="alert">
        <Tag kind="failed">not to be trusted</Tag> <Inert text={sentence(words(error))} />
      </p>
    );
  }
}
