//! What is painted under and over a chart's line: band, peaks, states in words, future marks, silence, and now.

import type uPlot from "uplot";
import type { Drawn } from "./chart";
import type { Palette } from "./palette";
import { palette } from "./palette";
import { extremes, stateRuns, stateText } from "./readings";
import { SECOND_US } from "./time";

/** Words on the chart and the box they take. */
interface Words {
  readonly text: string;
  readonly left: number;
  readonly right: number;
  readonly y: number;
}

/** The drawing surface in CSS pixels: uPlot's own coordinates are canvas pixels, `ratio` times as many. */
export interface Brush {
  readonly ctx: CanvasRenderingContext2D;
  readonly ratio: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly colours: Palette;
  /** Where words stand already. */
  readonly words: Words[];
  x(us: number): number;
  y(value: number): number;
}

function brushFor(plot: uPlot): Brush {
  const ratio = window.devicePixelRatio || 1;
  const { left, top, width, height } = plot.bbox;
  return {
    ctx: plot.ctx, ratio, left, top, right: left + width, bottom: top + height, colours: palette(), words: [],
    x: (us) => plot.valToPos(us / SECOND_US, "x", true),
    y: (value) => plot.valToPos(value, "y", true),
  };
}

/** Paints within the plot only, and leaves the canvas as it was found. */
export function clipped(plot: uPlot, paint: (brush: Brush) => void): void {
  const brush = brushFor(plot);
  const { ctx, left, top, right, bottom } = brush;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, right - left, bottom - top);
  ctx.clip();
  paint(brush);
  ctx.restore();
}

function write(brush: Brush, text: string, x: number, y: number, colour: string, align: CanvasTextAlign = "center", size = 11): void {
  const { ctx, ratio, colours } = brush;
  ctx.font = `600 ${size * ratio}px system-ui, sans-serif`;
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.lineJoin = "round";
  ctx.lineWidth = 4 * ratio;
  ctx.strokeStyle = colours.panel;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
  const half = (ctx.measureText(text).width / 2) + 3 * ratio;
  brush.words.push({ text, left: x - half, right: x + half, y });
}

/** The words that a text around `x`, `y` would run into. */
function wordsAt(brush: Brush, text: string, x: number, y: number): Words | undefined {
  brush.ctx.font = `600 ${11 * brush.ratio}px system-ui, sans-serif`;
  const half = brush.ctx.measureText(text).width / 2 + 3 * brush.ratio;
  return brush.words.find((other) => x - half < other.right && x + half > other.left && Math.abs(y - other.y) < 12 * brush.ratio);
}

/** Before the line: the target band with its edges, and the part of the span that is still to come. */
export function bandFill(plot: uPlot, drawn: Drawn): void {
  clipped(plot, (brush) => {
    const { ctx, left, right, top, bottom, ratio, colours } = brush;
    const now = brush.x(drawn.nowUs);
    if (now < right) {
      ctx.fillStyle = colours.shade;
      ctx.fillRect(Math.max(left, now), top, right - Math.max(left, now), bottom - top);
    }
    if (drawn.band) {
      const [high, low] = [brush.y(drawn.band.high), brush.y(drawn.band.low)];
      ctx.fillStyle = colours.band;
      ctx.fillRect(left, high, right - left, low - high);
      ctx.strokeStyle = drawn.stale ? colours.stale : colours.in;
      ctx.lineWidth = ratio;
      ctx.setLineDash([5 * ratio, 4 * ratio]);
      for (const edge of [high, low]) stroke(ctx, [left, edge], [right, edge]);
      ctx.setLineDash([]);
    }
  });
}

function stroke(ctx: CanvasRenderingContext2D, from: [number, number], to: [number, number]): void {
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
}

/** After the line: everything that must not hide under it. */
export function marksOver(plot: uPlot, drawn: Drawn): void {
  clipped(plot, (brush) => {
    if (!drawn.compact) paintSilence(brush, drawn);
    paintStates(brush, drawn);
    if (drawn.band && !drawn.compact) paintPeaks(brush, drawn);
    paintFuture(brush, drawn);
    if (!drawn.compact) paintNow(brush, drawn);
  });
}

/** Words of neighbouring states stand in up to this many lines. */
const STATE_LINES = 3;

/** Says "no readings" in gaps wide enough for the words. */
function paintSilence(brush: Brush, drawn: Drawn): void {
  const ends = drawn.rows.filter((row) => row.point !== null).map((row) => row.t);
  const until = Math.min(drawn.span.toUs, drawn.nowUs);
  const edges = [drawn.span.fromUs, ...ends, ...(until > drawn.span.fromUs ? [until] : [])];
  for (let i = 1; i < edges.length; i++) {
    const [from, to] = [brush.x(edges[i - 1]!), brush.x(edges[i]!)];
    if (to - from > 84 * brush.ratio && edges[i]! - edges[i - 1]! > drawn.breakUs) {
      write(brush, "no readings", (from + to) / 2, brush.bottom - 14 * brush.ratio, brush.colours.muted);
    }
  }
}

