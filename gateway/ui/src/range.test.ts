import { expect, test } from "vitest";
import type { Point } from "./api";
import { sideOf, timeInRange, wholePercents } from "./range";
import { HOUR_US, MINUTE_US } from "./time";

const band = { low: 70, high: 180 };
const span = { fromUs: 0, toUs: HOUR_US };
const point = (minute: number, v: number | null, s: string | null = null): Point => ({ t: minute * MINUTE_US, v, s, q: "source", o: null });
const same = (v: number): number => v;

test("both edges of the band belong to it", () => {
  expect([69.9, 70, 180, 180.1].map((v) => sideOf(v, band))).toEqual(["below", "in", "in", "above"]);
});

test("numbers and the sensor's low and high count; errors, warm-up and future readings do not", () => {
  const far: Point = { ...point(30, 100), future: true };
  const points = [point(0, 60), point(5, 100), point(10, 200), point(15, null, "low(39)"), point(20, null, "high(401)"), point(25, null, "warming_up"), far];
  const found = timeInRange(points, band, span, 5 * MINUTE_US, HOUR_US, same);
  expect([found.below, found.in, found.above, found.counted, found.expected]).toEqual([2, 1, 2, 5, 12]);
  expect(found.coverage).toBeCloseTo(5 / 12);
});

test("a day that is not over is measured up to now", () => {
  const found = timeInRange([0, 5, 10, 15].map((m) => point(m, 100)), band, span, 5 * MINUTE_US, 20 * MINUTE_US, same);
  expect(found.coverage).toBe(1);
});

test("a reading uploaded twice covers its interval once", () => {
  const found = timeInRange([point(0, 100), point(1, 100)], band, span, 5 * MINUTE_US, HOUR_US, same);
  expect(found.coverage).toBeCloseTo(1 / 12);
});

test("no readings cover nothing", () => {
  expect(timeInRange([], band, span, 5 * MINUTE_US, HOUR_US, same).coverage).toBe(0);
});

test("values are scaled to mg/dL before they are compared", () => {
  expect(timeInRange([point(0, 10.5)], band, span, 5 * MINUTE_US, HOUR_US, (v) => v * 18.0156).above).toBe(1);
});

test("whole percents add up to 100", () => {
  expect(wholePercents([1, 1, 1])).toEqual([34, 33, 33]);
  expect(wholePercents([0, 0, 0])).toEqual([0, 0, 0]);
  expect(wholePercents([5, 200, 83]).reduce((a, b) => a + b)).toBe(100);
});
