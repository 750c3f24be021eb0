import { expect, test } from "vitest";
import type { Epoch, Gap } from "./api";
import { piecesOf } from "./pieces";

const epoch: Epoch = {
  epoch: "00000000000000aa", first_arrival_us: 1, last_arrival_us: 2, next: 21, is_astray: false,
  counts: { stored: 16, quarantined: 0, waiting: 2, repaired: 0, lost: 2 },
  ranges: [{ first: 12, last: 13, state: "gap" }, { first: 1, last: 9, state: "stored" }, { first: 14, last: 20, state: "stored" }],
};
const gap = (of: Partial<Gap>): Gap => ({ epoch: epoch.epoch, first: 12, last: 13, source: null, from_us: null, to_us: null, count: null, numbers: null, reason: "evicted", ...of });

test("the ranges stand in order", () => {
  expect(piecesOf(epoch, []).map((piece) => [piece.first, piece.state])).toEqual([[1, "stored"], [12, "gap"], [14, "stored"]]);
});

test("a gap carries the reasons that overlap it, of its own epoch only", () => {
  const gaps = [gap({}), gap({ first: 13, last: 13, reason: "corrupt" }), gap({ epoch: "00000000000000bb", reason: "other" })];
  expect(piecesOf(epoch, gaps)[1]!.reason).toBe("evicted, corrupt");
});
