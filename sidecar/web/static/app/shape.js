// The shape of a request or an answer, as a service told it: in words, as an example, and as fields of a form.

import { el, field } from "../lib/dom.js";

const DEEPEST = 6;
const NUMBER = /^u?int(8|16|32|64)?$|^float(32|64)$/;

function isList(type) {
  return type.startsWith("[]") && type !== "[]byte" && type !== "[]uint8";
}

/** A shape in a line: "name string, tags []string, address { city string }". */
export function shapeOf(value, depth = 0) {
  if (!value) return "not told";
  const inner = value.values ?? [];
  if (!inner.length) return depth ? value.type || "anything" : "nothing";
  if (depth > DEEPEST) return "…";
  const fields = inner.map((one) => `${one.name} ${one.values?.length ? shapeOf(one, depth + 1) : one.type || "anything"}`).join(", ");
  return depth ? `${isList(value.type || "") ? "[] " : ""}{ ${fields} }` : fields;
}

/** A request that has the shape. */
export function example(value, depth = 0) {
  const type = value?.type ?? "";
  if (isList(type)) return [];
  if (value?.values?.length && depth <= DEEPEST) {
    return Object.fromEntries(value.values.map((one) => [one.name, example(one, depth + 1)]));
  }
  if (NUMBER.test(type)) return 0;
  if (type === "bool") return false;
  if (type.startsWith("map") || !depth) return {};
  return "";
}

/** Fields for a shape. `read()` gives what was filled in; it throws an Error that says which field is no good. */
export function fieldsOf(value, depth = 0) {
  const readers = [];
  const elements = (value?.values ?? []).map((one) => {
    const type = one.type || "";
    if (one.values?.length && !isList(type) && depth < DEEPEST) {
      const inner = fieldsOf(one, depth + 1);
      readers.push([one.name, inner.read]);
      return el("fieldset", {}, el("legend", { text: one.name }), ...inner.elements);
    }
    const [input, read] = inputFor(type, one.name);
    readers.push([one.name, read]);
    return field(one.name, input, "", type);
  });
  return { elements, read: () => {
    const found = readers.map(([name, read]) => [name, read()]).filter(([, given]) => given !== undefined);
    return Object.fromEntries(found);
  } };
}

function inputFor(type, name) {
  if (type === "bool") {
    const input = el("input", { type: "checkbox" });
    return [input, () => input.checked];
  }
  if (NUMBER.test(type)) {
    const input = el("input", { type: "number", step: type.startsWith("float") ? "any" : "1" });
    return [input, () => (input.value === "" ? undefined : exact(input.value))];
  }
  if (type === "string" || type === "") {
    const input = el("input", { type: "text", autocomplete: "off" });
    return [input, () => input.value];
  }
  const input = el("input", { type: "text", placeholder: isList(type) ? "[]" : "JSON", autocomplete: "off", spellcheck: false });
  return [input, () => {
    if (!input.value.trim()) return undefined;
    try {
      return JSON.parse(input.value);
    } catch {
      throw new Error(`${name} is no JSON`);
    }
  }];
}

/** A number that JavaScript cannot hold is refused, and not sent as another. */
function exact(text) {
  const number = Number(text);
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) throw new Error(`${text} is larger than this form can send; write the request as JSON in a program`);
  return number;
}
