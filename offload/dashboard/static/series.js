/**
 * What is known of one device over time, as columns for the charts, and the span of time that they
 * all show.
 */

import { isKnown } from "./format.js";

// As many as the server keeps.
const LIMIT = 600;

// A sample comes each second; a device that says nothing for longer was away, and no line may be
// drawn over that time. A thinned trace has its samples further apart.
const GAP_S = 3.5;

// While a device is away these say what it was like, not how it is.
const STEADY = new Set(["at_s", "target_fps", "pinned", "connected"]);

/** @typedef {Record<string, (number|null|number[])>} Sample */

export class Series {
  /** @type {Record<string, any[]>} */
  #columns = { at_s: [] };
  #gapS = GAP_S;
  #limit = LIMIT;
  #length = 0;
  /** Whether the device is away now: then it makes no samples that would say so. */
  isAway = false;

  /**
   * Takes another run of samples in place of all.
   * @param {Record<string, any[]>} samples  columns of the same length
   * @param {boolean} live  else nothing is ever removed
   */
  replace(samples, live) {
    const at = samples.at_s ?? [];
    this.#columns = { at_s: [] };
    this.#length = 0;
    this.#limit = live ? LIMIT : Infinity;
    this.#gapS = Math.max(GAP_S, 3 * median(at.slice(1).map((each, i) => each - at[i])));
    const names = Object.keys(samples);
    at.forEach((_, i) => {
      this.append(Object.fromEntries(names.map((name) => [name, samples[name][i]])));
    });
  }

  /**
   * Adds a sample, or takes it in place of the newest one if it is of the same time.
   * @param {Sample} sample
   */
  append(sample) {
    const last = this.newestS;
    if (sample.at_s < last) return;
    if (sample.at_s === last) this.#pop();
    if (sample.at_s - last > this.#gapS) {
      this.#push({ at_s: last + this.#gapS / 4, connected: 0 });
      this.#push({ at_s: sample.at_s - this.#gapS / 4, connected: 0 });
    }
    this.#push(sample);
    this.#trim();
  }

  /** @returns {number} when the newest sample was made; NaN if there is none */
  get newestS() {
    return this.#columns.at_s.at(-1) ?? NaN;
  }

  /** @returns {number} when the oldest one was */
  get oldestS() {
    return this.#columns.at_s[0] ?? NaN;
  }

  /**
   * @param {string} name
   * @returns {any[]}  null where nothing is known
   */
  column(name) {
    return this.#columns[name] ?? new Array(this.#length).fill(null);
  }

  /**
   * @param {string} name
   * @returns {boolean}  whether any value is known
   */
  knows(name) {
    return (this.#columns[name] ?? []).some((each) => each !== null);
  }

  /** @returns {[number, number][]} from when to when the device was away */
  gaps() {
    const [at, connected] = [this.column("at_s"), this.column("connected")];
    const found = [];
    let begin = null;
    connected.forEach((each, i) => {
      if (each === 0) begin ??= at[Math.max(0, i - 1)];
      else if (begin !== null) {
        found.push([begin, at[i]]);
        begin = null;
      }
    });
    if (begin === null && this.isAway) begin = this.newestS;
    if (begin !== null) found.push([begin, Infinity]);
    return found;
  }

  #pop() {
    for (const column of Object.values(this.#columns)) column.pop();
    this.#length -= 1;
  }

  #push(sample) {
    for (const name of Object.keys(sample)) {
      this.#columns[name] ??= new Array(this.#length).fill(null);
    }
    const isAway = sample.connected === 0;
    for (const [name, column] of Object.entries(this.#columns)) {
      column.push(isAway && !STEADY.has(name) ? null : known(sample[name]));
    }
    this.#length += 1;
  }

  #trim() {
    const over = this.#length - this.#limit;
    if (over <= 0) return;
    for (const column of Object.values(this.#columns)) column.splice(0, over);
    this.#length -= over;
  }
}

// Of a second without frames nobody knows where tasks ran: its parts are null.
function known(value) {
  const isEmpty = Array.isArray(value) && (value.length === 0 || value.includes(null));
  return isEmpty ? null : (value ?? null);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

// A chart of three samples stretched over the whole width says nothing.
const LEAST_SPAN_S = 60;
const LEAST_ZOOM_S = 2;

/** The span of time that all charts of a device show. */
export class Viewport {
  /** How many of the newest seconds are shown, at most; null for all. */
  spanS;
  #zoom = null;
  #changed;

  /**
   * @param {?number} spanS
   * @param {function(): void} changed  called when the user changes it
   */
  constructor(spanS, changed) {
    this.spanS = spanS;
    this.#changed = changed;
  }

  get isZoomed() {
    return this.#zoom !== null;
  }

  /**
   * @param {Series} series
   * @param {number} nowS
   * @returns {[number, number]}
   */
  range(series, nowS) {
    return this.#zoom ?? this.#all(series, nowS);
  }

  /**
   * Shows the newest seconds.
   * @param {number} spanS
   */
  show(spanS) {
    this.spanS = spanS;
    this.#changed();
  }

  /**
   * Shows a part, which stays.
   * @param {number} fromS
   * @param {number} toS
   */
  zoom(fromS, toS) {
    if (!(toS - fromS >= LEAST_ZOOM_S)) return;
    this.#zoom = [fromS, toS];
    this.#changed();
  }

  reset() {
    this.#zoom = null;
    this.#changed();
  }

  #all(series, nowS) {
    const [oldest, newest] = [series.oldestS, series.newestS];
    if (!isKnown(newest)) return [0, LEAST_SPAN_S];
    if (this.spanS === null) return [oldest, Math.max(newest, oldest + LEAST_ZOOM_S)];
    // A device that is away makes no samples, and time goes on.
    const end = Math.max(newest, nowS - 2);
    const span = Math.min(this.spanS, Math.max(LEAST_SPAN_S, end - oldest));
    return [end - span, end];
  }
}
