// The live tap: calls as they end, sampled and bounded; their bodies only when they are asked for.

import { drawCall } from "./calls.js";
import { el, field, panel, setText } from "../lib/dom.js";
import { Stream } from "../lib/stream.js";

const KEPT = 100;
const RATE = 20;

export function tapPanel() {
  const service = el("input", { type: "text", autocomplete: "off", spellcheck: false, placeholder: "all services" });
  service.setAttribute("list", "tapped");
  const choices = el("datalist", { id: "tapped" });
  const bodies = el("input", { type: "checkbox" });
  const button = el("button", { type: "submit", class: "primary", text: "Watch calls" });
  const said = el("p", { class: "hint", role: "status", "aria-live": "polite", text: "Nothing is watched until you ask." });
  const skipped = el("p", { class: "hint" });
  const list = el("ul", { class: "calls" });
  let stream = null;
  let left = 0;
  let offered = "";

  function stop() {
    stream?.close();
    stream = null;
    setText(button, "Watch calls");
  }

  function submit(event) {
    event.preventDefault();
    if (stream) {
      stop();
      setText(said, "Stopped.");
      return;
    }
    list.replaceChildren();
    left = 0;
    setText(skipped, "");
    setText(button, "Stop");
    const what = service.value.trim() || "all services";
    stream = new Stream("tap", { service: service.value.trim(), rate: RATE, bodies: bodies.checked ? 1 : "" }, {
      on: { call: show },
      state: (state, why) => setText(said, { connecting: "Connecting…", live: `Watching calls of ${what}.` }[state]
        ?? `Not connected: ${why}; trying again.${bodies.checked ? " Bodies take the role admin." : ""}`),
    });
  }

  function show(call) {
    list.prepend(drawCall(call).element);
    // One that somebody has open stays.
    for (const old of [...list.children].slice(KEPT)) if (!old.firstElementChild.open) old.remove();
    left += call.skipped || 0;
    if (left) setText(skipped, `${left} more calls went by faster than they are shown (${RATE} a second).`);
  }

  return {
    element: panel("Live tap", el("form", { class: "row", on: { submit } }, field("Service", service), choices, field("show bodies", bodies), el("p", { class: "actions" }, button)), said, skipped, list),
    offer(names) {
      const text = names.join("\n");
      if (text !== offered) choices.replaceChildren(...names.map((name) => el("option", { value: name })));
      offered = text;
    },
    end: stop,
  };
}
