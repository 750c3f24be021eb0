//! The gateway's HTTP API, version 1, as types and as calls. Every call has a deadline.

/** One reading. `v` is null where the reading is a state or a text (`s`); `future` marks a far-future time. */
export interface Point {
  readonly t: number;
  readonly v: number | null;
  readonly s: string | null;
  readonly q?: "synced" | "held" | "unset" | "source";
  readonly o?: number | null;
  readonly future?: true;
  /** There if this is not one reading but the sum of all in `[t, to)`: `v` is their mean. */
  readonly sum?: Sum;
}

/** What the readings of a span come to: `n` numbers from `min` to `max`, and states counted apart. */
export interface Sum {
  readonly to: number;
  readonly n: number;
  readonly min: number | null;
  readonly max: number | null;
  readonly first: number | null;
  readonly last: number | null;
  readonly below: number;
  readonly above: number;
  readonly others: number;
}

export interface Series {
  readonly id: number;
  readonly device: string;
  readonly name: string;
  readonly unit: string;
  readonly kind: "gauge" | "counter" | "delta" | "state" | "text" | "event";
  readonly display_name: string;
  readonly readings: number;
  readonly first_us: number | null;
  readonly last_us: number | null;
  readonly latest: Point | null;
}

export interface Device {
  readonly id: string;
  readonly display_name: string;
  readonly connected: boolean;
  readonly first_seen_us: number | null;
  readonly last_seen_us: number | null;
  readonly last_reading_us: number | null;
  readonly lag_us: number | null;
  readonly readings: number;
  readonly batches: number;
  readonly quarantined: number;
  readonly gaps: number;
  readonly alarms: string[];
}

export interface Subject {
  readonly id: string;
  readonly display_name: string;
  readonly zone: string;
  readonly glucose_band: { readonly low: number; readonly high: number };
  readonly series: Series[];
}

export interface Readings {
  readonly as_of_us: number;
  readonly series: Series;
  readonly from_us: number;
  readonly to_us: number;
  /** All readings; the least and greatest of equal buckets; or sums of whole minutes, quarters or hours. */
  readonly level: "raw" | "min-max" | "1m" | "15m" | "1h";
  readonly readings_in_range: number;
  readonly newest_us: number | null;
  readonly points: Point[];
}

export interface Day {
  readonly date: string;
  readonly from_us: number;
  readonly to_us: number;
  readonly readings: number;
}

export interface Range {
  readonly first: number;
  readonly last: number;
  readonly state: "stored" | "quarantined" | "gap";
}

/** What became of numbers: each is one batch. */
export interface Counts {
  readonly stored: number;
  readonly quarantined: number;
  readonly waiting: number;
  readonly repaired: number;
  readonly lost: number;
}

export interface Epoch {
  readonly epoch: string;
  readonly first_arrival_us: number | null;
  readonly last_arrival_us: number | null;
  readonly next: number | null;
  readonly counts: Counts;
  readonly is_astray: boolean;
  readonly ranges: Range[];
}

export interface Gap {
  readonly epoch: string | null;
  readonly first: number | null;
  readonly last: number | null;
  readonly source: string | null;
  readonly from_us: number | null;
  readonly to_us: number | null;
  readonly count: number | null;
  readonly numbers: number | null;
  readonly reason: string;
}

/** What is lost for one reason; `uncounted` gaps do not say how many readings. */
export interface Lost {
  readonly reason: string;
  readonly gaps: number;
  readonly numbers: number;
  readonly readings: number;
  readonly uncounted: number;
}

export interface Alarm {
  readonly kind: string;
  readonly first_us: number;
  readonly last_us: number;
  readonly count: number;
}

export interface Ledger {
  readonly as_of_us: number;
  readonly device: string;
  readonly connected: boolean;
  readonly totals: Counts;
  readonly lost: Lost[];
  readonly alarms: Alarm[];
  readonly epochs: Epoch[];
  readonly gaps: Gap[];
}

export interface Quarantined {
  readonly id: number;
  readonly device: string;
  readonly arrived_us: number;
  readonly topic: string;
  readonly reason: string;
  readonly bytes: number;
  readonly epoch: string | null;
  readonly number: number | null;
}

export interface About {
  readonly as_of_us: number;
  readonly version: string;
  readonly store: string;
  readonly started_us: number;
  readonly readings: number;
  readonly note: string;
}

