import { expect, test } from "vitest";
import { HOUR_US, MINUTE_US, SECOND_US, addDays, ageText, dateText, dayOf, dayStart, daysSpan, instantText, isDay, spanText, timeText } from "./time";

const utc = (text: string): number => Date.parse(text) * 1000;
const hours = (zone: string, day: string, count = 1): number => {
  const span = daysSpan(zone, day, count);
  return (span.toUs - span.fromUs) / HOUR_US;
};

test("a day has 23 hours when clocks go forward, 25 when they go back, else 24", () => {
  expect(hours("Europe/Berlin", "2010-03-28")).toBe(23);
  expect(hours("Europe/Berlin", "2010-10-31")).toBe(25);
  expect(hours("Europe/Berlin", "2010-06-01")).toBe(24);
  expect(hours("America/New_York", "2010-11-07")).toBe(25);
});

test("two weeks across a change of clocks are an hour shorter or longer than 336 hours", () => {
  expect(hours("Europe/Berlin", "2010-04-03", 14)).toBe(335);
  expect(hours("Europe/Berlin", "2010-11-06", 14)).toBe(337);
});

test("a change by half an hour makes a day of 23.5 hours", () => {
  expect(hours("Australia/Lord_Howe", "2010-10-03")).toBe(23.5);
});

test("a day begins at midnight of its zone, on either side of UTC", () => {
  expect(dayStart("Europe/Berlin", "2010-03-24")).toBe(utc("2010-03-23T23:00:00Z"));
  expect(dayStart("America/Los_Angeles", "2010-03-24")).toBe(utc("2010-03-24T07:00:00Z"));
  expect(dayStart("Pacific/Kiritimati", "2010-03-24")).toBe(utc("2010-03-23T10:00:00Z"));
});

test("a day without a midnight begins at one in the morning", () => {
  const start = dayStart("America/Sao_Paulo", "2017-10-15");
  expect(timeText("America/Sao_Paulo", start)).toBe("01:00");
  expect(dayOf("America/Sao_Paulo", start - SECOND_US)).toBe("2017-10-14");
});

test("the last microsecond of a day belongs to it and the next to the next", () => {
  const { toUs } = daysSpan("Asia/Kathmandu", "2026-02-28", 1);
  expect(dayOf("Asia/Kathmandu", toUs - 1000)).toBe("2026-02-28");
  expect(dayOf("Asia/Kathmandu", toUs)).toBe("2026-03-01");
});

test("calendar days are added without regard to zones", () => {
  expect([addDays("2010-03-28", 1), addDays("2012-03-01", -1), addDays("2010-12-31", 14)]).toEqual([
    "2010-03-29", "2012-02-29", "2011-01-14",
  ]);
});

test("only real calendar days are days", () => {
  expect(["2010-02-28", "2010-02-30", "2010-2-3", "", "2010-13-01"].map(isDay)).toEqual([true, false, false, false, false]);
});

test("texts of days and instants read as people write them", () => {
  expect(dateText("2010-03-24")).toBe("24 Mar 2010");
  expect(dateText("2010-03-24", true)).toBe("Wednesday 24 March 2010");
  expect(instantText("Europe/Berlin", utc("2010-03-24T08:51:07Z"), true)).toBe("24 Mar 2010 09:51:07");
  expect(timeText("UTC", utc("2010-03-24T00:05:00Z"))).toBe("00:05");
});

test("spans and ages have at most two units, and an instant ahead of now says so", () => {
  expect([42 * SECOND_US, 4 * MINUTE_US, 130 * MINUTE_US, 3 * HOUR_US, 30 * HOUR_US].map(spanText)).toEqual([
    "42 s", "4 min", "2 h 10 min", "3 h", "1 day",
  ]);
  expect(spanText(utc("2026-11-20T00:00:00Z") - utc("2010-10-10T00:00:00Z"))).toBe("16 years");
  expect(ageText(10 * SECOND_US, 0)).toBe("10 s ago");
  expect(ageText(0, SECOND_US)).toBe("0 s ago");
  expect(ageText(0, 20 * MINUTE_US)).toBe("20 min ahead");
});
