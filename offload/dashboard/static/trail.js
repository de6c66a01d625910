/** Where the ball (or whatever has an `x` and a `y` in its results) was lately, newest strongest. */

import { make, setText } from "./dom.js";
import { isKnown, number } from "./format.js";
import { colour, onTheme } from "./theme.js";

const WIDTH = 500;
// Until results say otherwise; the example's pictures are of this shape.
const USUAL_PARTS = 0.75;
const NEWEST_PX = 9;

export class Trail {
  #parts;
  #points = [];
  #endTheme;

  constructor() {
    const canvas = make("canvas", {
      width: String(WIDTH),
      height: String(WIDTH * USUAL_PARTS),
      role: "img",
    });
    const words = make("p", { class: "soft" });
    const figure = make(
      "figure",
      { class: "trail panel" },
      make("figcaption", {}, make("h2", {}, "Trail")),
      canvas,
      words,
    );
    figure.hidden = true;
    this.#parts = { figure, canvas, words };
    this.node = figure;
    this.#endTheme = onTheme(() => this.#draw());
  }

  /** @param {{value: any}[]} rows  results, newest first */
  update(rows) {
    const found = rows
      .map(({ value }) => value)
      .filter((each) => isKnown(each?.x) && isKnown(each?.y));
    this.#points = found.map(({ x, y }) => ({ x, y })).reverse();
    this.#parts.figure.hidden = this.#points.length === 0;
    if (this.#points.length > 0) this.#draw();
  }

  close() {
    this.#endTheme();
  }

  #draw() {
    const { canvas, words } = this.#parts;
    if (this.#points.length === 0) return;
    const newest = this.#points.at(-1);
    const text = `Newest of ${number(this.#points.length)} places: x ${number(newest.x)}, y ${number(newest.y)} pixels`;
    setText(words, text);
    canvas.setAttribute("aria-label", text);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const scale = this.#scale(canvas);
    this.#points.forEach((point, i) => this.#drawPoint(context, scale, point, i));
  }

  #drawPoint(context, scale, point, i) {
    const last = this.#points.length - 1;
    const age = last === 0 ? 1 : i / last;
    const before = this.#points[Math.max(0, i - 1)];
    context.globalAlpha = 0.1 + 0.9 * age ** 2;
    context.strokeStyle = colour("device-line");
    context.lineWidth = 1.5 + 3 * age;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(before.x * scale, before.y * scale);
    context.lineTo(point.x * scale, point.y * scale);
    context.stroke();
    if (i !== last) return;
    context.fillStyle = colour("cloud-line");
    context.beginPath();
    context.arc(point.x * scale, point.y * scale, NEWEST_PX, 0, 2 * Math.PI);
    context.fill();
  }

  // The results do not say how large the picture was; what lies outside of the usual shrinks all.
  #scale(canvas) {
    const right = Math.max(WIDTH, ...this.#points.map(({ x }) => x));
    const bottom = Math.max(WIDTH * USUAL_PARTS, ...this.#points.map(({ y }) => y));
    return Math.min(canvas.width / right, canvas.height / bottom);
  }
}
