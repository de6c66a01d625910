/** The results that the server keeps of a device: a table with pages, and their download. */

import { devicePath, getJson } from "./api.js";
import { make, makeTable, setRows, setText } from "./dom.js";
import { clock, isKnown, number, UNKNOWN } from "./format.js";

const PAGE_ROWS = 20;
// Enough for the trail.
const NEWEST_ROWS = 60;
const EVERY_MS = 1000;
// Wider values are shown as one.
const MOST_COLUMNS = 8;

/**
 * @typedef {object} Result
 * @property {number} seq
 * @property {?number} captured_at
 * @property {?number} received_at
 * @property {?number} split
 * @property {any} value
 */

export class Results {
  #path;
  #told;
  #parts;
  /** Each but the newest page is those before a sequence number; these lead to what is shown. */
  #pages = [];
  /** Those that lead to what somebody wants to see. */
  #wanted = [];
  #isAsking = false;
  #next = null;
  #isSeen = false;
  #stop = new AbortController();
  #timer;
  #observer;

  /**
   * @param {string} stream
   * @param {function(Result[]): void} told  gets the newest results, newest first
   * @param {Element[]} watched  it asks while one of them, or its own, can be seen
   */
  constructor(stream, told, watched) {
    this.#path = `${devicePath(stream)}/results`;
    this.#told = told;
    this.#parts = this.#build();
    this.node = this.#parts.section;
    const seen = new Map();
    this.#observer = new IntersectionObserver((entries) => {
      for (const each of entries) seen.set(each.target, each.isIntersecting);
      this.#isSeen = [...seen.values()].some(Boolean);
    });
    for (const each of [this.node, ...watched]) this.#observer.observe(each);
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
    this.#ask();
  }

  close() {
    clearInterval(this.#timer);
    this.#observer.disconnect();
    this.#stop.abort();
  }

  #build() {
    const table = makeTable("Results, newest first", ["Frame"]);
    const newer = make("button", { type: "button" }, "Newer");
    const older = make("button", { type: "button" }, "Older");
    newer.addEventListener("click", () => this.#turn(this.#pages.slice(0, -1)));
    older.addEventListener("click", () => {
      if (this.#next !== null) this.#turn([...this.#pages, this.#next]);
    });
    const where = make("span", { class: "soft", role: "status" });
    const downloads = ["csv", "jsonl"].map((kind) =>
      make(
        "a",
        { href: `${this.#path}.${kind}`, download: "" },
        `Download ${kind === "csv" ? "CSV" : "JSON lines"}`,
      ),
    );
    const tools = make(
      "div",
      { class: "row tools" },
      newer,
      older,
      where,
      make("span", { class: "row downloads" }, ...downloads),
    );
    const words = make("p", { class: "soft", role: "status", hidden: "" });
    const section = make(
      "section",
      { class: "panel results", "aria-labelledby": "results-title" },
      make("h2", { id: "results-title" }, "Results"),
      tools,
      words,
      table.box,
    );
    return { section, table, newer, older, where, tools, words };
  }

  #turn(pages) {
    this.#wanted = pages;
    this.#ask();
  }

  // The first page follows the stream; one that did not come is asked for until it does.
  #look() {
    const isOld = this.#wanted.length === 0 || this.#wanted !== this.#pages;
    if (this.#isSeen && !document.hidden && isOld) this.#ask();
  }

  async #ask() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const wanted = this.#wanted;
    const before = wanted.at(-1) ?? null;
    const query = before === null ? `limit=${NEWEST_ROWS}` : `limit=${PAGE_ROWS}&before=${before}`;
    const found = await getJson(`${this.#path}?${query}`, { signal: this.#stop.signal }).catch(
      (error) => error,
    );
    this.#isAsking = false;
    if (this.#stop.signal.aborted) return;
    if (found instanceof Error) this.#sayError(found);
    else this.#take(found, wanted);
    // Somebody has turned the page since.
    if (this.#wanted !== wanted) this.#ask();
  }

  #sayError(error) {
    const { words } = this.#parts;
    words.hidden = false;
    setText(words, `The results could not be loaded: ${error.message}. Trying again.`);
  }

  #take(found, pages) {
    this.#pages = pages;
    if (pages.length === 0) this.#told(found.rows);
    this.#show(found);
  }

  #show({ kept, rows, next }) {
    const { table, tools, words, where, newer, older } = this.#parts;
    const isEmpty = rows.length === 0 && this.#pages.length === 0;
    tools.hidden = table.box.hidden = isEmpty;
    words.hidden = !isEmpty;
    setText(
      words,
      kept
        ? "There are no results yet."
        : "This server keeps no results: it was started with --results none.",
    );
    const shown = rows.slice(0, PAGE_ROWS);
    this.#next = rows.length > PAGE_ROWS ? shown.at(-1).seq : next;
    newer.setAttribute("aria-disabled", String(this.#pages.length === 0));
    older.setAttribute("aria-disabled", String(this.#next === null));
    setText(where, this.#pages.length === 0 ? "Newest results" : `Page ${this.#pages.length + 1}`);
    this.#fill(shown);
  }

  #fill(rows) {
    const { table } = this.#parts;
    const names = columnsOf(rows);
    const headings = ["Frame", "Captured", "Received", "Split", ...(names ?? ["Value"])];
    if (table.head.textContent !== headings.join("")) {
      table.head.replaceChildren(...headings.map((each) => make("th", { scope: "col" }, each)));
    }
    setRows(
      table.body,
      rows.map(({ seq, captured_at, received_at, split, value }) => [
        number(seq),
        time(captured_at),
        time(received_at),
        split === null ? UNKNOWN : String(split),
        ...(names === null ? [shown(value)] : names.map((name) => shown(value[name]))),
      ]),
    );
  }
}

// Results that are small maps are shown with a column for each of their names.
function columnsOf(rows) {
  const isMap = ({ value }) => value !== null && typeof value === "object" && !Array.isArray(value);
  if (rows.length === 0 || !rows.every(isMap)) return null;
  const names = [...new Set(rows.flatMap(({ value }) => Object.keys(value)))];
  return names.length <= MOST_COLUMNS ? names : null;
}

function shown(value) {
  if (value === undefined || value === null) return UNKNOWN;
  if (typeof value === "string") return value;
  return isKnown(value) && !Number.isInteger(value) ? number(value, 2) : JSON.stringify(value);
}

function time(seconds) {
  return isKnown(seconds) ? clock(seconds * 1000) : UNKNOWN;
}
