/** Numbers, times and sizes as people read them. */

const groups = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value: number): string {
  return groups.format(value);
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A length of time in microseconds. */
export function duration(us: number): string {
  if (us < 1_000) return `${Math.round(us)} µs`;
  if (us < 1_000_000) return `${us < 100_000 ? (us / 1_000).toFixed(1) : Math.round(us / 1_000)} ms`;
  const seconds = us / 1_000_000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return span(seconds);
}

/** A longer time in seconds: its two largest units. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3_600)} h`;
}

/** `4:07`, for what counts down. */
export function clock(seconds: number): string {
  const s = Math.max(0, Math.ceil(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  return s < 3_600
    ? `${Math.floor(s / 60)}:${two(s % 60)}`
    : `${Math.floor(s / 3_600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/** Time of day of an RFC 3339 time, with the date where it is another day. */
export function time(rfc3339: string, withSeconds = true): string {
  const at = new Date(rfc3339);
  if (Number.isNaN(at.getTime())) return rfc3339;
  const options: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withSeconds) options.second = "2-digit";
  if (at.toDateString() !== new Date().toDateString()) {
    options.month = "short";
    options.day = "numeric";
  }
  return new Intl.DateTimeFormat("en", options).format(at);
}

/** How long ago. */
export function ago(rfc3339: string, nowMs: number): string {
  const seconds = (nowMs - Date.parse(rfc3339)) / 1_000;
  if (Number.isNaN(seconds)) return "";
  return seconds < 2 ? "just now" : `${span(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** The middle of a long id left out; the whole is in the title. */
export function short(id: string): string {
  return id.length > 18 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id;
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
