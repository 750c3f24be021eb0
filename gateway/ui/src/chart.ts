//! A chart of one series: uPlot draws axes and line, `chart-marks` the rest, and arrow keys walk the readings.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Point } from "./api";
import { bandFill, marksOver } from "./chart-marks";
import { paintSpread, spreadRange } from "./chart-spread";
import { countText, h, setText } from "./dom";
import { palette } from "./palette";
import { changes } from "./prefs";
import type { Band } from "./range";
import { sideOf } from "./range";
import type { Row } from "./readings";
import { stateText, usualInterval, withBreaks } from "./readings";
import type { Tick } from "./ticks";
import { ticksFor } from "./ticks";
import type { Span } from "./time";
import { SECOND_US, instantText, timeText } from "./time";
import type { Shown } from "./units";

/** All that a chart shows at one moment. Values are scaled by `shown` (glucose: mg/dL), and so is the band. */
export interface Picture {
  readonly points: readonly Point[];
  readonly span: Span;
  readonly zone: string;
  readonly shown: Shown;
  readonly band: Band | null;
  /** Distance between neighbours beyond which the line is broken. */
  readonly breakUs: number;
  readonly nowUs: number;
  /** The newest reading is old: the line is drawn grey. */
  readonly stale: boolean;
  /** Readings come quicker than once a minute, so their times are told with seconds. */
  readonly seconds: boolean;
  /** What stands above the chart while no reading is pointed at. */
  readonly note: string;
}

/** What the drawing reads: the picture and what follows from it. */
export interface Drawn extends Picture {
  readonly rows: readonly Row[];
  readonly ticks: readonly Tick[];
  readonly compact: boolean;
}

/** Dots closer than this run into one another and thicken the line. */
const DOT_ROOM_PX = 2.5;

const FONT = "system-ui, sans-serif";

/** Glucose marks that mean something: 54 very low, 70 and 180 the band, 250 very high (consensus on time in range). */
const GLUCOSE_TICKS = [54, 70, 140, 180, 250, 300, 350, 400, 450, 500];

export class Chart {
  readonly element: HTMLElement;
  private readonly canvasHost = h("div", { class: "chart-canvas" });
  private readonly readout = h("p", { class: "chart-readout", "aria-hidden": "true" });
  private readonly spoken = h("p", { class: "visually-hidden", "aria-live": "polite" });
  private plot: uPlot | null = null;
  private drawn: Drawn | null = null;
  /** The reading that the keyboard is on, by its place in `drawn.rows`. */
  private at: number | null = null;

  /** `label` names the chart for screen readers; a compact one is small, for a card. */
  constructor(label: string, private readonly compact: boolean, signal: AbortSignal) {
    this.element = h("div", { class: compact ? "chart compact" : "chart" },
      this.readout,
      h("div", {
        class: "chart-focus", tabindex: 0, role: "application", "aria-roledescription": "chart",
        "aria-label": `${label}. Arrow keys move from reading to reading, Home and End to the first and last.`,
      }, this.canvasHost),
      this.spoken);
    const focus = this.canvasHost.parentElement!;
    focus.addEventListener("keydown", (event) => this.onKey(event));
    focus.addEventListener("blur", () => this.leave());
    const resize = new ResizeObserver(() => this.fit());
    resize.observe(this.canvasHost);
    const repaint = (): void => this.plot?.redraw(false);
    changes.addEventListener("theme", repaint, { signal });
    signal.addEventListener("abort", () => {
      resize.disconnect();
      this.plot?.destroy();
    }, { once: true });
  }

  /** Shows a picture in place of the one before; the keyboard's place stays at its instant. */
  show(picture: Picture): void {
    const before = this.at === null ? undefined : this.drawn?.rows[this.at]?.t;
    const unitBefore = this.drawn?.shown.unit;
    const rows = withBreaks(picture.points, picture.breakUs);
    const ticks = ticksFor(picture.zone, picture.span, this.canvasHost.clientWidth || 600);
    this.drawn = { ...picture, rows, ticks, compact: this.compact };
    this.element.dataset["points"] = String(picture.points.length);
    this.element.dataset["stale"] = String(picture.stale);
    const at = before === undefined ? -1 : rows.findIndex((row) => row.t === before && row.point !== null);
    this.at = at >= 0 ? at : null;
    if (this.at === null) this.tell(null);
    const data: uPlot.AlignedData = [
      rows.map((row) => row.t / SECOND_US),
      rows.map((row) => (row.point && row.point.v !== null ? picture.shown.scale(row.point.v) : null)),
    ];
    if (this.plot) {
      this.plot.setData(data);
      // Scales stay as they were, so uPlot would keep the labels of the axis too.
      if (unitBefore !== picture.shown.unit) this.plot.redraw(false, true);
    } else if (this.canvasHost.clientWidth > 0) {
      this.plot = new uPlot(this.options(), data, this.canvasHost);
    }
  }

