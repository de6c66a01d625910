/**
 * Says why somebody has to sign in (again), as the server names it in the address, and has the
 * browser show afterwards what it showed before.
 */

const WORDS = {
  "?refused": "This token is not one of the server’s. Check that the whole line is there.",
  "?wait": "Too many tries. Wait a minute, then try again.",
  "?ended": "The server was started again, or your sign-in ended. Sign in to go on.",
};

const said = WORDS[location.search];
if (said !== undefined) {
  const isEnded = location.search === "?ended";
  const reason = document.getElementById(isEnded ? "ended" : "error");
  const field = document.getElementById("token");
  reason.textContent = said;
  reason.hidden = false;
  field.setAttribute("aria-invalid", String(!isEnded));
  field.setAttribute("aria-describedby", `${reason.id} hint`);
}

// Of the address only this part goes on, which names a view of this very page: the server does not
// get it, and browsers keep it over the way back.
if (location.hash.startsWith("#device=")) {
  document.querySelector("form").action = `/sign-in${location.hash}`;
}
