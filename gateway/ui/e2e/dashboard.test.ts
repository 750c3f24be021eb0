//! The dashboard in a real browser against a real gateway with demo data: `npm run e2e -- --url http://127.0.0.1:PORT`.

import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { chromium } from "playwright-core";
import type { Day, Device, Subject } from "../src/api";
import { axisPicture, coloursOf, isInView, overflowOf, paleTexts, tabTo } from "./page-probes";
import { Report, must, until } from "./report";

/** Chromium as root and without a network of its own to talk to. */
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const MG_DL_PER_MMOL_L = 18.0156;
const DESKTOP = { width: 1240, height: 900 };
const PHONE = { width: 360, height: 740 };

/** What the gateway holds, asked of its API. */
interface Demo {
  readonly url: string;
  readonly devices: Device[];
  readonly subjects: Subject[];
  readonly glucose: Subject;
  readonly series: number;
  readonly days: Day[];
}

async function ask<T>(url: string, path: string): Promise<T> {
  const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(10_000) });
  must(response.ok, `${path} answered ${response.status}`);
  return (await response.json()) as T;
}

async function discover(url: string): Promise<Demo> {
  const { devices } = await ask<{ devices: Device[] }>(url, "/api/v1/devices");
  const { subjects } = await ask<{ subjects: Subject[] }>(url, "/api/v1/subjects");
  const isGlucose = (unit: string): boolean => unit === "mg/dL" || unit === "mmol/L";
  const glucose = subjects.find((one) => one.series.some((series) => isGlucose(series.unit) && series.readings > 0));
  must(glucose, "no subject with glucose readings: is the demo data loaded?");
  const [series] = glucose.series.filter((one) => isGlucose(one.unit)).sort((a, b) => (b.last_us ?? 0) - (a.last_us ?? 0));
  // Days are summed up some seconds after readings are stored.
  const days = await until("the sums of all days", async () => {
    const { days } = await ask<{ days: Day[] }>(url, `/api/v1/series/${series!.id}/days?zone=${encodeURIComponent(glucose.zone)}`);
    return days.reduce((sum, day) => sum + day.readings, 0) >= series!.readings ? days : undefined;
  });
  return { url, devices, subjects, glucose, series: series!.id, days: days.filter((day) => day.readings > 0) };
}

const text = async (page: Page, selector: string): Promise<string> => (await page.locator(selector).first().textContent()) ?? "";
const subjectHash = (demo: Demo, query = ""): string => `/#/subject/${encodeURIComponent(demo.glucose.id)}${query}`;
const points = async (page: Page): Promise<number> => Number(await page.locator(".chart").first().getAttribute("data-points"));

