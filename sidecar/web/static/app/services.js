// Services: all that are known, the busiest first; those with a failing node stand out.

import { getJson } from "../lib/api.js";
import { el, field, paintBadge, panel, setText } from "../lib/dom.js";
import { poll } from "../lib/poll.js";
import { Table, collator, paintLink } from "../lib/table.js";
import { ms, percent, rate } from "../lib/words.js";

const NAMES = 5000;
const AT_ONCE = 4;
const FRESH = 15000;

export function servicesPage() {
  const table = new Table("Services", [
    { label: "Service", value: (row) => row.name, paint: (cell, row) => paintLink(cell, row.name, `#/services/${encodeURIComponent(row.name)}`) },
    { label: "Versions", value: (row) => row.versions?.filter(Boolean).join(", ") ?? null, text: (row) => row.versions?.filter(Boolean).join(", ") || "–" },
    { label: "Nodes", value: (row) => (row.down || 0) * 1e6 + (row.up || 0), number: true, paint: paintNodes },
    { label: "Calls/s", value: (row) => row.calls, text: (row) => rate(row.calls), number: true },
    { label: "Answered", value: (row) => (row.success === null ? 2 : row.success), text: (row) => percent(row.success), number: true },
    { label: "95 of 100 within", value: (row) => row.p95, text: (row) => ms(row.p95), number: true },
  ], { key: (row) => row.name, kind: (row) => (row.down ? "bad" : ""), what: "service", sort: { column: 3, down: true },
    none: "No service is registered, or none is called that." });
  const search = el("input", { type: "search", placeholder: "part of a name", autocomplete: "off", spellcheck: false, on: { input: () => { table.page = 0; draw(); } } });
  const bad = el("input", { type: "checkbox", on: { change: () => { table.page = 0; draw(); } } });
  const problem = el("p", { class: "hint", role: "status" });
  const element = el("div", {}, el("h1", { text: "Services" }),
    panel("All services", el("div", { class: "row" }, field("Find", search), field("only those with a failing node", bad)), problem, table.element));

  let names = [];
  let told = new Map();
  const asked = new Map();
  let asking = 0;
  let ended = false;

  function row(name) {
    const now = told.get(name);
    if (now) return { name, versions: now.versions, up: now.nodes_up, down: now.nodes_down, calls: now.calls, success: now.success, p95: now.p95_ms };
    return { name, calls: 0, success: null, p95: null, ...asked.get(name)?.row };
  }

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    let rows = names.filter((name) => name.toLowerCase().includes(wanted)).map(row);
    if (bad.checked) rows = rows.filter((one) => one.down);
    table.update(rows);
    lookUp();
  }

  /** The stream tells of the busiest; of the others that are on the page their nodes are asked for. */
  function lookUp() {
    for (const { name } of table.visible()) {
      if (asking >= AT_ONCE || ended) return;
      if (told.has(name) || performance.now() - (asked.get(name)?.when ?? -FRESH) < FRESH) continue;
      asking += 1;
      asked.set(name, { ...asked.get(name), when: performance.now() });
      getJson("explain", { service: name }).then(({ nodes, p95_ms: p95 }) => {
        const down = nodes.filter((node) => !node.chosen).length;
        asked.set(name, { when: performance.now(), row: { versions: [...new Set(nodes.map((node) => node.version))], up: nodes.length - down, down, p95 } });
      }, () => {}).finally(() => {
        asking -= 1;
        if (!ended) draw();
      });
    }
  }

  async function list() {
    try {
      names = (await getJson("registry")).map((service) => service.name).sort(collator.compare);
      setText(problem, "");
    } catch (failure) {
      setText(problem, `The list may be old: ${failure.message}`);
    }
    if (!ended) draw();
  }
  const listing = poll(list, NAMES);
  let total = null;

  return { title: "Services", element, end: () => { ended = true; listing.end(); }, update: ({ event }) => {
    if (total !== null && event.services_total !== total) listing.now();
    total = event.services_total;
    told = new Map(event.services.map((service) => [service.name, service]));
    draw();
  } };
}

function paintNodes(cell, row) {
  if (row.up === undefined) paintBadge(cell, "…", "");
  else if (row.down) paintBadge(cell, `${row.down} of ${row.up + row.down} failing`, "bad");
  else paintBadge(cell, `${row.up} up`, row.up ? "good" : "warn");
}
