// A receipt, drawn: when each attempt began, what it waited for, and how it ended; and the same in words.

import { el } from "../lib/dom.js";
import { count, ms, outcome, sentence } from "../lib/words.js";

const PARTS = [["queued_ms", "queued", "waited for a place"], ["connect_ms", "connect", "connected"], ["wait_ms", "wait", "waited for the answer"]];

export function drawReceipt(receipt) {
  if (!receipt) return el("p", { class: "hint", text: "There is no receipt." });
  const attempts = receipt.attempts ?? [];
  const spent = attempts.map((attempt) => PARTS.reduce((sum, [key]) => sum + (attempt[key] || 0), 0));
  const total = Math.max(receipt.total_ms || 0, spent.reduce((sum, one) => sum + one, 0), 0.001);
  // What is left over lies between the attempts: a pause before one more.
  const gap = attempts.length > 1 ? (total - spent.reduce((sum, one) => sum + one, 0)) / (attempts.length - 1) : 0;
  const lines = el("ol", { class: "timeline" });
  let begun = 0;
  attempts.forEach((attempt, index) => {
    const good = attempt.outcome === "answered";
    const bar = el("span", { class: "lane", "aria-hidden": "true" });
    let from = begun;
    for (const [key, kind, words] of PARTS) {
      const took = attempt[key] || 0;
      if (!took) continue;
      const part = el("span", { class: `part ${kind}${good ? "" : " bad"}`, title: `${words}: ${ms(took)}` });
      part.style.left = `${(100 * from) / total}%`;
      part.style.width = `max(3px, ${(100 * took) / total}%)`;
      bar.append(part);
      from += took;
    }
    begun += spent[index] + gap;
    const words = PARTS.filter(([key]) => attempt[key] > 0).map(([key, , told]) => `${told} ${ms(attempt[key])}`).join(", ");
    lines.append(el("li", { class: good ? "good" : "bad" },
      el("p", { class: "attempt" }, el("b", { text: attempt.node }), el("span", { class: "mono soft", text: attempt.address }),
        el("span", { class: `badge ${good ? "good" : "bad"}`, text: outcome(attempt.outcome) })),
      bar,
      el("p", { class: "hint", text: [words, sentence(attempt.next)].filter(Boolean).join("; ") })));
  });
  const said = [`${ms(receipt.total_ms)} of ${ms(receipt.deadline_ms)} that it might take`, count(attempts.length + (receipt.attempts_omitted || 0), "attempt"),
    `nodes chosen by ${receipt.strategy}`];
  if (receipt.attempts_omitted) said.push(`the first ${receipt.attempts_omitted} are not shown`);
  return el("div", { class: "receipt" },
    el("p", { class: "said" }, said.join(", ")),
    attempts.length ? lines : el("p", { class: "hint", text: "No node was asked." }),
    el("p", { class: "key", "aria-hidden": "true" }, ...PARTS.map(([, kind, words]) => el("span", {}, el("i", { class: `swatch ${kind}` }), words))),
    receipt.id ? el("p", { class: "hint" }, "Request id ", el("code", { text: receipt.id }), " (also in the log)") : null);
}
