/**
 * The newest annotated picture of a device. It is asked for only while somebody can see it: each
 * question keeps the device sending pictures for three seconds more.
 */

import { ask, devicePath, read } from "./api.js";
import { make, setText } from "./dom.js";

// The server waits up to two seconds for the next picture by itself; this keeps one that does not
// from being asked in a circle.
const LEAST_PAUSE_MS = 180;
// For a slow link it is some seconds more.
const PICTURE_LIMIT_MS = 10000;
const AFTER_ERROR_MS = 3000;

const WAITING = "Waiting for a picture";

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Picture {
  #path;
  #parts;
  /** The number of the picture that is shown. */
  #after = null;
  #isSeen = false;
  #isPaused = calm.matches;
  #isRunning = false;
  #isConnected = true;
  #stop = new AbortController();
  #observer;

  /** @param {string} stream */
  constructor(stream) {
    this.#path = `${devicePath(stream)}/picture`;
    this.#parts = this.#build();
    this.node = this.#parts.figure;
    this.#observer = new IntersectionObserver(([entry]) => {
      this.#isSeen = entry.isIntersecting;
      this.#go();
    });
    this.#observer.observe(this.node);
    document.addEventListener("visibilitychange", this.#go);
  }

  close() {
    this.#observer.disconnect();
    document.removeEventListener("visibilitychange", this.#go);
    this.#stop.abort();
    this.#drop();
  }

  /** @param {boolean} isConnected  whether there is a device that could send pictures */
  follow(isConnected) {
    if (isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    if (isConnected) this.#sayWaiting();
    else this.#say("the device is not connected");
    this.#go();
  }

  #build() {
    const image = make("img", {
      alt: "Newest picture of the device, with what its tasks drew on it",
      hidden: "",
    });
    const words = make("p", { class: "soft" }, WAITING);
    const pause = make("button", { type: "button" }, this.#isPaused ? "Play" : "Pause");
    pause.addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      setText(pause, this.#isPaused ? "Play" : "Pause");
      this.#go();
    });
    const head = make("figcaption", {}, make("h2", {}, "Picture"), pause);
    const figure = make(
      "figure",
      { class: "picture panel" },
      head,
      make("div", { class: "frame" }, image, words),
    );
    return { figure, image, words };
  }

  get #isWanted() {
    // While it is paused, the first picture still comes.
    return (
      this.#isSeen &&
      this.#isConnected &&
      !document.hidden &&
      !this.#stop.signal.aborted &&
      !(this.#isPaused && this.#after !== null)
    );
  }

  #go = async () => {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#isWanted) {
      const pauseMs = await this.#next();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    this.#isRunning = false;
  };

  /** @returns {Promise<number>} how long to wait before the next question */
  async #next() {
    const began = performance.now();
    try {
      const answer = await ask(
        `${this.#path}${this.#after === null ? "" : `?after=${this.#after}`}`,
        { signal: this.#stop.signal, limitMs: PICTURE_LIMIT_MS },
      );
      if (answer.status === 200) await this.#show(answer);
      else this.#sayWaiting();
    } catch (error) {
      if (this.#stop.signal.aborted) return 0;
      this.#say(error.message);
      return AFTER_ERROR_MS;
    }
    return Math.max(0, LEAST_PAUSE_MS - (performance.now() - began));
  }

  async #show(answer) {
    const picture = await read(answer, "blob");
    // It may have been on its way while the device was lost.
    if (this.#stop.signal.aborted || !this.#isConnected) return;
    this.#after = Number(answer.headers.get("X-Picture"));
    this.#drop();
    this.#parts.image.src = URL.createObjectURL(picture);
    this.#parts.image.hidden = false;
    this.#parts.words.hidden = true;
  }

  #sayWaiting() {
    // One that is shown stays until there is a newer one.
    const { image, words } = this.#parts;
    if (this.#isConnected && image.hidden) setText(words, WAITING);
  }

  #say(text) {
    this.#drop();
    this.#parts.image.hidden = true;
    this.#parts.words.hidden = false;
    setText(this.#parts.words, `No picture: ${text}`);
    this.#after = null;
  }

  // A picture that is shown no more keeps its memory until its address is given back.
  #drop() {
    if (this.#parts.image.src) URL.revokeObjectURL(this.#parts.image.src);
  }
}
