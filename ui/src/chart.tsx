/** Overhead over time: two lines on a logarithmic scale, for quantiles lie decades apart. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { duration } from "./format";
import type { Point } from "./metrics";

const WIDTH = 420;
const HEIGHT = 150;
const LEFT = 52;
const BOTTOM = 18;
const SPAN_MS = 300_000;

type Key = "p50" | "p99";

export function Chart({ points }: { points: Point[] }): JSX.Element {
  const [at, setAt] = useState<number>();
  const known = points.flatMap((point) => [point.p50, point.p99]).filter((value) => value !== undefined);
  const end = points.at(-1)?.atMs ?? 0;
  if (known.length === 0) {
    return <p class="calm">No request in the last minutes: the line begins with the next one.</p>;
  }
  const low = Math.floor(Math.log10(Math.min(...known)) - 0.05);
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...known)) + 0.05));
  const x = (ms: number) => LEFT + (1 - (end - ms) / SPAN_MS) * (WIDTH - LEFT - 4);
  const y = (value: number) => 6 + ((high - Math.log10(value)) / (high - low)) * (HEIGHT - BOTTOM - 6);
  const recent = points.filter((point) => point.atMs >= end - SPAN_MS);
  const shown = at === undefined ? recent.at(-1) : recent[at];
  const point = (event: MouseEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * WIDTH;
    const ms = end - (1 - (across - LEFT) / (WIDTH - LEFT - 4)) * SPAN_MS;
    const far = recent.map((one) => Math.abs(one.atMs - ms));
    setAt(far.indexOf(Math.min(...far)));
  };
  const said = (value: number | undefined) => (value === undefined ? "–" : duration(value * 1e6));
  return (
    <figure class="chart">
      <figcaption>
        <span class="key key-p50">p50 {said(shown?.p50)}</span>
        <span class="key key-p99">p99 {said(shown?.p99)}</span>
        <span class="soft">{shown ? `${shown.rate.toFixed(shown.rate < 10 ? 1 : 0)} requests/s` : ""}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`Overhead of the last five minutes: p50 ${said(shown?.p50)}, p99 ${said(shown?.p99)}`}
        onMouseMove={point}
        onMouseLeave={() => setAt(undefined)}
      >
        {Array.from({ length: high - low + 1 }, (_, index) => {
          const value = 10 ** (low + index);
          return (
            <g key={index}>
              <line class="grid" x1={LEFT} x2={WIDTH - 4} y1={y(value)} y2={y(value)} />
              <text x={LEFT - 8} y={y(value) + 4} text-anchor="end">
                {duration(value * 1e6).replace(".0", "")}
              </text>
            </g>
          );
        })}
        {[5, 4, 3, 2, 1].map((minutes) => (
          <text key={minutes} x={x(end - minutes * 60_000)} y={HEIGHT - 3} text-anchor="middle">
            −{minutes} min
          </text>
        ))}
        {(["p99", "p50"] as Key[]).map((key) => (
          <path key={key} class={`line line-${key}`} d={line(recent, key, x, y)} />
        ))}
        {at !== undefined && shown && (
          <line class="cursor" x1={x(shown.atMs)} x2={x(shown.atMs)} y1={6} y2={HEIGHT - BOTTOM} />
        )}
      </svg>
    </figure>
  );
}

/** A path with a gap wherever there was no request. */
function line(points: Point[], key: Key, x: (ms: number) => number, y: (value: number) => number): string {
  let path = "";
  let isDrawing = false;
  for (const point of points) {
    const value = point[key];
    if (value === undefined || value <= 0) {
      isDrawing = false;
      continue;
    }
    path += `${isDrawing ? "L" : "M"}${x(point.atMs).toFixed(1)} ${y(value).toFixed(1)}`;
    // A lone point is seen too: a line of no length has round ends.
    if (!isDrawing) path += "h0";
    isDrawing = true;
  }
  return path;
}
