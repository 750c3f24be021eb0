import { expect, test } from "vitest";
import { dayRuns, fullDay, nearestDay } from "./runs";

const day = (date: string, readings = 288): { date: string; readings: number } => ({ date, readings });

test("short silences are days of zero readings, long ones a break", () => {
  const runs = dayRuns([day("2010-03-24", 160), day("2010-03-27"), day("2026-11-21", 12)]);
  expect(runs).toEqual([
    { afterDays: 0, days: [day("2010-03-24", 160), day("2010-03-25", 0), day("2010-03-26", 0), day("2010-03-27")] },
    { afterDays: 6082, days: [day("2026-11-21", 12)] },
  ]);
});

test("days without readings are not coverage", () => {
  expect(dayRuns([day("2010-03-24", 0)])).toEqual([]);
});

test("the nearest day with readings is found on either side", () => {
  const days = [day("2010-03-24"), day("2010-10-10"), day("2026-11-21")];
  expect([nearestDay(days, "2010-03-01"), nearestDay(days, "2011-01-01"), nearestDay(days, "2026-11-20"), nearestDay([], "2011-01-01")]).toEqual([
    "2010-03-24", "2010-10-10", "2026-11-21", null,
  ]);
});

test("one day that was uploaded twice does not make the others look empty", () => {
  const days = Array.from({ length: 20 }, (_, i) => day(`2010-04-${String(i + 1).padStart(2, "0")}`, i === 7 ? 576 : 288));
  expect(fullDay(dayRuns(days))).toBe(288);
  expect(fullDay([])).toBe(1);
});
