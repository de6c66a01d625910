/**
 * The list of devices: one row each, patched as values change, with a filter and an order that the
 * user chooses. While the pointer or the focus is in the table, rows keep their places.
 */

import { Feed, getJson } from "./api.js";
import { icon, make, setAttribute, setChildren, setText } from "./dom.js";
import { clock, counted, duration, fps, isKnown, linkRate, number, split, UNKNOWN } from "./format.js";
import { reasonWords, STATES, stateOf, stateWords } from "./words.js";

/** @typedef {import("./api.js").Row} Row */

/**
 * What the columns show and how they sort; `number` columns are aligned to the right and begin
 * with the largest.
 */
const COLUMNS = [
  { id: "state", title: "State", key: (row) => STATES.indexOf(stateOf(row)) },
  { id: "stream", title: "Device", key: (row) => row.stream.toLowerCase() },
  { id: "fps", title: "FPS", key: (row) => row.fps, number: true },
  { id: "split", title: "Split", key: (row) => row.split, number: true },
  { id: "reason", title: "Why", key: (row) => reasonWords(row.reason) || null },
  { id: "latency", title: "Latency", key: (row) => row.latency_p95_s, number: true },
  { id: "link", title: "Link", key: (row) => row.link_bytes_per_s, number: true },
  { id: "lost", title: "Dropped, failed", key: (row) => lostFrames(row), number: true },
  { id: "cloud", title: "Cloud per frame", key: (row) => row.cloud_s_per_frame, number: true },
];

const lostFrames = (row) => (row.dropped ?? 0) + (row.failed ?? 0);

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
    else getJson("/api/devices").then((found) => this.#take(found.devices, [], found.now_s), banner.show);
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
    const filter = make("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false" });
    filter.addEventListener("input", () => this.#arrange());
    const order = make("select", { id: "order" });
    order.append(...COLUMNS.map((each) => make("option", { value: each.id }, each.title)));
    order.addEventListener("change", () => this.#sortBy(order.value, false));
    const head = make("tr", { role: "row" }, ...COLUMNS.map((each) => this.#heading(each)));
    const body = make("tbody", { role: "rowgroup" });
    body.addEventListener("click", follow);
    for (const left of ["pointerleave", "focusout"]) {
      body.addEventListener(left, () => requestAnimationFrame(() => this.#arrange()));
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
    return make("th", { scope: "col", role: "columnheader", class: kind, "data-column": column.id }, button);
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
    const beganMs = Date.now() - 1000 * nowS;
    for (const stream of gone) this.#devices.delete(stream);
    for (const row of rows) {
      const device = this.#devices.get(row.stream) ?? { row, parts: makeRow(row), words: "" };
      device.row = row;
      device.words = [row.stream, row.device, row.app, stateWords(stateOf(row)), reasonWords(row.reason)].join(" ").toLowerCase();
      patchRow(device.parts, row, beganMs);
      this.#devices.set(row.stream, device);
    }
    if (this.#openOnlyOne()) return;
    // A row that moves away from under the pointer is clicked in vain.
    const isUsed = this.#parts.body.matches(":hover, :focus-within");
    if (!isUsed || rows.length === 0 || gone.length > 0) this.#arrange();
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
    setChildren(this.#parts.body, shown.map((device) => device.parts.row));
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

function makeRow(row) {
  const parts = { row: make("tr", { role: "row" }) };
  for (const column of COLUMNS) {
    const role = column.id === "stream" ? "rowheader" : "cell";
    const tag = column.id === "stream" ? "th" : "td";
    const kind = column.number ? "number" : "";
    const cell = make(tag, { role, class: kind, "data-column": column.id, "data-title": column.title });
    parts[column.id] = cell;
    parts.row.append(cell);
  }
  parts.stream.setAttribute("scope", "row");
  const link = make("a", { href: `#device=${encodeURIComponent(row.stream)}` }, row.stream);
  parts.where = make("small");
  parts.stream.append(link, parts.where);
  parts.value = make("b");
  parts.target = make("small");
  parts.fps.append(parts.value, parts.target);
  parts.bar = make("span", { class: "bar", "aria-hidden": "true" }, make("i"));
  parts.position = make("span");
  parts.split.append(parts.position, parts.bar);
  return parts;
}

function patchRow(parts, row, beganMs) {
  const state = stateOf(row);
  if (parts.row.dataset.state !== state) {
    parts.row.dataset.state = state;
    const words = make("span", {}, stateWords(state));
    parts.state.replaceChildren(make("span", { class: `state ${state}` }, icon(state), words));
  }
  setText(parts.where, [row.device === row.stream ? null : row.device, row.app].filter(Boolean).join(" · "));
  setText(parts.value, fps(row.fps));
  setText(parts.target, !isKnown(row.target_fps) ? "" : ` of ${number(row.target_fps)}`);
  const position = row.split;
  setText(parts.position, isKnown(position) ? `${split(position)} of ${row.tasks}` : UNKNOWN);
  parts.bar.hidden = !isKnown(position);
  parts.bar.firstElementChild.style.width = `${(100 * (position ?? 0)) / (row.tasks || 1)}%`;
  const isLost = state === "lost" && isKnown(row.seen_s);
  setText(parts.reason, isLost ? `last heard ${clock(beganMs + 1000 * row.seen_s)}` : reasonWords(row.reason));
  setText(parts.latency, duration(row.latency_p95_s));
  setText(parts.link, linkRate(row.link_bytes_per_s));
  setText(parts.lost, number(lostFrames(row)));
  setText(parts.cloud, duration(row.cloud_s_per_frame));
}
