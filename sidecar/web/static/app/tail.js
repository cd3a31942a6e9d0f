// Follows a topic over a WebSocket: the last messages, newest first. It is a subscriber like others while it runs.

import { openSocket } from "../lib/api.js";
import { el, field, panel, setText } from "../lib/dom.js";

const KEPT = 200;
const LONGEST = 4000;

export function tailPanel() {
  const topic = el("input", { type: "text", required: true, autocomplete: "off", spellcheck: false });
  const button = el("button", { type: "submit", class: "primary", text: "Follow" });
  const said = el("p", { class: "hint", role: "status", "aria-live": "polite" });
  const list = el("ol", { class: "messages", tabIndex: 0, "aria-label": "Messages, newest first" });
  let socket = null;
  let heard = 0;

  function stop(why) {
    const known = socket;
    socket = null;
    known?.close();
    setText(button, "Follow");
    if (why) setText(said, why);
  }

  async function submit(event) {
    event.preventDefault();
    if (socket) {
      stop("Stopped.");
      return;
    }
    const name = topic.value;
    setText(said, `Following ${name}…`);
    let opened;
    try {
      opened = await openSocket("broker", { topic: name });
    } catch (failure) {
      setText(said, failure.message);
      return;
    }
    socket = opened;
    heard = 0;
    list.replaceChildren();
    setText(button, "Stop");
    opened.binaryType = "arraybuffer";
    opened.onopen = () => setText(said, `Follows ${name}; nothing came yet.`);
    opened.onmessage = ({ data }) => { if (socket === opened) show(name, data); };
    opened.onclose = ({ reason }) => {
      if (socket === opened) stop(`The sidecar ended it${reason ? `: ${reason}` : "; a role may be missing (subscribe), or it is stopping"}.`);
    };
  }

  function show(name, data) {
    heard += 1;
    const [head, text] = read(data);
    list.prepend(el("li", {}, el("p", { class: "hint" }, `${new Date().toLocaleTimeString(undefined, { hour12: false })}${head ? `, ${head}` : ""}`),
      el("pre", { text: text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length} letters)` : text })));
    while (list.childElementCount > KEPT) list.lastElementChild.remove();
    // A screen reader is told of the first message, and not of each.
    if (heard === 1) setText(said, `Messages of ${name} arrive.`);
  }

  return {
    element: panel("Follow a topic", el("form", { class: "row", on: { submit } }, field("Topic", topic), el("p", { class: "actions" }, button)), said, list),
    choose: (name) => { if (!socket) topic.value = name; },
    end: () => stop(""),
  };
}

/** What a frame holds: its headers in a line, and its body as text. */
function read(data) {
  if (typeof data !== "string") return ["", new TextDecoder().decode(data)];
  try {
    const message = JSON.parse(data);
    if (typeof message?.Body !== "string" && typeof message?.body !== "string") return ["", data];
    const head = Object.entries(message.Header ?? message.header ?? {}).map(([name, value]) => `${name}: ${value}`).join(", ");
    const bytes = Uint8Array.from(atob(message.Body ?? message.body), (letter) => letter.charCodeAt(0));
    return [head, new TextDecoder().decode(bytes)];
  } catch {
    return ["", data];
  }
}
