/** Says why the last try to sign in failed; the server names it in the address. */

const WORDS = {
  "?refused": "This token is not one of the server’s. Check that the whole line is there.",
  "?wait": "Too many tries. Wait a minute, then try again.",
};

const said = WORDS[location.search];
if (said !== undefined) {
  const error = document.getElementById("error");
  const field = document.getElementById("token");
  error.textContent = said;
  error.hidden = false;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", "error hint");
}
