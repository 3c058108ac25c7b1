/** Small things that all pages are made of. */

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "./api";
import { go, hrefOf } from "./hooks";
import { Inert } from "./inert";

/** A link to a page of this interface. */
export function Link(props: {
  to: string;
  children: ComponentChildren;
  class?: string;
  current?: boolean;
  title?: string;
}): JSX.Element {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(props.to);
  };
  return (
    <a
      href={hrefOf(props.to)}
      class={props.class}
      title={props.title}
      aria-current={props.current ? "page" : undefined}
      onClick={follow}
    >
      {props.children}
    </a>
  );
}

const ICONS: Record<string, string> = {
  now: "M2 9h3l2-5 3 9 2-6 1.2 2H14",
  approvals: "M8 1.8 13.5 4v4c0 3.2-2.3 5.3-5.5 6.3C4.8 13.3 2.5 11.2 2.5 8V4zM5.6 8l1.8 1.8 3.2-3.4",
  sessions: "M2.5 3.5h11v7.5h-6l-3 2.5V11h-2z",
  policy: "M4 2h6l3 3v9H4zM6 7h5M6 9.5h5M6 12h3",
  connections: "M5.5 8h5M6 5H4.5a3 3 0 0 0 0 6H6M10 5h1.5a3 3 0 0 1 0 6H10",
  identity: "M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8zM3 13.8c.3-2.7 2.3-4.2 5-4.2s4.7 1.5 5 4.2",
  audit: "M8 1.5v3M8 11.5v3M5 4.5h6v7H5zM2 8h3M11 8h3",
  host: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
};

/** A line drawing beside a word; it says nothing by itself. */
export function Icon({ name }: { name: string }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={ICONS[name] ?? ""} />
    </svg>
  );
}

/** How something was decided or stands, in one word with a mark. */
export function Tag({ kind, children }: { kind: string; children?: ComponentChildren }): JSX.Element {
  return <span class={`tag tag-${TONES[kind] ?? "plain"}`}>{children ?? kind}</span>;
}

const TONES: Record<string, string> = {
  allow: "good",
  approved: "good",
  consumed: "good",
  ready: "good",
  verified: "good",
  approve: "wait",
  pending: "wait",
  held: "wait",
  away: "wait",
  block: "stop",
  denied: "stop",
  refuse: "stop",
  failed: "stop",
  expired: "plain",
  abandoned: "plain",
};

/** Nothing is there: what that means, and the command that changes it. */
export function Empty(props: { title: string; children?: ComponentChildren; command?: string }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{props.title}</p>
      {props.children && <p>{props.children}</p>}
      {props.command && <Command text={props.command} />}
    </div>
  );
}

/** A command to paste into a terminal. */
export function Command({ text }: { text: string }): JSX.Element {
  return (
    <div class="command">
      <code>{text}</code>
      <Copy text={text} what="the command" />
    </div>
  );
}

export function Copy({ text, what }: { text: string; what: string }): JSX.Element {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 1_500);
    } catch {
      // Without the permission there is the text itself.
    }
  };
  return (
    <button type="button" class="quiet small" aria-label={`Copy ${what}`} onClick={() => void copy()}>
      {done ? "Copied" : "Copy"}
    </button>
  );
}

/** Why something is not shown. */
export function Failed({ problem, again }: { problem: Problem; again?: () => void }): JSX.Element {
  const title =
    FAILURES[problem.code] ?? (problem.status === 403 ? "Not for your role" : "This did not work");
  return (
    <div class="failed" role="alert">
      <p class="empty-title">{title}</p>
      <p>
        <Inert text={sentence(problem.message)} />
      </p>
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

const FAILURES: Record<string, string> = {
  unreachable: "No connection to the gateway",
  role_required: "Not for your role",
  not_found: "Not served here",
  audit_unavailable: "The audit log cannot be read now",
  no_checkpoint: "Nothing is signed yet",
};

/** Messages of the gateway begin in lower case and have no full stop. */
export function sentence(text: string): string {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}

/** Names and values in two columns. */
export function Facts({
  rows,
}: {
  rows: (readonly [string, ComponentChildren] | false | null | undefined)[];
}): JSX.Element {
  return (
    <dl class="facts">
      {rows.map(
        (row) =>
          row && (
            <div key={row[0]}>
              <dt>{row[0]}</dt>
              <dd>{row[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

/** A part of a page with its heading. */
export function Panel(props: {
  title: string;
  note?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
  actions?: ComponentChildren;
}): JSX.Element {
  const id = `panel-${props.title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return (
    <section class={`panel ${props.class ?? ""}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{props.title}</h2>
        {props.note && <span class="note">{props.note}</span>}
        {props.actions && <span class="actions">{props.actions}</span>}
      </header>
      {props.children}
    </section>
  );
}

/** The heading of a page. */
export function Title(props: {
  children: ComponentChildren;
  note?: ComponentChildren;
  actions?: ComponentChildren;
}): JSX.Element {
  return (
    <header class="title">
      <h1>{props.children}</h1>
      {props.note && <p class="note">{props.note}</p>}
      {props.actions && <div class="actions">{props.actions}</div>}
    </header>
  );
}

/** A column: its heading, and what stands there of a row. `class` is that of both, such as `number`. */
export interface Column<T> {
  head: string;
  cell: (row: T) => ComponentChildren;
  class?: string;
}

/** Rows under headings, which scroll by themselves where they are too wide. */
export function Table<T>(props: {
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string | number;
  class?: string;
  tableClass?: string;
}): JSX.Element {
  return (
    <div tabIndex={0} role="group" aria-label="Table" class={`scroll ${props.class ?? ""}`}>
      <table class={props.tableClass}>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th key={column.head} scope="col" class={column.class === "number" ? "number" : undefined}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row) => (
            <tr key={props.id(row)}>
              {props.columns.map((column) => (
                <td key={column.head} class={column.class}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What a decision is about, one of several: its value, its name, and what it means. */
export function Scopes<Value extends string>(props: {
  legend: string;
  name: string;
  scopes: [Value, string, string][];
  chosen: Value;
  choose: (value: Value) => void;
}): JSX.Element {
  return (
    <fieldset class="scopes">
      <legend>{props.legend}</legend>
      {props.scopes.map(([value, label, meaning]) => (
        <label key={value} class={props.chosen === value ? "chosen" : ""}>
          <input
            type="radio"
            name={props.name}
            value={value}
            checked={props.chosen === value}
            onChange={() => props.choose(value)}
          />
          <span>
            <b>{label}</b>
            <small>{meaning}</small>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

/** Lines where something will be. */
export function Waiting({ lines = 3 }: { lines?: number }): JSX.Element {
  return (
    <div class="waiting" aria-busy="true">
      <span class="sr-only">Loading</span>
      {Array.from({ length: lines }, (_, index) => (
        <i key={index} />
      ))}
    </div>
  );
}

/** What stands over the page until it is closed. */
export function Dialog(props: {
  title: string;
  close: () => void;
  children: ComponentChildren;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={props.close}>
      <header>
        <h2 id="dialog-title">{props.title}</h2>
        <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </header>
      {props.children}
    </dialog>
  );
}
