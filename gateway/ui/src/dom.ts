//! Building elements. Text goes in as text nodes only, so data can never become markup.

type Child = Node | string | null | undefined | false;
type Attributes = Readonly<Record<string, string | number | boolean | null | undefined>>;

function fill(element: Element, attributes: Attributes, children: readonly Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) element.append(child);
}

/** An HTML element with attributes (null, undefined and false leave one out) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, attributes, children);
  return element;
}

/** Sets text only where it differs, so that a screen reader is not told of what did not change. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A button that does something here; for going elsewhere there are links. */
export function button(label: string, act: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const element = h("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", act);
  return element;
}

/** A column of a table: its header, and whether it holds numbers (set right, tabular figures). */
export interface Column {
  readonly header: string;
  readonly numeric?: boolean;
}

/**
 * A table whose rows become blocks on narrow screens, each cell with its header before it.
 * A caption that a heading already says is hidden from sight.
 *
 * Roles are written out because `display: block` takes a table's own roles away in some browsers.
 */
export function table(caption: string | { hidden: string }, columns: readonly Column[], rows: readonly (readonly (Node | string)[])[], empty: string): HTMLElement {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const head = columns.map(({ header, numeric }) =>
    h("th", { scope: "col", role: "columnheader", class: numeric ? "numeric" : null }, header));
  const body = rows.map((cells) => h("tr", { role: "row" }, ...cells.map((cell, i) => tableCell(columns[i]!, cell, i === 0))));
  return h("table", { role: "table", class: "stacking" },
    typeof caption === "string" ? h("caption", {}, caption) : h("caption", { class: "visually-hidden" }, caption.hidden),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...head)),
    h("tbody", { role: "rowgroup" }, ...body));
}

function tableCell(column: Column, content: Node | string, isRowHeader: boolean): HTMLElement {
  const attributes = { "data-label": column.header, class: column.numeric ? "numeric" : null };
  return isRowHeader
    ? h("th", { ...attributes, scope: "row", role: "rowheader" }, content)
    : h("td", { ...attributes, role: "cell" }, content);
}

/** A whole number with narrow no-break spaces between thousands. */
export function countText(count: number): string {
  return new Intl.NumberFormat("en").format(count).replaceAll(",", "\u202f");
}
