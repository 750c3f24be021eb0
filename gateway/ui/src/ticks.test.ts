import { expect, test } from "vitest";
import { dayTicks, hourTicks, ticksFor } from "./ticks";
import { MINUTE_US, daysSpan } from "./time";

const labels = (ticks: { label: string }[]): string[] => ticks.map((tick) => tick.label);

test("a day of 23 hours has its ticks at the hours on the wall", () => {
  const span = daysSpan("Europe/Berlin", "2010-03-28", 1);
  const ticks = hourTicks("Europe/Berlin", span, 6);
  expect(labels(ticks)).toEqual(["00:00", "06:00", "12:00", "18:00", "00:00"]);
  expect((ticks[1]!.us - ticks[0]!.us) / (60 * MINUTE_US)).toBe(5);
});

test("an hour that comes twice has two ticks", () => {
  const span = daysSpan("Europe/Berlin", "2010-10-31", 1);
  expect(labels(hourTicks("Europe/Berlin", span, 1)).filter((label) => label === "02:00")).toHaveLength(2);
});

test("a zone at half an hour from UTC has ticks at its own hours", () => {
  const span = daysSpan("Asia/Kolkata", "2010-06-01", 1);
  expect(labels(hourTicks("Asia/Kolkata", span, 12))).toEqual(["00:00", "12:00", "00:00"]);
});

test("two weeks have a tick at each midnight, across a change of clocks too", () => {
  const ticks = dayTicks("Europe/Berlin", daysSpan("Europe/Berlin", "2010-04-03", 14), 1);
  expect(ticks).toHaveLength(14);
  expect([ticks[0]!.label, ticks[13]!.label]).toEqual(["21 Mar", "3 Apr"]);
});

test("the number of ticks follows the width", () => {
  const day = daysSpan("UTC", "2010-06-01", 1);
  expect(ticksFor("UTC", day, 900).length).toBe(13);
  expect(ticksFor("UTC", day, 300).length).toBe(5);
  expect(ticksFor("UTC", { fromUs: 0, toUs: 10 * MINUTE_US }, 300).length).toBe(2);
});
