/** The files that may be changed here: their text with its comments, and what a change would do. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { json, Problem, words } from "../api";
import { go, useResource } from "../hooks";
import { Inert } from "../inert";
import { Empty, Failed, Link, Panel, sentence, Tag, Title, Waiting } from "../parts";
import { useMay } from "../roles";

export type Folder = "policies.d" | "connections.d";

export interface ConfigFile {
  name: string;
  file: string;
  toml: string;
  digest: string;
}

/** What a change did, or would do. */
export interface Edited {
  name: string;
  file: string;
  dry_run: boolean;
  created: boolean;
  diff: string;
  generation: number;
  warnings: { message?: string; place?: string }[];
}

/** A change that was checked, or why it is not possible. */
export interface Checked {
  edited?: Edited;
  problem?: Problem;
}

export async function check(work: () => Promise<Edited>): Promise<Checked> {
  try {
    return { edited: await work() };
  } catch (error) {
    return { problem: error instanceof Problem ? error : new Problem(0, "", words(error)) };
  }
}

/** The files of a folder, and the way to a new one. */
export function Files({ folder, page }: { folder: Folder; page: string }): JSX.Element {
  const { data, problem, loading } = useResource<{ files: ConfigFile[] }>(`/api/v1/${folder}`, 5_000);
  const edits = useMay("admin");
  return (
    <Panel
      title={`Files in ${folder}`}
      actions={
        edits && (
          <Link to={`${page}/+new`} class="button">
            New file
          </Link>
        )
      }
    >
      {loading && <Waiting />}
      {problem && !data && <Failed problem={problem} />}
      {data?.files.length === 0 && (
        <Empty title="No file yet">
          Everything is in the main file, which is not changed here. Files in <code>{folder}</code> are read
          beside it.
        </Empty>
      )}
      {data && data.files.length > 0 && (
        <ul class="rows">
          {data.files.map((file) => (
            <li key={file.name}>
              <Link to={`${page}/${file.name}`} class="row">
                <span class="row-main">
                  <b>{file.name}</b>
                  <span class="soft">{file.toml.split("\n").length - 1} lines</span>
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

interface EditorProps {
  folder: Folder;
  /** `+new` for a file that is not there yet. */
  name: string;
  page: string;
  example: string;
  beside?: (toml: string) => JSX.Element;
}

export function FileEditor(props: EditorProps): JSX.Element {
  const isNew = props.name === "+new";
  const path = isNew ? null : `/api/v1/${props.folder}/${encodeURIComponent(props.name)}`;
  const file = useResource<ConfigFile>(path);
  if (file.problem) {
    return (
      <>
        <Title>{props.name}</Title>
        <Failed problem={file.problem} />
      </>
    );
  }
  if (!isNew && !file.data) return <Waiting lines={8} />;
  return <Editor key={file.data?.digest ?? ""} {...props} file={file.data} reload={file.reload} />;
}

function Editor(props: EditorProps & { file: ConfigFile | undefined; reload: () => void }): JSX.Element {
  const { folder, page, file } = props;
  const edits = useMay("admin");
  const [name, setName] = useState(file?.name ?? "");
  const [toml, setToml] = useState(file?.toml ?? props.example);
  const [checked, setChecked] = useState<Checked & { removes?: boolean }>();
  const [busy, setBusy] = useState(false);
  const target = `/api/v1/${folder}/${encodeURIComponent(name)}`;
  const headers: Record<string, string> = file
    ? { "if-match": `"${file.digest}"` }
    : { "if-none-match": "*" };
  const run = async (removes: boolean, isDry: boolean) => {
    setBusy(true);
    const query = isDry ? "?dry_run=true" : "";
    const asked = removes ? { method: "DELETE", headers } : { method: "PUT", headers, json: { toml } };
    const result = await check(() => json<Edited>(`${target}${query}`, asked));
    setBusy(false);
    setChecked({ ...result, removes });
    if (isDry || result.problem) return;
    if (removes) go(page);
    else if (!file) go(`${page}/${name}`, true);
    else props.reload();
  };
  // What was checked is what is written.
  useEffect(() => setChecked(undefined), [toml, name]);
  const isReady = checked?.edited !== undefined && checked.edited.diff !== "";
  return (
    <>
      <Title note={<Link to={page}>all files</Link>}>
        {file ? `${folder}/${file.name}.toml` : "New file"}
      </Title>
      <div class="columns">
        <div>
          <Panel title="Text" note="comments stay">
            {!file && (
              <label class="field">
                <span>
                  Name <small>small letters, digits and -</small>
                </span>
                <input
                  type="text"
                  value={name}
                  required
                  pattern="[a-z0-9\-]{1,64}"
                  onInput={(event) => setName(event.currentTarget.value)}
                />
              </label>
            )}
            <label class="field">
              <span>TOML</span>
              <textarea
                class="code"
                rows={Math.min(30, Math.max(14, toml.split("\n").length + 1))}
                spellcheck={false}
                autocomplete="off"
                readOnly={!edits}
                value={toml}
                onInput={(event) => setToml(event.currentTarget.value)}
              />
            </label>
            {edits && (
              <div class="decide-buttons">
                <button
                  type="button"
                  class={isReady ? "" : "primary"}
                  disabled={busy || !name}
                  onClick={() => void run(false, true)}
                >
                  Check
                </button>
                {isReady && !checked.removes && (
                  <button
                    type="button"
                    class="primary"
                    disabled={busy}
                    onClick={() => void run(false, false)}
                  >
                    Write and reload
                  </button>
                )}
                {file && (
                  <button type="button" class="danger" disabled={busy} onClick={() => void run(true, true)}>
                    Remove
                  </button>
                )}
                {isReady && checked.removes && (
                  <button type="button" class="danger" disabled={busy} onClick={() => void run(true, false)}>
                    Remove for good
                  </button>
                )}
              </div>
            )}
            {checked && <Verdict checked={checked} />}
          </Panel>
        </div>
        <div>{props.beside?.(toml)}</div>
      </div>
    </>
  );
}

/** What the check of a change said. */
export function Verdict({ checked: { edited, problem } }: { checked: Checked }): JSX.Element | null {
  if (problem) {
    const found = typeof problem.more["text"] === "string" ? (problem.more["text"] as string) : "";
    return (
      <div class="checked" role="alert">
        <p class="verdict">
          <Tag kind="failed">not written</Tag> <Inert text={sentence(problem.message)} />
        </p>
        {found && (
          <pre class="inert block" tabIndex={0}>
            {found}
          </pre>
        )}
      </div>
    );
  }
  if (!edited) return null;
  return (
    <div class="checked" role="status">
      <p class="verdict">
        <Tag kind={edited.dry_run ? "held" : "ready"}>
          {edited.dry_run ? "good, not written yet" : "written"}
        </Tag>
        {edited.diff === "" ? "Nothing differs." : `The whole configuration was checked with it.`}
      </p>
      {edited.warnings.map((warning, index) => (
        <p key={index} class="warning">
          <Inert text={warning.message ?? JSON.stringify(warning)} />
        </p>
      ))}
      {edited.diff && <Diff text={edited.diff} />}
    </div>
  );
}

/** A unified diff. */
export function Diff({ text }: { text: string }): JSX.Element {
  return (
    <pre class="inert block diff" tabIndex={0} aria-label="What differs">
      {text.split("\n").map((line, index) => (
        <span key={index} class={line.startsWith("+") ? "more" : line.startsWith("-") ? "less" : "same"}>
          {`${line}\n`}
        </span>
      ))}
    </pre>
  );
}
