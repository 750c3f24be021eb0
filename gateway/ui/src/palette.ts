//! Colours for what is painted rather than styled: read from the style sheet, so that themes live in one place.

import { changes } from "./prefs";

const names = ["ink", "muted", "line", "panel", "accent", "in", "low", "high", "band", "stale", "shade"] as const;

export type Palette = Readonly<Record<(typeof names)[number], string>>;

let held: Palette | null = null;

changes.addEventListener("theme", () => {
  held = null;
});

/** The colours of the theme in force. */
export function palette(): Palette {
  if (!held) {
    const style = getComputedStyle(document.documentElement);
    held = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Palette;
  }
  return held;
}
