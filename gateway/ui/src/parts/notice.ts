//! A place for what went wrong: says what could not be read, and how old is what still stands below it.

import { ApiError, nowUs } from "../api";
import { button, h, setText } from "../dom";
import { eachSecond, gathered } from "../tick";
import { spanText } from "../time";

/** How long after a failure reading is tried again, on top of what a returning live line asks for. */
const RETRY_MS = 5_000;

/** Reads now and again; keeps what was shown, greyed and with its age, while reading fails. */
export class Reader {
  readonly notice = h("div", { class: "notice", role: "alert", hidden: true });
  private readonly message = h("p");
  private readonly age = h("p", { class: "notice-age" });
  private goodAtUs: number | null = null;
  private failed: string | null = null;
  private running: Promise<void> | null = null;
  private again = false;
  private readonly retrySoon: () => void;

  /** `read` fetches and shows; `body` is greyed while it fails. */
  constructor(private readonly body: HTMLElement, private readonly signal: AbortSignal, private readonly read: () => Promise<void>) {
    this.notice.append(h("div", {}, this.message, this.age), button("Try again", () => void this.now()));
    eachSecond(signal, (now) => this.tell(now));
    this.retrySoon = gathered(RETRY_MS, signal, () => void this.now());
  }

  /** Reads; calls while one reading is under way become one more after it. */
  now(): Promise<void> {
    if (this.running) this.again = true;
    this.running ??= this.attempt().finally(() => {
      this.running = null;
      if (this.again && !this.signal.aborted) {
        this.again = false;
        void this.now();
      }
    });
    return this.running;
  }

  private async attempt(): Promise<void> {
    try {
      await this.read();
      this.goodAtUs = nowUs();
      this.failed = null;
    } catch (error) {
      if (this.signal.aborted) return;
      if (!(error instanceof ApiError)) console.error(error);
      this.failed = error instanceof ApiError ? error.message : "this page could not show what it read";
      this.retrySoon();
    }
    this.tell(nowUs());
  }

  private tell(now: number): void {
    this.notice.hidden = this.failed === null;
    this.body.classList.toggle("outdated", this.failed !== null);
    this.body.hidden = this.failed !== null && this.goodAtUs === null;
    if (this.failed === null) return;
    setText(this.message, `Could not read: ${this.failed}.`);
    setText(this.age, this.goodAtUs === null ? "Nothing has been read yet." : `What is shown was read ${spanText(now - this.goodAtUs)} ago.`);
  }
}
