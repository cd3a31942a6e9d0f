// The journal of one service: who came, changed and left, when, why and on whose word.

import { getJson } from "../lib/api.js";
import { paintBadge, panel } from "../lib/dom.js";
import { Table } from "../lib/table.js";
import { action, ago, clock, sentence } from "../lib/words.js";

const MOST = 1000;
const KINDS = { create: "good", delete: "bad" };

export function journalPanel(service) {
  const table = new Table("Journal", [
    { label: "When", value: (entry) => entry.index, text: (entry) => `${clock(entry.at)}, ${ago(entry.at)}` },
    { label: "What", value: (entry) => entry.action, paint: (cell, entry) => paintBadge(cell, action(entry.action), KINDS[entry.action] ?? "") },
    { label: "Node", value: (entry) => (entry.service.nodes ?? []).map((node) => node.id).join(", ") || "–" },
    { label: "Why", value: (entry) => [entry.reason, sentence(entry.detail)].filter(Boolean).join(": ") },
    { label: "By", value: (entry) => entry.by },
  ], { key: (entry) => entry.index, what: "entry", sort: { column: 0, down: true }, shown: 20, none: "Nothing has changed since the journal began." });
  return {
    element: panel("Journal", table.element),
    async look() {
      try {
        table.update(await getJson("journal", { service, limit: MOST }));
      } catch { /* what was shown stays; the page says elsewhere that the sidecar is away */ }
    },
  };
}
