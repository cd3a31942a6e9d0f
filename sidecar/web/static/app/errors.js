// Errors: the last failed calls, newest first, each with its receipt; and calls as they end, of one service or all.

import { getJson } from "../lib/api.js";
import { el, field, panel, setText } from "../lib/dom.js";
import { poll } from "../lib/poll.js";
import { ago } from "../lib/words.js";
import { drawCall } from "./calls.js";
import { tapPanel } from "./tap.js";

const FRESH = 2000;
const SHOWN = 20;

export function errorsPage() {
  const search = el("input", { type: "search", autocomplete: "off", placeholder: "service, method, reason, request id", spellcheck: false, on: { input: () => draw() } });
  const list = el("ul", { class: "calls" });
  const more = el("button", { type: "button", class: "small", on: { click: () => { most += SHOWN; draw(); } } });
  const told = el("p", { class: "hint", role: "status" });
  const tap = tapPanel();
  const element = el("div", {}, el("h1", { text: "Errors" }),
    panel("The last calls that failed", el("div", { class: "row" }, field("Find", search)), told, list, el("p", { class: "pager" }, more)), tap.element);
  const known = new Map();
  let errors = [];
  let most = SHOWN;
  let ended = false;

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const found = errors.filter((error) => !wanted || `${error.service} ${error.method} ${error.error} ${error.outcome} ${error.id}`.toLowerCase().includes(wanted));
    const shown = found.slice(0, most);
    more.hidden = found.length <= most;
    setText(more, `Show ${Math.min(SHOWN, found.length - most)} more of ${found.length}`);
    const keys = new Set(shown.map(keyOf));
    for (const [key, { element: item }] of known) if (!keys.has(key)) { item.remove(); known.delete(key); }
    let place = list.firstElementChild;
    for (const error of shown) {
      const key = keyOf(error);
      let item = known.get(key);
      if (!item) known.set(key, item = drawCall(error));
      setText(item.age, ago(error.at));
      if (item.element === place) place = place.nextElementSibling;
      else list.insertBefore(item.element, place);
    }
    setText(told, errors.length ? (found.length === errors.length ? "" : `${found.length} of ${errors.length}`) : "No call has failed.");
  }

  async function look() {
    try {
      errors = await getJson("errors");
      if (!ended) draw();
    } catch (failure) {
      setText(told, `What is shown may be old: ${failure.message}`);
    }
  }
  const looking = poll(look, FRESH);
  return { title: "Errors", element, end: () => { ended = true; looking.end(); tap.end(); }, update: ({ event }) => tap.offer(event.services.map((service) => service.name)) };
}

function keyOf(error) {
  return `${error.id} ${error.at}`;
}
