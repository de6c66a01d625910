/** Numbers as people read them, each with its unit; what is not known is a dash. */

export const UNKNOWN = "–";

const formats = new Map();

function numberFormat(digits) {
  if (!formats.has(digits)) {
    const fixed = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    formats.set(digits, new Intl.NumberFormat("en", fixed));
  }
  return formats.get(digits);
}

/**
 * @param {?number} value
 * @param {number} [digits] after the point
 * @returns {string}
 */
export function number(value, digits = 0) {
  return isKnown(value) ? numberFormat(digits).format(value) : UNKNOWN;
}

/**
 * @param {unknown} value
 * @returns {boolean}
 */
export function isKnown(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/**
 * About three digits that count: 0.42, 4.2, 42, 420.
 * @param {?number} value
 * @returns {string}
 */
export function brief(value) {
  if (!isKnown(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size === 0 || size >= 99.95) return number(value);
  return number(value, size >= 9.995 ? 1 : 2);
}

/** @param {?number} value @returns {string} frames per second */
export function fps(value) {
  return number(value, 1);
}

/** @param {?number} seconds @returns {string} */
export function duration(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  return seconds < 0.9995 ? `${brief(seconds * 1000)} ms` : `${brief(seconds)} s`;
}

/** @param {?number} bytesPerS @returns {string} what a link carries, in its usual unit */
export function linkRate(bytesPerS) {
  if (!isKnown(bytesPerS)) return UNKNOWN;
  const kbit = (bytesPerS * 8) / 1e3;
  if (kbit < 999.5) return `${brief(kbit)} kbit/s`;
  return kbit < 999500 ? `${brief(kbit / 1e3)} Mbit/s` : `${brief(kbit / 1e6)} Gbit/s`;
}

/** @param {?number} bytes @returns {string} */
export function bytes(bytes) {
  if (!isKnown(bytes)) return UNKNOWN;
  if (bytes < 1e3) return `${number(bytes)} B`;
  if (bytes < 1e6) return `${brief(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${brief(bytes / 1e6)} MB` : `${brief(bytes / 1e9)} GB`;
}

/** @param {?number} part 0 to 1 @returns {string} */
export function percent(part) {
  return isKnown(part) ? `${number(part * 100)} %` : UNKNOWN;
}

/** @param {?number} split @returns {string} "1 to 2" where the mean is between two splits */
export function split(split) {
  if (!isKnown(split)) return UNKNOWN;
  if (Math.abs(split - Math.round(split)) < 0.05) return number(Math.round(split));
  return `${number(Math.floor(split))} to ${number(Math.ceil(split))}`;
}

/** @param {number} seconds @returns {string} how long ago, in words */
export function ago(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  if (seconds < 1.5) return "just now";
  if (seconds < 90) return `${number(seconds)} s ago`;
  return seconds < 5400 ? `${number(seconds / 60)} min ago` : `${number(seconds / 3600, 1)} h ago`;
}

/** @param {number} seconds @returns {string} m:ss or h:mm:ss since a run began */
export function elapsed(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

const timeOfDay = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const clockFormat = new Intl.DateTimeFormat([], timeOfDay);
const dateFormat = new Intl.DateTimeFormat([], { month: "short", day: "numeric", ...timeOfDay });

/**
 * @param {number} atMs since 1970
 * @returns {string} the time of day here, after the date where that is not today's
 */
export function clock(atMs) {
  return (dayOf(atMs) === dayOf(Date.now()) ? clockFormat : dateFormat).format(atMs);
}

/** @param {number} atMs since 1970 @returns {string} what differs from day to day here */
export function dayOf(atMs) {
  return new Date(atMs).toDateString();
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 * @returns {string} "1 device", "2 devices"
 */
export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}
