/**
 * One chart: a heading with a legend that reads the values under the pointer, a uPlot, and its
 * values as a table. All charts of a page share a pointer and a span of time.
 */

/* global uPlot */

import { make, makeTable, setAttribute, setRows, setText } from "./dom.js";
import { drawnLine, paintGaps, paintPeaks, timeAxis, usualRange, valueAxis } from "./drawing.js";
import { clock, elapsed, isKnown } from "./format.js";
import { colour } from "./theme.js";

const TABLE_ROWS = 20;

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {string} [colour]  name of a custom property of page.css
 * @property {function(): string[]} [swatches]  colours of an area's bands, where it is no line
 * @property {number[]} [dash]
 * @property {number} [width]
 * @property {boolean} [stepped]  holds until the next value
 * @property {function(any): string} show  the value as text
 */

/**
 * @typedef {object} Context
 * @property {import("./series.js").Series} series
 * @property {import("./series.js").Viewport} viewport
 * @property {boolean} live
 * @property {function(): number} now  the server's seconds
 * @property {function(number): number} wall  at_s as milliseconds since 1970
 */

export class Chart {
  #spec;
  #context;
  #plot;
  #parts;
  #data = [];
  #watcher;

  /**
   * @param {object} spec
   * @param {string} spec.title
   * @param {string} spec.unit
   * @param {number} [spec.height]
   * @param {Line[]} spec.lines
   * @param {function(import("./series.js").Series): any[][]} spec.data  one list for each line, or
   *   for each of `drawn`
   * @param {object[]} [spec.drawn]  series of uPlot's, where they are not the lines
   * @param {function(import("./series.js").Series, number): any[]} [spec.values]  of a sample, one
   *   for each line, where they are not the data
   * @param {object} [spec.yAxis]  options of uPlot's
   * @param {[number, number]} [spec.yRange]  if it is fixed
   * @param {boolean} [spec.hasPeaks]  whether single ones may end above the axis
   * @param {function(number): string} [spec.showY]
   * @param {Context} context
   */
  constructor(spec, context) {
    this.#spec = spec;
    this.#context = context;
    this.#parts = this.#build();
    this.node = this.#parts.figure;
    this.#plot = new uPlot(
      this.#options(),
      [[], ...this.#series().map(() => [])],
      this.#parts.plot,
    );
    this.#watcher = new ResizeObserver(([{ contentRect }]) => {
      const width = Math.floor(contentRect.width);
      if (width > 0) this.#plot.setSize({ width, height: this.#height });
    });
    this.#watcher.observe(this.#parts.plot);
  }

  get #height() {
    return this.#spec.height ?? 168;
  }

  /** Shows what the series and the viewport are now. */
  update() {
    const { series } = this.#context;
    this.#data = this.#spec.data(series);
    this.#plot.setData([series.column("at_s"), ...this.#data]);
    this.#read();
    this.#fillTable();
  }

  /** Draws it in the colours of now. */
  retheme() {
    this.#colourKeys();
    this.#plot.redraw();
  }

  close() {
    this.#watcher.disconnect();
    this.#plot.destroy();
  }

  #build() {
    const { title, unit, lines } = this.#spec;
    const values = lines.map(() => make("b"));
    const keys = lines.map((line) => make("span", { class: keyClass(line) }));
    const items = lines.map((line, i) => make("li", {}, keys[i], `${line.label} `, values[i]));
    const when = make("span", { class: "when" });
    const peak = make("li", { class: "peak" });
    const heading = make("h3", {}, title, " ", make("small", {}, unit));
    const caption = make(
      "figcaption",
      {},
      heading,
      when,
      make("ul", { class: "legend" }, ...items, peak),
    );
    const label = `Chart: ${title}, ${unit}. Its values are in the table that follows.`;
    const plot = make("div", { class: "plot", role: "img", "aria-label": label });
    const table = makeTable(`${title}, ${unit}: the newest values`, [
      "Time",
      ...lines.map((each) => each.label),
    ]);
    const data = make(
      "details",
      {},
      make("summary", {}, "Data", make("span", { class: "hidden" }, `: ${title}`)),
      table.box,
    );
    data.addEventListener("toggle", () => this.#fillTable());
    const figure = make("figure", { class: "chart" }, caption, plot, data);
    const parts = { figure, plot, when, peak, values, keys, data, table };
    this.#parts = parts;
    this.#colourKeys();
    return parts;
  }

  #colourKeys() {
    this.#parts.keys.forEach((key, i) => {
      const { swatches, colour: name } = this.#spec.lines[i];
      const colours = swatches?.() ?? [colour(name)];
      key.replaceChildren(...colours.map(() => make("i")));
      colours.forEach((each, at) => (key.children[at].style.color = each));
    });
  }

  #series() {
    return this.#spec.drawn ?? this.#spec.lines.map(drawnLine);
  }

  #options() {
    const { live, viewport, series, now } = this.#context;
    const { yRange, hasPeaks, showY, yAxis, drawn } = this.#spec;
    const range = () => viewport.range(series, now());
    const full = (_, _min, max) => yRange ?? [0, max > 0 ? max * 1.1 : 1];
    const usual = (plot, _min, max) => usualRange(plot, max);
    return {
      width: 300,
      height: this.#height,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false, range },
        y: { range: hasPeaks ? usual : full },
      },
      axes: [timeAxis(live, range), { ...valueAxis(showY), ...yAxis }],
      series: [{}, ...this.#series()],
      cursor: {
        y: false,
        drag: { x: !live, y: false, setScale: false },
        sync: { key: "device" },
        points: { show: drawn === undefined, size: 7 },
        bind: { dblclick: () => () => viewport.reset() },
      },
      hooks: {
        drawClear: [(plot) => paintGaps(plot, series)],
        draw: hasPeaks ? [(plot) => this.#markPeaks(plot)] : [],
        setCursor: [() => this.#read()],
        setSelect: [(plot) => this.#zoom(plot)],
      },
    };
  }

  #markPeaks(plot) {
    const highest = paintPeaks(plot);
    const words = highest === null ? "" : `peaks up to ${this.#spec.lines[0].show(highest)}`;
    setText(this.#parts.peak, words);
  }

  #zoom(plot) {
    const { left, width } = plot.select;
    if (width < 5) return;
    const [from, to] = [left, left + width].map((px) => plot.posToVal(px, "x"));
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#context.viewport.zoom(from, to);
  }

  #exactTime(at) {
    return this.#context.live ? clock(this.#context.wall(at)) : elapsed(at);
  }

  #read() {
    const { series, live } = this.#context;
    const at = series.column("at_s");
    const pointed = this.#plot?.cursor?.idx;
    const index = isKnown(pointed) ? pointed : at.length - 1;
    const values = this.#values(index);
    this.#parts.values.forEach((node, i) => setText(node, this.#spec.lines[i].show(values[i])));
    const newest = live ? "" : "at the end";
    setText(
      this.#parts.when,
      isKnown(pointed) && at.length > 0 ? this.#exactTime(at[pointed]) : newest,
    );
  }

  #values(index) {
    const { series } = this.#context;
    if (this.#spec.values) return this.#spec.values(series, index);
    return this.#data.map((column) => column[index] ?? null);
  }

  #fillTable() {
    const { data, table } = this.#parts;
    if (!data.open) return;
    const { series, viewport, now } = this.#context;
    const at = series.column("at_s");
    const [from, to] = viewport.range(series, now());
    const shown = [...at.keys()].filter((i) => at[i] >= from && at[i] <= to).slice(-TABLE_ROWS);
    setRows(
      table.body,
      shown.reverse().map((i) => {
        const values = this.#values(i).map((value, line) => this.#spec.lines[line].show(value));
        return [this.#exactTime(at[i]), ...values];
      }),
    );
    setAttribute(table.box, "data-rows", String(shown.length));
  }
}

function keyClass(line) {
  if (line.swatches) return "key area";
  return line.dash ? "key dashed" : "key";
}
