/** Which charts a device has, and what each shows. */

import {
  brief,
  bytes,
  duration,
  fps,
  isKnown,
  linkRate,
  number,
  percent,
  split,
} from "./format.js";
import { colour, family } from "./theme.js";

/* global uPlot */

// Past this, bands are thinner than their names, and two families of one colour each say more.
const MOST_BANDS = 16;

const scaled = (column, factor) => (series) =>
  series.column(column).map((each) => (each === null ? null : each * factor));

/**
 * @param {string} label
 * @param {string} column
 * @param {object} looks  see Line
 * @param {number} [factor]
 */
function line(label, column, looks, factor = 1) {
  return { label, column, data: scaled(column, factor), show: (value) => brief(value), ...looks };
}

function chartOf(title, unit, lines, more = {}) {
  return { title, unit, lines, data: (series) => lines.map((each) => each.data(series)), ...more };
}

const ms = { show: (value) => duration(isKnown(value) ? value / 1000 : null) };
const mbit = { show: (value) => linkRate(isKnown(value) ? value * 125000 : null) };
const part = { show: (value) => percent(isKnown(value) ? value / 100 : null) };
const count = { show: (value) => number(value) };
const perS = { show: (value) => number(value, 1) };

const THROUGHPUT = chartOf("Throughput", "frames per second", [
  line("finished", "fps", { colour: "device-line", width: 2.5, show: fps }),
  line("target", "target_fps", { colour: "cloud-line", dash: [7, 4], stepped: true, show: fps }),
  line("captured", "captured_per_s", {
    colour: "third-line",
    width: 1.25,
    dash: [2, 3],
    show: fps,
  }),
]);

const SECOND = [
  chartOf(
    "Latency",
    "ms, of 50, 95 and 99 % of the frames",
    [
      line("50 %", "latency_p50_s", { colour: "device-line", ...ms }, 1000),
      line("95 %", "latency_p95_s", { colour: "cloud-line", dash: [7, 3], ...ms }, 1000),
      line("99 %", "latency_p99_s", { colour: "third-line", dash: [2, 3], width: 1.5, ...ms }, 1000),
    ],
    { hasPeaks: true },
  ),
  chartOf(
    "Link",
    "sent, and what it could carry",
    [
      line("sent", "sent_bytes_per_s", { colour: "device-line", ...mbit }, 8e-6),
      line("could carry", "link_bytes_per_s", { colour: "cloud-line", dash: [7, 4], ...mbit }, 8e-6),
    ],
    { hasPeaks: true, showY: (value) => `${value} Mbit/s`, yAxis: { size: 84 } },
  ),
];

const OTHERS = [
  chartOf("Work per frame", "processor time, ms", [
    line("device", "device_s_per_frame", { colour: "device-line", ...ms }, 1000),
    line("cloud", "cloud_s_per_frame", { colour: "cloud-line", dash: [7, 3], ...ms }, 1000),
  ]),
  chartOf("Frames in flight", "not acknowledged yet", [
    line("in flight", "in_flight", { colour: "device-line", stepped: true, ...count }),
    line("window", "window", { colour: "cloud-line", dash: [7, 4], stepped: true, ...count }),
  ]),
  chartOf("Frames without a result", "per second", [
    line("dropped", "dropped_per_s", { colour: "cloud-line", stepped: true, ...perS }),
    line("failed", "failed_per_s", { colour: "bad-line", dash: [4, 3], stepped: true, ...perS }),
  ]),
  chartOf("Processor", "%, 100 is a core or a whole machine", [
    line("program, of a core", "cpu_percent", { colour: "device-line", ...part }),
    line("device", "machine_part", { colour: "third-line", dash: [2, 3], ...part }, 100),
    line("cloud", "cloud_load", { colour: "cloud-line", dash: [7, 3], ...part }, 100),
  ]),
  chartOf("Memory", "of the device program, MB", [
    line(
      "memory",
      "memory_bytes",
      { colour: "device-line", show: (value) => bytes(isKnown(value) ? value * 1e6 : null) },
      1e-6,
    ),
  ]),
  chartOf("Temperature", "of the device, °C", [
    line("hottest sensor", "temperature_c", {
      colour: "cloud-line",
      show: (value) => (isKnown(value) ? `${number(value, 1)} °C` : brief(value)),
    }),
  ]),
];

