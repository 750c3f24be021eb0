//! Hash routes: `#/`, `#/device/ID`, `#/subject/ID?day=…`, `#/ledger/ID`, `#/health`.

/** A page that is open. `query` is called when only what follows the `?` has changed. */
export interface View {
  query?(query: URLSearchParams): void;
}

/** Opens a page in `root`; everything it starts ends with `signal`. The page titles itself by its h1. */
export type OpenView = (root: HTMLElement, id: string, query: URLSearchParams, signal: AbortSignal) => View | void;

export interface Route {
  readonly name: string;
  readonly id: string;
  readonly query: URLSearchParams;
}

/** What a location's hash asks for; an id that does not decode is taken as it stands. */
export function routeOf(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [name = "", id = ""] = path.split("/", 2);
  return { name, id: decoded(id), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The hash of a page, for links. */
export function hrefTo(name: string, id = "", query: Readonly<Record<string, string>> = {}): string {
  const asked = new URLSearchParams(query).toString();
  return `#/${name}${id ? `/${encodeURIComponent(id)}` : ""}${asked ? `?${asked}` : ""}`;
}

/** Shows the page of the hash in `root`, now and at each change of it. */
export function route(root: HTMLElement, views: Readonly<Record<string, OpenView>>, missing: OpenView, opened: (name: string) => void): void {
  let open: { key: string; view: View | void; end: AbortController } | null = null;
  const follow = (): void => {
    const { name, id, query } = routeOf(window.location.hash);
    const key = `${name}/${id}`;
    if (open?.key === key && open.view?.query) return open.view.query(query);
    const isFirst = open === null;
    open?.end.abort();
    const end = new AbortController();
    root.replaceChildren();
    open = { key, end, view: (views[name] ?? missing)(root, id, query, end.signal) };
    opened(name);
    window.scrollTo(0, 0);
    // A new page is announced by its heading; on the first load the browser announces the document itself.
    if (!isFirst) root.querySelector<HTMLElement>("h1")?.focus();
  };
  window.addEventListener("hashchange", follow);
  follow();
}
