// Two maps side by side: which the second is, what each pane shows, and that colours mean the same in all of them.

/** The state of a pane: that of "b" has what `other` names of method, label and placement, and the rest as "a" has it. */
export function paneState(state, pane) {
  if (pane !== "b" || !state.other) return state;
  const { method, label, placement } = state.other;
  return {
    ...state,
    method: method ?? state.method,
    label: label ?? state.label,
    placement: placement ?? state.placement,
  };
}

/**
 * The value that gets the strongest colour in each pane, and whether it is a `common` one. Maps in the same unit share
 * one scale, so that brightness compares; in different units each has its own, and there is no difference of them.
 */
export function limitsOf(theCase, state) {
  const a = theCase.scaleOf(state);
  if (!state.other) return { a, b: 0, difference: 0, common: false };
  const second = paneState(state, "b");
  const b = theCase.scaleOf(second);
  const common = theCase.unitOf(state.method) === theCase.unitOf(second.method);
  const limit = Math.max(a, b);
  return common ? { a: limit, b: limit, difference: limit, common } : { a, b, difference: 0, common };
}

/** The panes that are shown. */
export function panesOf({ other, difference }) {
  if (!other) return ["a"];
  return difference ? ["a", "b", "difference"] : ["a", "b"];
}

/** What the chosen map is compared with first: the next method, else the other placement, else the next label. */
export function firstOther(theCase, { method, label, placement }) {
  const next = (list, value) => list[(list.indexOf(value) + 1) % list.length];
  const asA = { method: null, label: null, placement: null };
  if (theCase.methods.length > 1) return { ...asA, method: next(theCase.methods, method) };
  if (theCase.placements.length > 1) return { ...asA, placement: next(theCase.placements, placement) };
  return { ...asA, label: (label + 1) % theCase.labels.length };
}

/** The two maps' names: only what tells them apart, or the whole of it where they are the same. */
export function paneNames(theCase, state, placementName) {
  const second = paneState(state, "b");
  const pair = (nameOf) => [nameOf(state), nameOf(second)];
  const parts = [
    pair(({ method }) => theCase.titleOf(method)),
    pair(({ label }) => theCase.labels[label].name),
    pair(({ placement }) => placementName(placement)),
  ];
  const apart = parts.filter(([one, two]) => one !== two);
  const told = apart.length > 0 ? apart : parts;
  const name = (n) => told.map((both) => both[n]).join(", ");
  return { a: `A: ${name(0)}`, b: `B: ${name(1)}`, difference: "A \u2212 B" };
}