  private size(): { width: number; height: number } {
    return { width: this.canvasHost.clientWidth, height: this.canvasHost.clientHeight };
  }

  private fit(): void {
    const size = this.size();
    if (size.width === 0 || !this.drawn) return;
    if (this.plot) {
      this.drawn = { ...this.drawn, ticks: ticksFor(this.drawn.zone, this.drawn.span, size.width) };
      this.plot.setSize(size);
    } else {
      this.show(this.drawn);
    }
  }

  private options(): uPlot.Options {
    const drawn = (): Drawn => this.drawn!;
    const axis: uPlot.Axis = {
      stroke: () => palette().muted,
      font: `${this.compact ? 11 : 12}px ${FONT}`,
      grid: { stroke: () => palette().line, width: 1 },
      ticks: { show: false },
    };
    return {
      ...this.size(),
      padding: [this.compact ? 8 : 14, 20, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 9, fill: () => palette().ink, stroke: () => palette().panel } },
      scales: {
        x: { time: false, range: () => [drawn().span.fromUs / SECOND_US, drawn().span.toUs / SECOND_US] },
        y: {
          range: (_, least, most) => {
            const spread = spreadRange(drawn());
            return spread ? valueRange(drawn(), spread.least, spread.most) : valueRange(drawn(), least, most);
          },
        },
      },
      axes: [
        { ...axis, size: 30, splits: () => drawn().ticks.map((tick) => tick.us / SECOND_US), values: () => drawn().ticks.map((tick) => tick.label) },
        {
          ...axis, size: this.compact ? 44 : 52, space: this.compact ? 28 : 36,
          ...(drawn().shown.isGlucose ? { splits: (_: uPlot, __: number, least: number, most: number) => glucoseTicks(least, most, this.compact) } : {}),
          values: (_, splits) => splits.map((value) => drawn().shown.text(value)),
        },
      ],
      series: [{}, { width: this.compact ? 1.5 : 1.75, stroke: (plot) => lineStroke(plot, drawn()), spanGaps: false, points: this.dots() }],
      hooks: {
        drawClear: [(plot) => bandFill(plot, drawn()), (plot) => paintSpread(plot, drawn(), lineStroke(plot, drawn()))],
        draw: [(plot) => marksOver(plot, drawn())],
        setCursor: [(plot) => this.tell(plot.cursor.left !== undefined && plot.cursor.left >= 0 ? (plot.cursor.idx ?? null) : null)],
      },
    };
  }

  /** Dots on all readings where there is room for them, else on those that stand alone. */
  private dots(): uPlot.Series.Points {
    const paint = (plot: uPlot): string | CanvasGradient => lineStroke(plot, this.drawn!);
    return {
      show: true,
      size: this.compact ? 3 : 4,
      width: 0.01,
      stroke: paint,
      fill: paint,
      filter: (plot) => {
        const { rows, points, span } = this.drawn!;
        const apartPx = ((usualInterval(points) ?? 0) / (span.toUs - span.fromUs)) * plot.over.clientWidth;
        return apartPx >= DOT_ROOM_PX ? null : aloneIn(rows);
      },
    };
  }

  private onKey(event: KeyboardEvent): void {
    const readings = this.drawn?.rows.flatMap((row, i) => (row.point ? [i] : [])) ?? [];
    if (readings.length === 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const here = this.at === null ? -1 : readings.indexOf(this.at);
    const end = readings.length - 1;
    const next: Record<string, number> = {
      ArrowLeft: here < 0 ? end : Math.max(0, here - 1), ArrowRight: here < 0 ? 0 : Math.min(end, here + 1),
      PageUp: Math.max(0, here - 12), PageDown: Math.min(end, here + 12), Home: 0, End: end,
    };
    if (event.key === "Escape") return this.leave();
    const chosen = next[event.key];
    if (chosen === undefined) return;
    event.preventDefault();
    this.moveTo(readings[chosen]!);
  }

  /** Puts the cursor on a row and says it aloud; a hovering mouse is not spoken, it would never stop. */
  private moveTo(index: number): void {
    const row = this.drawn?.rows[index];
    if (!this.plot || !row?.point || !this.drawn) return;
    this.at = index;
    const value = row.point.v === null ? null : this.drawn.shown.scale(row.point.v);
    const top = value === null ? this.plot.over.clientHeight / 2 : this.plot.valToPos(value, "y");
    this.plot.setCursor({ left: this.plot.valToPos(row.t / SECOND_US, "x"), top }, false);
    this.tell(index);
    this.spoken.textContent = pointText(row.point, this.drawn);
  }

  private leave(): void {
    this.at = null;
    this.plot?.setCursor({ left: -10, top: -10 });
    this.spoken.textContent = "";
  }

  private tell(index: number | null): void {
    const point = index === null ? null : this.drawn?.rows[index]?.point;
    setText(this.readout, point && this.drawn ? pointText(point, this.drawn) : (this.drawn?.note ?? ""));
    this.readout.classList.toggle("muted", !point);
  }
}

