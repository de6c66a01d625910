/** What states and reasons are called: the same words in the list, the headline and the tables. */

import { split } from "./format.js";

/** Why the split is where it is (offload/scheduling/terms.py): [some words, a sentence]. */
const REASONS = {
  cold_start: [
    "just started",
    "It has just started: too few frames are finished to know anything, so the split is the one that it was given.",
  ],
  settled: ["settled", "There is no reason to move any task."],
  moved_more_device: [
    "device takes more",
    "The device takes work from the cloud: it can, and that costs the cloud less.",
  ],
  moved_more_cloud: [
    "cloud takes more",
    "The cloud takes work from the device: else the target would be missed.",
  ],
  held_hysteresis: [
    "held",
    "Moves on their way make up for what is missing, or no other split is much better.",
  ],
  held_latency: [
    "held for latency",
    "Cheaper splits are left out, since frames would take longer than permitted.",
  ],
  source_limited: [
    "source limits",
    "The source gives fewer frames than the target asks for; the pipeline keeps up with it.",
  ],
  infeasible_device: ["device limits", "The target is out of reach: the device limits it."],
  infeasible_link: ["link limits", "The target is out of reach: the link limits it."],
  infeasible_cloud: ["cloud limits", "The target is out of reach: the cloud limits it."],
  stalled: [
    "stalled",
    "No frame has been finished for a while: there is nothing to learn from, so nothing moves.",
  ],
  probing: ["measuring", "It runs a frame at another split to measure what that costs."],
  pinned: ["pinned", "The split is pinned: the scheduler leaves it where it is."],
};

/** @param {?string} reason @returns {string} some words; what a newer program says, as it is */
export function reasonWords(reason) {
  if (reason === null || reason === undefined) return "";
  return REASONS[reason]?.[0] ?? reason.replaceAll("_", " ");
}

/**
 * Says in a sentence or two why the device runs as it does.
 * @param {import("./api.js").Row} row
 * @returns {string}
 */
export function reasonSentence(row) {
  if (row.ended) return "The run has ended; what is shown is how it stood last.";
  if (!row.connected)
    return "The device is not connected. It tries again by itself; what is shown is how it stood last.";
  if (row.mode === "client_only")
    return "All tasks run on the device: it was started without a cloud.";
  if (row.mode === "manual")
    return "Manual mode: the split is the one that the device was started with.";
  if (row.reason === "pinned" && typeof row.pinned === "number") {
    return `The split is pinned to ${split(row.pinned)}: the scheduler leaves it there until it is released.`;
  }
  const why = REASONS[row.reason]?.[1] ?? reasonWords(row.reason);
  // Whether the target is met is the row's to say, as for the state above: the scheduler's reason
  // is of what it expects, and may be of a moment before.
  if (!row.target_met) {
    return why;
  }
  const limit = row.reason?.match(/^infeasible_(\w+)$/)?.[1];
  if (limit) {
    return `The target is met for now, but no split is expected to hold it: the ${limit} limits it.`;
  }
  return row.reason === "settled" ? `The target is met. ${why}` : why;
}

/** @typedef {"lost"|"missed"|"met"|"running"|"ended"} State */

/** What sorting by state puts first: what needs somebody to look. */
export const STATES = ["lost", "missed", "met", "running", "ended"];

const STATE_WORDS = {
  lost: "Lost",
  missed: "Below target",
  met: "On target",
  running: "Running",
  ended: "Ended",
};

/** @param {import("./api.js").Row} row @returns {State} */
export function stateOf(row) {
  if (row.ended) return "ended";
  if (!row.connected) return "lost";
  if (row.target_met === null || row.target_met === undefined) return "running";
  return row.target_met ? "met" : "missed";
}

/** @param {State} state @returns {string} */
export function stateWords(state) {
  return STATE_WORDS[state];
}
