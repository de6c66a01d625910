/** How charts are drawn with uPlot: axes, lines, and the time that a device was away. */

/* global uPlot */

import { elapsed, isKnown } from "./format.js";
import { colour } from "./theme.js";

const AXIS_PX = 52;
const FONT = '12px system-ui, "Liberation Sans", sans-serif';

// Steps of the time axis that people count in, in seconds.
const STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400,
];
const LABEL_PX = 76;

const axis = () => ({
  stroke: () => colour("soft"),
  font: FONT,
  ticks: { show: false },
  grid: { stroke: () => colour("grid"), width: 1 },
});

/**
 * Live, the labels say how long ago, and stand still while the lines move; else they are times of
 * the run.
 * @param {boolean} live
 * @param {function(): [number, number]} range  what is shown
 * @returns {object} an axis of uPlot's
 */
export function timeAxis(live, range) {
  const ago = (before) => (before === 0 ? "now" : `−${elapsed(before)}`);
  const show = (at) => (live ? ago(Math.round(range()[1] - at)) : elapsed(at));
  return {
    ...axis(),
    gap: 8,
    size: 30,
    grid: { show: false },
    splits: (plot, _axis, min, max) => times(plot, min, max, live),
    values: (_, all) => all.map(show),
  };
}

function times(plot, min, max, live) {
  const width = plot.bbox.width / devicePixelRatio;
  const atLeast = ((max - min) * LABEL_PX) / Math.max(1, width);
  const step = STEPS_S.find((each) => each >= atLeast) ?? max - min;
  const end = live ? max : Math.floor(max / step) * step;
  const count = Math.max(0, Math.floor((end - min) / step)) + 1;
  return Array.from({ length: count }, (_, i) => end - (count - 1 - i) * step);
}

/**
 * @param {function(number): string} [show]
 * @returns {object} an axis of uPlot's
 */
export function valueAxis(show = String) {
  return { ...axis(), size: AXIS_PX, gap: 6, space: 32, values: (_, all) => all.map(show) };
}

/**
 * @param {import("./chart.js").Line} line
 * @returns {object} a series of uPlot's
 */
export function drawnLine(line) {
  return {
    stroke: () => colour(line.colour),
    width: line.width ?? 2,
    dash: line.dash,
    paths: line.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
    points: { show: false },
    spanGaps: false,
  };
}

/**
 * Marks where the device was away: nothing is known there, and that is no fault of the chart.
 * @param {any} plot
 * @param {import("./series.js").Series} series
 */
export function paintGaps(plot, series) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = colour("away");
  for (const [from, to] of series.gaps()) {
    const left = plot.valToPos(from, "x", true);
    const right = to === Infinity ? bbox.left + bbox.width : plot.valToPos(to, "x", true);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    if (right - left > 60 * devicePixelRatio) nameGap(ctx, (left + right) / 2, bbox.top);
  }
  ctx.restore();
}

// A second of 3000 ms among hundreds of 30 ms would make these a flat line: the axis ends where so
// many of the values do, unless the highest ones are not far from there.
const USUAL_PART = 0.97;
const FAR = 1.5;

/**
 * @param {any} plot
 * @param {?number} highest  of all that is shown
 * @returns {[number, number]} the range of an axis on which single peaks may end above it
 */
export function usualRange(plot, highest) {
  const [first, last] = plot.series[0].idxs;
  const tops = plot.data.slice(1).map((column) => usualTop(column.slice(first, last + 1)));
  const usual = Math.max(0, ...tops);
  const top = usual > 0 && highest > FAR * usual ? usual : highest;
  return [0, top > 0 ? top * 1.1 : 1];
}

// The newest value is always seen.
function usualTop(values) {
  const known = values.filter(isKnown);
  const newest = known.at(-1) ?? 0;
  known.sort((a, b) => a - b);
  return Math.max(newest, known[Math.floor(USUAL_PART * (known.length - 1))] ?? 0);
}

/**
 * Marks with arrows where there is more above the axis.
 * @param {any} plot
 * @returns {?number} the highest value that is above it; null if none is
 */
export function paintPeaks(plot) {
  const [first, last] = plot.series[0].idxs;
  const top = plot.scales.y.max;
  const peaks = [];
  for (let at = first; at <= last; at += 1) {
    const value = Math.max(...plot.data.slice(1).map((column) => column[at] ?? 0));
    if (value > top) peaks.push({ x: plot.valToPos(plot.data[0][at], "x", true), value });
  }
  const { ctx, bbox } = plot;
  const size = 5 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = colour("ink");
  for (const { x } of peaks) {
    ctx.beginPath();
    ctx.moveTo(x, bbox.top - size);
    ctx.lineTo(x + size, bbox.top + size / 2);
    ctx.lineTo(x - size, bbox.top + size / 2);
    ctx.fill();
  }
  ctx.restore();
  return peaks.length > 0 ? Math.max(...peaks.map(({ value }) => value)) : null;
}

function nameGap(ctx, x, top) {
  ctx.save();
  ctx.fillStyle = colour("soft");
  ctx.font = FONT.replace("12px", `${12 * devicePixelRatio}px`);
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  ctx.fillText("away", x, top + 4 * devicePixelRatio);
  ctx.restore();
}
