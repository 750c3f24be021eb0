import { expect, test } from "vitest";
import type { Point } from "./api";
import { breakAfter, extremes, mergePoints, newestOf, readUpTo, spreadOf, staleAfter, stateRuns, stateSide, stateText, usualInterval, withBreaks } from "./readings";
import { MINUTE_US, SECOND_US } from "./time";

const point = (minute: number, v: number | null, s: string | null = null): Point => ({ t: minute * MINUTE_US, v, s, q: "source", o: null });

test("the usual interval is the median, so a gap does not change it", () => {
  expect(usualInterval([0, 5, 10, 45, 50, 55].map((m) => point(m, 100)))).toBe(5 * MINUTE_US);
  expect(usualInterval([point(0, 100)])).toBeNull();
});

test("two readings of one instant and readings from the future do not count towards the interval", () => {
  const far: Point = { ...point(9_000_000, 100), future: true };
  expect(usualInterval([point(0, 1), point(0, 2), point(5, 3), far])).toBe(5 * MINUTE_US);
});

test("glucose is stale after 15 minutes, or 2.5 intervals of a slower sensor", () => {
  expect(staleAfter(true, 5 * MINUTE_US)).toBe(15 * MINUTE_US);
  expect(staleAfter(true, null)).toBe(15 * MINUTE_US);
  expect(staleAfter(true, 15 * MINUTE_US)).toBe(37.5 * MINUTE_US);
});

test("a 1 Hz series is stale after 30 seconds", () => {
  expect(staleAfter(false, SECOND_US)).toBe(30 * SECOND_US);
  expect(staleAfter(false, MINUTE_US)).toBe(150 * SECOND_US);
});

test("the line breaks where the distance exceeds three intervals, and not at exactly three", () => {
  const rows = withBreaks([0, 5, 20, 36].map((m) => point(m, 100)), breakAfter(5 * MINUTE_US));
  expect(rows.map((row) => row.point === null)).toEqual([false, false, false, true, false]);
  expect(rows[3]!.t).toBe(28 * MINUTE_US);
});

test("readings that came out of order are put in order before the line is broken", () => {
  const rows = withBreaks([point(10, 3), point(0, 1), point(5, 2)], breakAfter(5 * MINUTE_US));
  expect(rows.map((row) => row.point?.v)).toEqual([1, 2, 3]);
});

test("states are words, never numbers", () => {
  expect(["low(39)", "high(401)", "warming_up", "sensor_error(9)", "nan", "+inf"].map(stateText)).toEqual([
    "low", "high", "warming up", "sensor error (9)", "not a number", "+inf",
  ]);
  expect(["low(39)", "high(401)", "warming_up", null].map(stateSide)).toEqual(["below", "above", null, null]);
});

test("neighbouring states are one run; a number or a gap ends it", () => {
  const rows = withBreaks(
    [point(0, null, "warming_up"), point(5, null, "warming_up"), point(10, 90), point(15, null, "warming_up"), point(60, null, "warming_up")],
    15 * MINUTE_US,
  );
  expect(stateRuns(rows, 15 * MINUTE_US).map((run) => [run.fromUs / MINUTE_US, run.toUs / MINUTE_US])).toEqual([
    [0, 5], [15, 15], [60, 60],
  ]);
});

test("a live reading that was already read is not shown twice, and late ones find their place", () => {
  const merged = mergePoints([point(0, 1), point(10, 3)], [point(10, 3), point(5, 2)], 100);
  expect(merged.map((p) => p.v)).toEqual([1, 2, 3]);
  expect(mergePoints(merged, [point(15, 4)], 2).map((p) => p.v)).toEqual([3, 4]);
});

test("two readings of one instant with different values are both kept", () => {
  expect(mergePoints([point(0, 1)], [point(0, 2)], 10)).toHaveLength(2);
});

test("each excursion out of the band has one extreme", () => {
  const rows = withBreaks([100, 190, 250, 200, 100, 60, 55, 65, 300].map((v, i) => point(5 * i, v)), 15 * MINUTE_US);
  const found = extremes(rows, { low: 70, high: 180 }, (v) => v);
  expect(found.map((e) => [e.side, e.value])).toEqual([["above", 250], ["below", 55], ["above", 300]]);
});

test("a reading from the far future is not the newest while there is another", () => {
  const far: Point = { ...point(9_000_000, 100), future: true };
  expect(newestOf([point(0, 1), far])?.v).toBe(1);
  expect(newestOf([far])).toBe(far);
  expect(newestOf([])).toBeNull();
  expect(readUpTo({ latest: far, last_us: far.t }, 77)).toBe(77);
  expect(readUpTo({ latest: point(1, 1), last_us: MINUTE_US }, 77)).toBe(MINUTE_US + 1);
});

const sumOf = (t: number, v: number, min: number, max: number, states: { below?: number; above?: number } = {}): Point => ({
  t, v, s: null, sum: { to: t + 600, n: 10, min, max, first: v, last: v, below: 0, above: 0, others: 0, ...states },
});

test("a sum stands in the middle of its span", () => {
  expect(withBreaks([sumOf(0, 1, 0, 2), sumOf(600, 1, 0, 2)], 900).map((row) => row.t)).toEqual([300, 900]);
});

test("a low that its mean would hide is told as an extreme, before a high", () => {
  const rows = withBreaks([sumOf(0, 100, 90, 110), sumOf(600, 120, 50, 260), sumOf(1200, 150, 100, 200)], 10_000);
  const found = extremes(rows, { low: 70, high: 180 }, (v) => v);
  expect(found.map(({ value, side }) => [value, side])).toEqual([[50, "below"], [200, "above"]]);
});

test("a sum with readings below what could be measured has no least", () => {
  expect(spreadOf(sumOf(0, 100, 90, 110, { below: 1 }))).toEqual({ least: null, most: 110 });
});
