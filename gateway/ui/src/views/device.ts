//! A device: each of its series with the newest value, its age, and a small chart that moves as readings come.

import type { Device, Point, Series } from "../api";
import { api, nowUs } from "../api";
import { Chart } from "../chart";
import { countText, h, setText } from "../dom";
import { openLive } from "../live";
import { Gauge, isStale } from "../parts/gauge";
import { Reader } from "../parts/notice";
import { changes, glucoseUnit } from "../prefs";
import { breakAfter, mergePoints, newestOf, readUpTo, stateText, usualInterval } from "../readings";
import type { OpenView } from "../router";
import { hrefTo } from "../router";
import { eachSecond, gathered } from "../tick";
import { HOUR_US, MINUTE_US, SECOND_US, ageText, browserZone, instantText, spanText } from "../time";
import { isGlucoseUnit, shownAs } from "../units";
import { alarmCount, alarmNames, connectedText } from "./fleet";
import { heading, retitle, unitChoice, zoneNote } from "./page";

const POINTS_MAX = 1000;
const LINES_MAX = 5;

/** How far back a small chart looks: ten minutes of a quick series, three hours or a day of slower ones. */
function windowFor(intervalUs: number | null, isGlucose: boolean): number {
  if (intervalUs === null) return isGlucose ? 24 * HOUR_US : 10 * MINUTE_US;
  if (intervalUs <= 10 * SECOND_US) return 10 * MINUTE_US;
  return intervalUs <= 2 * MINUTE_US ? 3 * HOUR_US : 24 * HOUR_US;
}

const isNumeric = (series: Series): boolean => series.kind === "gauge" || series.kind === "counter" || series.kind === "delta";

class SeriesCard {
  readonly element: HTMLElement;
  private readonly gauge = new Gauge("small");
  private readonly chart: Chart | null;
  private readonly lines = h("ul", { class: "lines" });
  private readonly count = h("span");
  private points: Point[];
  private readonly drawSoon: () => void;
  private readonly zone = browserZone();

  constructor(private series: Series, signal: AbortSignal) {
    this.points = series.latest ? [series.latest] : [];
    this.chart = isNumeric(series) ? new Chart(`${series.display_name}, latest readings`, true, signal) : null;
    this.element = h("li", { class: "card wide", "data-series": series.id },
      h("h2", {}, series.display_name), h("p", { class: "muted card-what" }, h("code", {}, series.name), ` · ${series.kind} · `, this.count),
      this.gauge.element, this.chart?.element ?? this.lines);
    this.drawSoon = gathered(250, signal, () => this.draw());
    eachSecond(signal, (now) => this.gauge.tick(now));
    changes.addEventListener("unit", () => this.draw(), { signal });
    queueMicrotask(() => this.draw());
  }

  get id(): number {
    return this.series.id;
  }

  /** Takes what the gateway now says of the series, then reads the window up to its newest reading. */
  async read(series: Series, signal: AbortSignal): Promise<void> {
    this.series = series;
    const endUs = readUpTo(series, nowUs());
    if (endUs === null) return;
    const readBack = async (backUs: number): Promise<void> => {
      const found = await api.readings(series.id, endUs - backUs, endUs, POINTS_MAX, signal);
      this.points = mergePoints(found.points, this.points, 2 * POINTS_MAX);
    };
    // The first look tells how quick the series is, and so how far back its chart goes.
    const first = isNumeric(series) ? windowFor(null, isGlucoseUnit(series.unit)) : 24 * HOUR_US;
    await readBack(first);
    const intervalUs = usualInterval(this.points);
    const wanted = intervalUs === null ? 24 * HOUR_US : windowFor(intervalUs, false);
    if (wanted > first) await readBack(wanted);
    this.draw();
  }

  add(points: Point[]): void {
    this.points = mergePoints(this.points, points, 2 * POINTS_MAX);
    this.series = { ...this.series, readings: this.series.readings + points.length };
    this.drawSoon();
  }

