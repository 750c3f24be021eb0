//! Opens the dashboard: theme first, then the shell, then the page that the address names.

import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/pages.css";
import { h } from "./dom";
import { applyTheme } from "./prefs";
import type { OpenView } from "./router";
import { hrefTo, route } from "./router";
import { buildShell } from "./shell";
import { device } from "./views/device";
import { fleet } from "./views/fleet";
import { health } from "./views/health";
import { ledger } from "./views/ledger";
import { heading } from "./views/page";
import { subject } from "./views/subject";

const missing: OpenView = (root) => {
  root.append(heading("No such page"), h("p", {}, "This address leads nowhere. ", h("a", { href: hrefTo("") }, "Go to the fleet")));
};

applyTheme();
const { main, opened } = buildShell(document.getElementById("app")!);
route(main, { "": fleet, device, subject, ledger, health }, missing, opened);
