//! The numbers of an epoch as one list of ranges, each with what became of it.

import type { Epoch, Gap } from "./api";

/** What became of a number. */
export type State = "stored" | "quarantined" | "gap";

/** A range of numbers with what became of it. */
export interface Piece {
  readonly first: number;
  readonly last: number;
  readonly state: State;
  readonly reason: string;
}

/** All ranges of an epoch in order; a gap carries the reasons that overlap it. */
export function piecesOf(epoch: Epoch, gaps: readonly Gap[]): Piece[] {
  const why = (first: number, last: number): string => {
    const over = gaps.filter((gap) => gap.epoch === epoch.epoch && gap.first !== null && gap.first <= last && (gap.last ?? gap.first) >= first);
    return [...new Set(over.map((gap) => gap.reason))].join(", ");
  };
  const pieces = epoch.ranges.map(({ first, last, state }) => ({ first, last, state, reason: state === "gap" ? why(first, last) : "" }));
  return pieces.sort((a, b) => a.first - b.first);
}
