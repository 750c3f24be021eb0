//! The fleet: who it is about, with their newest value, and each device with its bookkeeping.

import { alarmName } from "../alarms";
import type { Device, Point, Series, Subject } from "../api";
import { api, nowUs } from "../api";
import { countText, h, setText, table } from "../dom";
import { openLive } from "../live";
import { Gauge } from "../parts/gauge";
import { Reader } from "../parts/notice";
import { sparkline } from "../parts/sparkline";
import { changes } from "../prefs";
import type { Band } from "../range";
import { breakAfter, mergePoints, newestOf, readUpTo, usualInterval } from "../readings";
import type { OpenView } from "../router";
import { hrefTo } from "../router";
import { eachSecond, gathered } from "../tick";
import { HOUR_US, MINUTE_US, ageText, spanText } from "../time";
import { isGlucoseUnit, toMgDl } from "../units";
import { heading, unitChoice } from "./page";

/** The series a subject is judged by: glucose, else power, else the first with numbers; of several, the newest. */
export function mainSeries(series: readonly Series[]): Series | null {
  const rank = (one: Series): number => (isGlucoseUnit(one.unit) ? 0 : one.name === "power.active" ? 1 : one.kind === "gauge" ? 2 : 3);
  return [...series].sort((a, b) => rank(a) - rank(b) || (b.last_us ?? 0) - (a.last_us ?? 0))[0] ?? null;
}

/** What is told where there is nobody to draw: the gateway knows subjects by its settings alone. */
const NO_SUBJECT = "No subject is set up yet. Say in gateway.toml, in a table [[subject]], who or what readings are about, and from which devices; then restart the gateway.";

/** How far back a sparkline looks: six hours of glucose, ten minutes of anything quicker. */
const recentSpan = (series: Series): number => (isGlucoseUnit(series.unit) ? 6 * HOUR_US : 10 * MINUTE_US);
const SPARK_POINTS_MAX = 1000;

class SubjectCard {
  readonly element: HTMLElement;
  private readonly gauge = new Gauge("small");
  private readonly spark = h("div", { class: "card-spark" });
  private readonly name: HTMLElement;
  private points: Point[] = [];
  readonly series: Series | null;
  private readonly drawSoon: () => void;

  constructor(private readonly subject: Subject, signal: AbortSignal) {
    this.series = mainSeries(subject.series);
    this.points = this.series?.latest ? [this.series.latest] : [];
    this.name = h("a", { class: "card-link", href: hrefTo("subject", subject.id) }, subject.display_name);
    const what = this.series ? this.series.display_name : "no series";
    this.element = h("li", { class: "card", "data-subject": subject.id },
      h("h3", {}, this.name), h("p", { class: "muted card-what" }, what), this.gauge.element, this.spark);
    this.drawSoon = gathered(500, signal, () => this.draw());
    this.draw();
    eachSecond(signal, (now) => this.gauge.tick(now));
    changes.addEventListener("unit", () => this.draw(), { signal });
  }

  async read(signal: AbortSignal): Promise<void> {
    const series = this.series;
    const endUs = series ? readUpTo(series, nowUs()) : null;
    if (!series || endUs === null) return;
    const found = await api.readings(series.id, endUs - recentSpan(series), endUs, SPARK_POINTS_MAX, signal);
    this.points = mergePoints(found.points, this.points, SPARK_POINTS_MAX);
    this.draw();
  }

  add(points: Point[]): void {
    this.points = mergePoints(this.points, points, SPARK_POINTS_MAX);
    this.drawSoon();
  }

  private draw(): void {
    const { series, subject } = this;
    if (!series) return;
    const point = newestOf(this.points);
    const intervalUs = usualInterval(this.points);
    const band: Band | null = isGlucoseUnit(series.unit) ? subject.glucose_band : null;
    this.gauge.show({ series, point, band, intervalUs, zone: subject.zone }, nowUs());
    if (this.points.length < 2 || !point) return;
    const span = { fromUs: point.t - recentSpan(series), toUs: point.t };
    const scaled = isGlucoseUnit(series.unit) ? this.points.map((p) => ({ ...p, v: p.v === null ? null : toMgDl(p.v, series.unit as "mg/dL") })) : this.points;
    this.spark.replaceChildren(sparkline(scaled.filter((p) => p.t >= span.fromUs && p.t <= span.toUs), span, breakAfter(intervalUs), band));
  }
}

