/**
 * The list of devices: one row each, patched as values change, with a filter and an order that the
 * user chooses. While the pointer or the focus is in the table, rows keep their places.
 */

import { Feed, getJson } from "./api.js";
import { make, setAttribute, setChildren, setText } from "./dom.js";
import { counted, number } from "./format.js";
import { COLUMNS, makeRow, patchRow, wordsOf } from "./list_row.js";
import { STATES, stateOf, stateWords } from "./words.js";

/** @typedef {import("./api.js").Row} Row */

export class ListView {
  #session;
  #banner;
  #feed = null;
  /** @type {Map<string, {row: Row, parts: Record<string, Element>, words: string}>} */
  #devices = new Map();
  #order = { id: "state", falls: false };
  #parts = {};

  /**
   * @param {HTMLElement} place  what it fills
   * @param {import("./api.js").Session} session
   * @param {import("./banner.js").Banner} banner
   */
  constructor(place, session, banner) {
    this.#session = session;
    this.#banner = banner;
    this.#build(place);
    if (session.live) this.#feed = new Feed("/api/events", ["devices"], this);
    else
      getJson("/api/devices").then(
        (found) => this.#take(found.devices, [], found.now_s),
        banner.show,
      );
  }

  close() {
    this.#feed?.close();
  }

  onOpen() {
    this.#banner.hide();
  }

  onLost() {
    this.#banner.lost();
  }

  onRefused() {
    this.#banner.lost();
  }

  onEvent(_name, said) {
    this.#take(said.rows, said.gone ?? [], said.now_s);
  }

  #build(place) {
    const heading = make("h1", { tabindex: "-1" }, "Devices");
    const summary = make("p", { class: "summary" });
    const filter = make("input", {
      type: "search",
      id: "filter",
      autocomplete: "off",
      spellcheck: "false",
    });
    filter.addEventListener("input", () => this.#arrange());
    const order = make("select", { id: "order" });
    order.append(...COLUMNS.map((each) => make("option", { value: each.id }, each.title)));
    order.addEventListener("change", () => this.#sortBy(order.value, false));
    const head = make("tr", { role: "row" }, ...COLUMNS.map((each) => this.#heading(each)));
    const body = make("tbody", { role: "rowgroup" });
    body.addEventListener("click", follow);
    for (const left of ["pointerleave", "focusout"]) {
      body.addEventListener(left, () => requestAnimationFrame(() => this.#arrangeUnused()));
    }
    const table = make(
      "table",
      // Roles of its own, since a narrow page shows rows as cards, and then CSS takes the others.
      { class: "devices", role: "table", "aria-label": "Devices" },
      make("thead", { role: "rowgroup" }, head),
      body,
    );
    const none = make("p", { class: "empty", role: "status" });
    const tools = make(
      "div",
      { class: "tools" },
      make("div", { class: "field grow" }, make("label", { for: "filter" }, "Filter"), filter),
      make("div", { class: "field order" }, make("label", { for: "order" }, "Sort by"), order),
    );
    const title = make("div", { class: "title" }, heading, summary);
    place.replaceChildren(make("div", { class: "list-head" }, title, tools), table, none);
    this.#parts = { summary, filter, order, head, body, none, table };
    this.#sayOrder();
  }

  #heading(column) {
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      const isOrder = this.#order.id === column.id;
      this.#sortBy(column.id, isOrder ? !this.#order.falls : Boolean(column.number));
    });
    const kind = column.number ? "number" : "";
    return make(
      "th",
      { scope: "col", role: "columnheader", class: kind, "data-column": column.id },
      button,
    );
  }

  #sortBy(id, falls) {
    this.#order = { id, falls };
    this.#sayOrder();
    this.#arrange();
  }

  #sayOrder() {
    for (const cell of this.#parts.head.children) {
      const isOrder = cell.dataset.column === this.#order.id;
      const direction = this.#order.falls ? "descending" : "ascending";
      setAttribute(cell, "aria-sort", isOrder ? direction : "none");
    }
    this.#parts.order.value = this.#order.id;
  }

  /** @param {Row[]} rows @param {string[]} gone @param {number} nowS */
  #take(rows, gone, nowS) {
    const beganMs = this.#session.live ? Date.now() - 1000 * nowS : null;
    for (const stream of gone) this.#devices.delete(stream);
    for (const row of rows) {
      const device = this.#devices.get(row.stream) ?? { row, parts: makeRow(row), words: "" };
      device.row = row;
      device.words = wordsOf(row);
      patchRow(device.parts, row, beganMs);
      this.#devices.set(row.stream, device);
    }
    if (this.#openOnlyOne()) return;
    if (rows.length === 0 || gone.length > 0 || !this.#isUsed) this.#arrange();
    else this.#addNew();
    this.#sum();
  }

  // Who opens the trace of one device came to see that device.
  #openOnlyOne() {
    if (this.#session.live || this.#devices.size !== 1) return false;
    const [stream] = this.#devices.keys();
    location.replace(`#device=${encodeURIComponent(stream)}`);
    return true;
  }

  // A row that moves away from under the pointer is clicked in vain, and who goes from row to row by
  // keyboard would pass some by.
  get #isUsed() {
    return this.#parts.body.matches(":hover, :focus-within");
  }

  #arrangeUnused() {
    if (!this.#isUsed) this.#arrange();
  }

  #addNew() {
    const { body, filter } = this.#parts;
    if (filter.value.trim() !== "") return;
    for (const device of this.#devices.values()) {
      if (!device.parts.row.isConnected) body.append(device.parts.row);
    }
  }

  #arrange() {
    const wanted = this.#parts.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = [...this.#devices.values()].filter((device) =>
      wanted.every((word) => device.words.includes(word)),
    );
    const column = COLUMNS.find((each) => each.id === this.#order.id);
    const turn = this.#order.falls ? -1 : 1;
    shown.sort(
      (a, b) =>
        compare(column.key(a.row), column.key(b.row), turn) ||
        compare(a.row.stream, b.row.stream, 1),
    );
    const focused = document.activeElement;
    setChildren(
      this.#parts.body,
      shown.map((device) => device.parts.row),
    );
    if (focused !== document.activeElement && focused.isConnected) focused.focus();
    this.#sayNone(shown.length);
  }

  #sayNone(shown) {
    const { none, table } = this.#parts;
    table.hidden = shown === 0;
    none.hidden = shown > 0;
    const isEmpty = this.#devices.size === 0;
    setText(none, isEmpty ? "No device has connected yet." : "No device matches the filter.");
  }

  #sum() {
    const counts = {};
    for (const { row } of this.#devices.values()) {
      const state = stateOf(row);
      counts[state] = (counts[state] ?? 0) + 1;
    }
    const said = STATES.filter((each) => counts[each]).map(
      (each) => `${number(counts[each])} ${stateWords(each).toLowerCase()}`,
    );
    setText(this.#parts.summary, [counted(this.#devices.size, "device"), ...said].join(" · "));
  }
}

// What is not known comes last, whichever way the others go.
function compare(a, b, turn) {
  const [noA, noB] = [a === null || a === undefined, b === null || b === undefined];
  if (noA || noB) return Number(noA) - Number(noB);
  return turn * (a < b ? -1 : Number(a > b));
}

// A click anywhere on a row opens it; who selects text does not want to leave.
function follow(event) {
  if (event.target.closest("a") || String(getSelection()) !== "") return;
  event.target.closest("tr")?.querySelector("a")?.click();
}
