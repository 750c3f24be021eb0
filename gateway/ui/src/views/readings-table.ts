//! The readings of a chart as a table, for whoever would rather read than look.

import type { Point } from "../api";
import { countText, h, table } from "../dom";
import type { Picture } from "../chart";
import { sideOf } from "../range";
import { stateText } from "../readings";
import { instantText } from "../time";

/** More rows than a day of glucose would make the page slow, and nobody reads them. */
const ROWS_MAX = 300;

const QUALITY: Readonly<Record<NonNullable<Point["q"]>, string>> = {
  synced: "set by the gateway", held: "set, then held by the device", unset: "never set", source: "from the source",
};

/** A fold that builds its table when it is opened, from the picture at that time. */
export function readingsFold(picture: () => Picture | null): HTMLDetailsElement {
  const host = h("div");
  const fold = h("details", { class: "panel fold" }, h("summary", {}, "Readings as a table"), host);
  fold.addEventListener("toggle", () => {
    const shown = picture();
    if (fold.open && shown) host.replaceChildren(...tableOf(shown));
    else host.replaceChildren();
  });
  return fold;
}

function tableOf(picture: Picture): HTMLElement[] {
  const points = picture.points.slice(-ROWS_MAX).reverse();
  const { shown, zone, band, seconds } = picture;
  const columns = [
    { header: "Time" }, { header: shown.unit ? `Value, ${shown.unit}` : "Value", numeric: true }, ...(band ? [{ header: "Range" }] : []), { header: "Clock" },
  ];
  const rows = points.map((point) => [
    `${instantText(zone, point.t, seconds)}${point.future ? " (future)" : ""}`,
    point.v === null ? stateText(point.s ?? "no value") : shown.text(shown.scale(point.v)),
    ...(band ? [point.v === null ? "–" : { below: "▼ below", in: "in range", above: "▲ above" }[sideOf(shown.scale(point.v), band)]] : []),
    point.sum ? `mean of ${countText(point.sum.n)}` : point.q === undefined ? "" : (QUALITY[point.q] ?? point.q),
  ]);
  const cut = picture.points.length > ROWS_MAX ? h("p", { class: "muted" }, `The newest ${ROWS_MAX} of ${picture.points.length}.`) : null;
  return [...(cut ? [cut] : []), table({ hidden: "Readings, newest first" }, columns, rows, "No readings.")];
}