/** A word with a lamp before it whose shape differs too. */
export function connectedText(connected: boolean): HTMLElement {
  return h("span", { class: "status", "data-on": String(connected) }, connected ? "connected" : "not connected");
}

/** A count that should be 0, marked when it is not. */
export const alarmCount = (count: number): HTMLElement => h("span", { class: count > 0 ? "alarm" : null }, count > 0 ? `${countText(count)} !` : "0");

/** The alarms that a device has raised, by name. */
export const alarmNames = (kinds: readonly string[]): HTMLElement => h("span", { class: kinds.length > 0 ? "alarm" : null }, kinds.map(alarmName).join(", ") || "none");

function deviceRow(device: Device, now: number): (Node | string)[] {
  return [
    h("span", {}, h("a", { href: hrefTo("device", device.id) }, device.display_name), " ", h("a", { class: "aside", href: hrefTo("ledger", device.id), "aria-label": `Ledger of ${device.display_name}` }, "ledger")),
    connectedText(device.connected),
    h("span", { "data-age-of": device.last_seen_us }, device.last_seen_us === null ? "never" : ageText(now, device.last_seen_us)),
    device.lag_us === null ? "–" : device.lag_us < 1_000_000 ? `${Math.max(0, Math.round(device.lag_us / 1000))} ms` : spanText(device.lag_us),
    countText(device.readings),
    countText(device.gaps),
    alarmCount(device.quarantined),
    alarmNames(device.alarms),
  ];
}

const COLUMNS = [
  { header: "Device" }, { header: "Connection" }, { header: "Last seen" }, { header: "Lag", numeric: true }, { header: "Readings", numeric: true },
  { header: "Gaps", numeric: true }, { header: "Quarantined", numeric: true }, { header: "Alarms" },
];

export const fleet: OpenView = (root, _id, _query, signal) => {
  const cards = h("ul", { class: "cards" });
  const devicesHost = h("div");
  const body = h("div", { class: "stack" },
    h("section", { "aria-labelledby": "subjects-title" }, h("h2", { id: "subjects-title", class: "visually-hidden" }, "Subjects"), cards),
    h("section", { class: "panel", "aria-labelledby": "devices-title" }, h("h2", { id: "devices-title" }, "Devices"), devicesHost));
  let subjects: SubjectCard[] = [];
  let devices = new Map<string, Device>();
  let cardsEnd = new AbortController();
  signal.addEventListener("abort", () => cardsEnd.abort(), { once: true });

  const drawDevices = (): void => {
    const focused = devicesHost.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
    devicesHost.replaceChildren(table({ hidden: "Devices of the fleet" }, COLUMNS, [...devices.values()].map((device) => deviceRow(device, nowUs())), "No device has sent anything yet."));
    // Rows are built anew; whoever stands on a link of one stays there.
    if (focused) devicesHost.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus();
  };
  const drawDevicesSoon = gathered(1000, signal, drawDevices);

  const readSubjects = async (): Promise<void> => {
    const found = await api.subjects(signal);
    cardsEnd.abort();
    cardsEnd = new AbortController();
    subjects = found.subjects.map((subject) => new SubjectCard(subject, cardsEnd.signal));
    const focused = cards.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
    cards.replaceChildren(...(subjects.length > 0 ? subjects.map((card) => card.element) : [h("li", { class: "empty" }, NO_SUBJECT)]));
    if (focused) cards.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus();
    await Promise.all(subjects.map((card) => card.read(signal)));
  };
  const readDevices = async (): Promise<void> => {
    devices = new Map((await api.devices(signal)).devices.map((device) => [device.id, device]));
    drawDevices();
  };
  const reader = new Reader(body, signal, async () => void (await Promise.all([readSubjects(), readDevices()])));

  root.append(h("div", { class: "page-head" }, heading("Fleet"), unitChoice()), reader.notice, body);
  void reader.now();
  eachSecond(signal, (now) => {
    for (const age of devicesHost.querySelectorAll<HTMLElement>("[data-age-of]")) setText(age, ageText(now, Number(age.dataset["ageOf"])));
  });
  openLive("", {
    reading: (series, points) => subjects.find((card) => card.series?.id === series)?.add(points),
    device: (device) => {
      devices.set(device.id, device);
      drawDevicesSoon();
    },
    resync: () => void reader.now(),
  }, signal);
};
