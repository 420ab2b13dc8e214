import assert from "node:assert/strict";
import { test } from "node:test";
import { firstOther, limitsOf, paneNames, paneState, panesOf } from "../src/compare.js";
import { made, stateOf } from "./world.js";

const OTHER = { method: null, label: null, placement: null };

test("the second map is as the first but for what is named", () => {
  const state = stateOf({ other: { ...OTHER, label: 1 } });
  assert.equal(paneState(state, "a").label, 0);
  assert.deepEqual(
    [paneState(state, "b").label, paneState(state, "b").method, paneState(state, "b").voxel],
    [1, "one", [3, 4, 5]],
  );
});

test("maps in one unit share one scale; in different units there is no difference", () => {
  const theCase = made();
  const same = limitsOf(theCase, stateOf({ other: { ...OTHER, method: "two" } }));
  assert.deepEqual(same, { a: 8, b: 8, difference: 8, common: true });
  const apart = limitsOf(theCase, stateOf({ other: { ...OTHER, method: "three" } }));
  assert.deepEqual(apart, { a: 4, b: 1, difference: 0, common: false });
  assert.deepEqual(limitsOf(theCase, stateOf()), { a: 4, b: 0, difference: 0, common: false });
});

test("panes and their names say what is shown", () => {
  const state = stateOf({ other: { ...OTHER, method: "two" } });
  assert.deepEqual(panesOf(state), ["a", "b", "difference"]);
  assert.deepEqual(panesOf({ ...state, difference: false }), ["a", "b"]);
  assert.deepEqual(panesOf(stateOf()), ["a"]);
  const names = paneNames(made(), state, (name) => name);
  assert.deepEqual([names.a, names.b], ["A: ONE", "B: TWO"]);
});

test("what is compared first: methods, else placements, else labels", () => {
  assert.deepEqual(firstOther(made(), stateOf()), { ...OTHER, method: "two" });
  const one = made();
  one.methods = ["one"];
  assert.deepEqual(firstOther(one, stateOf()), { ...OTHER, placement: "receptive-field" });
  one.placements = ["stretch"];
  assert.deepEqual(firstOther(one, stateOf()), { ...OTHER, label: 1 });
});
