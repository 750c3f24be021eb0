//! The newest reading of a series with its age. A stale one is never drawn as current.

import type { Point, Series } from "../api";
import { h, setText, svg } from "../dom";
import { glucoseUnit } from "../prefs";
import type { Band } from "../range";
import { sideOf } from "../range";
import { staleAfter, stateSide, stateText } from "../readings";
import { ageText, instantText } from "../time";
import { isGlucoseUnit, shownAs } from "../units";

const SIDES = { below: "▼ below range", in: "● in range", above: "▲ above range" } as const;

/** What a gauge shows. */
export interface Newest {
  readonly series: Pick<Series, "unit" | "kind">;
  readonly point: Point | null;
  readonly band: Band | null;
  readonly intervalUs: number | null;
  readonly zone: string;
}

/** Whether the newest reading is too old, or too far ahead, to be called current. */
export function isStale({ series, point, intervalUs }: Pick<Newest, "series" | "point" | "intervalUs">, nowUs: number): boolean {
  if (!point) return true;
  // States, texts and events come when something happens: silence does not make them old.
  if (series.kind === "state" || series.kind === "text" || series.kind === "event") return point.future === true;
  return point.future === true || nowUs - point.t > staleAfter(isGlucoseUnit(series.unit), intervalUs);
}

/** The reach of a glucose scale, in mg/dL: what sensors tell as numbers (below and above they say "low" and "high"). */
const REACH = { least: 40, most: 400 };

/** A level from 40 to 400 mg/dL with the band marked and a needle at the value, on a logarithmic scale as risk is. */
function bandScale(mgDl: number, band: Band): SVGElement {
  const place = (value: number): number => {
    const held = Math.min(REACH.most, Math.max(REACH.least, value));
    return (Math.log(held / REACH.least) / Math.log(REACH.most / REACH.least)) * 200;
  };
  const needle = place(mgDl);
  return svg("svg", { viewBox: "-4 0 208 14", "aria-hidden": "true" },
    svg("rect", { class: "scale-track", x: 0, y: 6, width: 200, height: 2 }),
    svg("rect", { class: "scale-band", x: place(band.low), y: 4, width: place(band.high) - place(band.low), height: 6, rx: 3 }),
    svg("path", { class: "scale-needle", d: `M${needle.toFixed(1)} 1v12` }));
}

export class Gauge {
  private readonly number = h("span", { class: "gauge-number" });
  private readonly unit = h("span", { class: "gauge-unit" });
  private readonly side = h("span", { class: "gauge-side" });
  private readonly tag = h("span", { class: "tag", hidden: true });
  private readonly age = h("span", { class: "gauge-age" });
  private readonly when = h("span", { class: "gauge-when" });
  private readonly scale = h("div", { class: "gauge-scale", hidden: true });
  readonly element: HTMLElement;
  private newest: Newest | null = null;

  constructor(size: "large" | "small") {
    this.element = h("div", { class: `gauge ${size}` },
      h("p", { class: "gauge-value" }, this.tag, this.number, " ", this.unit),
      this.scale,
      h("p", { class: "gauge-note" }, this.side, this.age, this.when));
  }

  show(newest: Newest, nowUs: number): void {
    this.newest = newest;
    const { point, series, band, zone } = newest;
    const shown = shownAs(series.unit, glucoseUnit());
    const scaled = point && point.v !== null ? shown.scale(point.v) : null;
    setText(this.number, scaled !== null ? shown.text(scaled) : point ? stateText(point.s ?? "no value") : "no readings");
    setText(this.unit, scaled !== null ? shown.unit : "");
    const side = scaled !== null && band ? sideOf(scaled, band) : stateSide(point?.s ?? null);
    this.element.dataset["side"] = band && side ? side : "none";
    this.element.dataset["words"] = String(scaled === null);
    setText(this.side, band && side ? SIDES[side] : "");
    setText(this.when, point ? instantText(zone, point.t, !shown.isGlucose) : "");
    this.scale.replaceChildren(...(scaled !== null && band ? [bandScale(scaled, band)] : []));
    this.tick(nowUs);
  }

  /** The age runs on, and with it the reading may become stale. */
  tick(nowUs: number): void {
    const point = this.newest?.point;
    if (!this.newest) return;
    const stale = isStale(this.newest, nowUs);
    this.element.dataset["state"] = !point ? "none" : stale ? "stale" : "current";
    this.tag.hidden = !stale || !point;
    setText(this.tag, point?.future ? "future time" : "stale");
    this.side.hidden = stale;
    this.scale.hidden = stale || !this.scale.hasChildNodes();
    setText(this.age, point ? ageText(nowUs, point.t) : "");
  }
}
