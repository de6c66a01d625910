/** One row of the list of devices: its columns, its cells, and the words that a filter looks at. */

import { icon, make, setText } from "./dom.js";
import { clock, duration, fps, isKnown, linkRate, number, split, UNKNOWN } from "./format.js";
import { reasonWords, STATES, stateOf, stateWords } from "./words.js";

/** @typedef {import("./api.js").Row} Row */

/**
 * What the columns show and how they sort; `number` columns are aligned to the right and begin
 * with the largest.
 */
export const COLUMNS = [
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

/**
 * @param {Row} row
 * @returns {string} all that a filter may name, in lower case
 */
export function wordsOf(row) {
  const words = [
    row.stream,
    row.device,
    row.app,
    stateWords(stateOf(row)),
    reasonWords(row.reason),
  ];
  return words.join(" ").toLowerCase();
}

/**
 * Makes the cells of a row, empty but for the device's name.
 * @param {Row} row
 * @returns {Record<string, HTMLElement>} by the columns' ids, and the parts that change
 */
export function makeRow(row) {
  const parts = { row: make("tr", { role: "row" }) };
  for (const column of COLUMNS) {
    const role = column.id === "stream" ? "rowheader" : "cell";
    const tag = column.id === "stream" ? "th" : "td";
    const kind = column.number ? "number" : "";
    const cell = make(tag, {
      role,
      class: kind,
      "data-column": column.id,
      "data-title": column.title,
    });
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

/**
 * Shows what a row says now.
 * @param {Record<string, HTMLElement>} parts
 * @param {Row} row
 * @param {?number} beganMs  since 1970, when the server's clock began; null of a recorded run
 */
export function patchRow(parts, row, beganMs) {
  const state = stateOf(row);
  if (parts.row.dataset.state !== state) {
    parts.row.dataset.state = state;
    const words = make("span", {}, stateWords(state));
    parts.state.replaceChildren(make("span", { class: `state ${state}` }, icon(state), words));
  }
  setText(
    parts.where,
    [row.device === row.stream ? null : row.device, row.app].filter(Boolean).join(" · "),
  );
  setText(parts.value, fps(row.fps));
  setText(parts.target, !isKnown(row.target_fps) ? "" : ` of ${number(row.target_fps)}`);
  const position = row.split;
  setText(parts.position, isKnown(position) ? `${split(position)} of ${row.tasks}` : UNKNOWN);
  parts.bar.hidden = !isKnown(position);
  parts.bar.firstElementChild.style.width = `${(100 * (position ?? 0)) / (row.tasks || 1)}%`;
  const isAway = beganMs !== null && !row.connected && isKnown(row.seen_s);
  setText(
    parts.reason,
    isAway ? `last heard ${clock(beganMs + 1000 * row.seen_s)}` : reasonWords(row.reason),
  );
  setText(parts.latency, duration(row.latency_p95_s));
  setText(parts.link, linkRate(row.link_bytes_per_s));
  setText(parts.lost, number(lostFrames(row)));
  setText(parts.cloud, duration(row.cloud_s_per_frame));
}
