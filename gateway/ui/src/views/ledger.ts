//! The ledger of a device: what became of every number of every epoch, its gaps, and its quarantine.

import type { Epoch, Gap, Ledger, Quarantined } from "../api";
import { api } from "../api";
import { button, countText, h, setText, svg, table } from "../dom";
import { openLive } from "../live";
import { Reader } from "../parts/notice";
import type { Piece, State } from "../pieces";
import { piecesOf } from "../pieces";
import type { OpenView } from "../router";
import { hrefTo } from "../router";
import { gathered } from "../tick";
import { browserZone, instantText } from "../time";
import { connectedText } from "./fleet";
import { heading, retitle, zoneNote } from "./page";

/** Every start of an agent begins an epoch: beyond these the older ones wait for a press of the button. */
const EPOCHS_SHOWN = 20;
/** Rows of one table; what is beyond them is counted, not drawn. */
const ROWS_MAX = 300;

const STATE_NAMES: Readonly<Record<State, string>> = { stored: "stored", quarantined: "quarantined", gap: "gap", missing: "missing" };

/** A lamp and a word, for tables and the legend. */
const stateMark = (state: State): HTMLElement => h("span", { class: "state", "data-state": state }, STATE_NAMES[state]);

const when = (us: number | null): string => (us === null ? "–" : instantText(browserZone(), us, true));
const size = ({ first, last }: { first: number; last: number }): number => last - first + 1;

/** The bar of an epoch: numbers from left to right; a range too small to see is drawn wide enough to be seen. */
function barOf(pieces: readonly Piece[]): SVGElement {
  const least = Math.min(...pieces.map((piece) => piece.first));
  const most = Math.max(...pieces.map((piece) => piece.last));
  const scale = 1000 / Math.max(1, most - least + 1);
  const rect = (piece: Piece): SVGElement => {
    const width = Math.max(piece.state === "stored" ? 1 : 5, size(piece) * scale);
    const x = Math.min(1000 - width, (piece.first - least) * scale);
    return svg("rect", { x, width, height: 24, y: 0, class: `ledger-${piece.state}`, fill: piece.state === "stored" ? null : `url(#ledger-${piece.state})` });
  };
  // What is not stored is painted last, so that a wide neighbour cannot hide it.
  const ordered = [...pieces].sort((a, b) => Number(a.state !== "stored") - Number(b.state !== "stored"));
  return svg("svg", { class: "ledger-bar", viewBox: "0 0 1000 24", preserveAspectRatio: "none", "aria-hidden": "true" }, ...ordered.map(rect));
}

