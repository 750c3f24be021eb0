//! The ledger of a device: what became of its batches in sum, what is lost and why, alarms, every number of every epoch,
//! and its quarantine.

import { alarmMeaning, alarmName, reasonText } from "../alarms";
import type { Alarm, Counts, Epoch, Gap, Ledger, Lost, Quarantined } from "../api";
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

const STATE_NAMES: Readonly<Record<State, string>> = { stored: "stored", quarantined: "quarantined", gap: "gap" };

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
    svg("defs", {}, texture("quarantined", 45, 4), texture("gap", 0, 2)));
}

/** Says how many rows a table leaves out. */
function beyond(count: number): HTMLElement | null {
  return count > ROWS_MAX ? h("p", { class: "muted" }, `${countText(count - ROWS_MAX)} more are not shown.`) : null;
}

/** How a count is called, what it means, and its mark. */
const COUNTS: readonly (readonly [keyof Counts, string, string])[] = [
  ["stored", "Stored", "committed, readings and all"],
  ["waiting", "Waiting", "on the device, not here yet"],
  ["repaired", "Repaired", "came although called lost"],
  ["lost", "Lost", "will never come, with a reason below"],
  ["quarantined", "Quarantined", "unreadable, bytes kept"],
];

/** Batches by what became of them, each with a mark whose shape differs too. */
function totalsPanel({ totals, connected }: Ledger): HTMLElement {
  const count = ([key, name, meaning]: readonly [keyof Counts, string, string]): HTMLElement =>
    h("div", {}, h("dt", { class: "tally", "data-count": key }, name), h("dd", {}, h("strong", {}, countText(totals[key])), h("span", { class: "muted" }, meaning)));
  return h("section", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, "Batches"), connectedText(connected)), h("dl", { class: "tallies" }, ...COUNTS.map(count)));
}

function alarmsPanel(alarms: readonly Alarm[]): HTMLElement | null {
  if (alarms.length === 0) return null;
  const columns = [{ header: "Alarm" }, { header: "Meaning" }, { header: "Times", numeric: true }, { header: "First" }, { header: "Last" }];
  const rows = alarms.map((alarm) => [h("span", { class: "alarm" }, alarmName(alarm.kind)), alarmMeaning(alarm.kind) || "–", countText(alarm.count), when(alarm.first_us), when(alarm.last_us)]);
  return h("section", { class: "panel raised" }, h("h2", {}, "Alarms"), table({ hidden: "What somebody should look at, latest first" }, columns, rows, ""));
}

/** Counts of an epoch that are worth a word. */
function countsText({ counts }: Epoch): string {
  const some = COUNTS.filter(([key]) => key === "stored" || counts[key] > 0);
  return some.map(([key, name]) => `${countText(counts[key])} ${name.toLowerCase()}`).join(", ");
}

function epochPanel(epoch: Epoch, gaps: readonly Gap[]): HTMLElement {
  const pieces = piecesOf(epoch, gaps);
  const columns = [{ header: "State" }, { header: "First", numeric: true }, { header: "Last", numeric: true }, { header: "Batches", numeric: true }, { header: "Reason" }];
  const rows = pieces.slice(-ROWS_MAX).map((piece) => [stateMark(piece.state), countText(piece.first), countText(piece.last), countText(size(piece)), piece.reason.split(", ").map(reasonText).join(", ") || "–"]);
  // It comes with a hello, so batches may have overtaken it.
  const next = epoch.next !== null && epoch.next > (pieces.at(-1)?.last ?? 0) ? ` · next number ${countText(epoch.next)}` : "";
  const facts = `${when(epoch.first_arrival_us)} to ${when(epoch.last_arrival_us)} · ${countsText(epoch)}${next}`;
  return h("section", { class: "panel epoch" },
    h("h2", {}, "Epoch ", h("code", {}, epoch.epoch), epoch.is_astray ? h("span", { class: "tag" }, "of another buffer") : null), h("p", { class: "muted" }, facts),
    pieces.length > 0 ? barOf(pieces) : null,
    table({ hidden: `Numbers of epoch ${epoch.epoch}` }, columns, rows, "Nothing of this epoch has arrived yet."), beyond(pieces.length));
}

/** Numbers of a gap; of many that became one, how many they are. */
function numbersText({ epoch, first, last, numbers }: Gap): string {
  const span = first === null ? "" : last === null || last === first ? `${first}` : `${first}–${last}`;
  if (numbers !== null) return `${countText(numbers)}${span ? ` of ${span}` : " in older epochs"}`;
  return span && epoch ? `${epoch.slice(0, 4)}…/${span}` : span || "–";
}

const readingsText = (readings: number, uncounted: number): string =>
  uncounted === 0 ? countText(readings) : readings === 0 ? "unknown" : `${countText(readings)} and more`;

function lostPanel(lost: readonly Lost[], gaps: readonly Gap[]): HTMLElement {
  const reasons = [{ header: "Reason" }, { header: "Gaps", numeric: true }, { header: "Batches", numeric: true }, { header: "Readings", numeric: true }];
  const summary = lost.map((one) => [reasonText(one.reason), countText(one.gaps), countText(one.numbers), readingsText(one.readings, one.uncounted)]);
  const columns = [{ header: "Reason" }, { header: "Numbers" }, { header: "Source" }, { header: "From" }, { header: "To" }, { header: "Readings", numeric: true }];
  const rows = gaps.slice(0, ROWS_MAX).map((gap) => [
    reasonText(gap.reason), numbersText(gap), gap.source ?? "–", when(gap.from_us), when(gap.to_us), gap.count === null ? "unknown" : countText(gap.count),
  ]);
  return h("section", { class: "panel" }, h("h2", {}, "Lost"), table({ hidden: "What is lost, by reason" }, reasons, summary, "Nothing is known to be lost."),
    rows.length === 0 ? null : h("details", { class: "fold" }, h("summary", {}, `Each gap, newest first`),
      table({ hidden: "Numbers or times that will never come" }, columns, rows, ""), beyond(gaps.length)));
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
  const legend = h("p", { class: "legend" }, ...(["stored", "quarantined", "gap"] as const).flatMap((state) => [stateMark(state), " "]));
  const isOpen = body.querySelector("details")?.open ?? false;
  body.replaceChildren(textures(), totalsPanel(ledger), ...[alarmsPanel(ledger.alarms)].filter((panel) => panel !== null), lostPanel(ledger.lost, ledger.gaps), legend,
    ...(newest.length > 0 ? newest.map((epoch) => epochPanel(epoch, ledger.gaps)) : [h("p", { class: "empty" }, "No batch has arrived from this device.")]),
    quarantinePanel(entries));
  // Built anew; what somebody has unfolded stays so.
  const fold = body.querySelector("details");
  if (fold) fold.open = isOpen;
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
