//! Instants, zones, days and ages. An instant is an integer of microseconds since the Unix epoch, UTC.

export const SECOND_US = 1_000_000;
export const MINUTE_US = 60 * SECOND_US;
export const HOUR_US = 60 * MINUTE_US;

/** The pieces of an instant on a wall clock. */
interface Wall {
  readonly date: string;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function wallFormat(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-CA", {
      timeZone: zone, calendar: "iso8601", hourCycle: "h23",
      year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    });
    formats.set(zone, format);
  }
  return format;
}

/** The wall clock of `zone` (an IANA name) at an instant. */
export function wallAt(zone: string, us: number): Wall {
  const piece: Record<string, string> = {};
  for (const { type, value } of wallFormat(zone).formatToParts(us / 1000)) piece[type] = value;
  return {
    date: `${piece["year"]?.padStart(4, "0")}-${piece["month"]}-${piece["day"]}`,
    hour: Number(piece["hour"]),
    minute: Number(piece["minute"]),
    second: Number(piece["second"]),
  };
}

/** The day, `YYYY-MM-DD`, that an instant falls on in `zone`. */
export function dayOf(zone: string, us: number): string {
  return wallAt(zone, us).date;
}

/** The calendar day `count` days after `date`; no zone is involved. */
export function addDays(date: string, count: number): string {
  const day = new Date(`${date}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() + count);
  return day.toISOString().slice(0, 10);
}

/** Whether the text is a real calendar day written `YYYY-MM-DD`. */
export function isDay(text: string): boolean {
  const parsed = /^\d{4}-\d{2}-\d{2}$/.test(text) ? new Date(`${text}T00:00:00Z`) : null;
  return parsed !== null && !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(text);
}

/**
 * The first instant of a day in `zone`.
 *
 * Searched rather than computed from an offset, so that days that begin at 01:00 (clocks put forward at
 * midnight) are right too. Local time is within 15 hours of UTC everywhere (IANA zones span -12:00 to +14:00).
 */
export function dayStart(zone: string, date: string): number {
  const utcMidnight = Date.parse(`${date}T00:00:00Z`) / 1000;
  let before = utcMidnight - 15 * 3600;
  let after = utcMidnight + 15 * 3600;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (dayOf(zone, middle * SECOND_US) >= date) after = middle;
    else before = middle;
  }
  return after * SECOND_US;
}

/** A half-open span of instants, `[fromUs, toUs)`. */
export interface Span {
  readonly fromUs: number;
  readonly toUs: number;
}

/** The span of `count` whole days in `zone` that ends with the day `last`; 23, 24 or 25 hours a day. */
export function daysSpan(zone: string, last: string, count: number): Span {
  return { fromUs: dayStart(zone, addDays(last, 1 - count)), toUs: dayStart(zone, addDays(last, 1)) };
}

const two = (n: number): string => String(n).padStart(2, "0");

/** `09:51`, or `09:51:07` with seconds, in `zone`. */
export function timeText(zone: string, us: number, seconds = false): string {
  const wall = wallAt(zone, us);
  return `${two(wall.hour)}:${two(wall.minute)}${seconds ? `:${two(wall.second)}` : ""}`;
}

/** `24 Mar 2010` for a calendar day; `long` spells `Wednesday 24 March 2010`. */
export function dateText(date: string, long = false): string {
  const style: Intl.DateTimeFormatOptions = long
    ? { weekday: "long", day: "numeric", month: "long", year: "numeric" }
    : { day: "numeric", month: "short", year: "numeric" };
  return new Intl.DateTimeFormat("en-GB", { ...style, timeZone: "UTC" }).format(new Date(`${date}T00:00:00Z`)).replace(",", "");
}

/** `24 Mar 2010 09:51` in `zone`; with seconds where a series is that quick. */
export function instantText(zone: string, us: number, seconds = false): string {
  return `${dateText(dayOf(zone, us))} ${timeText(zone, us, seconds)}`;
}

/** The zone of the person looking, for pages that belong to no subject. */
export function browserZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** A span of time in words of at most two units: `42 s`, `4 min`, `2 h 10 min`, `3 days`, `16 years`. */
export function spanText(us: number): string {
  const seconds = Math.floor(Math.abs(us) / SECOND_US);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  if (days < 60) return days === 1 ? "1 day" : `${days} days`;
  if (days < 730) return `${Math.floor(days / 30.44)} months`;
  return `${Math.floor(days / 365.25)} years`;
}

/** How long ago, in words; an instant ahead of now says so. */
export function ageText(nowUs: number, us: number): string {
  const age = nowUs - us;
  if (age < -2 * SECOND_US) return `${spanText(age)} ahead`;
  return `${spanText(Math.max(0, age))} ago`;
}