/**
 * Says which charts a device of these tasks may have, in three groups.
 * @param {string[]} tasks  empty if nobody knows them
 * @returns {{first: object[], second: object[], others: object[]}} see Chart
 */
export function chartSpecs(tasks) {
  const split = tasks.length > 0 ? [splitChart(tasks)] : [];
  return { first: [THROUGHPUT, ...split], second: SECOND, others: OTHERS };
}

/**
 * @param {object} spec
 * @param {import("./series.js").Series} series
 * @returns {boolean} whether there is anything to show
 */
export function hasValues(spec, series) {
  return spec.lines.some(({ column }) => series.knows(column));
}

/**
 * The split as an area: a band for each task, those on the device from below, in one family of
 * colours, those in the cloud above them in another. The border between them is the mean split.
 */
function splitChart(allTasks) {
  const grouped = allTasks.length > MOST_BANDS;
  const tasks = grouped ? ["all tasks"] : allTasks;
  const partsOf = (parts) => (grouped && parts ? [mean(parts)] : parts);
  const count = tasks.length;
  const sides = () => [...family("device", count), ...family("cloud", count)];
  return {
    title: "What runs where",
    unit: "tasks on the device (blue, from below) and in the cloud (orange)",
    height: Math.min(320, 96 + 20 * Math.max(4, count)),
    lines: tasks.map((label, i) => ({
      label,
      show: (value) => (isKnown(value) ? sideWords(value) : "–"),
      column: "task_device_part",
      swatches: () => [family("device", count)[i], family("cloud", count)[i]],
    })),
    data: (series) => stack(series.column("task_device_part").map(partsOf), count),
    values: (series, index) =>
      partsOf(series.column("task_device_part")[index]) ?? tasks.map(() => null),
    drawn: [
      ...Array.from({ length: 2 * count }, (_, from) => ({
        ...band(),
        fill: () => sides()[2 * count - 1 - from],
        stroke: () => colour("paper"),
        width: 1,
      })),
      { ...band(), stroke: () => colour("ink"), width: 2 },
    ],
    yRange: [0, count],
    yAxis: {
      size: () => (isNarrow() ? 28 : 7 * Math.max(...tasks.map((each) => each.length)) + 16),
      splits: () => tasks.map((_, i) => i + 0.5),
      values: () => (isNarrow() ? tasks.map((_, i) => String(i + 1)) : tasks),
      grid: { show: false },
    },
  };
}

const band = () => ({
  fillTo: 0,
  // A sample says what was in the second before it.
  paths: uPlot.paths.stepped({ align: -1 }),
  points: { show: false },
  spanGaps: false,
});

const narrow = matchMedia("(max-width: 40rem)");
const isNarrow = () => narrow.matches;

function sideWords(value) {
  if (value > 0.995) return "device";
  return value < 0.005 ? "cloud" : `${percent(value)} device`;
}

function mean(values) {
  return values.reduce((sum, each) => sum + each, 0) / values.length;
}

// The highest first: each is painted down to the bottom, and the next one over it. The last is the
// border between the sides.
function stack(parts, count) {
  const levels = Array.from({ length: 2 * count + 1 }, () => new Array(parts.length).fill(null));
  parts.forEach((each, at) => {
    if (!each) return;
    const sizes = [...each, ...each.map((device) => 1 - device)];
    let level = 0;
    sizes.forEach((size, i) => {
      level += size;
      levels[2 * count - 1 - i][at] = level;
    });
    levels[2 * count][at] = levels[count][at];
  });
  return levels;
}
