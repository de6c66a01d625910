/** The top of a device's page: its state, the figures that matter most, what runs where, and why. */

import { icon, make, setText } from "./dom.js";
import {
  ago,
  counted,
  duration,
  fps,
  isKnown,
  linkRate,
  number,
  percent,
  split,
  UNKNOWN,
} from "./format.js";
import { reasonSentence, stateOf, stateWords } from "./words.js";

/** @typedef {import("./api.js").Row} Row */

const FIGURES = [
  { id: "fps", title: "Throughput" },
  { id: "latency", title: "Latency" },
  { id: "link", title: "Link" },
  { id: "lost", title: "Frames" },
];

export class Headline {
  #parts = {};
  #segments = [];
  #tasks;
  #live;
  #state = "";

  /**
   * @param {string} stream
   * @param {{device: ?string, app: ?string, version: ?string}} info
   * @param {string[]} tasks
   * @param {boolean} live
   */
  constructor(stream, info, tasks, live) {
    this.#tasks = tasks;
    this.#live = live;
    this.node = this.#build(stream, info);
  }

  /**
   * @param {Row} row
   * @param {?number[]} parts  of each task on the device, 0 to 1
   * @param {number} nowS
   */
  update(row, parts, nowS) {
    this.#showState(row, nowS);
    this.#parts.now.classList.toggle("away", this.#live && !row.connected);
    this.#showFigures(row);
    this.#showSplit(row, parts ?? partsOfSplit(row.split, this.#tasks.length));
    setText(this.#parts.reason, reasonSentence(row));
  }

  #build(stream, info) {
    const state = make("span", { class: "state" });
    const seen = make("span", { class: "soft seen" });
    const machine = info.device && info.device !== stream ? `on ${info.device}` : null;
    const where = [machine, info.app, info.version && `version ${info.version}`];
    const title = make(
      "div",
      { class: "title" },
      make("h1", { tabindex: "-1" }, stream),
      state,
      seen,
      make("p", { class: "soft where" }, where.filter(Boolean).join(" · ")),
    );
    const figures = make("dl", { class: "figures" }, ...FIGURES.map((each) => this.#figure(each)));
    const reason = make("p", { class: "reason" });
    const node = make(
      "section",
      { class: "headline panel", "aria-label": "Now" },
      figures,
      this.#bar(),
      reason,
    );
    Object.assign(this.#parts, { now: node, state, seen, reason });
    return make("div", {}, title, node);
  }

  #figure({ id, title }) {
    const [value, more] = [make("b"), make("small")];
    this.#parts[id] = value;
    this.#parts[`${id}More`] = more;
    return make("div", { class: id }, make("dt", {}, title), make("dd", {}, value, more));
  }

  #bar() {
    this.#segments = this.#tasks.map((task, i) =>
      make("span", { class: "segment" }, make("i"), make("b", {}, String(i + 1)), breakable(task)),
    );
    const position = make("b");
    const [device, cloud] = [make("dd"), make("dd")];
    Object.assign(this.#parts, { position, device, cloud });
    return make(
      "div",
      { class: "split" },
      make("p", { class: "split-title" }, "Split ", position),
      // What the bar shows is said in the list below it.
      make("div", { class: "segments", "aria-hidden": "true" }, ...this.#segments),
      make(
        "dl",
        { class: "sides" },
        make("div", { class: "device" }, make("dt", {}, "On the device"), device),
        make("div", { class: "cloud" }, make("dt", {}, "In the cloud"), cloud),
      ),
    );
  }

  #showState(row, nowS) {
    const state = stateOf(row);
    if (state !== this.#state) {
      this.#state = state;
      this.#parts.state.className = `state ${state}`;
      this.#parts.state.replaceChildren(icon(state), make("span", {}, stateWords(state)));
    }
    const away = isKnown(row.seen_s) ? `last heard ${ago(nowS - row.seen_s)}` : "";
    setText(this.#parts.seen, row.connected || !this.#live ? "" : away);
  }

  #showFigures(row) {
    const parts = this.#parts;
    setText(parts.fps, fps(row.fps));
    setText(
      parts.fpsMore,
      isKnown(row.target_fps)
        ? `FPS of ${number(row.target_fps, row.target_fps % 1 ? 1 : 0)}`
        : "FPS, no target",
    );
    setText(parts.latency, duration(row.latency_p95_s));
    setText(parts.latencyMore, "95 % are faster");
    setText(parts.link, linkRate(row.link_bytes_per_s));
    setText(
      parts.linkMore,
      isKnown(row.in_flight) ? `${counted(row.in_flight, "frame")} in flight` : "",
    );
    setText(parts.lost, number(row.completed));
    const lost = [`${number(row.dropped ?? 0)} dropped`, `${number(row.failed ?? 0)} failed`];
    setText(parts.lostMore, `with a result · ${lost.join(" · ")}`);
  }

  #showSplit(row, parts) {
    setText(
      this.#parts.position,
      isKnown(row.split)
        ? `${split(row.split)} of ${this.#tasks.length}${isKnown(row.pinned) ? ", pinned" : ""}`
        : "not known yet",
    );
    this.#segments.forEach((segment, i) => {
      segment.style.setProperty("--device", `${Math.round(100 * (parts?.[i] ?? 0))}%`);
    });
    const inCloud = parts?.map((each) => 1 - each);
    setText(this.#parts.device, parts ? side(this.#tasks, parts) : UNKNOWN);
    setText(this.#parts.cloud, inCloud ? side(this.#tasks, inCloud) : UNKNOWN);
  }
}

// Names of tasks break where their words do.
function breakable(name) {
  const words = name.split("_").flatMap((word, i) => (i === 0 ? [word] : ["_", make("wbr"), word]));
  return make("span", {}, ...words);
}

function side(tasks, parts) {
  const names = tasks.map((task, i) => {
    if (!(parts[i] > 0.005)) return "";
    return parts[i] > 0.995 ? task : `${task} (${percent(parts[i])})`;
  });
  return names.filter(Boolean).join(", ") || "nothing";
}

function partsOfSplit(position, count) {
  if (!isKnown(position)) return null;
  return Array.from({ length: count }, (_, i) => Math.min(1, Math.max(0, position - i)));
}
