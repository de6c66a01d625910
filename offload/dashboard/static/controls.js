/**
 * What an operator may change: the target, the split, and whether the device goes on. Each answer is
 * said in words, where a screen reader hears it; buttons keep the focus.
 */

import { devicePath, postJson } from "./api.js";
import { make, setAttribute, setText } from "./dom.js";
import { isKnown } from "./format.js";

/**
 * Says why somebody may not change anything.
 * @param {import("./api.js").Session} session
 * @returns {HTMLElement}
 */
export function whyNoControls(session) {
  let why = "Only operators may change a device. Sign in with an operator’s token to do so.";
  if (!session.live) why = "This is a recorded run: there is nothing to change.";
  else if (!session.signs_in)
    why = "This server runs without tokens: everybody may look, nobody may change anything.";
  return make("p", { class: "soft no-controls" }, why);
}

/**
 * @param {{mode: ?string}} info
 * @returns {boolean} whether it has a target; of one that has not said how it runs that is expected
 */
export function hasTarget({ mode }) {
  return mode === "automatic" || !mode;
}

/** @param {import("./api.js").Row} row  of a device that is not there @returns {string} */
function whyDisabled(row) {
  return row.ended
    ? "The run has ended: there is nothing to change until the device is started again."
    : "The device is not connected: nothing can be changed until it is back.";
}

export class Controls {
  #path;
  #changed;
  #parts = {};
  #isAsking = false;
  #isTyped = false;
  #targetFps = null;

  /**
   * @param {string} stream
   * @param {{tasks: string[], splits: number[], mode: ?string}} info
   * @param {function(import("./api.js").Row): void} changed
   */
  constructor(stream, info, changed) {
    this.#path = devicePath(stream);
    this.#changed = changed;
    this.node = this.#build(stream, info);
  }

  /** @param {import("./api.js").Row} row */
  update(row) {
    const { target, pin, release, form, away, dialog } = this.#parts;
    form.disabled = !row.connected;
    setText(away, row.connected ? "" : whyDisabled(row));
    if (!row.connected) dialog.close();
    this.#targetFps = row.target_fps;
    const shown = isKnown(row.target_fps) ? String(row.target_fps) : "";
    // What somebody has typed is left alone.
    if (!this.#isTyped && target.value !== shown) target.value = shown;
    if (document.activeElement !== pin) this.#followPin(row);
    setAttribute(release, "data-idle", String(!isKnown(row.pinned)));
  }

  #followPin({ pinned, split }) {
    const { pin } = this.#parts;
    if (isKnown(pinned) && pin.dataset.server !== String(pinned)) pin.value = String(pinned);
    // What is likely to be pinned is the split of now.
    if (pin.dataset.server === undefined && isKnown(split)) pin.value = String(Math.round(split));
    pin.dataset.server = String(pinned);
  }

  close() {
    this.#parts.dialog.close();
  }

  #build(stream, info) {
    const answer = make("p", { class: "answer", role: "status", "aria-live": "polite" });
    this.#parts.answer = answer;
    const dialog = this.#dialog(stream);
    const fields = hasTarget(info)
      ? [this.#targetForm(), this.#pinForm(info)]
      : [
          make(
            "p",
            { class: "soft" },
            "It was started with a fixed split: there is no target to set.",
          ),
        ];
    const drain = button("Drain…", "danger");
    drain.addEventListener("click", () => dialog.showModal());
    const form = make("fieldset", { class: "controls" }, ...fields, drain);
    const away = make("p", { class: "soft disabled", role: "status" });
    // What `update` needs exists in every mode.
    this.#parts = {
      target: make("input"),
      pin: make("select"),
      release: make("button"),
      ...this.#parts,
      answer,
      dialog,
      form,
      away,
    };
    return make(
      "section",
      { class: "panel steer", "aria-labelledby": "steer-title" },
      make("h2", { id: "steer-title" }, "Controls"),
      away,
      form,
      answer,
      dialog,
    );
  }

  #targetForm() {
    const target = make("input", {
      id: "target",
      type: "number",
      min: "0.1",
      max: "10000",
      step: "any",
      required: "",
      inputmode: "decimal",
    });
    target.addEventListener("input", () => (this.#isTyped = true));
    target.addEventListener("blur", () => {
      // Whoever leaves it empty, or as it was, has changed nothing.
      const typed = target.valueAsNumber;
      if (!isKnown(typed) || typed === this.#targetFps) this.#isTyped = false;
    });
    this.#parts.target = target;
    const form = make(
      "form",
      { class: "field" },
      make("label", { for: "target" }, "Target FPS"),
      make("span", { class: "row" }, target, button("Set", "primary", "submit")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fps = target.valueAsNumber;
      this.#ask("target", { fps }, () => {
        // What was typed while the device was asked is not set yet.
        if (target.valueAsNumber === fps) this.#isTyped = false;
      });
    });
    return form;
  }

  #pinForm({ tasks, splits }) {
    const pin = make("select", { id: "pin" });
    for (const each of splits) {
      pin.append(
        make("option", { value: String(each) }, `${each}: device up to ${tasks[each - 1]}`),
      );
    }
    const release = button("Release");
    release.addEventListener("click", () => this.#ask("release", {}));
    this.#parts.pin = pin;
    this.#parts.release = release;
    const form = make(
      "form",
      { class: "field" },
      make("label", { for: "pin" }, "Pin the split"),
      make("span", { class: "row" }, pin, button("Pin", "primary", "submit"), release),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask("pin", { split: Number(pin.value) });
    });
    return form;
  }

  #dialog(stream) {
    const drain = button("Drain", "danger", "submit");
    const stay = button("Cancel", "", "button");
    const form = make(
      "form",
      { method: "dialog" },
      make("h2", { id: "drain-title" }, `Drain ${stream}?`),
      make(
        "p",
        { id: "drain-text" },
        "The device stops capturing, finishes the frames that are on their way, and its program ends. It has to be started again at the device.",
      ),
      make("div", { class: "row end" }, stay, drain),
    );
    const dialog = make(
      "dialog",
      { "aria-labelledby": "drain-title", "aria-describedby": "drain-text" },
      form,
    );
    stay.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", () => this.#ask("drain", {}));
    return dialog;
  }

  async #ask(change, body, done = () => {}) {
    // Buttons are not disabled while it lasts: that would take the focus from them.
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#say("Asking the device", "");
    try {
      const answer = await postJson(`${this.#path}/${change}`, body);
      done();
      this.#say(`Done: ${answer.text}`, "good");
      if (answer.row) this.#changed(answer.row);
    } catch (error) {
      this.#say(`Not done: ${error.message}`, "bad");
    } finally {
      this.#isAsking = false;
    }
  }

  #say(text, kind) {
    this.#parts.answer.className = `answer ${kind}`;
    setText(this.#parts.answer, text);
  }
}

function button(text, kind = "", type = "button") {
  return make("button", { type, class: kind }, text);
}
