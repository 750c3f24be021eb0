import { expect, test } from "vitest";
import { glucoseText, numberText, shownAs, toMgDl, unitText } from "./units";

test("glucose converts with the molar mass and one decimal", () => {
  expect(glucoseText(180, "mmol/L")).toBe("10.0");
  expect(glucoseText(70, "mmol/L")).toBe("3.9");
  expect(glucoseText(99, "mmol/L")).toBe("5.5");
  expect(glucoseText(258, "mmol/L")).toBe("14.3");
  expect(glucoseText(118, "mg/dL")).toBe("118");
});

test("glucose stored in mmol/L is compared in mg/dL and shown in either", () => {
  expect(toMgDl(10, "mmol/L")).toBeCloseTo(180.156, 6);
  const shown = shownAs("mmol/L", "mg/dL");
  expect(shown.text(shown.scale(5.5))).toBe("99");
  expect(shownAs("mmol/L", "mmol/L").text(shown.scale(5.5))).toBe("5.5");
});

test("the glucose preference leaves other units alone", () => {
  const shown = shownAs("W", "mmol/L");
  expect([shown.unit, shown.isGlucose, shown.text(shown.scale(431.25))]).toEqual(["W", false, "431.3"]);
});

test("numbers keep about four digits, and zero and negatives their meaning", () => {
  expect([0, -3.14159, 1234.5, 12345678, 0.01234].map(numberText)).toEqual([
    "0", "-3.14", "1235", "12\u202f345\u202f678", "0.0123",
  ]);
});

test("a unit code prints as people write it, or as itself", () => {
  expect(["Cel", "W", "1", "mg/dL"].map(unitText)).toEqual(["°C", "W", "", "mg/dL"]);
});