/** States stand as words at their time: "low" at the foot, "high" at the head, the rest on a column between. */
function paintStates(brush: Brush, drawn: Drawn): void {
  const { ctx, ratio, colours, top, bottom } = brush;
  for (const run of stateRuns(drawn.rows, drawn.breakUs)) {
    const text = stateText(run.state);
    const [from, to] = [brush.x(run.fromUs) - ratio, brush.x(run.toUs) + ratio];
    const colour = text === "low" ? colours.low : text === "high" ? colours.high : colours.muted;
    ctx.fillStyle = colour;
    ctx.globalAlpha = 0.16;
    ctx.fillRect(from, top, to - from, bottom - top);
    ctx.globalAlpha = 1;
    ctx.fillRect(from, text === "low" ? bottom - 3 * ratio : top, to - from, 3 * ratio);
    writeState(brush, text, (from + to) / 2, colour);
  }
}

/** Writes a state on the first line that is free; beside the same word it would say nothing new. */
function writeState(brush: Brush, text: string, middle: number, colour: string): void {
  const { ctx, ratio, top, bottom, left, right } = brush;
  ctx.font = `600 ${11 * ratio}px system-ui, sans-serif`;
  const half = ctx.measureText(text).width / 2 + 4 * ratio;
  const x = Math.min(Math.max(middle, left + half), right - half);
  for (let line = 0; line < STATE_LINES; line++) {
    const y = text === "low" ? bottom - (14 + 14 * line) * ratio : top + (14 + 14 * line) * ratio;
    const there = wordsAt(brush, text, x, y);
    if (there?.text === text) return;
    if (!there) return write(brush, text, x, y, colour);
  }
}

/** Room that the number of one peak takes, beside which no other is written. */
const PEAK_ROOM_PX = 36;

/** A triangle at the farthest reading of each excursion, up above and down below, with its number; the farthest first. */
function paintPeaks(brush: Brush, drawn: Drawn): void {
  const { ctx, ratio, colours } = brush;
  const { low, high } = drawn.band!;
  const far = (value: number): number => Math.abs(Math.log(value / Math.sqrt(low * high)));
  const found = extremes(drawn.rows, drawn.band!, drawn.shown.scale).sort((a, b) => far(b.value) - far(a.value));
  const taken: { x: number; side: string }[] = [];
  for (const { t, value, side } of found) {
    const [x, y] = [brush.x(t), brush.y(value)];
    if (taken.some((other) => other.side === side && Math.abs(other.x - x) < PEAK_ROOM_PX * ratio)) continue;
    taken.push({ x, side });
    const away = side === "above" ? -1 : 1;
    const colour = drawn.stale ? colours.stale : side === "above" ? colours.high : colours.low;
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.moveTo(x, y + away * 10 * ratio);
    ctx.lineTo(x - 4 * ratio, y + away * 4 * ratio);
    ctx.lineTo(x + 4 * ratio, y + away * 4 * ratio);
    ctx.fill();
    const inside = Math.min(Math.max(x, brush.left + 14 * ratio), brush.right - 14 * ratio);
    const text = drawn.shown.text(value);
    if (!wordsAt(brush, text, inside, y + away * 18 * ratio)) write(brush, text, inside, y + away * 18 * ratio, colour);
  }
}

/** Readings whose time lies far in the future are hollow diamonds with a word, wherever they are. */
function paintFuture(brush: Brush, drawn: Drawn): void {
  const { ctx, ratio, colours } = brush;
  let freeFrom = -Infinity;
  for (const { t, point } of drawn.rows) {
    if (!point?.future) continue;
    const x = brush.x(t);
    const y = point.v === null ? (brush.top + brush.bottom) / 2 : brush.y(drawn.shown.scale(point.v));
    const r = 5 * ratio;
    ctx.strokeStyle = colours.ink;
    ctx.fillStyle = colours.panel;
    ctx.lineWidth = 1.5 * ratio;
    ctx.beginPath();
    ctx.moveTo(x, y - r);
    ctx.lineTo(x + r, y);
    ctx.lineTo(x, y + r);
    ctx.lineTo(x - r, y);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
    if (x > freeFrom) write(brush, "future", x, y - 13 * ratio, colours.ink);
    freeFrom = Math.max(freeFrom, x + 46 * ratio);
  }
}

function paintNow(brush: Brush, drawn: Drawn): void {
  const { ctx, ratio, colours } = brush;
  const x = brush.x(drawn.nowUs);
  if (x < brush.left || x > brush.right) return;
  ctx.strokeStyle = colours.muted;
  ctx.lineWidth = ratio;
  stroke(ctx, [x, brush.top], [x, brush.bottom]);
  const beside = x + 40 * ratio < brush.right;
  write(brush, "now", x + (beside ? 5 : -5) * ratio, brush.bottom - 12 * ratio, colours.muted, beside ? "left" : "right");
}
