//! What pages have in common: a heading that names the document, and the choice of glucose unit.

import { h } from "../dom";
import { glucoseUnit, setGlucoseUnit } from "../prefs";
import { browserZone } from "../time";
import type { GlucoseUnit } from "../units";

/** The heading of a page; it takes focus when the page opens, and names the document. */
export function heading(text: string): HTMLHeadingElement {
  const title = h("h1", { tabindex: -1 });
  retitle(title, text);
  return title;
}

/** Renames a page once its name is known. */
export function retitle(title: HTMLElement, text: string): void {
  title.textContent = text;
  document.title = `${text} \u2013 Tributary`;
}

/** Says whose clock the times of a page are read on, where it belongs to no subject. */
export function zoneNote(): HTMLElement {
  return h("p", { class: "muted zone-note" }, `Times in ${browserZone()}`);
}

let groups = 0;

/** A choice of one among few, as radio buttons in the shape of a switch. */
export function choice<T extends string>(label: string, options: readonly (readonly [T, string])[], chosen: T, choose: (value: T) => void): HTMLFieldSetElement {
  const name = `choice-${(groups += 1)}`;
  return h("fieldset", { class: "switch" }, h("legend", { class: "visually-hidden" }, label),
    ...options.map(([value, text]) => {
      const input = h("input", { type: "radio", name, value, checked: value === chosen });
      input.addEventListener("change", () => choose(value));
      return h("label", {}, input, h("span", {}, text));
    }));
}

/** The switch between mg/dL and mmol/L. */
export function unitChoice(): HTMLFieldSetElement {
  const units: readonly (readonly [GlucoseUnit, string])[] = [["mg/dL", "mg/dL"], ["mmol/L", "mmol/L"]];
  return choice("Glucose unit", units, glucoseUnit(), setGlucoseUnit);
}
