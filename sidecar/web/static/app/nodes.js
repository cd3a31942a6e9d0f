// The nodes of one service: who would be called, who not and why.

import { el, paintBadge, panel, setText } from "../lib/dom.js";
import { Table } from "../lib/table.js";
import { ago, ms, outcome, percent, rate, sentence, since } from "../lib/words.js";

function state(node) {
  if (node.why && !node.chosen) return [/^ejected/.test(node.why) ? "failing, left out" : "not called", "bad"];
  if (node.why) return ["failing", "bad"];
  if (node.last && node.last.outcome !== "answered" && node.errors > 0) return ["some calls fail", "warn"];
  return ["in service", "good"];
}

function last(node) {
  if (!node.last) return "not called yet";
  return `${outcome(node.last.outcome)} (${ms(node.last.ms)}), ${ago(node.last.at)}`;
}

function metadata(node) {
  return Object.entries(node.metadata ?? {}).map(([key, value]) => `${key}=${value}`).join(", ") || "none";
}

export function nodesPanel() {
  const strategy = el("p", { class: "hint" });
  const table = new Table("Nodes", [
    { label: "Node", value: (node) => node.id, paint: (cell, node) => {
      if (!cell.firstChild) cell.append(el("b", {}), el("span", { class: "mono soft block" }));
      setText(cell.children[0], node.id);
      setText(cell.children[1], node.address);
    } },
    { label: "State", value: (node) => (state(node)[1] === "bad" ? 0 : 1), paint: (cell, node) => {
      if (!cell.firstChild) cell.append(el("span", {}), el("span", { class: "reason block" }));
      paintBadge(cell.children[0], ...state(node));
      setText(cell.children[1], node.why ? sentence(node.why) : "");
    } },
    { label: "Version", value: (node) => node.version || "–" },
    { label: "Calls/s", value: (node) => node.calls ?? 0, text: (node) => rate(node.calls ?? 0), number: true },
    { label: "Under way", value: (node) => node.in_flight ?? 0, number: true },
    { label: "95 of 100 within", value: (node) => node.p95_ms, text: (node) => ms(node.p95_ms), number: true },
    { label: "Weight", value: (node) => node.weight, text: (node) => `${node.weight ?? "–"} (${percent(node.share ?? 0)})`, number: true },
    { label: "Last call", value: (node) => node.last?.at ?? "", text: last, wide: true },
    { label: "Registered", value: (node) => node.source?.since ?? "", text: registered, wide: true },
    { label: "Metadata", value: metadata, sort: false, paint: (cell, node) => {
      if (!cell.firstChild) cell.append(el("span", { class: "mono small pairs" }));
      setText(cell.firstChild, metadata(node));
    } },
  ], { key: (node) => `${node.version} ${node.id} ${node.address}`, kind: (node) => (state(node)[1] === "bad" ? "bad" : ""), what: "node",
    sort: { column: 1, down: false }, none: "No node is registered." });
  let explained = [];
  let live = new Map();

  function draw() {
    table.update(explained.map((node) => {
      const now = live.get(node.address);
      return { ...node, ...now, last: newer(now?.last, node.last), why: node.why || now?.why || "", version: node.version };
    }));
  }

  return {
    element: panel("Nodes", strategy, table.element),
    explained(told, versions) {
      const known = new Map(versions.flatMap((version) => version.nodes ?? []).map((node) => [node.id, node.metadata]));
      explained = told.nodes.map((node) => ({ ...node, metadata: known.get(node.id) }));
      setText(strategy, told.strategy ? `Of ${explained.length}, the one to call is chosen by ${told.strategy}.` : "");
      draw();
    },
    happened(nodes) {
      live = new Map(nodes.map((node) => [node.address, node]));
      draw();
    },
  };
}

function newer(one, other) {
  if (!one || !other) return one || other || null;
  return one.at >= other.at ? one : other;
}

function registered(node) {
  const { engine, since: date, by } = node.source ?? {};
  return [date ? since(date) : "", by ? `by ${by}` : "", engine ? `in ${engine}` : ""].filter(Boolean).join(", ") || "–";
}
