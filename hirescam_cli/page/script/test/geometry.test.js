import assert from "node:assert/strict";
import { test } from "node:test";
import {
  barLength,
  cellAt,
  distanceMm,
  invert,
  linearAt,
  multiply,
  spacingOf,
  transform,
  voxelOf,
} from "../src/geometry.js";
import { AFFINE } from "./world.js";

test("an affine and its inverse undo each other", () => {
  const product = multiply(invert(AFFINE), AFFINE);
  for (const [row, values] of product.entries())
    for (const [column, value] of values.entries())
      assert.ok(Math.abs(value - (row === column ? 1 : 0)) < 1e-12);
});

test("a voxel lies where the affine says", () => {
  assert.deepEqual(transform(AFFINE, [3, 4, 5]), [5, 16, 24]);
  assert.deepEqual(spacingOf(AFFINE), [2, 1, 1]);
});

test("a value is linear between centres, constant in outer half cells, 0 beyond", () => {
  const [data, shape] = [
    [9, 0, 10, 20, 30, 40, 50, 60, 70],
    [2, 2, 2],
  ];
  assert.equal(linearAt(data, 1, shape, [0.5, 0.5, 0.5]), 35);
  assert.equal(linearAt(data, 1, shape, [1.4, 1.4, 1.4]), 70);
  assert.equal(linearAt(data, 1, shape, [1.6, 1, 1]), 0);
  assert.equal(cellAt(data, 1, shape, [0.4, 0.6, 0.2]), 20);
});

test("a voxel holds the points within half of it", () => {
  assert.deepEqual(voxelOf([2, 2, 2], [-0.49, 1.49, 0.5]), [0, 1, 1]);
  assert.equal(voxelOf([2, 2, 2], [-0.51, 0, 0]), null);
});

test("a distance is measured in mm, whatever the spacing", () => {
  const ends = [
    [0, 0, 0],
    [2, 3, 0],
  ].map((voxel) => transform(AFFINE, voxel));
  assert.equal(distanceMm(...ends), 5); // 2 slices of 2 mm, 3 pixels of 1 mm
});

test("the scale bar is the longest round length that fits", () => {
  assert.equal(barLength(2, 250), 100);
  assert.equal(barLength(2, 199), 50);
  assert.equal(barLength(2, 1), null);
});
