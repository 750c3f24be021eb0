//! Once a second, for whoever shows an age.

import { nowUs } from "./api";

/** Calls `act` with the gateway's time now and then each second, until `signal` aborts. */
export function eachSecond(signal: AbortSignal, act: (nowUs: number) => void): void {
  const timer = window.setInterval(() => act(nowUs()), 1000);
  signal.addEventListener("abort", () => window.clearInterval(timer), { once: true });
  act(nowUs());
}

/** Wraps `act` so that a burst of calls becomes one, at most `everyMs` apart; it ends with `signal`. */
export function gathered(everyMs: number, signal: AbortSignal, act: () => void): () => void {
  let timer: number | undefined;
  signal.addEventListener("abort", () => window.clearTimeout(timer), { once: true });
  return () => {
    if (signal.aborted || timer !== undefined) return;
    timer = window.setTimeout(() => {
      timer = undefined;
      act();
    }, everyMs);
  };
}