/** Opens an address afresh, and waits until it shows something of its own. */
async function open(page: Page, demo: Demo, hash: string, ready: string): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${demo.url}${hash}`);
  await page.locator(ready).first().waitFor({ timeout: 10_000 });
}

async function openSubject(page: Page, demo: Demo, query = ""): Promise<void> {
  await open(page, demo, subjectHash(demo, query), ".sticky-head .gauge-age:not(:empty)");
  await until("the chart to have read", async () => (await page.locator(".chart[aria-busy='false']").count()) > 0);
}

async function checkFleet(report: Report, page: Page, demo: Demo): Promise<void> {
  await open(page, demo, "/", ".card .gauge-age:not(:empty)");
  await report.check("the fleet shows each device and whether it is connected", async () => {
    const rows = page.locator("table tbody tr");
    must((await rows.count()) === demo.devices.length, `${await rows.count()} rows for ${demo.devices.length} devices`);
    for (const device of demo.devices) {
      const row = rows.filter({ has: page.locator(`a[href$="device/${encodeURIComponent(device.id)}"]`) });
      must(/connected/.test(await row.innerText()), `${device.id} has no connection state`);
    }
  });
  await report.check("the fleet shows each subject with a value and its age", async () => {
    for (const subject of demo.subjects) {
      const card = page.locator(`[data-subject="${subject.id}"]`);
      must((await card.locator(".gauge-number").innerText()) !== "", `${subject.id} has no value`);
      if (subject.series.some((series) => series.readings > 0)) must(/ago|ahead/.test(await card.locator(".gauge-age").innerText()), `${subject.id} has no age`);
    }
  });
  await report.check("the footer says it is not for treatment decisions, with the version", async () => {
    const { version } = await ask<{ version: string }>(demo.url, "/api/v1/about");
    await until("the version in the footer", async () => (await text(page, "footer")).includes(version));
    must((await text(page, "footer")).includes("Not for treatment decisions."), await text(page, "footer"));
  });
  await report.check("where there is no subject, the fleet says how to set one up", async () => {
    const asked = "**/api/v1/subjects";
    await page.route(asked, (route) => route.fulfill({ json: { as_of_us: Date.now() * 1000, subjects: [] } }));
    await open(page, demo, "/", ".cards .empty");
    must((await text(page, ".cards .empty")).includes("[[subject]]"), await text(page, ".cards .empty"));
    await page.unroute(asked);
  });
}

async function checkSubject(report: Report, page: Page, demo: Demo): Promise<void> {
  // The newest day still grows, and a simulated sensor may be quicker than any real one (one reading a minute).
  const settled = demo.days.filter((day, i) => (i < demo.days.length - 1 || demo.days.length === 1) && day.readings <= 1500);
  const fullest = settled.reduce((best, day) => (day.readings > best.readings ? day : best));
  await report.check("the subject page draws the glucose of a day, each reading of it", async () => {
    await openSubject(page, demo, `?day=${fullest.date}`);
    await until("all readings of the day", async () => (await points(page)) === fullest.readings);
    const colours = await until("a painted canvas", async () => (await coloursOf(page, ".chart-panel")) > 20);
    must(colours, "the canvas is blank");
  });
  await report.check("a mouse over the chart shows the reading under it", async () => {
    await page.locator(".chart-panel .u-over").hover();
    await until("a reading", async () => / \d\d:\d\d.*, /.test(await text(page, ".chart-readout")));
  });
  await report.check("time in range says what it is based on", async () => {
    must(/Based on \d+ % of the time/.test(await text(page, ".range-basis")), await text(page, ".range"));
    const percents = (await page.locator(".range-parts strong").allTextContents()).map((part) => Number(/\d+/.exec(part)?.[0]));
    must(percents.length === 3 && Math.abs(percents.reduce((a, b) => a + b) - 100) <= 1, `shares are ${percents.join(", ")}`);
  });
  await report.check("two weeks show the readings of their fourteen days", async () => {
    await page.getByText("2 weeks", { exact: true }).click();
    const from = new Date(Date.parse(fullest.date) - 13 * 86_400_000).toISOString().slice(0, 10);
    const expected = demo.days.filter((day) => day.date >= from && day.date <= fullest.date).reduce((sum, day) => sum + day.readings, 0);
    await until(`${expected} readings`, async () => (await points(page)) === expected);
  });
  await report.check("the history leads to its first day by keyboard and to a day by click", async () => {
    await openSubject(page, demo);
    await page.locator(".coverage-track").press("Home");
    await until("the first day", async () => (await page.locator("input[type=date]").inputValue()) === demo.days[0]!.date);
    await page.locator(`[data-date="${fullest.date}"]`).first().dispatchEvent("click");
    await until("the clicked day", async () => (await points(page)) === fullest.readings);
    await page.getByRole("button", { name: "Newest" }).click();
    await until("the newest day", async () => (await page.locator("input[type=date]").inputValue()) >= demo.days.at(-1)!.date); // a day may have begun since
  });
  await report.check("a day without readings is said to be empty, and the nearest is offered", async () => {
    await openSubject(page, demo, "?day=1999-01-01");
    await until("the offer", async () => (await text(page, ".chart-empty")).includes("nearest"));
  });
}

async function checkUnits(report: Report, page: Page, demo: Demo): Promise<void> {
  const day = demo.days[0]!.date;
  const shown = async (unit: string): Promise<{ when: string; value: string }> => {
    await page.locator(".switch").getByText(unit, { exact: true }).click();
    await until(unit, async () => (await text(page, ".range-parts dt")).includes(unit));
    // At one moment: between two questions a reading may come.
    return page.evaluate(() => {
      const [when, value] = [".gauge-when", ".gauge-number"].map((part) => document.querySelector(part)?.textContent ?? "");
      return { when: when!, value: value! };
    });
  };
  await report.check("the unit switch converts value and band, with one decimal", async () => {
    await openSubject(page, demo, `?day=${day}`);
    await until("both units of one reading", async () => {
      const [inMass, inMolar] = [await shown("mg/dL"), await shown("mmol/L")];
      if (inMass.when !== inMolar.when) return false; // a reading came between
      if (Number.isNaN(Number(inMass.value))) return inMass.value === inMolar.value; // a state has no unit
      // Both are rounded from the value as stored, so whole mg/dL leave half a unit open.
      must(/^\d+\.\d$/.test(inMolar.value), `${inMolar.value} has not one decimal`);
      must(Math.abs(Number(inMass.value) / MG_DL_PER_MMOL_L - Number(inMolar.value)) <= 0.05 + 0.5 / MG_DL_PER_MMOL_L, `${inMass.value} mg/dL became ${inMolar.value} mmol/L`);
      return true;
    });
    must((await text(page, ".range-parts dt")).includes("Below 3.9 mmol/L"), await text(page, ".range-parts dt"));
    const inMolar = await axisPicture(page, ".chart-panel");
    await shown("mg/dL");
    await until("other labels on the axis", async () => (await axisPicture(page, ".chart-panel")) !== inMolar, 3000);
    await shown("mmol/L");
  });
  await report.check("the unit is remembered", async () => {
    await openSubject(page, demo, `?day=${day}`);
    await until("mmol/L after a reload", async () => (await text(page, ".range-parts dt")).includes("mmol/L"));
    await shown("mg/dL");
  });
}

async function checkAge(report: Report, page: Page, demo: Demo): Promise<void> {
  await report.check("the age of the newest reading stays in view at the foot of the page", async () => {
    await openSubject(page, demo, `?day=${demo.days[0]!.date}`);
    await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
    must(await isInView(page, ".sticky-head .gauge-age"), "the age is out of view");
    must(/ (ago|ahead)$/.test(await text(page, ".sticky-head .gauge-age")), await text(page, ".sticky-head .gauge-age"));
  });
}

/** Without a line and with time run on by an hour and a half, nothing may pass for current. */
async function checkStale(report: Report, context: BrowserContext, demo: Demo): Promise<void> {
  const page = await context.newPage();
  await page.route("**/api/v1/live*", (route) => route.abort());
  await page.clock.install();
  await report.check("an old reading is marked stale, small and grey, with an age that has run on", async () => {
    await openSubject(page, demo);
    await page.clock.fastForward("01:30:00");
    await until("the stale mark", async () => (await page.locator(".sticky-head .gauge").getAttribute("data-state")) === "stale");
    must((await text(page, ".sticky-head .tag")) === "stale", "there is no word stale");
    must(/h|day|month|year/.test(await text(page, ".sticky-head .gauge-age")), `the age says ${await text(page, ".sticky-head .gauge-age")}`);
    const px = await page.locator(".sticky-head .gauge-number").evaluate((element) => parseFloat(getComputedStyle(element).fontSize));
    must(px <= 20, `the stale number is ${px} px high`);
    must(!(await page.locator(".sticky-head .gauge-side").isVisible()), "a stale value is called in or out of range");
  });
  await report.check("a lost connection is said, with since when", async () => {
    await until("the banner", async () => /Connection lost since \d\d:\d\d:\d\d/.test(await page.locator(".banner").innerText().catch(() => "")));
  });
  await page.close();
}

async function checkKeyboard(report: Report, page: Page, demo: Demo): Promise<void> {
  await report.check("the keyboard alone leads from the fleet to a subject, with focus seen at each stop", async () => {
    await open(page, demo, "/", ".card .gauge-age:not(:empty)");
    await tabTo(page, `[data-subject="${demo.glucose.id}"] a`);
    await page.keyboard.press("Enter");
    await page.locator(".sticky-head .gauge-age:not(:empty)").waitFor();
    must(await page.evaluate(() => document.activeElement?.tagName === "H1"), "the heading of the new page has no focus");
    await until("readings", async () => (await points(page)) > 0);
  });
  await report.check("arrow keys walk the chart and each reading is announced with time, value and unit", async () => {
    await tabTo(page, ".chart-focus");
    const spoken = async (key: string): Promise<string> => {
      await page.keyboard.press(key);
      return text(page, ".chart [aria-live]");
    };
    const first = await spoken("Home");
    must(/^\d+ \w+ \d{4} \d\d:\d\d(:\d\d)?, (\d.* (mg\/dL|mmol\/L)|[a-z ]+)/.test(first), `said "${first}"`);
    if ((await points(page)) > 1) must((await spoken("ArrowRight")) !== first, "the arrow key does not move");
    must((await spoken("ArrowLeft")) === first, "the arrow key does not lead back");
  });
  await report.check("the skip link leads past the header", async () => {
    await open(page, demo, "/", ".card");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    must(await page.evaluate(() => document.activeElement?.id === "main"), "the content has no focus");
    must(await page.evaluate(() => window.location.hash === "" || window.location.hash === "#/"), "the skip link left the page");
  });
}

/** Every screen in one look: contrast, width, picture. */
async function checkLook(report: Report, page: Page, demo: Demo, look: string, shots: string | undefined): Promise<void> {
  const device = encodeURIComponent(demo.devices.find((one) => one.readings > 0)?.id ?? demo.devices[0]!.id);
  const middle = demo.days[Math.floor(demo.days.length / 2)]!.date;
  const energy = demo.subjects.find((one) => one.id !== demo.glucose.id);
  const screens: [string, string, string][] = [
    ["fleet", "/", ".card .gauge-age:not(:empty)"], ["device", `/#/device/${device}`, ".card .gauge-age:not(:empty)"],
    ["subject", subjectHash(demo), ".gauge-age:not(:empty)"], ["day", subjectHash(demo, `?day=${middle}`), ".range-basis"],
    ["weeks", subjectHash(demo, `?day=${middle}&span=14`), ".range-basis"], ["ledger", `/#/ledger/${device}`, ".epoch"], ["health", "/#/health", "table"],
    ...(energy ? [["energy", `/#/subject/${encodeURIComponent(energy.id)}`, ".gauge-age:not(:empty)"] as [string, string, string]] : []),
  ];
  await report.check(`${look}: each screen is readable, within its width and without an error notice`, async () => {
    for (const [name, hash, ready] of screens) {
      await open(page, demo, hash, ready);
      await page.evaluate(() => new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume))));
      if (shots) await page.screenshot({ path: join(shots, `${look}-${name}.png`), fullPage: true });
      const [pale, over] = [await paleTexts(page), await overflowOf(page)];
      must(pale.length === 0, `${name}: too pale: ${pale.slice(0, 3).join("; ")}`);
      must(over <= 0, `${name} is ${over} px too wide`);
      must(!(await page.locator(".notice").isVisible()), `${name}: ${await text(page, ".notice")}`);
    }
  });
}

