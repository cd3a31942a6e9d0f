// Calls in a list: each a line that opens, with its receipt.

import { el } from "../lib/dom.js";
import { ago, clock, ms, outcome, sentence } from "../lib/words.js";
import { drawReceipt } from "./receipt.js";

/** One call that can be opened; its receipt is drawn when it is. */
export function drawCall(call) {
  const age = el("span", { class: "soft age", text: ago(call.at) });
  const good = call.outcome === "answered";
  const inner = el("div", { class: "inner" });
  const summary = el("summary", {}, el("span", { class: `badge ${good ? "good" : "bad"}`, text: outcome(call.outcome) }),
    el("b", { text: `${call.service} ${call.method}` }), el("span", { class: "soft", text: ms(call.total_ms) }), age,
    good ? null : el("span", { class: "why", text: sentence(call.error) }));
  const details = el("details", { on: { toggle: () => {
    if (!details.open || inner.childElementCount) return;
    inner.append(...[
      el("p", { class: "hint", text: `At ${clock(call.at)}${call.caller ? `, called by ${call.caller}` : ""}` }),
      good ? null : el("p", { class: "problem", text: sentence(call.error) }),
      ...bodies(call), drawReceipt(call.receipt)].filter(Boolean));
  } } }, summary, inner);
  return { element: el("li", {}, details), age };
}

function bodies(call) {
  return [["request", "The request"], ["reply", "The answer"]].filter(([key]) => call[key]).flatMap(([key, title]) => [
    el("h3", { text: title }),
    el("pre", { tabIndex: 0, "aria-label": title, text: `${call[key].text ?? call[key].base64}${call[key].truncated ? "…" : ""}` }),
  ]);
}
