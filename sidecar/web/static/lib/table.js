// A table that is kept up to date in place: rows keep their elements, so focus, selection and a screen reader's place
// stay. It shows a page of its rows at a time; ten thousand cost no more than fifty.

import { el, setClass, setText } from "./dom.js";
import { count } from "./words.js";

const SHOWN = 50;
export const collator = new Intl.Collator(undefined, { numeric: true });

export class Table {
  /**
   * `columns`: each with `label`, `value(row)` for text and order, perhaps `paint(cell, row)`, `number`, `sort: false`.
   * `key(row)` tells rows apart; `kind(row)` is a class; `what` names a row.
   */
  constructor(caption, columns, { key, kind = () => "", what = "row", none = "There is nothing yet.", sort = null, shown = SHOWN }) {
    Object.assign(this, { columns, key, kind, what, none, shown });
    this.sort = sort ?? { column: -1, down: false };
    this.page = 0;
    this.all = [];
    this.known = new Map();
    this.heads = columns.map((column, index) => this.head(column, index));
    this.body = el("tbody", { role: "rowgroup" });
    this.table = el("table", { role: "table" }, el("caption", { class: "hidden", text: caption }),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...this.heads)), this.body);
    this.empty = el("p", { class: "empty", text: none });
    this.told = el("span", { "aria-live": "polite" });
    this.back = el("button", { type: "button", text: "Earlier", on: { click: () => this.turn(-1) } });
    this.next = el("button", { type: "button", text: "Further", on: { click: () => this.turn(1) } });
    this.pager = el("p", { class: "pager" }, this.back, this.told, this.next);
    this.element = el("div", { class: "table" }, this.table, this.empty, this.pager);
  }

  head(column, index) {
    const name = column.number ? "number" : "";
    if (column.sort === false) return el("th", { scope: "col", role: "columnheader", class: name, text: column.label });
    const button = el("button", { type: "button", class: "sort", text: column.label, on: { click: () => this.order(index) } });
    return el("th", { scope: "col", role: "columnheader", class: name }, button);
  }

  order(index) {
    const same = this.sort.column === index;
    this.sort = { column: index, down: same ? !this.sort.down : Boolean(this.columns[index].number) };
    this.page = 0;
    this.draw();
  }

  turn(by) {
    this.page += by;
    this.draw();
    if (this.back.disabled && by < 0) this.next.focus();
    if (this.next.disabled && by > 0) this.back.focus();
  }

  update(rows) {
    this.all = rows;
    this.draw();
  }

  /** The rows of the page that is shown. */
  visible() {
    return this.rows ?? [];
  }

  draw() {
    const { column, down } = this.sort;
    let rows = this.all;
    if (column >= 0) {
      const { value } = this.columns[column];
      rows = [...rows].sort((a, b) => (down ? -1 : 1) * compare(value(a), value(b)));
    }
    const pages = Math.max(1, Math.ceil(rows.length / this.shown));
    this.page = Math.min(Math.max(0, this.page), pages - 1);
    const first = this.page * this.shown;
    this.rows = rows.slice(first, first + this.shown);
    this.fill();
    this.heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.table.hidden = !rows.length;
    this.empty.hidden = Boolean(rows.length);
    this.pager.hidden = pages === 1;
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
    setText(this.told, `${first + 1} to ${first + this.rows.length} of ${count(rows.length, this.what)}`);
  }

  fill() {
    const wanted = new Map(this.rows.map((row) => [this.key(row), row]));
    for (const [key, line] of this.known) {
      if (!wanted.has(key)) {
        line.remove();
        this.known.delete(key);
      }
    }
    let place = this.body.firstElementChild;
    for (const [key, row] of wanted) {
      let line = this.known.get(key);
      if (!line) this.known.set(key, line = this.line());
      setClass(line, this.kind(row));
      this.columns.forEach((column, index) => {
        const cell = line.children[index];
        if (column.paint) column.paint(cell, row);
        else setText(cell, String(column.text ? column.text(row) : column.value(row) ?? "–"));
      });
      if (line === place) place = place.nextElementSibling;
      else this.body.insertBefore(line, place);
    }
  }

  line() {
    return el("tr", { role: "row" }, ...this.columns.map((column, index) => {
      const cell = el(index ? "td" : "th", { role: index ? "cell" : "rowheader", class: column.number ? "number" : column.wide ? "wide" : "" });
      if (!index) cell.scope = "row";
      cell.dataset.label = column.label;
      return cell;
    }));
  }
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return typeof a === "string" ? collator.compare(a, b) : a - b;
}

/** Paints a link into a cell, once. */
export function paintLink(cell, text, href) {
  let link = cell.firstElementChild;
  if (link?.tagName !== "A") cell.replaceChildren(link = el("a", {}));
  setText(link, text);
  if (link.getAttribute("href") !== href) link.setAttribute("href", href);
}
