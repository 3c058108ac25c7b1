/** A session as it happened: its requests left, what was said in the middle, how it was decided right. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { json, lines } from "../api";
import type { Said } from "../conversation";
import { clock, duration, time } from "../format";
import { useKept, useKeys, useLoaded } from "../hooks";
import { Inert, inert } from "../inert";
import { Masked, type MaskForm } from "../masks";
import { Failed, Link, Tag, Title, Waiting } from "../parts";
import { Pace, timelineOf, type Timeline, type Turn } from "../timeline";
import type { Recording, Session } from "../types";
import { Rail } from "./rail";

/** Requests that one page plays; a longer session says so. */
const TURNS_MAX = 500;

interface Loaded {
  session: Session;
  recordings: Recording[];
  isCut: boolean;
}

export function Replay({ id }: { id: string }): JSX.Element {
  const { data: loaded, problem } = useLoaded(id, load);
  if (problem) {
    return (
      <>
        <Title>Session</Title>
        <Failed problem={problem} />
      </>
    );
  }
  if (!loaded) return <Waiting lines={8} />;
  return <Player loaded={loaded} />;
}

async function load(id: string, signal: AbortSignal): Promise<Loaded> {
  const path = `/api/v1/sessions/${encodeURIComponent(id)}`;
  const { session } = await json<{ session: Session }>(`${path}?limit=0`, { signal });
  const recordings: Recording[] = [];
  const query = `format=jsonl&purpose=replay&limit=${TURNS_MAX}`;
  for await (const recording of lines<Recording>(`${path}/export?${query}`, { signal }))
    recordings.push(recording);
  return { session, recordings, isCut: session.requests > recordings.length };
}

/** Where the replacements of masks are known from. */
function useMaskForms(): MaskForm[] {
  const [forms, setForms] = useState<MaskForm[]>([]);
  useEffect(() => {
    json<{ config: { mask?: MaskForm[] } }>("/api/v1/config")
      .then(({ config }) => setForms((config.mask ?? []).filter((one) => typeof one.replace === "string")))
      // Without the configuration the counts are shown and no places.
      .catch(() => {});
  }, []);
  return forms;
}

function Player({ loaded }: { loaded: Loaded }): JSX.Element {
  const { session, recordings, isCut } = loaded;
  const timeline = useMemo(() => timelineOf(recordings), [recordings]);
  const [skip, setSkip] = useKept("skip-idle", "yes");
  const [speed, setSpeed] = useState(1);
  const pace = useMemo(() => new Pace(timeline, skip === "yes"), [timeline, skip]);
  // It opens at its end, where all is to be read.
  const [atUs, setAtUs] = useState(timeline.lengthUs);
  const [playing, setPlaying] = useState(false);
  const [chosen, setChosen] = useState<number>();
  const forms = useMaskForms();
  usePlay(playing, setPlaying, pace, speed, atUs, setAtUs);
  const toggle = () => {
    if (!playing && atUs >= timeline.lengthUs) setAtUs(0);
    setChosen(undefined);
    setPlaying(!playing);
  };
  const seek = (us: number) => {
    setChosen(undefined);
    setAtUs(Math.min(Math.max(us, 0), timeline.lengthUs));
  };
  useKeys({
    " ": toggle,
    ArrowLeft: () => seek(pace.toRecorded(pace.toPlayed(atUs) - 1e6)),
    ArrowRight: () => seek(pace.toRecorded(pace.toPlayed(atUs) + 1e6)),
  });
  const reached = timeline.turns.findLastIndex((turn) => turn.startUs <= atUs);
  const current = timeline.turns[chosen ?? Math.max(0, reached)];
  return (
    <div class="replay">
      <Title
        note={
          <>
            {session.purpose && <Inert text={session.purpose} />} · began {time(session.started)} ·{" "}
            <code>{session.id}</code>
          </>
        }
        actions={<Exports id={session.id} />}
      >
        <Inert text={session.subject ?? "no identity"} />
      </Title>
      <Transport
        {...{ timeline, pace, atUs, seek, playing, toggle, speed, setSpeed }}
        skip={skip === "yes"}
        setSkip={(value) => setSkip(value ? "yes" : "no")}
      />
      {isCut && (
        <p class="soft">
          The first {recordings.length} of {session.requests} requests are played.
        </p>
      )}
      <div class="stage">
        <Turns timeline={timeline} atUs={atUs} current={current} choose={setChosen} />
        <Talk timeline={timeline} atUs={atUs} current={current} playing={playing} forms={forms} />
        {current && <Rail turn={current} />}
      </div>
    </div>
  );
}

