import { expect, test } from "vitest";
import type { Point } from "../api";
import { sparkPath } from "./sparkline";

const point = (t: number, v: number | null): Point => ({ t, v, s: v === null ? "warming_up" : null, q: "source", o: null });

test("the pen is lifted over a gap, over a state and over a reading from the future", () => {
  const future: Point = { ...point(9, 1), future: true };
  const path = sparkPath([point(0, 1), point(1, 2), point(5, 3), point(6, null), point(7, 1), future], { fromUs: 0, toUs: 10 }, 2, 1, 3);
  expect(path.match(/M/g)).toHaveLength(3);
  expect(path.match(/L/g)).toHaveLength(1);
});

test("a level line has a path without NaN", () => {
  expect(sparkPath([point(0, 5), point(1, 5)], { fromUs: 0, toUs: 1 }, 2, 5, 5)).not.toContain("NaN");
});
