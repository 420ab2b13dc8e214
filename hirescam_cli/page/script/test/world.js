// A made-up case for the tests: what the modules under test ask of a Case, without a browser.

import { Case } from "../src/case.js";

const IDENTITY = [
  [1, 0, 0, 0],
  [0, 1, 0, 0],
  [0, 0, 1, 0],
  [0, 0, 0, 1],
];

/** z to the feet, y to the back, x to the left, as the page has it: 2 mm slices of 1 mm pixels. */
export const AFFINE = [
  [0, 0, -1, 10],
  [0, -1, 0, 20],
  [-2, 0, 0, 30],
  [0, 0, 0, 1],
];

export function made(changes = {}) {
  const label = (name, index, probability) => ({ name, index, probability, slice_scores: null, maps: {} });
  const method = (name, unit) => ({ method: name, title: name.toUpperCase(), unit, shape: [2, 2, 2, 2] });
  const theCase = new Case({
    summary: { labels: [label("nodule & co", 0, 0.2), label("mass=#1", 1, 0.9)] },
    scan: { shape: [8, 16, 12], affine: AFFINE, images: null },
    maps: [method("one", "logits"), method("two", "logits"), method("three", "slopes")],
    placements: { stretch: IDENTITY, "receptive-field": IDENTITY },
    placement: "stretch",
    seen: { shape: [8, 16, 12], affine: AFFINE },
    window: [-1000, 200],
    ...changes,
  });
  const values = {
    one: [0, 1, 2, 3, -9, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2],
    two: [8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, -5],
    three: [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
  };
  for (const [name, data] of Object.entries(values))
    theCase.maps.set(name, { data: Float32Array.from(data), shape: [2, 2, 2] });
  return theCase;
}

export function stateOf(changes = {}) {
  return {
    label: 0,
    method: "one",
    placement: "stretch",
    signed: false,
    cells: false,
    shared: false,
    level: -400,
    width: 1200,
    voxel: [3, 4, 5],
    other: null,
    difference: true,
    ...changes,
  };
}
