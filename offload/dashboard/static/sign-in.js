/**
 * Says why somebody has to sign in (again), as the server names it in the address, and has the
 * browser show afterwards what it showed before.
 */

const LIMITED = { address: "from this address", all: "from all addresses together" };

/** @returns {{id: string, words: string}} which element says it; no words if there is no reason */
function reasonOf(search) {
  const given = new URLSearchParams(search);
  if (given.has("ended")) {
    const words = "The server was started again, or your sign-in ended. Sign in to go on.";
    return { id: "ended", words };
  }
  const wait = Number(given.get("wait_s"));
  const who = LIMITED[given.get("limited")];
  if (who && Number.isInteger(wait)) {
    return { id: "error", words: `Too many wrong tries ${who}. Try again in ${wait} s.` };
  }
  const words = "This token is not one of the server’s. Check that the whole line is there.";
  return { id: "error", words: given.has("refused") ? words : "" };
}

const { id, words } = reasonOf(location.search);
if (words !== "") {
  const reason = document.getElementById(id);
  const field = document.getElementById("token");
  reason.textContent = words;
  reason.hidden = false;
  field.setAttribute("aria-invalid", String(id === "error"));
  field.setAttribute("aria-describedby", `${id} hint`);
}

// Of the address only this part goes on, which names a view of this very page: the server does not
// get it, and browsers keep it over the way back.
if (location.hash.startsWith("#device=")) {
  document.querySelector("form").action = `/sign-in${location.hash}`;
}
