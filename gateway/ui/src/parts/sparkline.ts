//! A small line without axes, for cards. It shows shape only; the gauge beside it has the number.

import type { Point } from "../api";
import { svg } from "../dom";
import type { Band } from "../range";
import { withBreaks } from "../readings";
import type { Span } from "../time";

const WIDTH = 240;
const HEIGHT = 48;
const MARGIN = 4;

/** The path of a line through readings, in a box of `WIDTH` × `HEIGHT`; breaks and states lift the pen. */
export function sparkPath(points: readonly Point[], span: Span, breakUs: number, least: number, most: number): string {
  const x = (t: number): string => (((t - span.fromUs) / Math.max(1, span.toUs - span.fromUs)) * (WIDTH - 2 * MARGIN) + MARGIN).toFixed(1);
  const y = (v: number): string => (HEIGHT - MARGIN - ((v - least) / Math.max(1e-9, most - least)) * (HEIGHT - 2 * MARGIN)).toFixed(1);
  let path = "";
  let down = false;
  for (const { t, point } of withBreaks(points, breakUs)) {
    if (!point || point.v === null || point.future) down = false;
    else {
      // A line to its own start draws a dot where a reading stands alone (round caps).
      path += down ? `L${x(t)} ${y(point.v)}` : `M${x(t)} ${y(point.v)}h0`;
      down = true;
    }
  }
  return path;
}

/** The sparkline as a picture that screen readers skip. `band` is in the stored unit. */
export function sparkline(points: readonly Point[], span: Span, breakUs: number, band: Band | null): SVGElement {
  const values = points.flatMap((point) => (point.v === null ? [] : [point.v]));
  const least = Math.min(...values, band ? band.low * 0.7 : Infinity);
  const most = Math.max(...values, band ? band.high * 1.3 : -Infinity);
  const level = (v: number): number => HEIGHT - MARGIN - ((v - least) / Math.max(1e-9, most - least)) * (HEIGHT - 2 * MARGIN);
  return svg("svg", { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    band && svg("rect", { class: "spark-band", x: 0, width: WIDTH, y: level(band.high), height: level(band.low) - level(band.high) }),
    svg("path", { class: "spark-line", d: sparkPath(points, span, breakUs, least, most), "vector-effect": "non-scaling-stroke" }));
}
