/** Starts the page: who is signed in, and the view that the address names: `#` or `#device=NAME`. */

import { getJson } from "./api.js";
import { Banner } from "./banner.js";
import { DeviceView } from "./device.js";
import { ListView } from "./list.js";

const TRY_AGAIN_MS = 2000;

const main = document.getElementById("main");
const banner = new Banner(document.getElementById("banner"));

const ROLES = {
  operator: "may change devices",
  viewer: "may look",
  device: "sees its own streams",
};

/** @returns {Promise<import("./api.js").Session>} */
async function readSession() {
  for (;;) {
    try {
      const session = await getJson("/api/session");
      banner.hide();
      return session;
    } catch {
      banner.lost();
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
    }
  }
}

function showSession(session) {
  const who = document.getElementById("who");
  document.getElementById("server").textContent = session.title;
  if (!session.live) {
    who.textContent = "Recorded run";
  } else if (!session.signs_in) {
    who.textContent = "Open to everybody, read-only";
  } else {
    const name = document.createElement("b");
    name.textContent = session.name;
    who.replaceChildren(name, ` ${ROLES[session.role] ?? ""}`);
    document.getElementById("sign-out").hidden = false;
  }
}

function deviceOfAddress() {
  const found = /^#device=(.+)$/.exec(location.hash);
  try {
    return found && decodeURIComponent(found[1]);
  } catch {
    // A percent sign that stands for nothing: no address of ours.
    return null;
  }
}

/** @type {?{close: function(): void}} */
let view = null;

function showView(session) {
  view?.close();
  banner.hide();
  const stream = deviceOfAddress();
  view =
    stream === null
      ? new ListView(main, session, banner)
      : new DeviceView(main, stream, session, banner);
  document.title = stream === null ? session.title : `${stream} · ${session.title}`;
}

// The address names the view, so the usual way of a skip link would leave it.
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.querySelector("h1")?.focus();
});

const session = await readSession();
showSession(session);
showView(session);
addEventListener("hashchange", () => {
  showView(session);
  scrollTo(0, 0);
  main.querySelector("h1")?.focus({ preventScroll: true });
});
