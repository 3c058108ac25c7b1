/** Marks where a mask has put its replacement. A recording says which masks met something and how often;
 *  where is read from the form of their replacements. A text that only looks like one is marked too. */

import type { ComponentChildren, JSX } from "preact";
import { inert } from "./inert";

export interface MaskForm {
  name: string;
  replace: string;
}

/** `[card …{last4}]` as a pattern. */
function pattern(replace: string): string {
  return replace
    .split(/(\{[a-z0-9_]+\})/)
    .map((part) =>
      /^\{.*\}$/.test(part) ? "[^\\[\\]\\s]{1,64}?" : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"),
    )
    .join("");
}

export function matcher(forms: MaskForm[]): RegExp | undefined {
  const known = forms.filter((form) => form.replace !== "");
  return known.length > 0
    ? new RegExp(known.map((form) => `(${pattern(form.replace)})`).join("|"), "g")
    : undefined;
}

/** Text with its masked places marked. */
export function Masked({ text, forms }: { text: string; forms: MaskForm[] }): JSX.Element {
  const find = matcher(forms);
  if (!find) return <>{inert(text, true)}</>;
  const known = forms.filter((form) => form.replace !== "");
  const shown: ComponentChildren[] = [];
  let at = 0;
  for (const found of text.matchAll(find)) {
    if (found[0] === "") continue;
    shown.push(...inert(text.slice(at, found.index), true));
    const form = known[found.slice(1).findIndex((group) => group !== undefined)];
    shown.push(
      <mark class="masked" title={`masked by ${form?.name ?? "a mask"}`}>
        {inert(found[0], true)}
      </mark>,
    );
    at = found.index + found[0].length;
  }
  shown.push(...inert(text.slice(at), true));
  return <>{shown}</>;
}