const LOOKS: Record<string, BrowserContextOptions> = {
  light: { viewport: DESKTOP, colorScheme: "light" },
  dark: { viewport: DESKTOP, colorScheme: "dark", reducedMotion: "reduce" },
  phone: { viewport: PHONE, colorScheme: "light", deviceScaleFactor: 2 },
  "phone-dark": { viewport: PHONE, colorScheme: "dark", deviceScaleFactor: 2 },
};

/** Runs all checks against the gateway at `--url` or TRIBUTARY_URL; gives the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const given = args.indexOf("--url") >= 0 ? args[args.indexOf("--url") + 1] : process.env["TRIBUTARY_URL"];
  if (!given) {
    console.error("say which gateway: npm run e2e -- --url http://127.0.0.1:PORT");
    return 2;
  }
  const shots = process.env["SCREENSHOTS"];
  if (shots) mkdirSync(shots, { recursive: true });
  const profile = mkdtempSync(join(tmpdir(), "tributary-e2e-"));
  const report = new Report();
  const browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", headless: true, args: FLAGS, env: { ...process.env, HOME: profile } as Record<string, string> });
  const errors: string[] = [];
  const watched = async (options: BrowserContextOptions): Promise<Page> => {
    const page = await (await browser.newContext(options)).newPage();
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    return page;
  };
  try {
    const demo = await discover(given.replace(/\/$/, ""));
    const page = await watched(LOOKS["light"]!);
    for (const check of [checkFleet, checkSubject, checkUnits, checkAge, checkKeyboard]) await check(report, page, demo);
    await checkStale(report, await browser.newContext(LOOKS["light"]!), demo);
    for (const [look, options] of Object.entries(LOOKS)) await checkLook(report, await watched(options), demo, look, shots);
    await report.check("nothing was complained of on the console, the content security policy included", async () => must(errors.length === 0, errors.slice(0, 3).join("; ")));
  } catch (error) {
    await report.check("the run came to its end", () => Promise.reject(error));
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
  return report.end();
}
