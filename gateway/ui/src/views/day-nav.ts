//! Going from day to day: earlier, later, a date picker, newest, and one day or two weeks.

import { button, h, setText } from "../dom";
import { addDays, dateText, isDay } from "../time";
import { choice } from "./page";

/** How many days a page shows: one, or two weeks. */
export type SpanDays = 1 | 14;

/** Which days are shown: `days` of them, the last being `day`. */
export interface Shown {
  readonly day: string;
  readonly days: SpanDays;
}

/** The controls; `go` is told where to, with null for "the newest, and stay there". */
export class DayNav {
  readonly element: HTMLElement;
  readonly title = h("h2", { class: "span-title", "aria-live": "polite" });
  private readonly picker = h("input", { type: "date", "aria-label": "Day" });
  private readonly later: HTMLButtonElement;
  private readonly earlier: HTMLButtonElement;
  private readonly spans: HTMLFieldSetElement;
  private shown: Shown = { day: "1970-01-01", days: 1 };

  constructor(go: (to: { day?: string | null; days?: SpanDays }) => void) {
    this.earlier = button("←", () => go({ day: addDays(this.shown.day, -this.shown.days) }), { class: "step" });
    this.later = button("→", () => go({ day: addDays(this.shown.day, this.shown.days) }), { class: "step" });
    // "change" comes at each key while a year is typed; only a day that can exist is followed.
    this.picker.addEventListener("change", () => {
      if (isDay(this.picker.value) && this.picker.value >= "1971-01-01") go({ day: this.picker.value });
    });
    this.spans = choice<"1" | "14">("Span", [["1", "Day"], ["14", "2 weeks"]], "1", (days) => go({ days: days === "14" ? 14 : 1 }));
    this.element = h("div", { class: "day-nav" },
      h("div", { class: "day-steps" }, this.earlier, this.picker, this.later, button("Newest", () => go({ day: null }))), this.spans);
  }

  /** Shows where one is; `newest` is the day beyond which there is nothing to go to. */
  show(shown: Shown, newest: string | null): void {
    this.shown = shown;
    const unit = shown.days === 1 ? "day" : "two weeks";
    this.earlier.setAttribute("aria-label", `Previous ${unit}`);
    this.later.setAttribute("aria-label", `Next ${unit}`);
    this.later.disabled = newest !== null && shown.day >= newest;
    if (document.activeElement !== this.picker) this.picker.value = shown.day;
    for (const input of this.spans.querySelectorAll("input")) input.checked = input.value === String(shown.days);
    setText(this.title, shown.days === 1 ? dateText(shown.day, true) : `${dateText(addDays(shown.day, -13))} to ${dateText(shown.day)}`);
  }
}
