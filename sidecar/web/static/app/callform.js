// A test call: a form made of an endpoint's shape, and what came of it, with the receipt drawn.

import { send } from "../lib/api.js";
import { el, field, panel } from "../lib/dom.js";
import { drawReceipt } from "./receipt.js";
import { example, fieldsOf } from "./shape.js";
import { ms } from "../lib/words.js";

export function callPanel(service) {
  const method = el("input", { type: "text", required: true, autocomplete: "off", spellcheck: false, placeholder: "Say.Hello", list: "endpoints" });
  method.setAttribute("list", "endpoints");
  const choices = el("datalist", { id: "endpoints" });
  const body = el("div", { class: "request" });
  const raw = el("textarea", { rows: 5, spellcheck: false });
  const asJson = el("input", { type: "checkbox" });
  const timeout = el("input", { type: "text", value: "5s", autocomplete: "off" });
  const button = el("button", { type: "submit", class: "primary", text: "Call" });
  const result = el("div", { class: "result", role: "status", "aria-live": "polite" });
  const form = el("form", { on: { submit } }, field("Method", method), choices, field("write the request as JSON", asJson), body,
    field("Time allowed", timeout, "such as 300ms or 5s"), el("p", { class: "actions" }, button));
  let endpoints = new Map();
  let fields = null;
  raw.value = "{}";

  function draw() {
    const endpoint = endpoints.get(method.value);
    const shaped = Boolean(endpoint?.request?.values?.length);
    asJson.disabled = !shaped;
    if (shaped && !asJson.checked) {
      fields = fieldsOf(endpoint.request);
      body.replaceChildren(...fields.elements);
    } else {
      if (endpoint?.request) raw.value = JSON.stringify(example(endpoint.request), null, 2);
      fields = null;
      body.replaceChildren(field("Request, as JSON", raw));
    }
  }
  method.addEventListener("change", draw);
  asJson.addEventListener("change", draw);
  draw();

  async function submit(event) {
    event.preventDefault();
    let text;
    try {
      text = fields ? JSON.stringify(fields.read()) : raw.value.trim() || "{}";
      JSON.parse(text);
    } catch (error) {
      result.replaceChildren(el("p", { class: "problem", text: fields ? error.message : `The request is no JSON: ${error.message}` }));
      return;
    }
    button.disabled = true;
    // The request goes as it was written: a number in it is not read and written again.
    const call = `{"service":${JSON.stringify(service)},"method":${JSON.stringify(method.value)},"request":${text}}`;
    const began = performance.now();
    try {
      const answer = await send("POST", "rpc", { body: call, patience: 120000,
        headers: { "Content-Type": "application/json", "Micro-Explain": "1", Timeout: timeout.value } });
      show("Answered", "good", await answer.text(), receiptIn(answer.headers), began);
    } catch (failure) {
      show(failure.status ? `Failed with ${failure.status}: ${failure.message}` : failure.message, "bad", "", failure.receipt, began);
    }
    button.disabled = false;
  }

  function show(said, kind, text, receipt, began) {
    result.replaceChildren(el("p", { class: `verdict ${kind}` }, said, ` after ${ms(performance.now() - began)}, this page's way included`),
      text ? el("pre", { tabIndex: 0, "aria-label": "The answer", text: pretty(text) }) : "", el("h3", { text: "Receipt" }), drawReceipt(receipt));
  }

  return {
    element: panel("Test call", form, result),
    offer(found) {
      endpoints = new Map(found.map((endpoint) => [endpoint.name, endpoint]));
      choices.replaceChildren(...found.map((endpoint) => el("option", { value: endpoint.name })));
      if (!method.value && found.length) {
        method.value = found[0].name;
        draw();
      }
    },
    choose(name) {
      method.value = name;
      draw();
      (body.querySelector("input, textarea") ?? method).focus();
    },
  };
}

function receiptIn(headers) {
  try {
    return JSON.parse(headers.get("Micro-Receipt"));
  } catch {
    return null;
  }
}

/** JSON for people, unless a number in it would be shown as another. */
function pretty(text) {
  if (/\d{16}/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
