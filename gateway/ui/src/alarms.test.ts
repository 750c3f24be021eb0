import { expect, test } from "vitest";
import { alarmMeaning, alarmName, reasonText } from "./alarms";

test("what this page does not know keeps its own name, without a made-up meaning", () => {
  expect([alarmName("buffer_copied"), alarmName("moon_phase"), alarmMeaning("moon_phase")]).toEqual(["Copied buffer", "moon phase", ""]);
  expect([reasonText("disk_full"), reasonText("moon_phase")]).toEqual(["the disk was full", "moon phase"]);
});
