//! A subject: the newest value always in view, a day or two weeks of it, time in range, and the whole history.

import type { Day, Point, Readings, Series, Subject } from "../api";
import { api, nowUs } from "../api";
import type { Picture } from "../chart";
import { Chart } from "../chart";
import { button, countText, h, setText } from "../dom";
import { openLive } from "../live";
import { Coverage } from "../parts/coverage";
import { Gauge, isStale } from "../parts/gauge";
import { Reader } from "../parts/notice";
import { rangePanel } from "../parts/rangebar";
import { changes, glucoseUnit } from "../prefs";
import type { Band } from "../range";
import { timeInRange } from "../range";
import { breakAfter, mergePoints, newestOf, readUpTo, usualInterval } from "../readings";
import type { OpenView, View } from "../router";
import { hrefTo } from "../router";
import { nearestDay } from "../runs";
import { eachSecond, gathered } from "../tick";
import type { Span } from "../time";
import { HOUR_US, MINUTE_US, addDays, dateText, dayOf, daysSpan, isDay, spanText } from "../time";
import { isGlucoseUnit, shownAs } from "../units";
import type { SpanDays } from "./day-nav";
import { DayNav } from "./day-nav";
import { mainSeries } from "./fleet";
import { heading, retitle, unitChoice } from "./page";
import { readingsFold } from "./readings-table";

/** The most the gateway gives at once; two weeks at 5 minutes are 4032 readings, all of them raw. */
const POINTS_GLUCOSE = 10_000;
/** Other series are too quick to be read one by one over a day; two for each pixel of a wide chart do. */
const POINTS_OTHER = 2_400;
/** How far back the usual interval is looked for. */
const RECENT_POINTS = 1000;

const REDRAW_SECONDS = 15;

/** What the page has read. */
interface Held {
  subject: Subject;
  series: Series;
  recent: Point[];
  days: Day[];
  readings: Readings | null;
}

class SubjectPage implements View {
  private readonly title = heading("Subject");
  private readonly gauge = new Gauge("large");
  private readonly zoneNote = h("p", { class: "muted zone-note" });
  private readonly empty = h("p", { class: "empty chart-empty", hidden: true });
  private readonly rangeHost = h("div", { class: "range-host" });
  private readonly seriesHost = h("div", { class: "series-choice" });
  private readonly units = unitChoice();
  private readonly nav = new DayNav((to) => this.go(to));
  private readonly coverage = new Coverage((day) => this.go({ day }));
  private readonly chart: Chart;
  private readonly reader: Reader;
  private readonly body: HTMLElement;
  private readonly drawSoon: () => void;
  private readonly readDaysSoon: () => void;
  private readonly readSpanSoon: () => void;
  private held: Held | null = null;
  private picture: Picture | null = null;
  private lineEnd: AbortController | null = null;
  private spanEnd = new AbortController();

  constructor(root: HTMLElement, private readonly id: string, private asked: URLSearchParams, private readonly signal: AbortSignal) {
    this.chart = new Chart("Readings of the shown span", false, signal);
    const head = h("div", { class: "sticky-head" }, h("div", { class: "sticky-in" }, this.title, this.gauge.element));
    const chartPanel = h("section", { class: "panel chart-panel", "aria-labelledby": "span-title" },
      h("div", { class: "panel-head" }, this.nav.title, this.zoneNote), this.chart.element, this.empty);
    this.nav.title.id = "span-title";
    this.body = h("div", { class: "stack" },
      h("div", { class: "toolbar" }, this.nav.element, this.units, this.seriesHost),
      chartPanel, this.coverage.element, this.rangeHost, readingsFold(() => this.picture));
    this.reader = new Reader(this.body, signal, () => this.readAll());
    root.append(head, this.reader.notice, this.body);
    this.drawSoon = gathered(250, signal, () => this.draw());
    this.readDaysSoon = gathered(60_000, signal, () => void this.readDays().catch(() => undefined));
    this.readSpanSoon = gathered(60_000, signal, () => void this.reader.now());
    changes.addEventListener("unit", () => this.draw(), { signal });
    signal.addEventListener("abort", () => this.lineEnd?.abort(), { once: true });
    void this.reader.now();
    let seconds = 0;
    eachSecond(signal, (now) => {
      this.gauge.tick(now);
      // The line "now" moves, and what is drawn may become stale without a new reading.
      if ((seconds += 1) % REDRAW_SECONDS === 0) this.draw();
    });
  }

  query(query: URLSearchParams): void {
    const before = this.asked;
    this.asked = query;
    if (before.get("series") !== query.get("series")) void this.reader.now();
    else void this.readSpan();
  }

