/** The parts of a device's page, put together and shown; which events they show is not theirs. */

import { Chart } from "./chart.js";
import { chartSpecs, hasValues } from "./charts.js";
import { Controls, whyNoControls } from "./controls.js";
import { make, setChildren } from "./dom.js";
import { Headline } from "./headline.js";
import { Picture } from "./picture.js";
import { Results } from "./results.js";
import { ForecastTable, Notices, TaskTable } from "./tables.js";
import { onTheme } from "./theme.js";
import { timeTools } from "./time_tools.js";
import { Trail } from "./trail.js";

/** @typedef {import("./api.js").Row} Row */

export class DeviceParts {
  #context;
  #specs;
  /** @type {Map<object, Chart>} made once there is something to show, by what they show */
  #charts = new Map();
  #places = {
    first: make("div", { class: "charts" }),
    second: make("div", { class: "others" }),
    others: make("div", { class: "others" }),
  };
  #endTheme;
  #headline;
  #controls = null;
  #picture = null;
  #results = null;
  #trail = new Trail();
  #taskTable = new TaskTable();
  #forecasts;
  #tools;

  /**
   * @param {object} device
   * @param {string} device.stream
   * @param {object} device.info  with the names of all tasks
   * @param {import("./api.js").Session} session
   * @param {import("./chart.js").Context} context
   * @param {function(Row): void} changed  gets what a control changed
   */
  constructor({ stream, info }, session, context, changed) {
    this.#context = context;
    this.tasks = info.tasks;
    this.#specs = chartSpecs(info.tasks);
    this.notices = new Notices(context);
    this.#headline = new Headline(stream, info, info.tasks, session.live);
    this.#forecasts = new ForecastTable(info.tasks);
    this.#tools = timeTools(context.viewport, context);
    if (session.live) {
      this.#picture = new Picture(stream);
      this.#results = new Results(stream, (rows) => this.#trail.update(rows), [this.#trail.node]);
    }
    if (session.live && session.can_control) this.#controls = new Controls(stream, info, changed);
    this.nodes = this.#arrange(session);
    this.#endTheme = onTheme(() => this.#charts.forEach((each) => each.retheme()));
  }

  close() {
    this.#endTheme();
    const parts = [
      ...this.#charts.values(),
      this.#picture,
      this.#results,
      this.#trail,
      this.#controls,
    ];
    for (const each of parts) each?.close();
  }

  /**
   * @param {Row} row
   * @param {number} nowS
   */
  showRow(row, nowS) {
    this.#headline.update(row, this.#newestParts(), nowS);
    this.#controls?.update(row);
    this.#picture?.follow(row.connected);
  }

  /**
   * @param {{tasks: object[], forecasts: object[]}} said
   * @param {Row} row
   */
  showTables({ tasks, forecasts }, row) {
    this.#taskTable.update(tasks, this.#newestParts());
    this.#forecasts.update(forecasts, row);
  }

  /** Shows what the series and the viewport are now. */
  showSeries() {
    for (const [group, specs] of Object.entries(this.#specs)) {
      setChildren(this.#places[group], this.#chartsOf(specs).map(nodeOf));
    }
    for (const each of this.#charts.values()) each.update();
    this.#tools.update();
  }

  #arrange(session) {
    const over = make("section", { class: "over-time", "aria-labelledby": "time-title" });
    over.append(this.#tools.node, this.#places.first, this.#places.second);
    const look = make("div", { class: "look" });
    look.append(...[this.#picture, this.#trail, this.notices].filter(Boolean).map(nodeOf));
    return [
      this.#headline.node,
      this.#controls?.node ?? whyNoControls(session),
      make("div", { class: "columns" }, over, look),
      this.#places.others,
      make("div", { class: "pair" }, this.#forecasts.node, this.#taskTable.node),
      ...[this.#results].filter(Boolean).map(nodeOf),
    ];
  }

  #chartsOf(specs) {
    for (const spec of specs) {
      const isNew = !this.#charts.has(spec) && hasValues(spec, this.#context.series);
      if (isNew) this.#charts.set(spec, new Chart(spec, this.#context));
    }
    return specs.filter((spec) => this.#charts.has(spec)).map((spec) => this.#charts.get(spec));
  }

  #newestParts() {
    const parts = this.#context.series.column("task_device_part");
    return parts.findLast((each) => each !== null) ?? null;
  }
}

const nodeOf = ({ node }) => node;
