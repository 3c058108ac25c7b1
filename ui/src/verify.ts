/** Checks the signed log in the browser, with nothing but what the gateway hands out and what this browser
 *  has kept: signed notes (c2sp.org/signed-note), proofs of inclusion and of consistency (RFC 9162 section
 *  2.1), and proofs of single records (c2sp.org/tlog-proof). */

type Bytes = Uint8Array<ArrayBuffer>;

/** Something that does not hold; the message says what. */
export class Distrust extends Error {}

const encoder = new TextEncoder();

function base64(text: string): Bytes {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new Distrust("something in it is not base64");
  }
}

export function hex(bytes: Bytes): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function sha256(...parts: Bytes[]): Promise<Bytes> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
}

function same(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** `NAME+ID+KEY`. */
export interface PublicKey {
  text: string;
  name: string;
  bytes: Bytes;
  id: Bytes;
}

export async function publicKey(text: string): Promise<PublicKey> {
  const [name, id, ...rest] = text.split("+");
  const typed = base64(rest.join("+"));
  if (!name || !id || typed.length !== 33 || typed[0] !== 1) throw new Distrust("it is no key of a log");
  const found = (await sha256(encoder.encode(`${name}\n`), typed)).slice(0, 4);
  if (hex(found) !== id) throw new Distrust("the key does not fit its own id");
  return { text, name, bytes: typed.slice(1), id: found };
}

export interface Head {
  origin: string;
  size: number;
  root: Bytes;
  note: string;
}

/** What a checkpoint says, without a look at its signature. */
export function readHead(note: string): Head {
  const [origin, size, root] = note.split("\n");
  if (!origin || !size || !/^(0|[1-9][0-9]{0,15})$/.test(size) || !root)
    throw new Distrust("it is no checkpoint");
  return { origin, size: Number(size), root: base64(root), note };
}

/** Checks that `key` has signed the note. */
async function isSigned(note: string, key: PublicKey): Promise<boolean> {
  const split = note.indexOf("\n\n");
  if (split < 0) throw new Distrust("it is not signed");
  const body = encoder.encode(note.slice(0, split + 1));
  for (const line of note.slice(split + 2).split("\n")) {
    const [, name, signed] = /^— (\S+) (\S+)$/.exec(line) ?? [];
    if (name !== key.name || !signed) continue;
    const bytes = base64(signed);
    if (!same(key.id, bytes.slice(0, 4))) continue;
    const imported = await crypto.subtle.importKey("raw", key.bytes, "Ed25519", false, ["verify"]);
    if (await crypto.subtle.verify("Ed25519", imported, bytes.slice(4), body)) return true;
    throw new Distrust("a signature does not match what it stands under");
  }
  return false;
}

/** A key of the log, as the gateway lists it. */
export interface StatedKey {
  number: number;
  key: string;
  since: number;
  statement: string;
}

/** The keys of a log, each signed by the one before it. */
export async function keyChain(stated: StatedKey[]): Promise<PublicKey[]> {
  const keys: PublicKey[] = [];
  for (const one of stated) {
    const key = await publicKey(one.key);
    const last = keys.at(-1);
    const [kind, number, said] = one.statement.split("\n");
    const fits = kind === "ringward-audit-key/v1" && Number(number) === keys.length + 1 && said === one.key;
    if (!fits || (last && last.name !== key.name)) throw new Distrust("a key is stated that does not follow");
    if (!(await isSigned(one.statement, key)) || (last && !(await isSigned(one.statement, last)))) {
      throw new Distrust(`key ${keys.length + 1} is not signed by the key before it`);
    }
    keys.push(key);
  }
  return keys;
}

/** Checks that one of `keys` has signed the checkpoint, and says which. */
export async function checkHead(note: string, keys: PublicKey[]): Promise<{ head: Head; key: PublicKey }> {
  const head = readHead(note);
  for (const key of keys) {
    if (head.origin === key.name && (await isSigned(note, key))) return { head, key };
  }
  throw new Distrust("the checkpoint bears no signature of a key of this log");
}

async function node(left: Bytes, right: Bytes): Promise<Bytes> {
  return sha256(Uint8Array.of(1), left, right);
}

/** Goes up to where the node has a sibling to its left. */
function climb(at: { place: bigint; last: bigint }) {
  while (at.place % 2n === 0n && at.place !== 0n) {
    at.place >>= 1n;
    at.last >>= 1n;
  }
}

/** RFC 9162 section 2.1.3.2. */
export async function isIncluded(leaf: Bytes, index: number, head: Head, path: Bytes[]): Promise<boolean> {
  if (index >= head.size) return false;
  const at = { place: BigInt(index), last: BigInt(head.size - 1) };
  let hash = leaf;
  for (const sibling of path) {
    if (at.last === 0n) return false;
    if (at.place % 2n === 1n || at.place === at.last) {
      hash = await node(sibling, hash);
      if (at.place % 2n === 0n) climb(at);
    } else {
      hash = await node(hash, sibling);
    }
    at.place >>= 1n;
    at.last >>= 1n;
  }
  return at.last === 0n && same(hash, head.root);
}

/** Whether the log of `old` is the beginning of the log of `head` (RFC 9162 section 2.1.4.2). */
export async function isConsistent(old: Head, head: Head, proof: Bytes[]): Promise<boolean> {
  if (old.size > head.size) return false;
  if (old.size === head.size) return proof.length === 0 && same(old.root, head.root);
  if (old.size === 0) return proof.length === 0;
  const path = [...proof];
  const isPower = (BigInt(old.size) & (BigInt(old.size) - 1n)) === 0n;
  const first = isPower ? old.root : path.shift();
  if (!first) return false;
  const at = { place: BigInt(old.size - 1), last: BigInt(head.size - 1) };
  while (at.place % 2n === 1n) {
    at.place >>= 1n;
    at.last >>= 1n;
  }
  let [before, after] = [first, first];
  for (const sibling of path) {
    if (at.last === 0n) return false;
    if (at.place % 2n === 1n || at.place === at.last) {
      before = await node(sibling, before);
      after = await node(sibling, after);
      if (at.place % 2n === 0n) climb(at);
    } else {
      after = await node(after, sibling);
    }
    at.place >>= 1n;
    at.last >>= 1n;
  }
  return at.last === 0n && same(before, old.root) && same(after, head.root);
}

export async function checkConsistency(old: Head, head: Head, proof: string[]) {
  if (!(await isConsistent(old, head, proof.map(base64)))) {
    throw new Distrust(`the first ${old.size} records are not those that were signed before`);
  }
}

const KINDS = (
  "CONFIG INTENT CONTENT OUTCOME REFUSAL APPROVAL CONSUME GRANT ADMIN READ STATE RECOVERY CHECKPOINT " +
  "ERASED KEY"
).split(" ");

/** The proof of one record, taken apart. */
export interface RecordProof {
  sequence: number;
  frame: Bytes;
  path: Bytes[];
  checkpoint: string;
}

export function readProof(text: string): RecordProof {
  const split = text.indexOf("\n\n");
  const [magic, extra, index, ...path] = text.slice(0, split).split("\n");
  if (split < 0 || magic !== "c2sp.org/tlog-proof@v1") throw new Distrust("it is no proof of a record");
  const at = /^index (0|[1-9][0-9]{0,15})$/.exec(index ?? "")?.[1];
  if (!extra?.startsWith("extra ") || at === undefined) throw new Distrust("the proof names no record");
  const frame = firstField(base64(extra.slice(6)));
  return { sequence: Number(at) + 1, frame, path: path.map(base64), checkpoint: text.slice(split + 2) };
}

/** The frame of the record: field 1 of tag, length in groups of seven bits, and bytes. */
function firstField(extra: Bytes): Bytes {
  if (extra[0] !== 1) throw new Distrust("the proof holds no record");
  let length = 0;
  let at = 1;
  for (let shift = 0; ; shift += 7) {
    const byte = extra[at];
    if (byte === undefined || shift > 28) throw new Distrust("the proof is cut");
    length += (byte & 0x7f) * 2 ** shift;
    at += 1;
    if (byte < 0x80) break;
  }
  if (at + length > extra.length) throw new Distrust("the proof is cut");
  return extra.slice(at, at + length);
}

/** Checks record, path and signature.
 *  @throws Distrust the first thing that does not hold. */
export async function checkProof(text: string, record: number, keys: PublicKey[]) {
  const proof = readProof(text);
  const view = new DataView(proof.frame.buffer, proof.frame.byteOffset, proof.frame.byteLength);
  if (proof.frame.length < 20 || Number(view.getBigUint64(8, true)) !== record || proof.sequence !== record) {
    throw new Distrust("the proof is of another record");
  }
  const { head, key } = await checkHead(proof.checkpoint, keys);
  const leaf = await sha256(proof.frame);
  if (!(await isIncluded(leaf, proof.sequence - 1, head, proof.path))) {
    throw new Distrust("the record is not in the tree of the checkpoint: one of them was changed");
  }
  return { head, key, leaf, kind: KINDS[(proof.frame[1] ?? 0) - 1] };
}
