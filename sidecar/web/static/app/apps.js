// The apps beside the sidecar: what their checks said last, and how an operator takes one out of the registry.

import { send } from "../lib/api.js";
import { el, paintBadge, panel, setText } from "../lib/dom.js";
import { Table } from "../lib/table.js";
import { sentence } from "../lib/words.js";

function state(app) {
  if (app.kept_out) return ["out of the registry", "warn"];
  if (app.healthy === null || app.healthy === undefined) return ["not checked yet", ""];
  return app.healthy ? ["healthy", "good"] : ["not healthy", "bad"];
}

export function appsPanel() {
  const said = el("p", { class: "hint", role: "status", "aria-live": "polite" });

  async function act(button, app) {
    const out = Boolean(app.kept_out);
    if (!out && button.dataset.sure !== "yes") {
      button.dataset.sure = "yes";
      setText(button, `Really drain ${app.name}?`);
      setTimeout(() => { delete button.dataset.sure; }, 5000);
      return;
    }
    delete button.dataset.sure;
    button.disabled = true;
    said.textContent = out ? `${app.name} comes back…` : `${app.name} leaves the registry; calls under way are awaited…`;
    try {
      // A drain answers when it is safe to stop the app.
      await send(out ? "DELETE" : "POST", "drain", { query: { app: app.name }, patience: 120000 });
      said.textContent = out ? `${app.name} is back in the registry.` : `${app.name} is drained: it is safe to stop it.`;
    } catch (failure) {
      said.textContent = failure.status === 403 ? `That takes the role admin: ${failure.message}` : `${app.name}: ${failure.message}`;
    }
    button.disabled = false;
  }

  const table = new Table("Our apps and their checks", [
    { label: "App", value: (app) => app.name, sort: false },
    { label: "State", sort: false, paint: (cell, app) => paintBadge(cell, ...state(app)) },
    { label: "Its checks said last", value: (app) => sentence([app.kept_out, app.explanation].filter(Boolean).join("; ")), sort: false },
    { label: "", sort: false, paint: (cell, app) => {
      let button = cell.firstElementChild;
      if (!button) cell.append(button = el("button", { type: "button", class: "small", on: { click: () => act(button, button.app) } }));
      button.app = app;
      if (!button.dataset.sure) setText(button, app.kept_out ? "Bring back" : "Drain");
      const name = `${button.textContent}${button.dataset.sure ? "" : ` ${app.name}`}`;
      if (button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
    } },
  ], { key: (app) => app.name, kind: (app) => (state(app)[1] === "bad" ? "bad" : ""), what: "app", none: "No app is beside this sidecar (--server_name)." });
  return { element: panel("Our apps", table.element, said), update: (apps) => table.update(apps) };
}