/** A reading in words: time, value and unit or state, and what there is to know about it. */
export function pointText(point: Point, how: Pick<Picture, "zone" | "shown" | "band" | "seconds">): string {
  const words = [instantText(how.zone, point.t, how.seconds)];
  if (point.sum && point.v !== null) {
    words[0] += ` to ${timeText(how.zone, point.sum.to)}`;
    words.push(`${how.shown.text(how.shown.scale(point.v))} ${how.shown.unit} on average`.replace("  ", " "));
    const [least, most] = [point.sum.min!, point.sum.max!].map((v) => how.shown.text(how.shown.scale(v)));
    words.push(`${least} to ${most}`, `${countText(point.sum.n)} readings`);
    if (point.sum.below > 0) words.push(`${countText(point.sum.below)} low`);
    if (point.sum.above > 0) words.push(`${countText(point.sum.above)} high`);
  } else if (point.v === null) {
    words.push(point.s === null ? "no value" : stateText(point.s));
  } else {
    const scaled = how.shown.scale(point.v);
    words.push(`${how.shown.text(scaled)} ${how.shown.unit}`.trim());
    if (how.band) words.push({ below: "below range", in: "in range", above: "above range" }[sideOf(scaled, how.band)]);
  }
  if (point.q === "unset") words.push("device clock not set");
  if (point.future) words.push("time lies in the future");
  return words.join(", ");
}

function valueRange(drawn: Drawn, least: number | null, most: number | null): [number, number] {
  if (drawn.shown.isGlucose) return [Math.min(40, (least ?? 100) - 34), Math.max(300, (most ?? 0) + 40)];
  if (least === null || most === null) return [0, 1];
  const floor = least >= 0 && least < 0.7 * most ? 0 : least;
  const margin = (most - floor || Math.abs(most) || 1) * 0.08;
  return [floor === 0 ? 0 : floor - margin, most + margin];
}

function glucoseTicks(least: number, most: number, compact: boolean): number[] {
  const ticks = compact ? [70, 180, 300, 400] : GLUCOSE_TICKS;
  return ticks.filter((value) => value >= least && value <= most);
}

/** The line's colour changes where it crosses the band; a stale line is grey throughout. */
function lineStroke(plot: uPlot, drawn: Drawn): string | CanvasGradient {
  const colours = palette();
  if (drawn.stale) return colours.stale;
  const top = plot.bbox.top;
  const height = plot.bbox.height;
  if (!drawn.band || !(height > 0)) return drawn.band ? colours.in : colours.accent;
  const stop = (value: number): number => {
    const share = (plot.valToPos(value, "y", true) - top) / height;
    return Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0;
  };
  const gradient = plot.ctx.createLinearGradient(0, top, 0, top + height);
  const [high, low] = [stop(drawn.band.high), stop(drawn.band.low)];
  gradient.addColorStop(0, colours.high);
  gradient.addColorStop(high, colours.high);
  gradient.addColorStop(high, colours.in);
  gradient.addColorStop(Math.max(high, low), colours.in);
  gradient.addColorStop(Math.max(high, low), colours.low);
  gradient.addColorStop(1, colours.low);
  return gradient;
}

/** The readings that stand alone between two breaks, which no line would show. */
function aloneIn(rows: readonly Row[]): number[] {
  const drawnAt = (i: number): boolean => rows[i]?.point?.v !== null && rows[i]?.point !== null && rows[i] !== undefined;
  return rows.flatMap((_, i) => (drawnAt(i) && !drawnAt(i - 1) && !drawnAt(i + 1) ? [i] : []));
}