  private draw(): void {
    const { series } = this;
    const point = newestOf(this.points);
    const intervalUs = usualInterval(this.points);
    setText(this.count, `${countText(series.readings)} readings`);
    this.gauge.show({ series, point, band: null, intervalUs, zone: this.zone }, nowUs());
    if (!this.chart) return this.drawLines();
    if (!point) return;
    const span = { fromUs: point.t - windowFor(intervalUs, isGlucoseUnit(series.unit)), toUs: point.t + 1 };
    this.chart.show({
      points: this.points.filter((one) => one.t >= span.fromUs && one.t < span.toUs), span, zone: this.zone, shown: shownAs(series.unit, glucoseUnit()), band: null,
      breakUs: breakAfter(intervalUs), nowUs: nowUs(), stale: isStale({ series, point, intervalUs }, nowUs()), seconds: (intervalUs ?? 0) < MINUTE_US, note: "",
    });
  }

  /** States, texts and events have no line to draw: the latest few are listed. */
  private drawLines(): void {
    const latest = this.points.slice(-LINES_MAX).reverse();
    this.lines.replaceChildren(...latest.map((point) => h("li", {},
      h("span", { class: "muted" }, instantText(this.zone, point.t, true)), " ",
      point.s !== null ? stateText(point.s) : String(point.v ?? "no value"), point.future ? h("span", { class: "tag" }, "future time") : null)));
  }
}

/** The device's own facts, as terms and values. */
function facts(device: Device): HTMLElement {
  const now = nowUs();
  const fact = (term: string, value: Node | string): HTMLElement => h("div", {}, h("dt", {}, term), h("dd", {}, value));
  return h("dl", { class: "facts" },
    fact("Connection", connectedText(device.connected)),
    fact("Last seen", device.last_seen_us === null ? "never" : ageText(now, device.last_seen_us)),
    fact("Lag", device.lag_us === null ? "–" : device.lag_us < SECOND_US ? `${Math.max(0, Math.round(device.lag_us / 1000))} ms` : spanText(device.lag_us)),
    fact("Readings", countText(device.readings)), fact("Batches", countText(device.batches)), fact("Gaps", countText(device.gaps)),
    fact("Quarantined", alarmCount(device.quarantined)),
    fact("Alarms", device.alarms.length > 0 ? h("a", { href: hrefTo("ledger", device.id) }, alarmNames(device.alarms)) : "none"));
}

export const device: OpenView = (root, id, _query, signal) => {
  const title = heading("Device");
  const factsHost = h("div", { class: "panel" });
  const list = h("ul", { class: "cards wide-cards" });
  const body = h("div", { class: "stack" }, factsHost, list, zoneNote());
  const cards = new Map<number, SeriesCard>();
  const units = unitChoice();
  let known: Device | null = null;
  const drawFacts = (): void => {
    if (known) factsHost.replaceChildren(facts(known));
  };
  const reader = new Reader(body, signal, async () => {
    const found = await api.device(id, signal);
    known = found.device;
    retitle(title, known.display_name);
    drawFacts();
    units.hidden = !found.series.some((series) => isGlucoseUnit(series.unit));
    for (const series of found.series) {
      if (cards.has(series.id)) continue;
      const card = new SeriesCard(series, signal);
      cards.set(series.id, card);
      list.append(card.element);
    }
    if (found.series.length === 0) list.replaceChildren(h("li", { class: "empty" }, "This device has sent no readings yet."));
    await Promise.all(found.series.map((series) => cards.get(series.id)!.read(series, signal)));
  });
  units.hidden = true;
  root.append(h("div", { class: "page-head" }, title, h("div", { class: "toolbar-end" }, h("a", { class: "button", href: hrefTo("ledger", id) }, "Ledger"), units)), reader.notice, body);
  void reader.now();
  eachSecond(signal, drawFacts);
  const readSoon = gathered(2000, signal, () => void reader.now());
  openLive(`?device=${encodeURIComponent(id)}`, {
    reading: (series, points) => {
      const card = cards.get(series);
      if (card) card.add(points);
      else readSoon(); // a series that was not there before
    },
    device: (told) => {
      if (told.id === id) known = told;
    },
    resync: () => void reader.now(),
  }, signal);
};
