//! What readings say before anything is drawn: usual interval, staleness, breaks in the line, runs of states.

import type { Point, Series } from "./api";
import { MINUTE_US, SECOND_US } from "./time";

/** The median distance between neighbouring readings, in microseconds, or null with fewer than two. */
export function usualInterval(points: readonly Point[]): number | null {
  const steps: number[] = [];
  for (let i = 1; i < points.length; i++) {
    const step = points[i]!.t - points[i - 1]!.t;
    if (step > 0 && !points[i]!.future && !points[i - 1]!.future) steps.push(step);
  }
  if (steps.length === 0) return null;
  steps.sort((a, b) => a - b);
  return steps[steps.length >> 1]!;
}

/** Glucose: the 15 minutes after which Nightscout and the receivers it serves warn of missing data. */
const STALE_GLUCOSE_US = 15 * MINUTE_US;
/** Anything else, 1 Hz series above all. */
const STALE_OTHER_US = 30 * SECOND_US;
const STALE_INTERVALS = 2.5;

/** The age beyond which a reading is stale: 2.5 usual intervals, at least 15 min for glucose, 30 s for others. */
export function staleAfter(isGlucose: boolean, intervalUs: number | null): number {
  return Math.max(isGlucose ? STALE_GLUCOSE_US : STALE_OTHER_US, STALE_INTERVALS * (intervalUs ?? 0));
}

const BREAK_INTERVALS = 3;

/** The distance between neighbours beyond which the line is broken: 3 usual intervals. */
export function breakAfter(intervalUs: number | null): number {
  return intervalUs === null ? Number.POSITIVE_INFINITY : BREAK_INTERVALS * intervalUs;
}

/** A row of a chart: the reading, or null where the line is broken. */
export interface Row {
  readonly t: number;
  readonly point: Point | null;
}

/** Where a point stands: a sum in the middle of its span. */
export function middleOf(point: Point): number {
  return point.sum ? point.t + (point.sum.to - point.t) / 2 : point.t;
}

/** The least and the greatest that a point tells of; an end is missing where some readings were beyond what could be measured. */
export function spreadOf(point: Point): { least: number | null; most: number | null } {
  if (!point.sum) return { least: point.v, most: point.v };
  return { least: point.sum.below > 0 ? null : point.sum.min, most: point.sum.above > 0 ? null : point.sum.max };
}

/** Readings in order of time, with an empty row in each gap longer than `breakUs`, so that no line crosses it. */
export function withBreaks(points: readonly Point[], breakUs: number): Row[] {
  const sorted = [...points].sort((a, b) => a.t - b.t);
  const rows: Row[] = [];
  let before: Point | undefined;
  for (const point of sorted) {
    if (before && point.t - before.t > breakUs) {
      rows.push({ t: before.t + (point.t - before.t) / 2, point: null });
    }
    rows.push({ t: middleOf(point), point });
    before = point;
  }
  return rows;
}

/** A state in words: `low(39)` is "low", `warming_up` is "warming up". The raw code stays in brackets for errors. */
export function stateText(state: string): string {
  const parts = /^([a-z_]+)(?:\((.*)\))?$/.exec(state);
  if (!parts) return state === "nan" ? "not a number" : state;
  const words = parts[1]!.replaceAll("_", " ");
  if (words === "low" || words === "high" || parts[2] === undefined) return words === "nan" ? "not a number" : words;
  return `${words} (${parts[2]})`;
}

/** What a state says about the band, where it says anything: a sensor's "low" is below, its "high" above. */
export function stateSide(state: string | null): "below" | "above" | null {
  if (state === null) return null;
  return /^low\b/.test(state) ? "below" : /^high\b/.test(state) ? "above" : null;
}

/** Consecutive readings of the same state, from the first to the last of them. */
export interface StateRun {
  readonly state: string;
  readonly fromUs: number;
  readonly toUs: number;
}

/** The runs of states among readings; a number, another state, or a gap longer than `breakUs` ends a run. */
export function stateRuns(rows: readonly Row[], breakUs: number): StateRun[] {
  const runs: StateRun[] = [];
  let open = false;
  for (const { t, point } of rows) {
    const state = point && point.v === null ? point.s : null;
    const last = runs.at(-1);
    if (state !== null && open && last && last.state === state && t - last.toUs <= breakUs) {
      runs[runs.length - 1] = { ...last, toUs: t };
    } else if (state !== null) {
      runs.push({ state, fromUs: t, toUs: t });
    }
    open = state !== null;
  }
  return runs;
}

/** Adds readings that came live: in order of time, the same reading (instant, value, state) only once, at most `most`. */
export function mergePoints(held: readonly Point[], came: readonly Point[], most: number): Point[] {
  const key = (p: Point): string => `${p.t}/${p.v}/${p.s}`;
  const oldest = Math.min(...came.map((p) => p.t));
  const have = new Set(held.filter((p) => p.t >= oldest).map(key));
  const merged = [...held, ...came.filter((p) => !have.has(key(p)))];
  merged.sort((a, b) => a.t - b.t);
  return merged.slice(-most);
}

/** The newest reading that is not from the far future; where all are, the newest of them. */
export function newestOf(points: readonly Point[]): Point | null {
  return points.findLast((point) => !point.future) ?? points.at(-1) ?? null;
}

/** The end (exclusive) up to which the recent readings of a series are read; a far-future one does not move it. */
export function readUpTo(series: Pick<Series, "latest" | "last_us">, nowUs: number): number | null {
  if (series.last_us === null) return null;
  return series.latest?.future ? nowUs : series.last_us + 1;
}

/** The farthest value of one excursion out of the band. */
export interface Extreme {
  readonly t: number;
  readonly value: number;
  readonly side: "below" | "above";
}

/** The extreme of each unbroken run of readings below or above the band; `scale` gives the band's unit. */
export function extremes(rows: readonly Row[], band: { low: number; high: number }, scale: (v: number) => number): Extreme[] {
  const found: Extreme[] = [];
  let running: "below" | "above" | null = null;
  for (const { t, point } of rows) {
    // Of a sum, what is farthest out; a low that is hidden in a mean matters most.
    const farthest = point?.sum && point.v !== null ? (scale(point.sum.min!) < band.low ? point.sum.min : point.sum.max) : point?.v;
    const value = farthest === null || farthest === undefined ? null : scale(farthest);
    const side = value === null ? null : value < band.low ? "below" : value > band.high ? "above" : null;
    if (value !== null && side !== null) {
      const last = found.at(-1);
      const farther = last && (side === "above" ? value > last.value : value < last.value);
      if (side !== running) found.push({ t, value, side });
      else if (farther) found[found.length - 1] = { t, value, side };
    }
    running = side;
  }
  return found;
}