/** A call that did not give an answer; the message is fit to be shown. */
export class ApiError extends Error {
  readonly status: number | null;

  constructor(message: string, status: number | null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** Longest wait for an answer; the slowest query, a year at 1000 points, takes a small part of a second. */
const DEADLINE_MS = 10_000;

/** The gateway's clock seen from here: ages are reckoned by it, since the browser's own clock may be wrong. */
const clock = { asOfUs: 0, heardAtMs: 0 };

/** Notes the gateway's time as it was told just now. */
export function hearTime(asOfUs: number): void {
  clock.asOfUs = asOfUs;
  clock.heardAtMs = performance.now();
}

/** Now, by the gateway's clock; by the browser's until the gateway was heard. */
export function nowUs(): number {
  if (clock.asOfUs === 0) return Date.now() * 1000;
  return clock.asOfUs + Math.round((performance.now() - clock.heardAtMs) * 1000);
}

async function fetchWithin(path: string, signal: AbortSignal | undefined, accept: string): Promise<Response> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  try {
    return await fetch(path, {
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      headers: { accept },
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (deadline.aborted) throw new ApiError(`the gateway did not answer within ${DEADLINE_MS / 1000} s`, null);
    throw new ApiError("the gateway cannot be reached", null);
  }
}

async function problemOf(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  const problem = (typeof body === "object" && body !== null ? body : {}) as { title?: unknown; detail?: unknown };
  const said = [problem.title, problem.detail].filter((part) => typeof part === "string" && part !== "").join(": ");
  return new ApiError(said || `the gateway answered ${response.status}`, response.status);
}

async function get<T extends { as_of_us: number }>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await fetchWithin(path, signal, "application/json");
  if (!response.ok) throw await problemOf(response);
  const body = (await response.json().catch(() => null)) as T | null;
  if (typeof body?.as_of_us !== "number") throw new ApiError("the gateway's answer is not what this page expects", response.status);
  hearTime(body.as_of_us);
  return body;
}

const id = encodeURIComponent;

export const api = {
  devices: (signal?: AbortSignal) => get<{ as_of_us: number; devices: Device[] }>("/api/v1/devices", signal),
  device: (device: string, signal?: AbortSignal) =>
    get<{ as_of_us: number; device: Device; series: Series[] }>(`/api/v1/devices/${id(device)}`, signal),
  ledger: (device: string, signal?: AbortSignal) => get<Ledger>(`/api/v1/devices/${id(device)}/ledger`, signal),
  quarantine: (device: string, signal?: AbortSignal) =>
    get<{ as_of_us: number; entries: Quarantined[] }>(`/api/v1/quarantine?device=${id(device)}`, signal),
  subjects: (signal?: AbortSignal) => get<{ as_of_us: number; subjects: Subject[] }>("/api/v1/subjects", signal),
  subject: (subject: string, signal?: AbortSignal) =>
    get<{ as_of_us: number; subject: Subject }>(`/api/v1/subjects/${id(subject)}`, signal),
  /** Readings of `[fromUs, toUs)`: all of them up to `points`, else as `level` says. */
  readings: (series: number, fromUs: number, toUs: number, points: number, signal?: AbortSignal) =>
    get<Readings>(`/api/v1/series/${series}/readings?from_us=${fromUs}&to_us=${toUs}&points=${points}`, signal),
  days: (series: number, zone: string, signal?: AbortSignal) =>
    get<{ as_of_us: number; zone: string; days: Day[] }>(`/api/v1/series/${series}/days?zone=${id(zone)}`, signal),
  about: (signal?: AbortSignal) => get<About>("/api/v1/about", signal),
};

/** Whether the gateway is ready to take readings, and why not. A 503 is an answer here, not a failure. */
export async function readiness(signal?: AbortSignal): Promise<{ ready: boolean; reasons: string[] }> {
  const response = await fetchWithin("/readyz", signal, "application/json");
  const body = (await response.json().catch(() => null)) as { ready?: unknown; reasons?: unknown } | null;
  const reasons = Array.isArray(body?.reasons) ? body.reasons.map(String) : [];
  return { ready: response.ok && body?.ready === true, reasons };
}

/** The Prometheus text of the gateway's own figures. */
export async function metricsText(signal?: AbortSignal): Promise<string> {
  const response = await fetchWithin("/metrics", signal, "text/plain");
  if (!response.ok) throw await problemOf(response);
  return response.text();
}

