//! The coverage strip: one bar for each day of the history, as high as the day is full; a click goes to the day.

import type { Day } from "../api";
import { countText, h, setText, svg } from "../dom";
import type { DayRun } from "../runs";
import { dayRuns, fullDay } from "../runs";
import { dateText, spanText } from "../time";

const HEIGHT = 40;
/** Width of the break between two runs, in days of width. */
const BREAK_SHARE = 0.02;
/** A short history leaves room for the days to come, rather than being drawn as a few wide blocks. */
const DAYS_LEAST = 60;

/** The strip as a slider: arrows go from day to day with readings, Home and End to the first and newest. */
export class Coverage {
  readonly element: HTMLElement;
  private readonly track: HTMLElement;
  private readonly summary = h("p", { class: "muted coverage-summary" });
  private dates: string[] = [];
  private counts = new Map<string, number>();
  private bars = new Map<string, SVGElement>();
  private chosen = { from: "", to: "" };

  constructor(private readonly choose: (date: string) => void) {
    this.track = h("div", { class: "coverage-track", tabindex: 0, role: "slider", "aria-label": "Day, within the whole history" });
    this.element = h("section", { class: "panel coverage", "aria-labelledby": "coverage-title" },
      h("div", { class: "panel-head" }, h("h2", { id: "coverage-title" }, "History"), this.summary), this.track);
    this.track.addEventListener("click", (event) => this.onClick(event));
    this.track.addEventListener("keydown", (event) => this.onKey(event));
  }

  /** Shows the days that hold readings. */
  show(days: readonly Day[]): void {
    const runs = dayRuns(days);
    this.dates = runs.flatMap((run) => run.days.filter((day) => day.readings > 0).map((day) => day.date));
    this.counts = new Map(days.map((day) => [day.date, day.readings]));
    this.bars.clear();
    this.track.replaceChildren(...this.draw(runs));
    setText(this.summary, this.dates.length === 0 ? "No readings yet" :
      this.dates.length === 1 ? `Readings on ${dateText(this.dates[0]!)} only` :
        `${countText(this.dates.length)} days with readings, ${dateText(this.dates[0]!)} to ${dateText(this.dates.at(-1)!)}`);
    this.track.setAttribute("aria-valuemin", "0");
    this.track.setAttribute("aria-valuemax", String(Math.max(0, this.dates.length - 1)));
    this.mark(this.chosen.from, this.chosen.to);
  }

  /** Marks the days now shown in the chart, first and last. */
  mark(from: string, to: string): void {
    this.chosen = { from, to };
    for (const [date, bar] of this.bars) bar.classList.toggle("chosen", date >= from && date <= to);
    const place = this.dates.indexOf(to);
    this.track.setAttribute("aria-valuenow", String(Math.max(0, place)));
    this.track.setAttribute("aria-valuetext", `${dateText(to || "1970-01-01", true)}, ${this.counts.get(to) ?? 0} readings`);
  }

  private draw(runs: readonly DayRun[]): Node[] {
    const total = runs.reduce((sum, run) => sum + run.days.length, 0);
    const gap = Math.max(1, total * BREAK_SHARE);
    const full = fullDay(runs);
    // A lone live day beside half a year of history still gets a few pixels to click on.
    const least = total / 100;
    const widths = runs.map((run) => Math.max(run.days.length, least));
    const all = widths.reduce((sum, width) => sum + width, 0) + gap * Math.max(0, runs.length - 1);
    const room = Math.max(all, DAYS_LEAST);
    const picture = svg("svg", { class: "coverage-bars", viewBox: `0 0 ${room} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const labels = h("div", { class: "coverage-labels", "aria-hidden": "true" });
    let x = 0;
    runs.forEach((run, i) => {
      if (i > 0) x += gap;
      if (i > 0) picture.append(svg("line", { class: "coverage-break", x1: x - gap / 2, x2: x - gap / 2, y1: 4, y2: HEIGHT, "vector-effect": "non-scaling-stroke" }));
      picture.append(...this.barsOf(run, x, widths[i]! / run.days.length, full));
      // Labels of runs in the middle would run into one another.
      if (i === 0 || i === runs.length - 1) labels.append(labelOf(run, x / room, i === runs.length - 1 && i > 0));
      x += widths[i]!;
    });
    return [picture, labels];
  }

  private barsOf(run: DayRun, from: number, width: number, full: number): SVGElement[] {
    return run.days.map(({ date, readings }, i) => {
      const height = readings === 0 ? 1 : Math.max(4, (HEIGHT - 6) * Math.min(1, readings / full));
      const bar = svg("g", { class: readings === 0 ? "day silent" : "day", "data-date": date },
        svg("rect", { class: "day-hit", x: from + i * width, width, y: 0, height: HEIGHT }),
        svg("rect", { class: "day-bar", x: from + i * width + width * 0.1, width: width * 0.8, y: HEIGHT - height, height }),
        svg("title", {}, `${dateText(date)}: ${readings} readings`));
      this.bars.set(date, bar);
      return bar;
    });
  }

  private onClick(event: MouseEvent): void {
    const date = (event.target as Element | null)?.closest("[data-date]")?.getAttribute("data-date");
    if (date) this.choose(date);
  }

  private onKey(event: KeyboardEvent): void {
    const later = this.dates.findIndex((date) => date > this.chosen.to);
    const after = later < 0 ? this.dates.length - 1 : later;
    const before = Math.max(0, this.dates.filter((date) => date < this.chosen.to).length - 1);
    const week = this.dates.indexOf(this.chosen.to);
    const next: Record<string, number> = {
      ArrowLeft: before, ArrowDown: before, ArrowRight: after, ArrowUp: after,
      PageUp: Math.max(0, week - 14), PageDown: Math.min(this.dates.length - 1, week + 14), Home: 0, End: this.dates.length - 1,
    };
    const date = this.dates[next[event.key] ?? -1];
    if (date === undefined) return;
    event.preventDefault();
    this.choose(date);
  }
}

function labelOf(run: DayRun, share: number, atEnd: boolean): HTMLElement {
  const first = run.days[0]!.date;
  const silence = run.afterDays > 0 ? ` (after ${spanText(run.afterDays * 86_400_000_000)})` : "";
  const label = h("span", { class: atEnd ? "at-end" : null }, `${dateText(first)}${silence}`);
  if (!atEnd) label.style.left = `${share * 100}%`;
  return label;
}
