//! Units and how numbers are written. Glucose is compared in mg/dL everywhere; mmol/L exists only on screen.

/** Glucose weighs 180.156 g/mol (C 12.011, H 1.008, O 15.999), so 1 mmol/L is 18.0156 mg/dL. */
export const MG_DL_PER_MMOL_L = 18.0156;

/** The unit in which a person wants to read glucose. */
export type GlucoseUnit = "mg/dL" | "mmol/L";

/** Whether readings of this UCUM unit are glucose concentrations that the unit switch applies to. */
export function isGlucoseUnit(ucum: string): ucum is GlucoseUnit {
  return ucum === "mg/dL" || ucum === "mmol/L";
}

/** A glucose value as stored, in mg/dL, unrounded. */
export function toMgDl(value: number, stored: GlucoseUnit): number {
  return stored === "mmol/L" ? value * MG_DL_PER_MMOL_L : value;
}

/** Glucose in mg/dL as a person reads it: whole mg/dL, or mmol/L with one decimal. */
export function glucoseText(mgDl: number, shown: GlucoseUnit): string {
  return shown === "mmol/L" ? (mgDl / MG_DL_PER_MMOL_L).toFixed(1) : mgDl.toFixed(0);
}

/** UCUM codes whose printed form differs from the code (UCUM 2.1, column "print symbol"). */
const PRINTED: Readonly<Record<string, string>> = {
  Cel: "°C",
  "[degF]": "°F",
  "1": "",
  "{count}": "",
  "W.h": "Wh",
  "kW.h": "kWh",
  "m/s2": "m/s²",
  m3: "m³",
  "m3/h": "m³/h",
  deg: "°",
  Ohm: "Ω",
};

/** How a UCUM unit is printed; a unit without a special form prints as its code. */
export function unitText(ucum: string): string {
  return PRINTED[ucum] ?? ucum;
}

/** A number that is not glucose: four or so significant digits, thousands set apart by a narrow no-break space. */
export function numberText(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 4;
  return new Intl.NumberFormat("en", { maximumFractionDigits: digits, useGrouping: size >= 10_000 })
    .format(value)
    .replaceAll(",", "\u202f");
}

/** How readings of one series are shown: what number text and what unit text. */
export interface Shown {
  readonly unit: string;
  readonly isGlucose: boolean;
  /** A value in the chart's own scale: mg/dL for glucose, else the stored unit. */
  scale(value: number): number;
  /** Text of a value in the chart's own scale, without unit. */
  text(scaled: number): string;
}

/** How a series with this stored unit is shown to a person who prefers `glucose` for glucose. */
export function shownAs(ucum: string, glucose: GlucoseUnit): Shown {
  if (isGlucoseUnit(ucum)) {
    return { unit: glucose, isGlucose: true, scale: (v) => toMgDl(v, ucum), text: (mgDl) => glucoseText(mgDl, glucose) };
  }
  return { unit: unitText(ucum), isGlucose: false, scale: (v) => v, text: numberText };
}
