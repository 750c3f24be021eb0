//! Live readings by server-sent events: reconnects by itself, and says when what is shown may have fallen behind.

import type { Device, Point } from "./api";
import { hearTime, nowUs } from "./api";

export interface LiveHandlers {
  reading?(series: number, points: Point[]): void;
  device?(device: Device): void;
  /** Something was missed: what is shown must be read again. */
  resync(): void;
}

/** The gateway sends a heartbeat each 5 s; three of them missed is a lost connection. */
const SILENCE_MS = 15_000;
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 30_000;

/** The state of the live connection; `lostSinceUs` is null while it is well, or not wanted. */
export const connection = Object.assign(new EventTarget(), { wanted: false, open: false, lostSinceUs: null as number | null });

function setConnection(wanted: boolean, open: boolean, lostSinceUs: number | null): void {
  Object.assign(connection, { wanted, open, lostSinceUs });
  connection.dispatchEvent(new Event("change"));
}

/** Listens to `/api/v1/live` with a query such as `?device=meter-7`, until `signal` aborts. */
export function openLive(query: string, handlers: LiveHandlers, signal: AbortSignal): void {
  new LiveLine(query, handlers, signal).dial();
}

class LiveLine {
  private source: EventSource | null = null;
  private silence: number | undefined;
  private retry: number | undefined;
  private failures = 0;
  private missed = false;

  constructor(private readonly query: string, private readonly handlers: LiveHandlers, private readonly signal: AbortSignal) {
    setConnection(true, false, null);
    signal.addEventListener("abort", () => this.hangUp(), { once: true });
  }

  dial(): void {
    if (this.signal.aborted) return;
    const source = new EventSource(`/api/v1/live${this.query}`);
    this.source = source;
    this.listen(source);
    this.awaitWord();
  }

  private listen(source: EventSource): void {
    const on = (name: string, act: (data: unknown) => void): void =>
      source.addEventListener(name, (event) => {
        this.heard();
        act(parsed((event as MessageEvent<string>).data));
      });
    source.addEventListener("open", () => this.heard());
    source.addEventListener("error", () => this.lose());
    on("resync", () => this.handlers.resync());
    on("heartbeat", (data) => {
      const asOf = (data as { as_of_us?: unknown } | null)?.as_of_us;
      if (typeof asOf === "number") hearTime(asOf);
    });
    on("device", (data) => data !== null && this.handlers.device?.(data as Device));
    on("reading", (data) => {
      const said = data as { series?: unknown; points?: unknown } | null;
      if (typeof said?.series === "number" && Array.isArray(said.points)) this.handlers.reading?.(said.series, said.points as Point[]);
    });
  }

  /** Any event proves the line; after a loss, what came meanwhile is read again. */
  private heard(): void {
    this.failures = 0;
    if (!connection.open) setConnection(true, true, null);
    this.awaitWord();
    if (this.missed) {
      this.missed = false;
      this.handlers.resync();
    }
  }

  private awaitWord(): void {
    window.clearTimeout(this.silence);
    this.silence = window.setTimeout(() => this.lose(), SILENCE_MS);
  }

  /** The browser's own retry is not relied upon: it gives up for good after some errors, and never on silence. */
  private lose(): void {
    if (this.signal.aborted) return;
    window.clearTimeout(this.silence);
    this.source?.close();
    this.missed = true;
    if (connection.lostSinceUs === null) setConnection(true, false, nowUs());
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.failures);
    this.failures += 1;
    window.clearTimeout(this.retry);
    this.retry = window.setTimeout(() => this.dial(), ceiling * (0.5 + Math.random() / 2));
  }

  private hangUp(): void {
    window.clearTimeout(this.silence);
    window.clearTimeout(this.retry);
    this.source?.close();
    setConnection(false, false, null);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
