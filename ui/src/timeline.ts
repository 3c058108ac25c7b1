/** A session as moments on a line: what was said when, in recorded time and in the time of a player that
 *  shortens pauses. */

import { EventReader } from "./events";
import { answer, isStream, question, streamed, type Said } from "./conversation";
import type { Body, Piece, Recording } from "./types";

/** Something that was said, and when, in microseconds since the session's first request. */
export interface Moment {
  atUs: number;
  said: Said;
}

export interface Turn {
  recording: Recording;
  startUs: number;
  endUs: number;
  asked: Said[];
  answered: Moment[];
}

export interface Timeline {
  turns: Turn[];
  lengthUs: number;
}

/** Bytes of a body that is no conversation; the whole is on the request's own page. */
const SHOWN_MAX = 4_096;
/** With `skip idle` no pause is longer. */
export const IDLE_MAX_US = 1_000_000;

export function pieceText(piece: Piece): string {
  if (piece.text !== undefined) return piece.text;
  if (piece.base64 === undefined) return "";
  const bytes = Uint8Array.from(atob(piece.base64), (character) => character.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}

export function bodyText(body: Body): string {
  return body.pieces.map(pieceText).join("");
}

function cut(text: string): string {
  if (text.length <= SHOWN_MAX) return text;
  return `${text.slice(0, SHOWN_MAX)}\n… ${text.length - SHOWN_MAX} more characters`;
}

/** JSON with line ends, else the text. */
function readable(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function askedIn(recording: Recording): Said[] {
  const body = bodyText(recording.request);
  const said = question(body);
  return said.length > 0 || !body ? said : [{ voice: "body", text: cut(readable(body)) }];
}

function answeredIn(recording: Recording, startUs: number, endUs: number): Moment[] {
  const { pieces } = recording.response;
  const first = pieces.map(pieceText).find((text) => text !== "") ?? "";
  const moments: Moment[] = [];
  if (isStream(first)) {
    const events = new EventReader("");
    for (const piece of pieces) {
      for (const event of events.push(pieceText(piece))) {
        for (const said of streamed(event.data)) moments.push({ atUs: startUs + piece.at_us, said });
      }
    }
    if (moments.length > 0) return moments;
  }
  const body = bodyText(recording.response);
  const said = answer(body);
  const all: Said[] = said.length > 0 || !body ? said : [{ voice: "body", text: cut(readable(body)) }];
  return all.map((one) => ({ atUs: endUs, said: one }));
}

export function timelineOf(recordings: Recording[]): Timeline {
  const firstUs = recordings[0]?.started_us ?? 0;
  const turns = recordings.map((recording): Turn => {
    const startUs = recording.started_us - firstUs;
    const endUs = startUs + (recording.duration_us ?? 0);
    const answered = answeredIn(recording, startUs, endUs);
    return { recording, startUs, endUs, asked: askedIn(recording), answered };
  });
  return { turns, lengthUs: Math.max(1, ...turns.map((turn) => turn.endUs)) };
}

/** Recorded time against played time: pauses may be shorter. */
export class Pace {
  private readonly recorded: number[];
  private readonly played: number[];

  constructor(timeline: Timeline, skipIdle: boolean) {
    const times = timeline.turns.flatMap((turn) => [
      turn.startUs,
      ...turn.answered.map((moment) => moment.atUs),
      turn.endUs,
    ]);
    this.recorded = [...new Set([0, ...times, timeline.lengthUs])].sort((a, b) => a - b);
    let at = 0;
    this.played = this.recorded.map((time, index) => {
      const pause = time - (this.recorded[index - 1] ?? time);
      at += skipIdle ? Math.min(pause, IDLE_MAX_US) : pause;
      return at;
    });
  }

  get lengthUs(): number {
    return this.played.at(-1) ?? 1;
  }

  toPlayed(recordedUs: number): number {
    return between(recordedUs, this.recorded, this.played);
  }

  toRecorded(playedUs: number): number {
    return between(playedUs, this.played, this.recorded);
  }
}

/** The value on `to` that stands where `value` stands on `from`. */
function between(value: number, from: number[], to: number[]): number {
  let low = 0;
  let high = from.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((from[middle] ?? 0) <= value) low = middle;
    else high = middle - 1;
  }
  const [a, b] = [from[low] ?? 0, from[low + 1]];
  const [x, y] = [to[low] ?? 0, to[low + 1]];
  if (b === undefined || y === undefined || b <= a) return x;
  return x + ((value - a) / (b - a)) * (y - x);
}
