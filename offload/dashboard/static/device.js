/** The page of one device: fetches what is known, follows what is new, and hands it to the parts. */

import { devicePath, Feed, getJson } from "./api.js";
import { hasTarget } from "./controls.js";
import { DeviceParts } from "./device_parts.js";
import { make } from "./dom.js";
import { Series, Viewport } from "./series.js";

const TICK_MS = 1000;
const LIVE_SPAN_S = 300;
// A long run is some hundred kilobytes, and a recorded one a few megabytes.
const LOAD_LIMIT_MS = 15000;

export class DeviceView {
  #stream;
  #session;
  #banner;
  #place;
  #series = new Series();
  #viewport;
  #context;
  #row = null;
  #clock = { serverS: 0, atMs: 0 };
  #parts = null;
  #key = "";
  /** Events that come while the snapshot that they follow is under way. */
  #waiting = null;
  /** Whether what was known when the events began was not fetched. */
  #isBehind = false;
  #closing = [];
  #isClosed = false;

  /**
   * @param {HTMLElement} place
   * @param {string} stream
   * @param {import("./api.js").Session} session
   * @param {import("./banner.js").Banner} banner
   */
  constructor(place, stream, session, banner) {
    this.#place = place;
    this.#stream = stream;
    this.#session = session;
    this.#banner = banner;
    this.#viewport = new Viewport(session.live ? LIVE_SPAN_S : null, () => this.#showSeries());
    this.#context = {
      series: this.#series,
      viewport: this.#viewport,
      live: session.live,
      now: () => this.#now(),
      wall: (atS) => Date.now() - (this.#now() - atS) * 1000,
    };
    place.replaceChildren(make("h1", { tabindex: "-1", class: "empty" }, stream));
    if (session.live) this.#follow();
    else this.#load();
  }

  close() {
    this.#isClosed = true;
    for (const end of this.#closing) end();
    this.#closeParts();
  }

  onOpen() {
    // One that is under way already may be of before.
    this.#isBehind = true;
    this.#load();
  }

  onLost() {
    this.#banner.lost();
  }

  onRefused() {
    this.#load();
  }

  onEvent(name, said) {
    if (this.#waiting !== null) this.#waiting.push([name, said]);
    else this.#take(name, said);
  }

  #follow() {
    const feed = new Feed(`${devicePath(this.#stream)}/events`, ["sample", "notice"], this);
    const timer = setInterval(() => this.#showRow(), TICK_MS);
    const seen = () => this.#showSeries();
    document.addEventListener("visibilitychange", seen);
    this.#closing.push(
      () => feed.close(),
      () => clearInterval(timer),
      () => document.removeEventListener("visibilitychange", seen),
    );
  }

  async #load() {
    if (this.#waiting !== null) return;
    this.#waiting = [];
    this.#isBehind = false;
    const path = devicePath(this.#stream);
    const found = await getJson(path, { limitMs: LOAD_LIMIT_MS }).catch((error) => error);
    const waiting = this.#waiting;
    this.#waiting = null;
    if (this.#isClosed) return;
    if (found instanceof Error) {
      this.#fail(found);
      return;
    }
    this.#banner.hide();
    this.#fill(found);
    for (const [name, said] of waiting) this.#take(name, said);
  }

  #fail(error) {
    if (error.status !== 404) {
      this.#isBehind = true;
      this.#banner.show(error);
      return;
    }
    this.#banner.hide();
    this.#closeParts();
    if (this.#place.querySelector(".unknown") !== null) return;
    const words =
      "The server knows no device of this name, or has forgotten it. " +
      "It is shown here as soon as it connects.";
    this.#place.replaceChildren(
      backLink(),
      make("h1", { tabindex: "-1" }, this.#stream),
      make("p", { class: "empty unknown" }, words),
    );
  }

  #fill(found) {
    this.#setClock(found.now_s);
    this.#setRow(found.row);
    this.#series.replace(found.samples, this.#session.live);
    const info = { ...found.info, tasks: namesOf(found) };
    // A device that came back may run another app. All that is typed goes with the parts, so they
    // stay where the mode is only what was expected of it.
    const key = JSON.stringify([info.tasks, info.splits, hasTarget(info)]);
    if (this.#parts === null || key !== this.#key) this.#build(info);
    this.#key = key;
    this.#parts.notices.replace(found.notices, found.noticed);
    this.#showAll(found);
  }

  #build(info) {
    this.#closeParts();
    const device = { stream: this.#stream, info };
    this.#parts = new DeviceParts(device, this.#session, this.#context, (row) => {
      this.#setRow(row);
      this.#showRow();
    });
    const hadFocus = this.#place.contains(document.activeElement);
    this.#place.replaceChildren(backLink(), ...this.#parts.nodes);
    // Else who goes by keyboard would begin again at the top.
    if (hadFocus) this.#place.querySelector("h1").focus({ preventScroll: true });
  }

  #closeParts() {
    this.#parts?.close();
    this.#parts = null;
  }

  #take(name, said) {
    if (this.#parts === null) {
      this.#load();
      return;
    }
    if (name === "notice") {
      this.#parts.notices.add(said);
      return;
    }
    const isOther =
      said.tasks.length > this.#parts.tasks.length || said.row.mode !== this.#row.mode;
    this.#setClock(said.now_s);
    this.#setRow(said.row);
    if (said.sample) this.#series.append(said.sample);
    this.#showAll(said);
    // What tasks and splits there are was not known yet, or has changed.
    if (isOther || this.#isBehind) this.#load();
  }

  #showAll(said) {
    this.#parts.showTables(said, this.#row);
    this.#showRow();
    this.#showSeries();
  }

  #setRow(row) {
    this.#row = row;
    this.#series.isAway = !row.connected && !row.ended;
  }

  #showRow() {
    if (this.#parts !== null) this.#parts.showRow(this.#row, this.#now());
  }

  #showSeries() {
    // What nobody sees is drawn when somebody does.
    if (this.#parts !== null && !document.hidden) this.#parts.showSeries();
  }

  #setClock(serverS) {
    this.#clock = { serverS, atMs: performance.now() };
  }

  #now() {
    const { serverS, atMs } = this.#clock;
    return this.#session.live ? serverS + (performance.now() - atMs) / 1000 : serverS;
  }
}

// A server's trace does not name the tasks.
function namesOf({ info, tasks }) {
  return info.tasks.length > 0 ? info.tasks : tasks.map(({ name }) => name);
}

function backLink() {
  const link = make("a", { href: "#" }, "All devices");
  return make("nav", { class: "back", "aria-label": "Way back" }, link);
}