/** Textures for the bars, once for the page, so that states differ by more than colour. */
function textures(): SVGElement {
  const texture = (state: State, angle: number, thickness: number): SVGElement =>
    svg("pattern", { id: `ledger-${state}`, width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})` },
      svg("rect", { width: 8, height: 8, class: `ground-${state}` }), svg("rect", { width: thickness, height: 8, class: `figure-${state}` }));
  return svg("svg", { class: "defs", width: 0, height: 0, "aria-hidden": "true" },
    svg("defs", {}, texture("quarantined", 45, 4), texture("gap", 0, 2), texture("missing", -45, 4)));
}

/** Says how many rows a table leaves out. */
function beyond(count: number): HTMLElement | null {
  return count > ROWS_MAX ? h("p", { class: "muted" }, `${countText(count - ROWS_MAX)} more are not shown.`) : null;
}

function epochPanel(epoch: Epoch, gaps: readonly Gap[]): HTMLElement {
  const pieces = piecesOf(epoch, gaps);
  const settled = pieces.filter((piece) => piece.state === "stored").reduce((sum, piece) => sum + size(piece), 0);
  const columns = [{ header: "State" }, { header: "First", numeric: true }, { header: "Last", numeric: true }, { header: "Batches", numeric: true }, { header: "Reason" }];
  const rows = pieces.slice(-ROWS_MAX).map((piece) => [stateMark(piece.state), countText(piece.first), countText(piece.last), countText(size(piece)), piece.reason || "–"]);
  const facts = `${when(epoch.first_arrival_us)} to ${when(epoch.last_arrival_us)} · ${countText(settled)} batches stored${epoch.next === null ? "" : ` · next number ${countText(epoch.next)}`}`;
  return h("section", { class: "panel epoch" },
    h("h2", {}, "Epoch ", h("code", {}, epoch.epoch)), h("p", { class: "muted" }, facts),
    pieces.length > 0 ? barOf(pieces) : null,
    table({ hidden: `Numbers of epoch ${epoch.epoch}` }, columns, rows, "Nothing of this epoch has arrived yet."), beyond(pieces.length));
}

function gapsPanel(gaps: readonly Gap[]): HTMLElement {
  const columns = [{ header: "Reason" }, { header: "Numbers" }, { header: "Source" }, { header: "From" }, { header: "To" }, { header: "Readings", numeric: true }];
  const rows = gaps.slice(0, ROWS_MAX).map((gap) => [
    gap.reason, gap.first === null ? "–" : gap.last === null || gap.last === gap.first ? `${gap.first}` : `${gap.first}–${gap.last}`,
    gap.source ?? "–", when(gap.from_us), when(gap.to_us), gap.count === null ? "unknown" : countText(gap.count),
  ]);
  return h("section", { class: "panel" }, h("h2", {}, "Gaps"), table("Numbers or times that will never come", columns, rows, "No gaps: nothing is known to be lost."), beyond(gaps.length));
}

function quarantinePanel(entries: readonly Quarantined[]): HTMLElement {
  const columns = [{ header: "Arrived" }, { header: "Reason" }, { header: "Topic" }, { header: "Batch" }, { header: "Bytes", numeric: true }];
  const rows = entries.map((entry) => [
    when(entry.arrived_us), entry.reason, h("code", {}, entry.topic), entry.epoch === null ? "–" : h("code", {}, `${entry.epoch}/${entry.number ?? "?"}`), countText(entry.bytes),
  ]);
  return h("section", { class: "panel" }, h("h2", {}, "Quarantine"), table("What could not be read, newest first; its bytes are kept", columns, rows, "Nothing is in quarantine."));
}

function draw(body: HTMLElement, ledger: Ledger, entries: readonly Quarantined[], epochsMax: number): void {
  const newest = [...ledger.epochs].sort((a, b) => (b.last_arrival_us ?? 0) - (a.last_arrival_us ?? 0)).slice(0, epochsMax);
  const legend = h("p", { class: "legend" }, ...(["stored", "missing", "quarantined", "gap"] as const).flatMap((state) => [stateMark(state), " "]));
  body.replaceChildren(textures(), h("p", {}, connectedText(ledger.connected)), legend,
    ...(newest.length > 0 ? newest.map((epoch) => epochPanel(epoch, ledger.gaps)) : [h("p", { class: "empty" }, "No batch has arrived from this device.")]),
    gapsPanel(ledger.gaps), quarantinePanel(entries));
}

export const ledger: OpenView = (root, id, _query, signal) => {
  const title = heading("Ledger");
  const body = h("div", { class: "stack" });
  let epochsMax = EPOCHS_SHOWN;
  retitle(title, `Ledger of ${id}`);
  const reader = new Reader(body, signal, async () => {
    const [found, quarantine] = await Promise.all([api.ledger(id, signal), api.quarantine(id, signal)]);
    const older = found.epochs.length - epochsMax;
    draw(body, found, quarantine.entries, epochsMax);
    more.hidden = older <= 0;
    setText(more, `Show ${countText(Math.max(0, older))} older epochs`);
  });
  const more = button("Show older epochs", () => {
    epochsMax = Number.POSITIVE_INFINITY;
    void reader.now();
  }, { hidden: true });
  root.append(h("div", { class: "page-head" }, title, h("a", { class: "button", href: hrefTo("device", id) }, "Device")), reader.notice, body, more, zoneNote());
  void reader.now();
  // Every stored batch moves the ledger; reading it anew each few seconds is soon enough.
  const readSoon = gathered(3000, signal, () => void reader.now());
  openLive(`?device=${encodeURIComponent(id)}`, { reading: readSoon, device: readSoon, resync: () => void reader.now() }, signal);
};
