//! What the gateway's alarms and reasons mean, in words for people.

/** Kinds of alarms, each as a heading and what it means. */
const ALARMS: Readonly<Record<string, readonly [string, string]>> = {
  unexplained_gap: ["Unexplained gap", "Numbers were given away that neither the device nor this gateway has."],
  buffer_copied: ["Copied buffer", "The device speaks of another buffer than before: an older copy was put back, or two agents run from one disk image."],
  device_twice: ["Two of one device", "Two connections with one certificate take over from each other."],
  conflict: ["Conflict", "Two different batches came under one number; the second is in quarantine."],
  conflict_not_kept: ["Conflict not kept", "Two different batches came under one number, and quarantine had no room for the second."],
  quarantine_full: ["Quarantine full", "Batches that cannot be read are refused until there is room."],
  too_many_series: ["Too many series", "The device names more series than it may."],
  identity_mismatch: ["Another's name", "What it sends bears the name of another device; it is in quarantine."],
  sink_refused: ["Refused by the time-series store", "It never takes some readings; this gateway's database has them."],
};

/** An alarm's name for people; one that this page does not know keeps its own. */
export const alarmName = (kind: string): string => ALARMS[kind]?.[0] ?? kind.replaceAll("_", " ");

/** What an alarm means; nothing for one that this page does not know. */
export const alarmMeaning = (kind: string): string => ALARMS[kind]?.[1] ?? "";

const REASONS: Readonly<Record<string, string>> = {
  evicted: "the buffer was full",
  disk_full: "the disk was full",
  damaged: "the buffer was damaged",
  overrun: "readings came too fast",
  dropped: "dropped by hand",
  unexplained: "unexplained",
  several: "several reasons",
};

/** Why something is lost, for people. */
export const reasonText = (reason: string): string => REASONS[reason] ?? reason.replaceAll("_", " ");
