// The page: its sections, which of them is shown, and how it is connected.

import { el, setClass, setText } from "../lib/dom.js";
import { live, start, watch } from "../lib/live.js";
import { errorsPage } from "./errors.js";
import { overviewPage } from "./overview.js";
import { servicePage } from "./service.js";
import { servicesPage } from "./services.js";
import { topicsPage } from "./topics.js";
import { duration } from "../lib/words.js";

// Each makes { title, element, update(live), end() }.
const SECTIONS = { overview: ["Overview", overviewPage], services: ["Services", servicesPage], topics: ["Topics", topicsPage],
  errors: ["Errors", errorsPage] };
const main = document.getElementById("main");
const links = {};
let page = null;

function route() {
  const [, name, ...rest] = location.hash.split("/");
  const section = SECTIONS[name] ? name : "overview";
  let inner = "";
  try { inner = decodeURIComponent(rest.join("/")); } catch { /* a name that nobody has */ }
  return [section, inner];
}

function show(focus) {
  const [section, inner] = route();
  page?.end?.();
  page = section === "services" && inner ? servicePage(inner) : SECTIONS[section][1](inner);
  main.replaceChildren(page.element);
  document.title = `${page.title} – Micro sidecar`;
  for (const [name, link] of Object.entries(links)) {
    if (name === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (focus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  update(true);
}

function update(fresh = false) {
  if (live.event) page?.update?.(live, fresh);
}

const STATES = { connecting: ["connecting", ""], live: ["live", "good"], lost: ["not connected", "bad"] };

function connection() {
  const [text, kind] = STATES[live.state];
  const state = document.getElementById("connection");
  setText(state, live.state === "lost" ? `${text}: ${live.why}; trying again` : text);
  setClass(state, `connection ${kind}`.trim());
  if (live.about) {
    const up = duration(Date.now() / 1000 - live.about.started);
    setText(document.getElementById("about"), `microsidecar ${live.about.version}, up ${up}`);
  }
}

for (const [name, [title]] of Object.entries(SECTIONS)) {
  links[name] = el("a", { href: `#/${name}`, text: title });
  document.getElementById("sections").append(links[name]);
}
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => show(true));
watch(() => {
  connection();
  update(live.fresh);
  live.fresh = false;
});
show(false);
connection();
start();
