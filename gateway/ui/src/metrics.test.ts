import { expect, test } from "vitest";
import { parseMetrics } from "./metrics";

test("figures are summed over labels, buckets are left out, and help is kept", () => {
  const text = [
    "# HELP tributary_frames_total Frames received.", "# TYPE tributary_frames_total counter",
    'tributary_frames_total{lane="live"} 10', 'tributary_frames_total{lane="backfill"} 5',
    'tributary_commit_seconds_bucket{le="0.1"} 4', "tributary_commit_seconds_count 4", "tributary_odd NaN", "",
  ].join("\n");
  expect(parseMetrics(text)).toEqual([
    { name: "tributary_frames_total", value: 15, help: "Frames received." },
    { name: "tributary_commit_seconds_count", value: 4, help: "" },
  ]);
});
