//! Time in range of the shown span: a bar with textures, the shares in words, and the coverage they rest on.

import { countText, h, svg } from "../dom";
import type { Band, TimeInRange } from "../range";
import { wholePercents } from "../range";
import type { Shown } from "../units";

/** The textures of the three parts, so that the bar reads without colour. */
function textures(): SVGElement {
  const stripe = (id: string, transform: string): SVGElement =>
    svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: transform },
      svg("rect", { width: 6, height: 6, class: `fill-${id.slice(8)}` }),
      svg("rect", { width: 2, height: 6, class: "fill-texture" }));
  return svg("defs", {}, stripe("texture-below", "rotate(45)"), stripe("texture-above", "rotate(-45)"));
}

/** Below this share of covered time a summary says little (consensus on CGM data, Battelino 2019: 70 %). */
const COVERAGE_ENOUGH = 0.7;

/** The panel, of one reading at least; `found` is null when the span holds too many readings to have been read one by one. */
export function rangePanel(found: TimeInRange | null, band: Band, shown: Shown): HTMLElement {
  const panel = h("section", { class: "panel range", "aria-labelledby": "range-title" }, h("h2", { id: "range-title" }, "Time in range"));
  if (!found) panel.append(h("p", {}, "Not computed: this span holds more readings than were read one by one. Choose a shorter one."));
  else panel.append(bar(found), parts(found, band, shown), basis(found));
  return panel;
}

function bar(found: TimeInRange): SVGElement {
  const total = found.counted;
  const share = (n: number): number => (n / total) * 600;
  const [below, within] = [share(found.below), share(found.in)];
  return svg("svg", { class: "range-bar", viewBox: "0 0 600 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    textures(),
    svg("rect", { x: 0, width: below, height: 20, fill: "url(#texture-below)" }),
    svg("rect", { x: below, width: within, height: 20, class: "fill-in" }),
    svg("rect", { x: below + within, width: share(found.above), height: 20, fill: "url(#texture-above)" }));
}

function parts(found: TimeInRange, band: Band, shown: Shown): HTMLElement {
  const [low, high] = [shown.text(band.low), shown.text(band.high)];
  const percents = wholePercents([found.below, found.in, found.above]);
  const item = (side: "below" | "in" | "above", label: string, percent: number, count: number): HTMLElement =>
    h("div", { "data-side": side },
      h("dt", {}, h("span", { class: "swatch", "aria-hidden": "true" }, { below: "▼", in: "●", above: "▲" }[side]), ` ${label} ${shown.unit}`),
      h("dd", {}, h("strong", {}, count > 0 && percent === 0 ? "<\u202f1 %" : `${percent} %`), h("span", { class: "muted" }, ` ${countText(count)} readings`)));
  return h("dl", { class: "range-parts" },
    item("below", `Below ${low}`, percents[0]!, found.below),
    item("in", `${low}\u2013${high}`, percents[1]!, found.in),
    item("above", `Above ${high}`, percents[2]!, found.above));
}

function basis(found: TimeInRange): HTMLElement {
  const percent = Math.floor(found.coverage * 100);
  const words = `Based on ${percent} % of the time: ${countText(found.counted)} of ${countText(found.expected)} expected readings.`;
  return h("p", { class: "range-basis" }, words, found.coverage < COVERAGE_ENOUGH ? h("strong", {}, " Less than 70 %: not enough to judge the whole span.") : null);
}
