import assert from "node:assert/strict";
import { test } from "node:test";
import { changesFrom, hashOf } from "../src/link.js";
import { made, stateOf } from "./world.js";

test("a link brings back the view that it was made from", () => {
  const theCase = made();
  const other = { method: "two", label: null, placement: "receptive-field" };
  const state = stateOf({ label: 1, cells: true, voxel: [7, 15, 11], level: 50, width: 400, other });
  const changes = changesFrom(theCase, `#${hashOf(theCase, state)}`);
  for (const [key, value] of Object.entries(changes)) assert.deepEqual(value, state[key], key);
  for (const key of ["label", "method", "placement", "voxel", "level", "width", "cells", "signed", "other"])
    assert.ok(key in changes, key);
});

test("a point is in mm of the patient", () => {
  assert.ok(hashOf(made(), stateOf()).includes("at=5%2C16%2C24"));
  assert.deepEqual(changesFrom(made(), "#at=5,16,24"), { voxel: [3, 4, 5] });
});

test("what the case does not know is left as it is", () => {
  const hash = "#label=no&method=no&placement=no&at=1,2&window=5,0&with-method=no";
  assert.deepEqual(changesFrom(made(), hash), { signed: false, cells: false, shared: false, other: null });
  assert.deepEqual(changesFrom(made(), ""), {});
  assert.deepEqual(changesFrom(made(), "#at=1,,2&window=1e999,4"), {});
});
