// A view as the part of an address behind "#": label, method, placement, point in mm, window, and how maps are shown.

const FLAGS = ["signed", "cells", "shared"];

/** The text behind "#" for a state. */
export function hashOf(theCase, state) {
  const parts = new URLSearchParams();
  parts.set("label", theCase.labels[state.label].name);
  parts.set("method", state.method);
  parts.set("placement", state.placement);
  parts.set(
    "at",
    theCase
      .worldOf(state.voxel)
      .map((value) => Number(value.toFixed(2)))
      .join(","),
  );
  parts.set("window", `${state.level},${state.width}`);
  const flags = FLAGS.filter((flag) => state[flag]);
  if (flags.length) parts.set("show", flags.join(","));
  const { other } = state;
  if (!other) return parts.toString();
  const differs = { "with-method": other.method, "with-placement": other.placement };
  differs["with-label"] = other.label === null ? null : theCase.labels[other.label].name;
  for (const [key, value] of Object.entries(differs)) if (value !== null) parts.set(key, value);
  return parts.toString();
}

/** The changes of state that a text behind "#" asks for; what this case does not know is left as it is. */
export function changesFrom(theCase, hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const changes = {};
  const label = labelNamed(theCase, parts.get("label"));
  if (label >= 0) changes.label = label;
  if (theCase.methods.includes(parts.get("method"))) changes.method = parts.get("method");
  if (theCase.placements.includes(parts.get("placement"))) changes.placement = parts.get("placement");
  const point = numbers(parts.get("at"), 3);
  if (point) changes.voxel = theCase.nearestVoxel(point);
  const window = numbers(parts.get("window"), 2);
  if (window && window[1] >= 1) [changes.level, changes.width] = window;
  const other = otherFrom(theCase, parts);
  if (parts.has("label")) {
    const shown = (parts.get("show") || "").split(",");
    for (const flag of FLAGS) changes[flag] = shown.includes(flag);
    changes.other = other;
  }
  return changes;
}

/** What the map is compared with: null where nothing known is named. */
function otherFrom(theCase, parts) {
  const known = (list, value) => (list.includes(value) ? value : null);
  const label = labelNamed(theCase, parts.get("with-label"));
  const other = {
    method: known(theCase.methods, parts.get("with-method")),
    label: label < 0 ? null : label,
    placement: known(theCase.placements, parts.get("with-placement")),
  };
  return Object.values(other).every((value) => value === null) ? null : other;
}

function labelNamed(theCase, name) {
  return theCase.labels.findIndex((entry) => entry.name === name);
}

function numbers(text, count) {
  const found = (text || "").split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  return found.length === count && found.every(Number.isFinite) ? found : null;
}
