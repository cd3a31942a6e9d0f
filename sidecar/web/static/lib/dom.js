// Makes elements. Whatever comes from outside goes in as text, never as markup.

const PROPERTIES = new Set(["value", "checked", "disabled", "type", "id", "name", "href", "open", "rows", "min", "max",
  "step", "placeholder", "required", "title", "htmlFor", "tabIndex", "spellcheck", "autocomplete", "scope", "colSpan"]);

/** An element. `props`: `class`, `text`, `on` (listeners by event), properties, and attributes by their own names. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "class") made.className = value;
    else if (name === "text") made.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (PROPERTIES.has(name)) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Sets a text, and touches nothing where it is the same: a screen reader and a selection stay where they are. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

/** A titled part of a page. */
export function panel(title, ...children) {
  const heading = el("h2", { text: title });
  return el("section", { class: "panel", "aria-label": title }, heading, ...children);
}

/** A label, what it is for, and an id that joins them. */
let ids = 0;
export function field(label, input, hint, kind) {
  input.id ||= `field-${++ids}`;
  const told = hint ? el("span", { class: "hint", text: hint }) : null;
  if (input.type === "checkbox") {
    return el("p", { class: "field check" }, input, el("label", { htmlFor: input.id, text: label }), told);
  }
  const named = el("label", { htmlFor: input.id, text: label });
  if (kind) named.append(" ", el("span", { class: "kind", text: kind }));
  return el("p", { class: "field" }, named, input, told);
}

/** A short text that stands out: a state, said in words and not by colour alone. */
export function badge(text, kind = "") {
  return el("span", { class: `badge ${kind}`.trim(), text });
}

export function paintBadge(cell, text, kind) {
  const known = cell.firstElementChild;
  if (known?.classList.contains("badge")) {
    setText(known, text);
    setClass(known, `badge ${kind}`.trim());
  } else cell.replaceChildren(badge(text, kind));
}
