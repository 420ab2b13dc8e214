import assert from "node:assert/strict";
import { test } from "node:test";
import { PLANES } from "../src/case.js";
import { huName } from "../src/readout.js";
import { AFFINE, made, stateOf } from "./world.js";

test("the peak, the range and the scale of a map", () => {
  const theCase = made();
  assert.deepEqual(theCase.rangeOf("one", 0), { max: 4, min: -9, peak: [1, 1, 1] });
  assert.equal(theCase.scaleOf(stateOf()), 4);
  assert.equal(theCase.scaleOf(stateOf({ signed: true })), 9);
  assert.equal(theCase.scaleOf(stateOf({ label: 1, shared: true })), 4);
});

test("a slice has the scanner's number where it is known", () => {
  const numbers = [[1, 1], [2, 3], null];
  const images = { axis: 0, word: "image", numbers };
  const theCase = made({ scan: { shape: [3, 16, 12], affine: AFFINE, images } });
  assert.equal(theCase.imageAt(0, 0), "image 1");
  assert.equal(theCase.imageAt(0, 1), "images 2\u20133");
  assert.equal(theCase.imageAt(0, 2), null);
  assert.equal(theCase.imageAt(1, 0), null);
  assert.equal(made().imageAt(0, 0), null);
});

test("outlines and ledger are found by slice, label and method", () => {
  const line = [1, 2, 3, 4];
  const outlines = [
    { name: "lung", lines: {} },
    { name: "nodule", lines: { Axial: { 3: [line] } } },
  ];
  const row = { label: "mass=#1", method: "one", region: "lung", logits: 1.5 };
  const theCase = made({ outlines, ledger: [row] });
  assert.deepEqual(theCase.outlinesIn(PLANES[0], [3, 0, 0]), [[1, line]]);
  assert.deepEqual(theCase.outlinesIn(PLANES[0], [4, 0, 0]), []);
  assert.deepEqual(theCase.outlinesIn(PLANES[1], [3, 0, 0]), []);
  assert.deepEqual(theCase.ledgerOf("mass=#1", "one"), [row]);
  assert.deepEqual(theCase.ledgerOf("mass=#1", "two"), []);
});

test("HU say what they are", () => {
  assert.equal(huName({ exact: true, factors: [1, 1, 1], step: 1 }), "HU");
  assert.equal(huName({ exact: false, factors: [1, 2, 2], step: 2 }), "HU, mean of 2 \u00d7 2 \u00d7 1");
  assert.equal(huName({ exact: false, factors: [1, 1, 1], step: 4 }), "HU, in steps of 4");
});
