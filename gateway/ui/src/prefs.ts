//! What a person chose on this browser: theme and glucose unit, remembered in localStorage.

import type { GlucoseUnit } from "./units";

export type Theme = "system" | "light" | "dark";

const THEME = "tributary.theme";
const UNIT = "tributary.glucose-unit";

/** Reads a choice; a browser that refuses storage has made none. */
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is off: the choice lasts as long as the page does.
  }
}

/** Tells of each change of theme or unit. */
export const changes = new EventTarget();

let unit: GlucoseUnit = read(UNIT) === "mmol/L" ? "mmol/L" : "mg/dL";
let theme: Theme = ((stored) => (stored === "light" || stored === "dark" ? stored : "system"))(read(THEME));

export function glucoseUnit(): GlucoseUnit {
  return unit;
}

export function setGlucoseUnit(chosen: GlucoseUnit): void {
  unit = chosen;
  write(UNIT, chosen);
  changes.dispatchEvent(new Event("unit"));
}

export function chosenTheme(): Theme {
  return theme;
}

/** Applies a theme to the page; "system" follows the browser, also when that changes later. */
export function setTheme(chosen: Theme): void {
  theme = chosen;
  write(THEME, chosen);
  applyTheme();
}

/** Puts the chosen theme on the document and tells the charts, whose colours are painted, not styled. */
export function applyTheme(): void {
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
  changes.dispatchEvent(new Event("theme"));
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
