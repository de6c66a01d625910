/** The colours of the charts: those of page.css, in light and dark. */

const dark = matchMedia("(prefers-color-scheme: dark)");

/**
 * @param {string} name  of a custom property, without its dashes
 * @returns {string}
 */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * Calls back when light turns dark or back.
 * @param {function(): void} then
 * @returns {function(): void} ends it
 */
export function onTheme(then) {
  dark.addEventListener("change", then);
  return () => dark.removeEventListener("change", then);
}

/**
 * The colours of tasks: one family of hues for the device, one for the cloud, each going from one
 * end to the other so that neighbours can be told apart.
 * @param {"device"|"cloud"} side
 * @param {number} count
 * @returns {string[]}
 */
export function family(side, count) {
  const [from, to] = [rgb(colour(`${side}-from`)), rgb(colour(`${side}-to`))];
  return Array.from({ length: count }, (_, at) => {
    const part = count === 1 ? 0.5 : at / (count - 1);
    const mixed = from.map((each, i) => Math.round(each + part * (to[i] - each)));
    return `rgb(${mixed.join(" ")})`;
  });
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}
