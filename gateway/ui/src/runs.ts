//! The days that hold readings, as runs: a long silence between two runs takes no room on the coverage strip.

import type { Day } from "./api";
import { addDays } from "./time";

/** Neighbouring days, with the silent ones between them; `afterDays` is the silence before the run. */
export interface DayRun {
  readonly afterDays: number;
  readonly days: readonly { readonly date: string; readonly readings: number }[];
}

/** Silence longer than this many days is drawn as a break. */
const BREAK_DAYS = 21;

/** The readings of a full day: what nine of ten days do not exceed, so that a day uploaded twice sets no scale. */
export function fullDay(runs: readonly DayRun[]): number {
  const counts = runs.flatMap((run) => run.days.filter((day) => day.readings > 0).map((day) => day.readings)).sort((a, b) => a - b);
  return Math.max(1, counts[Math.floor(counts.length * 0.9)] ?? 1);
}

/** Whole days from one calendar day to another. */
export function daysBetween(from: string, to: string): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / 86_400_000);
}

/** Runs of days in order; within a run each calendar day is there, with 0 readings where it was silent. */
export function dayRuns(days: readonly Pick<Day, "date" | "readings">[]): DayRun[] {
  const held = days.filter((day) => day.readings > 0).sort((a, b) => (a.date < b.date ? -1 : 1));
  const runs: { afterDays: number; days: { date: string; readings: number }[] }[] = [];
  for (const { date, readings } of held) {
    const last = runs.at(-1)?.days.at(-1)?.date;
    const apart = last === undefined ? 0 : daysBetween(last, date);
    if (last === undefined || apart > BREAK_DAYS) runs.push({ afterDays: Math.max(0, apart - 1), days: [] });
    const run = runs.at(-1)!;
    for (let i = 1; i < apart && run.days.length > 0; i++) run.days.push({ date: addDays(last!, i), readings: 0 });
    run.days.push({ date, readings });
  }
  return runs;
}

/** The day with readings that is nearest to `date`, or null when there are none. */
export function nearestDay(days: readonly Pick<Day, "date" | "readings">[], date: string): string | null {
  let best: string | null = null;
  for (const day of days) {
    if (day.readings > 0 && (best === null || Math.abs(daysBetween(date, day.date)) < Math.abs(daysBetween(date, best)))) best = day.date;
  }
  return best;
}
