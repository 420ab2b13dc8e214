// Answers on standard output, as JSON, what functions of the page give for the calls on standard input:
// [[name, argument, ...], ...]. The Python tests ask it and compare.

import { readFileSync } from "node:fs";
import {
  cellAt,
  distanceMm,
  invert,
  linearAt,
  multiply,
  spacingOf,
  transform,
  voxelOf,
} from "../src/geometry.js";
import { walkOf } from "../src/sampling.js";

const functions = { cellAt, distanceMm, invert, linearAt, multiply, spacingOf, transform, voxelOf, walkOf };
const calls = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(calls.map(([name, ...values]) => functions[name](...values))));
