//! What stands around every page: skip link, header, connection, theme, footer.

import { api, nowUs } from "./api";
import { button, h, setText, svg } from "./dom";
import { connection } from "./live";
import type { Theme } from "./prefs";
import { chosenTheme, setTheme } from "./prefs";
import { hrefTo } from "./router";
import { browserZone, spanText, timeText } from "./time";

const THEMES: readonly Theme[] = ["system", "light", "dark"];

/** Builds the shell into `host`; gives the place for pages and a call that marks where one is. */
export function buildShell(host: HTMLElement): { main: HTMLElement; opened: (name: string) => void } {
  const main = h("main", { id: "main", tabindex: -1 });
  const links = { "": h("a", { href: hrefTo("") }, "Fleet"), health: h("a", { href: hrefTo("health") }, "Health") };
  const skip = h("a", { class: "skip", href: "#main" }, "Skip to content");
  // The hash is the route, so the link must not change it.
  skip.addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  host.replaceChildren(skip,
    h("header", { class: "masthead" },
      h("a", { class: "brand", href: hrefTo("") }, mark(), "Tributary"),
      h("nav", { "aria-label": "Pages" }, links[""], links.health),
      h("div", { class: "masthead-end" }, connectionLamp(), themeButton())),
    lossBanner(), main, footer());
  return {
    main,
    opened: (name) => {
      for (const [key, link] of Object.entries(links)) {
        if (key === name) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    },
  };
}

/** Two streams that join a third. */
function mark(): SVGElement {
  return svg("svg", { class: "mark", viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("path", { class: "mark-side", d: "M4 7C11 7 12.5 16 20 16" }),
    svg("path", { class: "mark-side", d: "M4 25C9.5 25 10.5 16 15 16" }),
    svg("path", { class: "mark-main", d: "M4 16H28" }));
}

function themeButton(): HTMLElement {
  const label = (): string => `Theme: ${chosenTheme()}`;
  const control = button(label(), () => {
    setTheme(THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length]!);
    setText(control, label());
  }, { class: "quiet" });
  return control;
}

function connectionLamp(): HTMLElement {
  const lamp = h("p", { class: "lamp" });
  const tell = (): void => {
    const state = !connection.wanted ? "none" : connection.open ? "open" : connection.lostSinceUs === null ? "opening" : "lost";
    lamp.dataset["state"] = state;
    setText(lamp, { none: "", open: "Live", opening: "Connecting", lost: "Not live" }[state]);
  };
  connection.addEventListener("change", tell);
  tell();
  return lamp;
}

function lossBanner(): HTMLElement {
  const since = h("strong");
  const age = h("span");
  const text = h("p", {}, since, " ", age);
  const banner = h("div", { class: "banner", hidden: true }, text);
  // The age is left out of what is announced: it would speak each second.
  since.setAttribute("role", "status");
  const tell = (): void => {
    const lost = connection.lostSinceUs;
    banner.hidden = lost === null;
    if (lost === null) return;
    setText(since, `Connection lost since ${timeText(browserZone(), lost, true)}.`);
    setText(age, `Nothing newer has been shown for ${spanText(nowUs() - lost)}; trying again.`);
  };
  connection.addEventListener("change", tell);
  window.setInterval(tell, 1000);
  return banner;
}

function footer(): HTMLElement {
  const version = h("span", { class: "muted" });
  const ask = (): void => {
    api.about().then((about) => setText(version, `Tributary ${about.version}`), () => window.setTimeout(ask, 10_000));
  };
  ask();
  return h("footer", {}, h("p", {}, h("strong", {}, "Not for treatment decisions."), " ", version));
}
