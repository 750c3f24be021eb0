//! Where points are sums: from the least to the greatest of each, behind the line of their means.

import type uPlot from "uplot";
import type { Drawn } from "./chart";
import { clipped } from "./chart-marks";
import { spreadOf } from "./readings";

/** The least and the greatest of all sums, to make room for; null where there are none. */
export function spreadRange(drawn: Drawn): { least: number; most: number } | null {
  let found: { least: number; most: number } | null = null;
  for (const { point } of drawn.rows) {
    if (!point?.sum || point.sum.min === null || point.sum.max === null) continue;
    const [least, most] = [drawn.shown.scale(point.sum.min), drawn.shown.scale(point.sum.max)];
    found = found ? { least: Math.min(found.least, least), most: Math.max(found.most, most) } : { least, most };
  }
  return found;
}

/** Paints them in `fill`. A sum with readings beyond what could be measured reaches to the edge. */
export function paintSpread(plot: uPlot, drawn: Drawn, fill: string | CanvasGradient): void {
  clipped(plot, (brush) => {
    const { ctx, ratio, top, bottom } = brush;
    ctx.fillStyle = fill;
    ctx.globalAlpha = 0.24;
    for (const { point } of drawn.rows) {
      if (!point?.sum || point.v === null) continue;
      const { least, most } = spreadOf(point);
      const upper = most === null ? top : brush.y(drawn.shown.scale(most));
      const lower = least === null ? bottom : brush.y(drawn.shown.scale(least));
      const [from, to] = [brush.x(point.t), brush.x(point.sum.to)];
      ctx.fillRect(from, upper - ratio / 2, Math.max(to - from, ratio), lower - upper + ratio);
    }
    ctx.globalAlpha = 1;
  });
}
