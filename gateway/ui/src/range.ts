//! Time in range: how readings of a span divide around the target band, and how much of the span they cover.

import type { Point } from "./api";
import { stateSide } from "./readings";
import type { Span } from "./time";

/** Where a value lies; both edges of the band belong to it (consensus on time in range, Battelino 2019). */
export type Side = "below" | "in" | "above";

export interface Band {
  readonly low: number;
  readonly high: number;
}

/** The side of the band, all in mg/dL. */
export function sideOf(mgDl: number, band: Band): Side {
  return mgDl < band.low ? "below" : mgDl > band.high ? "above" : "in";
}

export interface TimeInRange {
  readonly below: number;
  readonly in: number;
  readonly above: number;
  /** Readings that count: numbers, and states that mean below or above the sensor's reach. */
  readonly counted: number;
  /** Readings there would be if every interval of the span held one. */
  readonly expected: number;
  /** Share of the span's intervals that hold a reading that counts, 0 to 1. */
  readonly coverage: number;
}

/**
 * Counts readings of `span` up to `nowUs` around `band`; `scale` gives mg/dL.
 *
 * A sensor reads at a steady interval, so shares of readings are shares of time. Readings flagged as future,
 * sensor errors and warm-up do not count. Coverage counts intervals, not readings, so that two uploads of one
 * reading do not cover twice.
 */
export function timeInRange(
  points: readonly Point[], band: Band, span: Span, intervalUs: number, nowUs: number, scale: (v: number) => number,
): TimeInRange {
  const end = Math.min(span.toUs, nowUs);
  const expected = Math.max(1, Math.round((end - span.fromUs) / intervalUs));
  const sides = { below: 0, in: 0, above: 0 };
  const slots = new Set<number>();
  let counted = 0;
  for (const point of points) {
    if (point.t < span.fromUs || point.t >= span.toUs || point.future) continue;
    const side = point.v !== null ? sideOf(scale(point.v), band) : stateSide(point.s);
    if (side === null) continue;
    sides[side] += 1;
    counted += 1;
    slots.add(Math.min(expected - 1, Math.floor((point.t - span.fromUs) / intervalUs)));
  }
  return { ...sides, counted, expected, coverage: counted === 0 ? 0 : Math.min(1, slots.size / expected) };
}

/** Whole percents of the parts that add up to exactly 100 (largest remainders); all 0 when nothing was counted. */
export function wholePercents(parts: readonly number[]): number[] {
  const total = parts.reduce((sum, part) => sum + part, 0);
  if (total === 0) return parts.map(() => 0);
  const exact = parts.map((part) => (100 * part) / total);
  const whole = exact.map(Math.floor);
  let left = 100 - whole.reduce((sum, part) => sum + part, 0);
  const byRemainder = exact.map((_, i) => i).sort((a, b) => exact[b]! - whole[b]! - (exact[a]! - whole[a]!));
  for (const i of byRemainder) {
    if (left <= 0) break;
    whole[i]! += 1;
    left -= 1;
  }
  return whole;
}
