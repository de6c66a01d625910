/** What is above the charts: how much time they show, and how to look closer at a recorded run. */

import { make, setAttribute } from "./dom.js";

const SPANS = [
  { spanS: 60, words: "1 min" },
  { spanS: 300, words: "5 min" },
  { spanS: 600, words: "10 min" },
];

/**
 * @param {import("./series.js").Viewport} viewport
 * @param {import("./chart.js").Context} context
 * @returns {{node: HTMLElement, update: function(): void}}
 */
export function timeTools(viewport, context) {
  const buttons = context.live ? spanButtons(viewport) : zoomButtons(viewport, context);
  const group = make(
    "div",
    { class: "row group", role: "group", "aria-label": "Time shown" },
    ...buttons.map((each) => each.node),
  );
  const hint = context.live ? "" : "Drag over a chart to look closer.";
  const node = make(
    "div",
    { class: "time-tools" },
    make("h2", { id: "time-title" }, "Over time"),
    make("span", { class: "soft hint" }, hint),
    group,
  );
  return { node, update: () => buttons.forEach((each) => each.update()) };
}

function spanButtons(viewport) {
  return SPANS.map(({ spanS, words }) => {
    const node = make("button", { type: "button" }, words);
    node.addEventListener("click", () => viewport.show(spanS));
    return {
      node,
      update: () => setAttribute(node, "aria-pressed", String(viewport.spanS === spanS)),
    };
  });
}

// For those who cannot drag; parts of what is shown now.
const MOVES = [
  { words: "Earlier", from: -0.5, to: -0.5 },
  { words: "Later", from: 0.5, to: 0.5 },
  { words: "Closer", from: 0.25, to: -0.25 },
];

function zoomButtons(viewport, context) {
  const moves = MOVES.map(({ words, from, to }) => {
    const node = make("button", { type: "button" }, words);
    node.addEventListener("click", () => {
      const [begin, end] = viewport.range(context.series, context.now());
      viewport.zoom(
        ...within(begin + from * (end - begin), end + to * (end - begin), context.series),
      );
    });
    return { node, update: () => {} };
  });
  const reset = make("button", { type: "button" }, "Reset zoom");
  reset.addEventListener("click", () => viewport.reset());
  return [
    ...moves,
    { node: reset, update: () => setAttribute(reset, "aria-disabled", String(!viewport.isZoomed)) },
  ];
}

// Moves a span back into the run, as long as it is.
function within(from, to, series) {
  const [oldest, newest] = [series.oldestS, series.newestS];
  const shift = Math.max(0, oldest - from) - Math.max(0, to - newest);
  return [Math.max(oldest, from + shift), Math.min(newest, to + shift)];
}
