/** The tables of a device: what each split would give, what each task took, and what happened. */

import { icon, make, makeTable, setRows, setText } from "./dom.js";
import { clock, counted, duration, elapsed, fps, isKnown, number, percent } from "./format.js";

/** What the scheduler expects of each split. */
export class ForecastTable {
  #table = makeTable("What each split would give", [
    "Split",
    "Device runs up to",
    "FPS at most",
    "Limit",
    "Device",
    "Link",
    "Cloud",
    "Sent as",
  ]);
  #tasks;
  #words = make("p", { class: "soft" });

  /** @param {string[]} tasks */
  constructor(tasks) {
    this.#tasks = tasks;
    this.node = panel("forecasts", "What each split would give", this.#words, this.#table.box);
  }

  /**
   * @param {object[]} forecasts
   * @param {import("./api.js").Row} row
   */
  update(forecasts, row) {
    this.#table.box.hidden = forecasts.length === 0;
    setText(
      this.#words,
      forecasts.length === 0
        ? "Nothing is forecast: the scheduler does so in automatic mode, after some frames."
        : "Time that a frame takes of each; where a device works on several frames at a time, the " +
            "part of one worker. Medians of some seconds, with the best encoding of each split.",
    );
    const rows = forecasts.map((each) => this.#row(each, row));
    setRows(this.#table.body, rows);
    [...this.#table.body.children].forEach((line, i) => {
      line.classList.toggle("present", presentPart(forecasts[i].split, row.split) > 0);
    });
  }

  #row(each, row) {
    const part = presentPart(each.split, row.split);
    let mark = "";
    if (part > 0) mark = part > 0.95 ? " (now)" : ` (now ${percent(part)})`;
    const isEnough = isKnown(row.target_fps) && each.fps >= row.target_fps;
    return [
      `${each.split}${mark}`,
      this.#tasks[each.split - 1] ?? "nothing",
      `${fps(each.fps)}${isEnough ? ", enough" : ""}`,
      each.limit,
      duration(each.device_s),
      duration(each.link_s),
      duration(each.cloud_s),
      each.encoding,
    ];
  }
}

// A mean split of 3.4 is frames at 3 and at 4: six of ten, and four.
function presentPart(split, position) {
  return isKnown(position)
    ? Math.round(100 * Math.max(0, 1 - Math.abs(position - split))) / 100
    : 0;
}

/** What each task took on either side. */
export class TaskTable {
  #table = makeTable("Tasks", [
    "Task",
    "Now on the device",
    "Device per run",
    "Device runs",
    "Cloud per run",
    "Cloud runs",
  ]);

  constructor() {
    this.node = panel("tasks", "Tasks", this.#table.box);
  }

  /**
   * @param {object[]} tasks
   * @param {?number[]} parts
   */
  update(tasks, parts) {
    const perRun = (seconds, runs) => duration(runs > 0 ? seconds / runs : null);
    setRows(
      this.#table.body,
      tasks.map((each, i) => [
        each.name,
        percent(parts?.[i] ?? null),
        perRun(each.device_s, each.device_runs),
        number(each.device_runs),
        perRun(each.cloud_s, each.cloud_runs),
        number(each.cloud_runs),
      ]),
    );
  }
}

// A server keeps as many of a device. Of a recorded run there may be more; all that come are shown.
const LIVE_NOTICES = 200;
const LEVELS = { info: "info", warning: "missed", error: "lost" };

/** What happened, newest first. */
export class Notices {
  #list = make("ol", { reversed: "" });
  #words = make("p", { class: "soft" }, "Nothing has happened yet.");
  #context;
  /** What is in the list, in its order. */
  #known = new Set();
  #most = LIVE_NOTICES;
  /** How many there were, with those that nobody keeps any more. */
  #noticed = 0;

  /** @param {import("./chart.js").Context} context */
  constructor(context) {
    this.#context = context;
    const box = make(
      "div",
      { class: "scroll", role: "group", tabindex: "0", "aria-label": "Events, newest first" },
      this.#words,
      this.#list,
    );
    this.node = panel("events", "Events", box);
  }

  /**
   * @param {object[]} notices  in their order, in place of all
   * @param {number} noticed  how many there were in all
   */
  replace(notices, noticed) {
    this.#known.clear();
    this.#list.replaceChildren();
    this.#most = Math.max(LIVE_NOTICES, notices.length);
    this.#noticed = noticed - notices.length;
    notices.forEach((each) => this.add(each));
    this.#sayHowMany();
  }

  /** @param {{at_s: number, kind: string, level: string, text: string, by: ?string}} notice */
  add(notice) {
    // One that comes while all are fetched comes twice.
    const key = `${notice.at_s} ${notice.kind} ${notice.text}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.#noticed += 1;
    this.#list.prepend(this.#item(notice));
    if (this.#list.children.length > this.#most) {
      this.#list.lastElementChild.remove();
      this.#known.delete(this.#known.values().next().value);
    }
    this.#sayHowMany();
  }

  #sayHowMany() {
    const shown = this.#list.children.length;
    this.#words.hidden = shown > 0 && shown >= this.#noticed;
    setText(
      this.#words,
      shown === 0
        ? "Nothing has happened yet."
        : `The newest ${number(shown)} of ${counted(this.#noticed, "event")}.`,
    );
  }

  #item({ at_s, level, text, by }) {
    const at = this.#context.live ? clock(this.#context.wall(at_s)) : elapsed(at_s);
    const words = make("span", { class: "words" }, text);
    if (by) words.append(make("small", {}, ` by ${by}`));
    if (level !== "info") words.prepend(make("span", { class: "hidden" }, `${level}: `));
    return make("li", { class: level }, icon(LEVELS[level] ?? "info"), make("time", {}, at), words);
  }
}

function panel(id, title, ...children) {
  const heading = make("h2", { id: `${id}-title` }, title);
  return make(
    "section",
    { class: `panel ${id}`, "aria-labelledby": `${id}-title` },
    heading,
    ...children,
  );
}
