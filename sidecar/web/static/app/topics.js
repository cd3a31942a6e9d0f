// Topics: what passes, who listens, who does not keep up; publish a message; follow a topic.

import { send } from "../lib/api.js";
import { el, field, panel } from "../lib/dom.js";
import { Table } from "../lib/table.js";
import { tailPanel } from "./tail.js";
import { count, rate } from "../lib/words.js";

export function topicsPage(chosen) {
  const table = new Table("Topics", [
    { label: "Topic", value: (topic) => topic.topic, paint: (cell, topic) => {
      let button = cell.firstElementChild;
      if (!button) cell.append(button = el("button", { type: "button", class: "link", on: { click: () => choose(button.topic) } }));
      button.topic = topic.topic;
      if (button.textContent !== topic.topic) button.textContent = topic.topic;
    } },
    { label: "Subscribers", value: (topic) => topic.subscribers, number: true },
    { label: "Groups", value: (topic) => topic.groups, number: true, text: (topic) => Object.entries(topic.queues ?? {}).map(([name, members]) => `${name} (${members})`).join(", ") || String(topic.groups) },
    { label: "In/s", value: (topic) => topic.in, text: (topic) => rate(topic.in), number: true },
    { label: "Out/s", value: (topic) => topic.out, text: (topic) => rate(topic.out), number: true },
    { label: "Dropped", value: (topic) => topic.dropped_total ?? topic.dropped, number: true, text: (topic) => dropped(topic) },
    { label: "Waiting", value: (topic) => topic.lag, number: true, text: (topic) => (topic.lag ? count(topic.lag, "message") : "none") },
  ], { key: (topic) => topic.topic, kind: (topic) => (topic.dropped ? "bad" : ""), what: "topic", sort: { column: 3, down: true },
    none: "Nothing was published here, and nobody listens." });
  const slow = new Table("Slow consumers", [
    { label: "Topic", value: (one) => one.topic },
    { label: "Who", value: (one) => one.caller || "somebody" },
    { label: "Group", value: (one) => one.queue || "none" },
    { label: "Waiting for it", value: (one) => one.lag, text: (one) => count(one.lag, "message"), number: true },
  ], { key: (one) => one.key, kind: () => "warn", what: "consumer", sort: { column: 3, down: true }, none: "All consumers keep up." });
  const publish = publishPanel();
  const tail = tailPanel();
  const element = el("div", {}, el("h1", { text: "Topics" }), panel("All topics", table.element), panel("Slow consumers", slow.element),
    el("div", { class: "pair" }, publish.element, tail.element));

  function choose(topic) {
    publish.choose(topic);
    tail.choose(topic);
  }
  if (chosen) choose(chosen);

  return { title: "Topics", element, end: () => tail.end(), update: ({ event }) => {
    table.update(event.topics);
    slow.update(event.topics.flatMap((topic) => (topic.slow ?? []).map((one, index) => ({ ...one, topic: topic.topic, key: `${topic.topic} ${index}` }))));
  } };
}

function dropped(topic) {
  const all = topic.dropped_total ?? 0;
  return topic.dropped ? `${all} (${rate(topic.dropped)} a second)` : String(all);
}

function publishPanel() {
  const topic = el("input", { type: "text", required: true, autocomplete: "off", spellcheck: false });
  const message = el("textarea", { rows: 5, spellcheck: false });
  message.value = "{}";
  const kind = el("input", { type: "text", value: "application/json", autocomplete: "off" });
  const button = el("button", { type: "submit", class: "primary", text: "Publish" });
  const said = el("p", { class: "hint", role: "status", "aria-live": "polite" });
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      await send("POST", "broker", { query: { topic: topic.value }, body: message.value, headers: { "Content-Type": kind.value } });
      said.textContent = `Published to ${topic.value} at ${new Date().toLocaleTimeString(undefined, { hour12: false })}.`;
    } catch (failure) {
      said.textContent = `Not published: ${failure.message}`;
    }
    button.disabled = false;
  }
  return {
    element: panel("Publish", el("form", { on: { submit } }, field("Topic", topic), field("Message", message), field("Content type", kind), el("p", { class: "actions" }, button)), said),
    choose: (name) => { topic.value = name; },
  };
}
