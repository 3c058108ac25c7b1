/** Saying yes or no. A decision names the revision that was seen: where the request has changed meanwhile,
 *  the gateway refuses it, and the new revision is shown. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Problem, words } from "../api";
import { useKeys } from "../hooks";
import { Inert } from "../inert";
import { askForCard } from "../live";
import { Scopes, sentence } from "../parts";
import { useMe } from "../roles";
import type { Card } from "../types";

type Scope = "once" | "session" | "period";
type Open = "no" | "approve" | "deny";

const SCOPES: [Scope, string, string][] = [
  ["once", "Once", "this request alone"],
  ["session", "This session", "same caller, session and policy; at most 50 times"],
  ["period", "30 minutes", "same caller and policy, whatever the session"],
];

export function Decide({ card }: { card: Card }): JSX.Element {
  const me = useMe();
  const [open, setOpen] = useState<Open>("no");
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState("");
  useKeys({
    a: () => setOpen("approve"),
    d: () => setOpen("deny"),
    Escape: () => setOpen("no"),
    // Whoever writes meant another place, and does not mean yes.
    writing: () => setOpen((is) => (is === "approve" ? "no" : is)),
  });
  const decide = async (body: Record<string, unknown>) => {
    setBusy(true);
    setFailed("");
    try {
      const decision = { ...body, revision: card.revision };
      await askForCard(card.id, "/decision", { method: "POST", json: decision });
      setOpen("no");
    } catch (error) {
      setFailed(sentence(words(error)));
      // It was decided or changed elsewhere: show how it is now.
      if (error instanceof Problem && (error.status === 409 || error.status === 404)) await refresh(card);
    }
    setBusy(false);
  };
  const voted = me !== null && card.approvals.some((voice) => voice.by === me.principal);
  return (
    <section class="decide" aria-label="Decision">
      {failed && (
        <p class="decide-failed" role="alert">
          <Inert text={failed} />
        </p>
      )}
      {open === "no" && (
        <div class="decide-buttons">
          <button type="button" class="primary" onClick={() => setOpen("approve")} disabled={voted}>
            Approve <kbd>a</kbd>
          </button>
          <button type="button" class="danger" onClick={() => setOpen("deny")}>
            Deny <kbd>d</kbd>
          </button>
          {voted && <span class="soft">You have approved it; somebody else must too.</span>}
        </div>
      )}
      {open === "approve" && (
        <ApproveForm card={card} busy={busy} decide={decide} close={() => setOpen("no")} />
      )}
      {open === "deny" && <DenyForm busy={busy} decide={decide} close={() => setOpen("no")} />}
    </section>
  );
}

async function refresh(card: Card) {
  try {
    await askForCard(card.id);
  } catch {
    // What was said about it stands above the buttons.
  }
}

interface Form {
  busy: boolean;
  decide: (body: Record<string, unknown>) => Promise<void>;
  close: () => void;
}

/** Esc closes the form; it is not heard elsewhere while somebody writes. */
function useEscape(close: () => void) {
  return (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    close();
  };
}

function ApproveForm({ card, busy, decide, close }: Form & { card: Card }): JSX.Element {
  const [scope, setScope] = useState<Scope>("once");
  const [note, setNote] = useState("");
  // Not the button: a space would press it.
  const form = useRef<HTMLFormElement>(null);
  useLayoutEffect(() => form.current?.focus(), []);
  const submit = (event: Event) => {
    event.preventDefault();
    const period = scope === "period" ? { period_s: 1_800 } : {};
    void decide({ decision: "approve", scope, reason: note.trim() || null, ...period });
  };
  const more = card.approvals_min - card.approvals.length;
  const escape = useEscape(close);
  return (
    <form
      ref={form}
      tabIndex={-1}
      aria-label="Approve"
      onSubmit={submit}
      onKeyDown={(event) => {
        escape(event);
        if (event.key === "Enter" && event.target === form.current && !busy) submit(event);
      }}
    >
      <Scopes legend="Approve for" name="scope" scopes={SCOPES} chosen={scope} choose={setScope} />
      <label class="field">
        <span>
          Note <small>for the record, optional</small>
        </span>
        <input
          type="text"
          maxLength={1_000}
          value={note}
          onInput={(event) => setNote(event.currentTarget.value)}
        />
      </label>
      <div class="decide-buttons">
        <button type="submit" class="primary" disabled={busy}>
          {scope === "once"
            ? "Approve once"
            : scope === "session"
              ? "Approve for this session"
              : "Approve for 30 min"}
        </button>
        <button type="button" onClick={close}>
          Back
        </button>
        {more > 1 && <span class="soft">{more} approvals are needed.</span>}
      </div>
    </form>
  );
}

function DenyForm({ busy, decide, close }: Form): JSX.Element {
  const [reason, setReason] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => field.current?.focus(), []);
  const submit = (event: Event) => {
    event.preventDefault();
    if (reason.trim()) void decide({ decision: "deny", reason: reason.trim() });
  };
  const keys = useEscape(close);
  return (
    <form onSubmit={submit} onKeyDown={keys}>
      <label class="field">
        <span>
          Reason <small>the agent reads it word for word</small>
        </span>
        <textarea
          ref={field}
          rows={2}
          required
          maxLength={1_000}
          value={reason}
          onInput={(event) => setReason(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey) submit(event);
          }}
        />
      </label>
      <div class="decide-buttons">
        <button type="submit" class="danger" disabled={busy || !reason.trim()}>
          Deny
        </button>
        <button type="button" onClick={close}>
          Back
        </button>
      </div>
    </form>
  );
}
