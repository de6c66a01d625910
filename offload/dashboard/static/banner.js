/** The line on top of the page that says what is wrong with the connection to the server. */

import { setText } from "./dom.js";
import { clock } from "./format.js";

export class Banner {
  #place;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  /** Says that what is shown is old; it stays until `hide`. */
  lost = () => {
    if (document.body.classList.contains("stale")) return;
    document.body.classList.add("stale");
    const since = clock(Date.now());
    this.#say(
      `Connection to the server lost at ${since}. Trying again; what is below is from before.`,
    );
  };

  /** @param {Error} error  something else that went wrong */
  show = (error) => {
    this.#say(`This could not be loaded: ${error.message}.`);
  };

  hide = () => {
    this.#place.hidden = true;
    setText(this.#place, "");
    document.body.classList.remove("stale");
  };

  #say(text) {
    this.#place.hidden = false;
    setText(this.#place, text);
  }
}
