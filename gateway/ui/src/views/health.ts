//! Health of the gateway: what runs, whether it is ready and why not, and a few of its own figures.

import type { About } from "../api";
import { api, metricsText, nowUs, readiness } from "../api";
import { countText, h, table } from "../dom";
import { parseMetrics } from "../metrics";
import { Reader } from "../parts/notice";
import type { OpenView } from "../router";
import { browserZone, instantText, spanText } from "../time";
import { numberText } from "../units";
import { heading } from "./page";

const READ_EVERY_MS = 5_000;
/** The page shows the gateway's own figures; runtime internals stay in /metrics. */
const OURS = /^tributary_/;
const METRICS_MAX = 40;

function aboutPanel(about: About): HTMLElement {
  const fact = (term: string, value: string): HTMLElement => h("div", {}, h("dt", {}, term), h("dd", {}, value));
  return h("section", { class: "panel" }, h("h2", {}, "Gateway"),
    h("dl", { class: "facts" }, fact("Version", about.version), fact("Store", about.store), fact("Readings", countText(about.readings)),
      fact("Running for", spanText(nowUs() - about.started_us)), fact("Started", instantText(browserZone(), about.started_us, true))));
}

function readyPanel({ ready, reasons }: { ready: boolean; reasons: string[] }): HTMLElement {
  const panel = h("section", { class: "panel ready", "data-ready": String(ready) }, h("h2", {}, ready ? "● Ready" : "▲ Not ready"),
    h("p", {}, ready ? "The gateway takes readings and answers." : "The gateway does not take readings now."));
  if (reasons.length > 0) panel.append(h("ul", {}, ...reasons.map((reason) => h("li", {}, reason))));
  return panel;
}

function metricsPanel(text: string): HTMLElement {
  const columns = [{ header: "Figure" }, { header: "Value", numeric: true }, { header: "Meaning" }];
  const rows = parseMetrics(text).filter((metric) => OURS.test(metric.name)).slice(0, METRICS_MAX)
    .map((metric) => [h("code", {}, metric.name), numberText(metric.value), metric.help || "–"]);
  return h("section", { class: "panel" }, h("h2", {}, "Figures"), table("From /metrics, summed over labels", columns, rows, "The gateway gave no figures."));
}

export const health: OpenView = (root, _id, _query, signal) => {
  const body = h("div", { class: "stack" });
  const reader = new Reader(body, signal, async () => {
    const [about, ready, metrics] = await Promise.all([api.about(signal), readiness(signal), metricsText(signal)]);
    body.replaceChildren(readyPanel(ready), aboutPanel(about), metricsPanel(metrics));
  });
  root.append(h("div", { class: "page-head" }, heading("Health")), reader.notice, body);
  const again = (): void => {
    void reader.now().finally(() => {
      if (!signal.aborted) window.setTimeout(() => !signal.aborted && again(), READ_EVERY_MS);
    });
  };
  again();
};
