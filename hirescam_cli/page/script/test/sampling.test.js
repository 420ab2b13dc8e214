import assert from "node:assert/strict";
import { test } from "node:test";
import { linearAt, transform } from "../src/geometry.js";
import { colour, columnsInside, sampleMap, subtract, walkOf } from "../src/sampling.js";

const AXIAL = { normal: 0, across: 2, down: 1 };
const TURNED = [
  [0.9, 0.3, 0.1, -1],
  [-0.3, 0.8, 0.2, 0.5],
  [0.05, -0.2, 0.7, 1],
  [0, 0, 0, 1],
];
const LAYOUT = { size: [2.5, 2.5], origin: [3, 4] };
const PATCH = { left: 1, top: 2, step: 2, columns: 12, rows: 9 };

test("each pixel has the value of the point that it shows, on an oblique map too", () => {
  const shape = [5, 8, 9];
  const data = Float32Array.from({ length: 360 }, (_, n) => Math.sin(7 * n));
  const walk = walkOf(TURNED, AXIAL, 2, LAYOUT, PATCH);
  const values = sampleMap({ data, offset: 0, shape }, walk, PATCH, false);
  let seen = 0;
  for (let row = 0; row < PATCH.rows; row++) {
    for (let column = 0; column < PATCH.columns; column++) {
      const across = (PATCH.left + (column + 0.5) * PATCH.step - LAYOUT.origin[0]) / LAYOUT.size[0];
      const down = (PATCH.top + (row + 0.5) * PATCH.step - LAYOUT.origin[1]) / LAYOUT.size[1];
      const wanted = linearAt(data, 0, shape, transform(TURNED, [2, down, across]));
      assert.ok(Math.abs(values[row * PATCH.columns + column] - wanted) < 1e-6);
      seen += wanted !== 0;
    }
  }
  assert.ok(seen > 20);
});

test("columns inside are those whose centre lies in the grid", () => {
  const walk = walkOf(TURNED, AXIAL, 2, LAYOUT, PATCH);
  const shape = [3, 3, 3];
  for (let row = 0; row < PATCH.rows; row++) {
    const [first, end] = columnsInside(walk, shape, row, PATCH.columns);
    for (let column = 0; column < PATCH.columns; column++) {
      const at = [0, 1, 2].map((n) => walk.start[n] + row * walk.row[n] + column * walk.column[n]);
      const inside = at.every((value, axis) => value >= -0.5 && value <= shape[axis] - 0.5);
      assert.equal(column >= first && column < end, inside);
    }
  }
});

test("the difference is the first minus the second", () => {
  assert.deepEqual([...subtract(Float32Array.of(3, 1), Float32Array.of(1, 4))], [2, -3]);
});

test("colours: stronger is further up the ramp; weak and, unless signed, negative values have none", () => {
  const tables = [Uint32Array.of(10, 11, 12), Uint32Array.of(20, 21, 22)];
  const drawn = (changes) => {
    const pixels = new Uint32Array(5);
    const how = { limit: 4, threshold: 0, signed: true, tables, ...changes };
    colour(pixels, [0, 2, 9, -4, 0.9], how);
    return [...pixels];
  };
  assert.deepEqual(drawn({}), [0, 11, 12, 22, 10]);
  assert.deepEqual(drawn({ signed: false }), [0, 11, 12, 0, 10]);
  assert.deepEqual(drawn({ threshold: 0.5 }), [0, 11, 12, 22, 0]);
});