  /** Follows a choice by way of the address, so that it can be kept, shared and gone back from. */
  private go(to: { day?: string | null; days?: SpanDays; series?: string }): void {
    const { day, days } = this.shownDays();
    const asked: Record<string, string> = {};
    const series = to.series ?? this.asked.get("series");
    const kept = to.day === undefined ? (this.asked.get("day") ? day : null) : to.day;
    if (series) asked["series"] = series;
    if (kept !== null) asked["day"] = kept;
    if ((to.days ?? days) === 14) asked["span"] = "14";
    window.location.hash = hrefTo("subject", this.id, asked);
  }

  private get zone(): string {
    return this.held?.subject.zone ?? "UTC";
  }

  private newestDay(): string | null {
    const newest = newestOf(this.held?.recent ?? []);
    return newest ? dayOf(this.zone, newest.t) : null;
  }

  private shownDays(): { day: string; days: SpanDays } {
    const day = this.asked.get("day") ?? "";
    return { day: isDay(day) ? day : (this.newestDay() ?? dayOf(this.zone, nowUs())), days: this.asked.get("span") === "14" ? 14 : 1 };
  }

  private shownSpan(): Span {
    const { day, days } = this.shownDays();
    return daysSpan(this.zone, day, days);
  }

  private async readAll(): Promise<void> {
    const { subject } = await api.subject(this.id, this.signal);
    retitle(this.title, subject.display_name);
    const series = subject.series.find((one) => String(one.id) === this.asked.get("series")) ?? mainSeries(subject.series);
    if (!series) {
      setText(this.empty, "No series is assigned to this subject yet.");
      this.empty.hidden = false;
      return;
    }
    const isNew = this.held?.series.id !== series.id;
    this.held = { subject, series, recent: series.latest ? [series.latest] : [], days: isNew ? [] : this.held!.days, readings: isNew ? null : this.held!.readings };
    this.showSeries(subject.series, series);
    this.showNewest();
    if (isNew) this.listen(series.id);
    await Promise.all([this.readRecent(), this.readDays(), this.fetchSpan()]);
    this.draw();
  }

  private async readRecent(): Promise<void> {
    const held = this.held!;
    const endUs = readUpTo(held.series, nowUs());
    if (endUs === null) return;
    const back = isGlucoseUnit(held.series.unit) ? 12 * HOUR_US : 5 * MINUTE_US;
    const found = await api.readings(held.series.id, endUs - back, endUs, RECENT_POINTS, this.signal);
    held.recent = mergePoints(found.points, held.recent, RECENT_POINTS);
  }

  private async readDays(): Promise<void> {
    const held = this.held!;
    held.days = (await api.days(held.series.id, this.zone, this.signal)).days;
    this.coverage.show(held.days);
  }

  /** Reads the shown span; a choice made meanwhile ends the reading of the one before. */
  private async fetchSpan(): Promise<void> {
    const held = this.held!;
    this.spanEnd.abort();
    const end = (this.spanEnd = new AbortController());
    const { fromUs, toUs } = this.shownSpan();
    const points = isGlucoseUnit(held.series.unit) ? POINTS_GLUCOSE : POINTS_OTHER;
    const found = await api.readings(held.series.id, fromUs, toUs, points, AbortSignal.any([this.signal, end.signal])).catch((error: unknown) => {
      if (end.signal.aborted) return null;
      throw error;
    });
    if (found) held.readings = found;
  }

  private async readSpan(): Promise<void> {
    if (!this.held) return;
    this.draw();
    try {
      await this.fetchSpan();
      this.draw();
    } catch {
      // The reader tries the same, and shows what is wrong.
      void this.reader.now();
    }
  }

  private listen(series: number): void {
    this.lineEnd?.abort();
    this.lineEnd = new AbortController();
    openLive(`?series=${series}`, { reading: (of, points) => of === series && this.add(points), resync: () => void this.reader.now() }, this.lineEnd.signal);
  }

  private add(points: Point[]): void {
    const held = this.held;
    if (!held || points.length === 0) return;
    const dayBefore = this.newestDay();
    held.recent = mergePoints(held.recent, points, RECENT_POINTS);
    this.showNewest();
    const readings = held.readings;
    if (readings) {
      const inside = points.filter((point) => point.t >= readings.from_us && point.t < readings.to_us);
      if (inside.length > 0) held.readings = { ...readings, points: mergePoints(readings.points, inside, 20_000) };
      if (readings.level !== "raw") this.readSpanSoon();
    }
    this.readDaysSoon();
    if (!this.asked.get("day") && this.newestDay() !== dayBefore) void this.readSpan();
    else this.drawSoon();
  }

  private band(): Band | null {
    return this.held && isGlucoseUnit(this.held.series.unit) ? this.held.subject.glucose_band : null;
  }

