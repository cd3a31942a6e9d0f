// One service: its nodes, the failing ones first with their reasons; its endpoints; a test call; its journal.

import { getJson } from "../lib/api.js";
import { callPanel } from "./callform.js";
import { el, panel, setText } from "../lib/dom.js";
import { journalPanel } from "./journal.js";
import { nodesPanel } from "./nodes.js";
import { shapeOf } from "./shape.js";
import { poll } from "../lib/poll.js";
import { ms, percent, rate } from "../lib/words.js";

const FRESH = 3000;

export function servicePage(name) {
  const facts = el("p", { class: "facts", "aria-live": "off" });
  const problem = el("p", { class: "problem", role: "status", hidden: "" });
  const nodes = nodesPanel();
  const endpoints = el("div", { class: "endpoints" });
  const call = callPanel(name);
  const journal = journalPanel(name);
  const element = el("div", {},
    el("p", { class: "crumbs" }, el("a", { href: "#/services", text: "Services" }), " / ", el("span", { text: name })),
    el("h1", { text: name }), facts, problem, nodes.element,
    el("div", { class: "pair" }, panel("Endpoints", endpoints), call.element), journal.element);
  let shown = "";
  let known = "";
  let ended = false;

  async function look() {
    try {
      const [told, versions] = await Promise.all([getJson("explain", { service: name }), getJson("registry", { service: name, format: "array" })]);
      if (ended) return;
      problem.hidden = true;
      nodes.explained(told, versions);
      offer(versions);
    } catch (failure) {
      if (ended) return;
      problem.hidden = false;
      setText(problem, failure.status === 404 ? "No node of this service is registered. Its journal says who left, when and why." : `What is shown may be old: ${failure.message}`);
      if (failure.status === 404) nodes.explained({ nodes: [], strategy: "" }, []);
    }
    await journal.look();
  }

  function offer(versions) {
    const found = new Map(versions.flatMap((version) => version.endpoints ?? []).map((endpoint) => [endpoint.name, endpoint]));
    const text = JSON.stringify([...found.values()]);
    if (text === shown && endpoints.childElementCount) return;
    shown = text;
    endpoints.replaceChildren(...(found.size ? [...found.values()].map((endpoint) => drawEndpoint(endpoint, call.choose))
      : [el("p", { class: "empty", text: "The service told of none when it registered. It can be called all the same." })]));
    call.offer([...found.values()]);
  }

  const looking = poll(look, FRESH);
  return { title: name, element, end: () => { ended = true; looking.end(); }, update: ({ event }) => {
    const now = event.services.find((service) => service.name === name);
    if (now) {
      setText(facts, `${rate(now.calls)} calls a second, ${now.success === null ? "none lately" : `${percent(now.success)} answered`}` +
        `${now.p50_ms === null || now.p50_ms === undefined ? "" : `, half within ${ms(now.p50_ms)}`}${now.p95_ms === null ? "" : `, 95 of 100 within ${ms(now.p95_ms)}`}, as seen from here`);
      const state = `${now.nodes_up} ${now.nodes_down}`;
      if (known && known !== state) looking.now();
      known = state;
    }
    nodes.happened(event.nodes.filter((node) => node.service === name));
  } };
}

function drawEndpoint(endpoint, choose) {
  const { description, ...metadata } = endpoint.metadata ?? {};
  const told = Object.entries(metadata).map(([key, value]) => `${key}: ${value}`).join(", ");
  return el("article", { class: "endpoint" },
    el("div", { class: "titled" }, el("h3", {}, el("code", { text: endpoint.name })),
      // A stream takes more than a form.
      metadata.stream === "true" ? null : el("button", { type: "button", class: "small", text: "Call it", "aria-label": `Call it: ${endpoint.name}`, on: { click: () => choose(endpoint.name) } })),
    description ? el("p", { text: description }) : null,
    el("dl", { class: "shape" }, el("dt", { text: "takes" }), el("dd", { class: "mono", text: shapeOf(endpoint.request) }),
      el("dt", { text: "answers" }), el("dd", { class: "mono", text: shapeOf(endpoint.response) })),
    told ? el("p", { class: "hint", text: told }) : null);
}
