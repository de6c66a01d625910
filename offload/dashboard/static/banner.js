/** The line on top of the page that says what is wrong with the connection to the server. */

import { setText } from "./dom.js";

export class Banner {
  #place;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  /** Says that what is shown is old; it stays until `hide`. */
  lost = () => {
    this.#say("Connection to the server lost. Trying again; the values below are old.");
    document.body.classList.add("stale");
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
