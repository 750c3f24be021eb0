//! Questions put to a page from outside: is the canvas painted, is text readable, does anything stick out.

import type { Page } from "playwright-core";

/** How many different colours the first canvas under `selector` holds; a blank one holds one, or none. */
export function coloursOf(page: Page, selector: string): Promise<number> {
  return page.evaluate((wanted) => {
    const canvas = document.querySelector<HTMLCanvasElement>(`${wanted} canvas`);
    const context = canvas?.getContext("2d");
    if (!canvas || !context || canvas.width === 0) return 0;
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set<number>();
    for (let i = 0; i < data.length; i += 4) seen.add((data[i]! << 24) | (data[i + 1]! << 16) | (data[i + 2]! << 8) | data[i + 3]!);
    return seen.size;
  }, selector);
}

/** The labels of a chart's value axis as painted: one number that differs when the picture does. */
export function axisPicture(page: Page, selector: string): Promise<number> {
  return page.evaluate((wanted) => {
    const canvas = document.querySelector<HTMLCanvasElement>(`${wanted} canvas`)!;
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, Math.round(50 * devicePixelRatio), canvas.height);
    return data.reduce((sum, byte, i) => (sum * 31 + byte * (i % 251)) % 1_000_000_007, 7);
  }, selector);
}

/** How many pixels the page is wider than its window. */
export function overflowOf(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

/** Whether an element stands within the window. */
export function isInView(page: Page, selector: string): Promise<boolean> {
  return page.evaluate((wanted) => {
    const box = document.querySelector(wanted)?.getBoundingClientRect();
    return box !== undefined && box.height > 0 && box.top >= 0 && box.bottom <= window.innerHeight;
  }, selector);
}

/** Visible texts with less contrast than WCAG AA asks for: 4.5:1, or 3:1 from 24 px (18.66 px bold). */
export function paleTexts(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    type Rgba = [number, number, number, number];
    const rgba = (text: string): Rgba => {
      const parts = (text.match(/[\d.]+/g) ?? []).map(Number);
      return [parts[0] ?? 0, parts[1] ?? 0, parts[2] ?? 0, parts[3] ?? 1];
    };
    const linear = (c: number): number => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]: Rgba): number => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const groundOf = (element: Element | null): Rgba => {
      for (let at = element; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor);
        if (colour[3] > 0.99) return colour;
      }
      return [255, 255, 255, 1];
    };
    const pale: string[] = [];
    for (const element of document.querySelectorAll<HTMLElement>("body *")) {
      const text = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.textContent!.trim()).join("");
      if (!text || !element.checkVisibility() || element.closest(".visually-hidden, svg, :disabled, .skip, option")) continue;
      const style = getComputedStyle(element);
      const [one, other] = [light(rgba(style.color)), light(groundOf(element))];
      const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      const px = parseFloat(style.fontSize);
      const isLarge = px >= 24 || (px >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (isLarge ? 3 : 4.5)) pale.push(`"${text.slice(0, 24)}" ${ratio.toFixed(2)}:1`);
    }
    return pale;
  });
}

/** Presses Tab until `selector` has focus; each stop on the way must be seen to have it. */
export async function tabTo(page: Page, selector: string, stopsMax = 60): Promise<void> {
  for (let i = 0; i < stopsMax; i++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate((wanted) => {
      const at = document.activeElement;
      if (!at || at === document.body) return { there: false, unseen: null };
      const shown = [at, at.nextElementSibling].filter((one) => one !== null);
      const rings = [...shown.map((one) => getComputedStyle(one)), getComputedStyle(at, "::after")];
      const seen = rings.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0);
      return { there: at.matches(wanted), unseen: seen ? null : at.outerHTML.slice(0, 80) };
    }, selector);
    if (stop.unseen) throw new Error(`focus is not seen on ${stop.unseen}`);
    if (stop.there) return;
  }
  throw new Error(`${selector} is not reached by ${stopsMax} presses of Tab`);
}
