/** The page of one device: fetches what is known, follows what is new, and hands it to the parts. */

import { devicePath, Feed, getJson } from "./api.js";
import { chartsKey, makeCharts } from "./charts.js";
import { Controls, whyNoControls } from "./controls.js";
import { make, setText } from "./dom.js";
import { Headline } from "./headline.js";
import { Picture } from "./picture.js";
import { Results } from "./results.js";
import { Series, Viewport } from "./series.js";
import { ForecastTable, Notices, TaskTable } from "./tables.js";
import { onTheme } from "./theme.js";
import { timeTools } from "./time_tools.js";
import { Trail } from "./trail.js";

const TICK_MS = 1000;
const LIVE_SPAN_S = 300;

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
    this.#banner.hide();
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
    const found = await getJson(devicePath(this.#stream)).catch((error) => error);
    const waiting = this.#waiting;
    this.#waiting = null;
    if (this.#isClosed) return;
    if (found instanceof Error) {
      this.#fail(found);
      return;
    }
    this.#fill(found);
    for (const [name, said] of waiting) this.#take(name, said);
  }

  #fail(error) {
    if (error.status !== 404) {
      this.#banner.show(error);
      return;
    }
    this.#closeParts();
    const words = "The server knows no device of this name, or has forgotten it. It is shown here as soon as it connects.";
    this.#place.replaceChildren(backLink(), make("h1", { tabindex: "-1" }, this.#stream), make("p", { class: "empty" }, words));
  }

  #fill(found) {
    this.#setClock(found.now_s);
    this.#setRow(found.row);
    this.#series.replace(found.samples, this.#session.live);
    const info = { ...found.info, tasks: namesOf(found) };
    // A device that came back may run another app.
    const key = JSON.stringify([info.tasks, info.splits, info.mode, chartsKey(this.#series)]);
    if (this.#parts === null || key !== this.#key) this.#build(info);
    this.#key = key;
    this.#parts.notices.replace(found.notices);
    this.#showAll(found);
  }

  #take(name, said) {
    if (this.#parts === null) return;
    if (name === "notice") {
      this.#parts.notices.add(said);
      return;
    }
    // It was not known yet which tasks and splits there are.
    if (said.tasks.length > this.#parts.tasks.length || said.row.mode !== this.#row.mode) this.#load();
    this.#setClock(said.now_s);
    this.#setRow(said.row);
    if (said.sample) this.#series.append(said.sample);
    if (chartsKey(this.#series) !== this.#parts.chartsKey) this.#makeCharts();
    this.#showAll(said);
  }

  #showAll({ tasks, forecasts }) {
    this.#parts.taskTable.update(tasks, this.#newestParts());
    this.#parts.forecasts.update(forecasts, this.#row);
    this.#showRow();
    this.#showSeries();
  }

  #build(info) {
    this.#closeParts();
    const { tasks } = info;
    const headline = new Headline(this.#stream, info, tasks);
    const isSteered = this.#session.live && this.#session.can_control;
    const controls = isSteered ? new Controls(this.#stream, info, (row) => this.#changed(row)) : null;
    const notices = new Notices(this.#context);
    const trail = new Trail();
    const live = this.#session.live;
    const picture = live ? new Picture(this.#stream) : null;
    const results = live ? new Results(this.#stream, (rows) => trail.update(rows), [trail.node]) : null;
    const taskTable = new TaskTable();
    const forecasts = new ForecastTable(tasks);
    const tools = timeTools(this.#viewport, this.#context);
    const [charts, others] = [make("div", { class: "charts" }), make("div", { class: "others" })];
    const look = make("div", { class: "look" }, ...[picture, trail].filter(Boolean).map((each) => each.node), notices.node);
    this.#parts = { tasks, headline, controls, notices, trail, picture, results, taskTable, forecasts, tools, charts, others, made: [] };
    this.#place.replaceChildren(
      backLink(),
      headline.node,
      controls?.node ?? whyNoControls(this.#session),
      make("div", { class: "columns" }, make("section", { class: "over-time", "aria-labelledby": "time-title" }, tools.node, charts), look),
      others,
      make("div", { class: "pair" }, forecasts.node, taskTable.node),
      ...(results ? [results.node] : []),
    );
    this.#makeCharts();
  }

  #makeCharts() {
    const parts = this.#parts;
    for (const each of parts.made) each.close();
    parts.endTheme?.();
    const { primary, second, others } = makeCharts(parts.tasks, this.#context);
    parts.made = [...primary, ...second, ...others];
    parts.chartsKey = chartsKey(this.#series);
    const nodes = (charts) => charts.map((each) => each.node);
    const pair = make("div", { class: "others" }, ...nodes(second));
    parts.charts.replaceChildren(...nodes(primary), pair);
    parts.others.replaceChildren(...nodes(others));
    parts.endTheme = onTheme(() => parts.made.forEach((each) => each.retheme()));
  }

  #closeParts() {
    const parts = this.#parts;
    if (parts === null) return;
    for (const each of [...parts.made, parts.picture, parts.results, parts.trail, parts.controls]) each?.close();
    parts.endTheme();
    this.#parts = null;
  }

  #changed(row) {
    this.#setRow(row);
    this.#showRow();
  }

  #setRow(row) {
    this.#row = row;
    this.#series.isAway = !row.connected && !row.ended;
  }

  #showRow() {
    if (this.#parts === null || this.#row === null) return;
    this.#parts.headline.update(this.#row, this.#newestParts(), this.#now());
    this.#parts.controls?.update(this.#row);
    this.#parts.picture?.follow(this.#row.connected);
  }

  #showSeries() {
    // What nobody sees is drawn when somebody does.
    if (this.#parts === null || document.hidden) return;
    for (const each of this.#parts.made) each.update();
    this.#parts.tools.update();
  }

  #newestParts() {
    return this.#series.column("task_device_part").findLast((each) => each !== null) ?? null;
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
  const link = make("a", { href: "#" });
  setText(link, "All devices");
  return make("nav", { class: "back", "aria-label": "Way back" }, link);
}
