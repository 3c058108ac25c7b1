/** What stands for a while: permissions that approvals have opened, and stops. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ask, words } from "../api";
import { clock, time } from "../format";
import { useNow, useResource } from "../hooks";
import { Inert } from "../inert";
import { Empty, Failed, sentence, Waiting } from "../parts";
import type { Freeze, Grant } from "../types";
import { FreezeDialog, whom } from "./freeze";

export function Grants(): JSX.Element {
  const grants = useResource<{ grants: Grant[] }>("/api/v1/grants", 5_000);
  const freezes = useResource<{ freezes: Freeze[] }>("/api/v1/freezes", 5_000);
  const now = useNow();
  const [failed, setFailed] = useState("");
  const [freezing, setFreezing] = useState(false);
  const end = async (path: string, again: () => void) => {
    setFailed("");
    try {
      await ask(path, { method: "DELETE" });
      again();
    } catch (error) {
      setFailed(sentence(words(error)));
    }
  };
  return (
    <div class="standing">
      {failed && (
        <p class="decide-failed" role="alert">
          <Inert text={failed} />
        </p>
      )}
      <h3>Grants</h3>
      {grants.problem && <Failed problem={grants.problem} />}
      {grants.loading && <Waiting />}
      {grants.data?.grants.length === 0 && (
        <Empty title="No grant stands" command="ringward approvals approve ID --for 30m">
          Approve a card for its session or for 30 minutes to open one.
        </Empty>
      )}
      {grants.data?.grants.map((grant) => (
        <div class="standing-row" key={grant.id}>
          <p>
            <Inert text={grant.subject ?? `everybody in ${grant.group ?? ""}`} class="strong" /> past{" "}
            <Inert text={grant.policy} class="strong" /> on <Inert text={grant.route} />
            {grant.session && " in one session"}
          </p>
          <p class="soft">
            {clock((Date.parse(grant.expires) - now) / 1_000)} left · used {grant.uses}
            {grant.uses_max !== null && ` of ${grant.uses_max}`} · by <Inert text={grant.by.join(", ")} />
          </p>
          <button type="button" onClick={() => void end(`/api/v1/grants/${grant.id}`, grants.reload)}>
            Revoke
          </button>
        </div>
      ))}
      <h3>Freezes</h3>
      <p>
        <button type="button" class="danger" onClick={() => setFreezing(true)}>
          Freeze somebody
        </button>
      </p>
      {freezing && <FreezeDialog close={() => setFreezing(false)} done={freezes.reload} />}
      {freezes.problem && <Failed problem={freezes.problem} />}
      {freezes.data?.freezes.length === 0 && (
        <Empty title="Nobody is stopped" command='ringward freeze --subject NAME -m "WHY"' />
      )}
      {freezes.data?.freezes.map((freeze) => (
        <div class="standing-row" key={freeze.id}>
          <p>
            <Inert text={whom(freeze)} class="strong" />: <Inert text={freeze.reason} />
          </p>
          <p class="soft">
            by <Inert text={freeze.by} /> since {time(freeze.at)}
          </p>
          <button type="button" onClick={() => void end(`/api/v1/freezes/${freeze.id}`, freezes.reload)}>
            Thaw
          </button>
        </div>
      ))}
    </div>
  );
}
