/** Text that came from outside, shown and never obeyed: text nodes only, and what is invisible is made
 *  visible. */

import type { ComponentChildren, JSX } from "preact";

/** Control characters, direction marks (UAX 9), zero-width and format characters, separators, tags and lone
 *  surrogates: the set of the command line. */
const HIDDEN = new RegExp(
  "[\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f]" +
    "|[\\ufeff\\ufff9-\\ufffb]|[\\u{e0000}-\\u{e0fff}]|\\p{Surrogate}",
  "gu",
);

const NAMES: Record<string, string> = {
  "\u0000": "null",
  "\u0008": "backspace",
  "\u0009": "tab",
  "\u000a": "line feed",
  "\u000d": "carriage return",
  "\u001b": "escape",
  "\u00ad": "soft hyphen",
  "\u200b": "zero width space",
  "\u200c": "zero width non-joiner",
  "\u200d": "zero width joiner",
  "\u200e": "left-to-right mark",
  "\u200f": "right-to-left mark",
  "\u2028": "line separator",
  "\u2029": "paragraph separator",
  "\u202a": "left-to-right embedding",
  "\u202b": "right-to-left embedding",
  "\u202c": "pop directional formatting",
  "\u202d": "left-to-right override",
  "\u202e": "right-to-left override",
  "\u2060": "word joiner",
  "\u2066": "left-to-right isolate",
  "\u2067": "right-to-left isolate",
  "\u2068": "first strong isolate",
  "\u2069": "pop directional isolate",
  "\ufeff": "byte order mark",
};

/** How a character is written where it must not act. */
export function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x80 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
}

/** As plain text, for titles and attributes. */
export function inertText(text: string): string {
  return text.replace(HIDDEN, escaped);
}

/** Pieces of text, and marks for what is hidden. `block` keeps line ends and tabs. */
export function inert(text: string, block = false): ComponentChildren[] {
  const shown: ComponentChildren[] = [];
  const source = block ? text.replaceAll("\r\n", "\n") : text;
  let at = 0;
  for (const found of source.matchAll(HIDDEN)) {
    const character = found[0];
    if (block && (character === "\n" || character === "\t")) continue;
    if (found.index > at) shown.push(source.slice(at, found.index));
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    const name = NAMES[character] ?? "hidden character";
    shown.push(
      <span class="hidden-mark" title={`U+${code} ${name}`}>
        {escaped(character)}
      </span>,
    );
    at = found.index + character.length;
  }
  if (at < source.length) shown.push(source.slice(at));
  return shown;
}

/** One line of such text. */
export function Inert({ text, class: name = "" }: { text: string; class?: string }): JSX.Element {
  return <span class={`inert ${name}`}>{inert(text)}</span>;
}

/** Several lines of it. */
export function InertBlock({ text, label }: { text: string; label?: string }): JSX.Element {
  return (
    <pre class="inert block" tabIndex={0} role="region" aria-label={label ?? "Text from the request"}>
      {inert(text, true)}
    </pre>
  );
}
