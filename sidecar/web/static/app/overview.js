// Overview: how the sidecar is, at a glance.

import { appsPanel } from "./apps.js";
import { Chart } from "../lib/charts.js";
import { el, paintBadge, panel, setClass, setText } from "../lib/dom.js";
import { Table } from "../lib/table.js";
import { bytes, count, duration, ms, percent, rate, sentence, since } from "../lib/words.js";

function card(label) {
  const value = el("b", {});
  const note = el("small", {});
  const element = el("div", { class: "card" }, el("span", { text: label }), value, note);
  return { element, set(text, told = "", kind = "") { setText(value, text); setText(note, told); setClass(element, `card ${kind}`.trim()); } };
}

const CLASSES = [["2xx", "answered", "good"], ["3xx", "sent elsewhere", "accent"], ["4xx", "caller's error", "warn"], ["5xx", "failed", "bad"]];

function statusPanel() {
  const parts = CLASSES.map(([, , colour]) => el("span", { class: `share ${colour}` }));
  const values = CLASSES.map(() => el("b", {}));
  const legend = CLASSES.map(([key, words, colour], index) =>
    el("li", {}, el("i", { class: `swatch ${colour}`, "aria-hidden": "true" }), `${key} ${words} `, values[index]));
  const element = panel("Answers over HTTP, a second", el("div", { class: "shares", "aria-hidden": "true" }, ...parts), el("ul", { class: "legend" }, ...legend));
  return { element, update(status) {
    const sum = Object.values(status).reduce((all, one) => all + one, 0);
    CLASSES.forEach(([key], index) => {
      parts[index].style.flexGrow = sum ? 1000 * status[key] : 0;
      setText(values[index], rate(status[key]));
    });
  } };
}

const ROLES = { registry: "Registry", broker: "Broker" };

function enginesPanel() {
  const table = new Table("The engines of registry and broker", [
    { label: "For", value: (engine) => ROLES[engine.role] || engine.role, sort: false },
    { label: "Engine", value: (engine) => engine.kind, sort: false },
    { label: "State", sort: false, paint: (cell, engine) => {
      const [text, kind] = engine.connected ? ["connected", "good"] : engine.stale ? ["away, answering from memory", "warn"] : ["away", "bad"];
      if (!cell.firstChild) cell.append(el("span", {}), el("span", { class: "reason block" }));
      paintBadge(cell.children[0], text, kind);
      setText(cell.children[1], engine.connected ? "" : sentence(engine.detail));
    } },
    { label: "Since", value: (engine) => since(engine.since).replace("since ", ""), sort: false },
  ], { key: (engine) => `${engine.role} ${engine.kind}`, kind: (engine) => (engine.connected ? "" : "bad"), what: "engine" });
  return { element: panel("Registry and broker", table.element), update: (engines) => table.update(engines) };
}

const OPEN = { http: "requests", connections: "connections", websockets: "WebSockets", pool: "to nodes", nodes: "to nodes", streams: "streams" };

export function overviewPage() {
  const cards = { calls: card("Calls a second"), errors: card("Errors a second"), p50: card("Half within"), p95: card("95 of 100 within"),
    p99: card("99 of 100 within"), flying: card("Under way"), services: card("Services") };
  const machine = { cpu: card("Processor"), memory: card("Memory"), delay: card("Reactor delay"), sockets: card("Sockets"), up: card("Up"), version: card("Version") };
  const charts = [
    new Chart("Calls and errors a second, last hour", [{ label: "calls", kind: "calls", colour: "accent", fill: true }, { label: "errors", kind: "errors", colour: "bad", fill: true }], { text: rate, least: 1 }),
    new Chart("Calls end within, last hour", [{ label: "half", kind: "p50", colour: "good" }, { label: "95 of 100", kind: "p95", colour: "warn" }, { label: "99 of 100", kind: "p99", colour: "bad" }], { text: ms, least: 5 }),
    new Chart("Processor, last hour", [{ label: "of one core", kind: "cpu", colour: "accent", fill: true }], { text: percent, least: 0.1, height: 130 }),
    new Chart("Memory, last hour", [{ label: "resident", kind: "memory", colour: "violet", fill: true }], { text: bytes, least: 1048576, height: 130 }),
  ];
  const status = statusPanel();
  const engines = enginesPanel();
  const apps = appsPanel();
  const element = el("div", {}, el("h1", { text: "Overview" }),
    el("section", { class: "cards", "aria-label": "Calls now" }, ...Object.values(cards).map((one) => one.element)),
    el("div", { class: "pair" }, charts[0].element, charts[1].element), status.element,
    el("div", { class: "pair" }, engines.element, apps.element),
    el("section", { class: "cards", "aria-label": "This sidecar" }, ...Object.values(machine).map((one) => one.element)),
    el("div", { class: "pair" }, charts[2].element, charts[3].element));

  function update({ event, about, points }, fresh) {
    const { rates, latency_ms: latency, process } = event;
    cards.calls.set(rate(rates.calls), rates.calls ? `${percent(1 - rates.errors / rates.calls)} answered` : "nobody calls");
    cards.errors.set(rate(rates.errors), rates.errors ? "see Errors" : "none", rates.errors ? "bad" : "");
    for (const name of ["p50", "p95", "p99"]) cards[name].set(ms(latency[name]), "lately");
    cards.flying.set(String(event.in_flight ?? 0), "calls");
    const down = event.services.filter((service) => service.nodes_down);
    cards.services.set(String(event.services_total ?? event.services.length),
      down.length ? `${count(down.length, "has", "have")} a failing node` : "all nodes well", down.length ? "bad" : "");
    machine.cpu.set(percent(process.cpu), "of one core");
    machine.memory.set(bytes(process.memory), "resident");
    machine.delay.set(ms(process.reactor_delay_ms), process.reactor_delay_ms > 100 ? "something blocks it" : "the loop runs freely", process.reactor_delay_ms > 100 ? "warn" : "");
    machine.sockets.set(String(process.sockets), Object.entries(process.open ?? {}).map(([kind, number]) => `${number} ${OPEN[kind] || kind.replaceAll("_", " ")}`).join(", "));
    if (about) {
      machine.up.set(duration(Date.now() / 1000 - about.started), `since ${new Date(about.started * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}`);
      machine.version.set(about.version, "microsidecar");
    }
    status.update(event.status);
    engines.update(event.engines);
    apps.update(event.apps);
    for (const chart of charts) chart.update(points, fresh);
  }
  return { title: "Overview", element, update, end: () => charts.forEach((chart) => chart.end()) };
}
