/** Stopping somebody: whom, why, what that would do, and only then the stop. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ask, json, words } from "../api";
import { Inert } from "../inert";
import { Dialog, Scopes, sentence } from "../parts";
import type { Freeze } from "../types";

export type Scope = "subject" | "session" | "route" | "all";

const SCOPES: [Scope, string, string][] = [
  ["subject", "A caller", "as its token names it"],
  ["session", "A session", "as its client names it"],
  ["route", "A route", "everybody on it"],
  ["all", "Everything", "every request of everybody"],
];

/** `names`: what is known of each, to begin with. */
export function FreezeDialog(props: {
  scope?: Scope;
  names?: Partial<Record<Scope, string>>;
  close: () => void;
  done?: () => void;
}): JSX.Element {
  const [scope, setScope] = useState<Scope>(props.scope ?? "subject");
  const [names, setNames] = useState<Partial<Record<Scope, string>>>(props.names ?? {});
  const [reason, setReason] = useState("");
  const [foreseen, setForeseen] = useState<string[]>();
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState("");
  const name = names[scope]?.trim() ?? "";
  const isWhole = reason.trim() !== "" && (scope === "all" || name !== "");
  const stop = { ...(scope === "all" ? { all: true } : { [scope]: name }), reason: reason.trim() };
  const change = (act: () => void) => {
    // What was foreseen was of another stop.
    setForeseen(undefined);
    act();
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setFailed("");
    try {
      if (foreseen === undefined) {
        const answer = await json<{ foreseen: string[] }>("/api/v1/approvals:foresee", {
          method: "POST",
          json: { freeze: stop },
        });
        setForeseen(answer.foreseen);
      } else {
        await ask("/api/v1/freezes", { method: "POST", json: stop });
        props.done?.();
        props.close();
      }
    } catch (error) {
      setFailed(sentence(words(error)));
    }
    setBusy(false);
  };
  return (
    <Dialog title="Freeze" close={props.close}>
      <form class="freeze" onSubmit={(event) => void submit(event)}>
        <Scopes
          legend="Whom"
          name="freeze-scope"
          scopes={SCOPES}
          chosen={scope}
          choose={(value) => change(() => setScope(value))}
        />
        {scope !== "all" && (
          <label class="field">
            <span>Name</span>
            <input
              type="text"
              value={names[scope] ?? ""}
              onInput={(event) => {
                const value = event.currentTarget.value;
                change(() => setNames({ ...names, [scope]: value }));
              }}
            />
          </label>
        )}
        <label class="field">
          <span>
            Reason <small>its callers read it word for word</small>
          </span>
          <input
            type="text"
            maxLength={1_000}
            value={reason}
            onInput={(event) => {
              const value = event.currentTarget.value;
              change(() => setReason(value));
            }}
          />
        </label>
        {foreseen && (
          <div class="foreseen" role="status">
            <p>
              <b>This stops new requests at once and ends what streams</b>, until somebody thaws it:
            </p>
            <ul>
              {foreseen.map((line) => (
                <li key={line}>
                  <Inert text={line} />
                </li>
              ))}
            </ul>
          </div>
        )}
        {failed && (
          <p class="decide-failed" role="alert">
            <Inert text={failed} />
          </p>
        )}
        <div class="decide-buttons">
          <button type="submit" class={foreseen ? "danger" : "primary"} disabled={!isWhole || busy}>
            {foreseen ? "Freeze now" : "Freeze…"}
          </button>
          <button type="button" onClick={props.close}>
            Back
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Whom a stop is about. */
export function whom({ whom }: Freeze): string {
  if (whom === "all") return "Everybody";
  const [kind, name] = Object.entries(whom)[0] ?? ["", ""];
  return `${kind} ${name ?? ""}`;
}
