//! Where a time axis has its ticks, in the zone of whoever the readings are about.

import type { Span } from "./time";
import { HOUR_US, MINUTE_US, addDays, dateText, dayOf, dayStart, timeText, wallAt } from "./time";

export interface Tick {
  readonly us: number;
  readonly label: string;
}

/** The starts of the days of a span; every `nth` one has a label. */
export function dayTicks(zone: string, span: Span, nth: number): Tick[] {
  const ticks: Tick[] = [];
  let date = dayOf(zone, span.fromUs);
  for (let us = span.fromUs; us < span.toUs && ticks.length < 400; us = dayStart(zone, date)) {
    const short = dateText(date).split(" ").slice(0, 2).join(" ");
    ticks.push({ us, label: ticks.length % nth === 0 ? short : "" });
    date = addDays(date, 1);
  }
  return ticks;
}

/** The hours of a span whose hour on the wall is a multiple of `every`; an hour that clocks skip has no tick. */
export function hourTicks(zone: string, span: Span, every: number): Tick[] {
  const ticks: Tick[] = [];
  const quarter = 15 * MINUTE_US; // zones differ from UTC by multiples of a quarter of an hour
  for (let us = Math.ceil(span.fromUs / quarter) * quarter; us <= span.toUs; us += quarter) {
    const wall = wallAt(zone, us);
    if (wall.minute !== 0 || wall.hour % every !== 0) continue;
    ticks.push({ us, label: timeText(zone, us) });
    us += HOUR_US - quarter;
  }
  return ticks;
}

/** Ticks at multiples of some minutes, for the short windows of live charts. */
export function minuteTicks(zone: string, span: Span, every: number): Tick[] {
  const step = every * MINUTE_US;
  const ticks: Tick[] = [];
  for (let us = Math.ceil(span.fromUs / step) * step; us < span.toUs; us += step) ticks.push({ us, label: timeText(zone, us) });
  return ticks;
}

/** Ticks that suit a span shown `widthPx` wide: minutes, hours or days, about 72 px apart. */
export function ticksFor(zone: string, span: Span, widthPx: number): Tick[] {
  const wanted = Math.max(2, Math.floor(widthPx / 72));
  const minutes = (span.toUs - span.fromUs) / MINUTE_US;
  const per = minutes / wanted;
  for (const every of [1, 2, 5, 10, 15, 30]) if (per <= every) return minuteTicks(zone, span, every);
  if (minutes > 3 * 1440) return dayTicks(zone, span, Math.ceil(per / 1440));
  for (const every of [1, 2, 3, 4, 6, 12]) if (per <= every * 60) return hourTicks(zone, span, every);
  return hourTicks(zone, span, 24);
}
