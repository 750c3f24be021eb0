//! Reading Prometheus text: the gateway's own figures, one sum for each name.

/** One figure: its name, what it means, and the sum over its labels. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly value: number;
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?\s+(\S+)/;

/** Counters and gauges of a Prometheus text (version 0.0.4), summed over labels; histograms give count and sum only. */
export function parseMetrics(text: string): Metric[] {
  const help = new Map<string, string>();
  const sums = new Map<string, number>();
  for (const line of text.split("\n")) {
    const told = /^# HELP (\S+) (.*)$/.exec(line);
    if (told) help.set(told[1]!, told[2]!.replaceAll("\\n", " "));
    const sample = line.startsWith("#") ? null : SAMPLE.exec(line);
    const value = Number(sample?.[2]);
    if (!sample || !Number.isFinite(value) || sample[1]!.endsWith("_bucket") || line.includes('quantile="')) continue;
    sums.set(sample[1]!, (sums.get(sample[1]!) ?? 0) + value);
  }
  const meaning = (name: string): string => help.get(name) ?? help.get(name.replace(/_(count|sum|total)$/, "")) ?? "";
  return [...sums].map(([name, value]) => ({ name, value, help: meaning(name) }));
}