/** Moves the position while it plays. */
function usePlay(
  playing: boolean,
  setPlaying: (playing: boolean) => void,
  pace: Pace,
  speed: number,
  atUs: number,
  setAtUs: (us: number) => void,
) {
  const position = useRef(atUs);
  position.current = atUs;
  useEffect(() => {
    if (!playing) return;
    let frame = 0;
    let before = performance.now();
    const step = (now: number) => {
      const played = pace.toPlayed(position.current) + (now - before) * 1_000 * speed;
      before = now;
      if (played >= pace.lengthUs) {
        setAtUs(pace.toRecorded(pace.lengthUs));
        setPlaying(false);
        return;
      }
      setAtUs(pace.toRecorded(played));
      frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [playing, pace, speed]);
}

function Exports({ id }: { id: string }): JSX.Element {
  const path = `/api/v1/sessions/${id}/export`;
  return (
    <>
      <a class="button" href={`${path}?format=jsonl`} download>
        JSONL
      </a>
      <a class="button" href={`${path}?format=har`} download>
        HAR
      </a>
    </>
  );
}

interface Controls {
  timeline: Timeline;
  pace: Pace;
  atUs: number;
  seek: (us: number) => void;
  playing: boolean;
  toggle: () => void;
  speed: number;
  setSpeed: (speed: number) => void;
  skip: boolean;
  setSkip: (skip: boolean) => void;
}

function Transport(props: Controls): JSX.Element {
  const { timeline, pace, atUs, seek, playing, toggle, speed, setSpeed, skip, setSkip } = props;
  const played = pace.toPlayed(atUs);
  return (
    <div class="transport" role="group" aria-label="Player">
      <button type="button" class="primary play" onClick={toggle} aria-keyshortcuts="Space">
        {playing ? "Pause" : "Play"}
      </button>
      <div class="scrub">
        <input
          type="range"
          min={0}
          max={Math.ceil(pace.lengthUs)}
          step={1_000}
          value={played}
          aria-label="Position"
          aria-valuetext={`${clock(played / 1e6)} of ${clock(pace.lengthUs / 1e6)}`}
          onInput={(event) => seek(pace.toRecorded(Number(event.currentTarget.value)))}
        />
        <div class="ticks" aria-hidden="true">
          {timeline.turns.map((turn) => (
            <i
              key={turn.recording.id}
              class={`tick tick-${turn.recording.decision ?? "allow"}`}
              style={{ left: `${(pace.toPlayed(turn.startUs) / pace.lengthUs) * 100}%` }}
            />
          ))}
        </div>
      </div>
      <span class="position">
        {clock(played / 1e6)} / {clock(pace.lengthUs / 1e6)}
      </span>
      <span class="tabs" role="group" aria-label="Speed">
        {[1, 4].map((one) => (
          <button type="button" key={one} aria-pressed={speed === one} onClick={() => setSpeed(one)}>
            {one}×
          </button>
        ))}
        <button type="button" aria-pressed={skip} onClick={() => setSkip(!skip)}>
          Skip idle
        </button>
      </span>
    </div>
  );
}

function Turns(props: {
  timeline: Timeline;
  atUs: number;
  current: Turn | undefined;
  choose: (index: number) => void;
}): JSX.Element {
  return (
    <ol class="turns" aria-label="Requests">
      {props.timeline.turns.map((turn, index) => {
        const { recording } = turn;
        return (
          <li key={recording.id} class={turn.startUs > props.atUs ? "later" : ""}>
            <button
              type="button"
              aria-current={turn === props.current ? "true" : undefined}
              onClick={() => {
                props.choose(index);
                document.getElementById(`turn-${recording.id}`)?.scrollIntoView({ block: "nearest" });
              }}
            >
              <span class="row-main">
                <span class="soft">{time(recording.started)}</span>
                {recording.decision && <Tag kind={recording.decision} />}
              </span>
              <Inert text={`${recording.method ?? "?"} ${recording.target ?? ""}`} class="mono clip" />
              <span class="soft">
                {recording.status ?? "no status"} ·{" "}
                {recording.duration_us === null ? "runs" : duration(recording.duration_us)}
              </span>
            </button>
          </li>
        );
      })}
    </ol>
  );
}

interface TalkProps {
  timeline: Timeline;
  atUs: number;
  current: Turn | undefined;
  playing: boolean;
  forms: MaskForm[];
}

function Talk({ timeline, atUs, current, playing, forms }: TalkProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // What is being said stays in sight.
    if (playing && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [playing, atUs]);
  const turns = timeline.turns.filter((turn) => turn.startUs <= atUs);
  return (
    <div class="talk" ref={box} tabIndex={0} role="region" aria-label="Conversation">
      {turns.map((turn) => (
        <section
          key={turn.recording.id}
          id={`turn-${turn.recording.id}`}
          class={turn === current ? "current" : ""}
        >
          <p class="turn-head">
            <Link to={`requests/${turn.recording.id}`}>
              <Inert text={`${turn.recording.method ?? "?"} ${turn.recording.target ?? ""}`} class="mono" />
            </Link>
          </p>
          {turn.asked.length > 0 && <Speech who="agent" said={turn.asked} forms={formsOf(turn, forms)} />}
          <Speech
            who="upstream"
            said={turn.answered.filter((moment) => moment.atUs <= atUs).map((moment) => moment.said)}
            forms={formsOf(turn, forms)}
            isOpen={atUs < turn.endUs}
          />
          {atUs >= turn.endUs && <End turn={turn} />}
        </section>
      ))}
    </div>
  );
}

/** The masks that met something in this exchange. */
function formsOf(turn: Turn, forms: MaskForm[]): MaskForm[] {
  return forms.filter((form) => (turn.recording.masks[form.name] ?? 0) > 0);
}

const VOICES: Record<Said["voice"], string> = {
  text: "",
  thinking: "thinks",
  call: "calls",
  arguments: "",
  error: "error",
  body: "",
};

function Speech(props: {
  who: "agent" | "upstream";
  said: Said[];
  forms: MaskForm[];
  isOpen?: boolean;
}): JSX.Element | null {
  // Pieces of one voice are one paragraph; a call begins anew.
  const joined: Said[] = [];
  for (const one of props.said) {
    const last = joined.at(-1);
    if (last && last.voice === one.voice && one.voice !== "call") last.text += one.text;
    else joined.push({ ...one });
  }
  if (joined.length === 0 && !props.isOpen) return null;
  return (
    <div class={`speech speech-${props.who}`}>
      <span class="speaker">{props.who === "agent" ? "Agent" : "Upstream"}</span>
      {joined.map((one, index) => (
        <p key={index} class={`voice voice-${one.voice}`} tabIndex={one.voice === "body" ? 0 : undefined}>
          {VOICES[one.voice] && <span class="voice-name">{VOICES[one.voice]}</span>}
          <span class="inert">
            <Masked text={one.text} forms={props.forms} />
          </span>
        </p>
      ))}
      {props.isOpen && <span class="caret" aria-label="still speaking" />}
    </div>
  );
}

function End({ turn: { recording } }: { turn: Turn }): JSX.Element | null {
  if (recording.cause === "complete" || recording.cause === null) return null;
  return (
    <p class="turn-end">
      <Tag kind={recording.decision === "block" ? "block" : "failed"}>
        {recording.cause.replaceAll("_", " ")}
      </Tag>
      {recording.reason && <span class="inert">{inert(recording.reason)}</span>}
    </p>
  );
}