  private showNewest(): void {
    const { series, recent } = this.held!;
    this.gauge.show({ series, point: newestOf(recent), band: this.band(), intervalUs: usualInterval(recent), zone: this.zone }, nowUs());
  }

  private showSeries(all: readonly Series[], chosen: Series): void {
    this.units.hidden = !isGlucoseUnit(chosen.unit);
    const numeric = all.filter((series) => series.kind === "gauge" || series.kind === "counter" || series.kind === "delta");
    if (numeric.length < 2) return this.seriesHost.replaceChildren();
    const select = h("select", {}, ...numeric.map((series) =>
      h("option", { value: series.id, selected: series.id === chosen.id }, `${series.display_name} (${series.device})`)));
    select.addEventListener("change", () => this.go({ series: select.value }));
    this.seriesHost.replaceChildren(h("label", { class: "field" }, h("span", { class: "visually-hidden" }, "Series"), select));
  }

  private draw(): void {
    const held = this.held;
    if (!held) return;
    const shownDays = this.shownDays();
    const span = this.shownSpan();
    const hours = (span.toUs - span.fromUs) / HOUR_US;
    this.showNewest();
    this.nav.show(shownDays, this.newestDay());
    this.coverage.mark(addDays(shownDays.day, 1 - shownDays.days), shownDays.day);
    setText(this.zoneNote, `Times in ${this.zone}${hours % 24 === 0 ? "" : `, where this ${shownDays.days === 1 ? "day has" : "span has"} ${hours} hours`}`);
    // Readings of another span belong to another day: until those of this one are here, the chart is empty.
    const readings = held.readings?.from_us === span.fromUs && held.readings.to_us === span.toUs ? held.readings : null;
    const points = readings?.points ?? [];
    this.chart.element.setAttribute("aria-busy", String(readings === null));
    this.picture = this.pictureOf(held, span, points, readings?.level ?? "raw");
    this.showEmpty(shownDays.day, readings !== null && points.length === 0);
    this.chart.show(this.picture);
    this.drawRange(held, span, points, readings?.level ?? "raw");
  }

  private drawRange(held: Held, span: Span, points: readonly Point[], level: Readings["level"]): void {
    const band = this.band();
    const shown = this.picture!.shown;
    const interval = usualInterval(held.recent) ?? 5 * MINUTE_US;
    const found = band && level === "raw" ? timeInRange(points, band, span, usualInterval(points) ?? interval, nowUs(), shown.scale) : null;
    if (!band || points.length === 0 || found?.counted === 0) this.rangeHost.replaceChildren();
    else this.rangeHost.replaceChildren(rangePanel(found, band, shown));
  }

  private pictureOf(held: Held, span: Span, points: readonly Point[], level: Readings["level"]): Picture {
    const recent = usualInterval(held.recent);
    const newest = newestOf(held.recent);
    const intervalUs = (level === "raw" ? usualInterval(points) : null) ?? recent;
    const sum = points.find((point) => point.sum);
    const bucketUs = level === "raw" ? 0 : sum ? sum.sum!.to - sum.t : (2 * (span.toUs - span.fromUs)) / POINTS_OTHER;
    const drawnAs = sum ? "as the mean, and from the least to the greatest, of each" : "by the least and greatest of each";
    const isCurrentSpan = newest !== null && newest.t >= span.fromUs && newest.t < span.toUs;
    return {
      points, span, zone: this.zone, shown: shownAs(held.series.unit, glucoseUnit()), band: this.band(),
      breakUs: Math.max(breakAfter(intervalUs), 2.5 * bucketUs), nowUs: nowUs(),
      stale: isCurrentSpan && isStale({ series: held.series, point: newest, intervalUs: recent }, nowUs()),
      seconds: (intervalUs ?? 0) < MINUTE_US,
      note: points.length === 0 ? "" : level === "raw" ? `${countText(points.length)} readings` : `${countText(held.readings!.readings_in_range)} readings, drawn ${drawnAs} ${spanText(bucketUs)}`,
    };
  }

  private showEmpty(day: string, isEmpty: boolean): void {
    this.empty.hidden = !isEmpty;
    this.chart.element.hidden = isEmpty;
    if (!isEmpty) return;
    const nearest = nearestDay(this.held?.days ?? [], day);
    this.empty.replaceChildren(h("span", {}, "No readings in this span."));
    if (nearest && nearest !== day) this.empty.append(" ", button(`Go to ${dateText(nearest)}, the nearest day with readings`, () => this.go({ day: nearest })));
  }
}

export const subject: OpenView = (root, id, query, signal) => new SubjectPage(root, id, query, signal);
