/**
 * Speaks with the server: questions, changes, and events that come back by themselves after a
 * connection was lost. Whoever is not signed in is led to the sign-in page.
 */

import { dayOf } from "./format.js";

/**
 * @typedef {object} Session
 * @property {?string} name
 * @property {?string} role
 * @property {boolean} live  false where a recorded trace is shown
 * @property {string} title
 * @property {boolean} can_control
 * @property {boolean} signs_in  whether there is a sign-in at all
 * @property {string} version
 */

/**
 * One device, newest values; what is not known is null.
 * @typedef {object} Row
 * @property {string} stream
 * @property {?string} device
 * @property {?string} app
 * @property {?string} mode
 * @property {boolean} connected
 * @property {boolean} ended
 * @property {?number} fps
 * @property {?number} target_fps
 * @property {?boolean} target_met
 * @property {?number} pinned
 * @property {?number} split
 * @property {?number} tasks  how many
 * @property {?string} reason
 * @property {?number} latency_p95_s
 * @property {?number} link_bytes_per_s
 * @property {?number} in_flight
 * @property {?number} dropped
 * @property {?number} failed
 * @property {?number} completed
 * @property {?number} cloud_s_per_frame
 * @property {?number} device_s_per_frame
 * @property {?number} seen_s
 */

// The server answers at once. A network that died silently would leave questions open for minutes,
// and a browser has six connections to a server.
const ANSWER_LIMIT_MS = 5000;

// The server answers a change within 5 s, whatever the device does; past that, the network is gone.
const CHANGE_LIMIT_MS = 8000;

// The server says something every 5 s. A connection that died silently (a laptop that slept) is
// noticed by its silence alone.
const SILENCE_LIMIT_MS = 15000;
const REOPEN_AFTER_MS = 2000;

/** The server refused, or could not be reached (status 0); the message is for people. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** @param {string} stream @returns {string} where the API has this device */
export function devicePath(stream) {
  return `/api/devices/${encodeURIComponent(stream)}`;
}

/**
 * @param {string} path
 * @param {RequestInit} [options]  with what `fetch` takes
 * @param {number} [options.limitMs]  how long all of the answer may take
 * @returns {Promise<Response>}
 * @throws {ApiError}  also once its signal has ended it
 */
export async function ask(path, { limitMs = ANSWER_LIMIT_MS, signal, ...options } = {}) {
  const ends = [AbortSignal.timeout(limitMs), signal].filter(Boolean);
  const given = { cache: "no-store", ...options, signal: AbortSignal.any(ends) };
  const answer = await fetch(path, given).catch(() => {
    throw new ApiError("the server does not answer", 0);
  });
  // What was shown is shown again after the sign-in.
  if (answer.status === 401) location.assign(`/sign-in?ended${location.hash}`);
  if (!answer.ok) throw new ApiError(await errorOf(answer), answer.status);
  return answer;
}

async function errorOf(answer) {
  const body = await answer.json().catch(() => null);
  return typeof body?.error === "string" ? body.error : `the server answered ${answer.status}`;
}

/**
 * Reads what an answer carries, which may break off.
 * @param {Response} answer
 * @param {"json"|"blob"} kind
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function read(answer, kind) {
  return answer[kind]().catch(() => {
    throw new ApiError("the server’s answer broke off", 0);
  });
}

/**
 * @param {string} path
 * @param {RequestInit} [options]  see `ask`
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function getJson(path, options = {}) {
  return read(await ask(path, options), "json");
}

/**
 * Asks for a change.
 * @param {string} path
 * @param {object} body
 * @returns {Promise<{text: string, row: ?Row}>}
 * @throws {ApiError}
 */
export async function postJson(path, body) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    limitMs: CHANGE_LIMIT_MS,
  });
  return read(answer, "json");
}

/**
 * Server-sent events. They pause while nobody sees the page: a browser keeps six connections to a
 * server, and forgotten tabs would take them all.
 */
export class Feed {
  #path;
  #names;
  #watcher;
  #source = null;
  #heardMs = 0;
  #day = "";
  #isLooking = false;
  #timer;
  #closed = false;

  /**
   * @param {string} path
   * @param {string[]} names  of the events
   * @param {{onOpen: function(): void, onEvent: function(string, any): void,
   *   onLost: function(): void, onRefused: function(): void}} watcher  onOpen also follows each new
   *   connection; onRefused: the server is there and does not know this path (yet)
   */
  constructor(path, names, watcher) {
    this.#path = path;
    this.#names = names;
    this.#watcher = watcher;
    this.#timer = setInterval(() => this.#look(), REOPEN_AFTER_MS);
    document.addEventListener("visibilitychange", this.#follow);
    this.#follow();
  }

  /** Ends it for good. */
  close() {
    this.#closed = true;
    clearInterval(this.#timer);
    document.removeEventListener("visibilitychange", this.#follow);
    this.#source?.close();
  }

  #follow = () => {
    this.#source?.close();
    this.#source = null;
    if (!document.hidden) this.#open();
  };

  #open() {
    const source = new EventSource(this.#path);
    this.#source = source;
    this.#day = dayOf(Date.now());
    const hear = () => (this.#heardMs = performance.now());
    hear();
    source.addEventListener("alive", hear);
    source.addEventListener("open", () => {
      hear();
      this.#watcher.onOpen();
    });
    // Closed for good: the server answered, but not with events. Else the browser tries again.
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this.#look();
      else this.#watcher.onLost();
    });
    for (const name of this.#names) {
      source.addEventListener(name, (event) => {
        hear();
        this.#watcher.onEvent(name, JSON.parse(event.data));
      });
    }
  }

  async #look() {
    const source = this.#source;
    if (source === null || this.#closed || this.#isLooking) return;
    // What was said without a date was said today: after midnight all is fetched anew.
    if (this.#day !== dayOf(Date.now())) {
      this.#follow();
      return;
    }
    const isSilent = performance.now() - this.#heardMs > SILENCE_LIMIT_MS;
    if (source.readyState !== EventSource.CLOSED && !isSilent) return;
    if (isSilent) {
      // What it may still bring would come without `onOpen`, and the watcher would go on to say
      // that it is lost.
      source.close();
      this.#watcher.onLost();
    }
    this.#isLooking = true;
    // An EventSource does not say which answer it got; this one finds out about 401.
    const found = await getJson("/api/session").catch((error) => error);
    this.#isLooking = false;
    // Another one may have been opened since: somebody went away and came back.
    if (this.#closed || this.#source !== source) return;
    if (found instanceof Error) this.#watcher.onLost();
    else this.#reopen(isSilent);
  }

  #reopen(isSilent) {
    if (!isSilent) this.#watcher.onRefused();
    // At most every two seconds, which is how often we look.
    if (performance.now() - this.#heardMs > REOPEN_AFTER_MS) this.#follow();
  }
}
