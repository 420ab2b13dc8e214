// Maps at the pixels of a plane: what value each pixel gets, and which pixels the network saw. No drawing.

import { EDGE, transform } from "./geometry.js";

/**
 * Where the pixels of a patch lie in a grid: the continuous index of the first, and the steps per column and per row.
 * `affine`: embedded voxel to the grid's index. `layout`: canvas pixels per voxel (`size`) and the canvas position of
 * voxel 0 (`origin`), across and down. `patch`: `left`, `top` in canvas pixels and `step`, how many a pixel is wide.
 */
export function walkOf(affine, { normal, across, down }, slice, { size, origin }, patch) {
  const index = [0, 0, 0];
  index[normal] = slice;
  index[across] = (patch.left + patch.step / 2 - origin[0]) / size[0];
  index[down] = (patch.top + patch.step / 2 - origin[1]) / size[1];
  const column = affine.slice(0, 3).map((row) => (row[across] * patch.step) / size[0]);
  const row = affine.slice(0, 3).map((r) => (r[down] * patch.step) / size[1]);
  return { start: transform(affine, index), column, row };
}

/**
 * A map at each pixel of a patch, row by row: linear between cell centres, constant in the outer half cells, 0 where
 * no cell is; the cell's own value if `whole`. The rule of `linearAt`, unrolled for speed.
 */
export function sampleMap({ data, offset, shape }, walk, { columns, rows }, whole) {
  const [ns, ny, nx] = shape;
  const [ds, dy, dx] = walk.column;
  const values = new Float32Array(columns * rows);
  const valueAt = whole ? cellValue : linearValue;
  let at = 0;
  for (let row = 0; row < rows; row++) {
    let s = walk.start[0] + row * walk.row[0];
    let y = walk.start[1] + row * walk.row[1];
    let x = walk.start[2] + row * walk.row[2];
    for (let column = 0; column < columns; column++, at++, s += ds, y += dy, x += dx) {
      if (s < -0.5 || y < -0.5 || x < -0.5 || s > ns - 0.5 || y > ny - 0.5 || x > nx - 0.5) continue;
      values[at] = valueAt(data, offset, ns, ny, nx, s, y, x);
    }
  }
  return values;
}

function cellValue(data, offset, ns, ny, nx, s, y, x) {
  const si = Math.min(ns - 1, Math.max(0, Math.floor(s + 0.5)));
  const yi = Math.min(ny - 1, Math.max(0, Math.floor(y + 0.5)));
  const xi = Math.min(nx - 1, Math.max(0, Math.floor(x + 0.5)));
  return data[offset + (si * ny + yi) * nx + xi];
}

function linearValue(data, offset, ns, ny, nx, s, y, x) {
  const sc = s < 0 ? 0 : Math.min(s, ns - 1);
  const yc = y < 0 ? 0 : Math.min(y, ny - 1);
  const xc = x < 0 ? 0 : Math.min(x, nx - 1);
  const si = sc | 0;
  const yi = yc | 0;
  const xi = xc | 0;
  const xf = xc - xi;
  const yf = yc - yi;
  const sf = sc - si;
  const right = xi + 1 < nx ? 1 : 0;
  const below = yi + 1 < ny ? nx : 0;
  const next = si + 1 < ns ? ny * nx : 0;
  const p = offset + (si * ny + yi) * nx + xi;
  const a = data[p] + (data[p + right] - data[p]) * xf;
  const b = data[p + below] + (data[p + below + right] - data[p + below]) * xf;
  const q = p + next;
  const c = data[q] + (data[q + right] - data[q]) * xf;
  const d = data[q + below] + (data[q + below + right] - data[q + below]) * xf;
  const front = a + (b - a) * yf;
  return front + (c + (d - c) * yf - front) * sf;
}

/** The first minus the second, pixel by pixel. */
export function subtract(first, second) {
  return first.map((value, n) => value - second[n]);
}

/** Give each pixel the colour of its value: `tables` [for, against] of 256 pixels; none below `faintest` of `limit`. */
export function colour(pixels, values, { limit, threshold, signed, tables }) {
  const strongest = tables[0].length - 1;
  const gain = strongest / limit;
  const faintest = threshold * limit;
  for (let at = 0; at < values.length; at++) {
    const value = values[at];
    if (value === 0 || (value < 0 && !signed)) continue;
    const size = value < 0 ? -value : value;
    if (size < faintest) continue;
    const strength = size * gain;
    pixels[at] = tables[value < 0 ? 1 : 0][strength > strongest ? strongest : (strength + 0.5) | 0];
  }
}

/** Columns [first, end) of a row of the patch at which a walk lies in the cells' box of a grid of `shape`. */
export function columnsInside({ start, column, row }, shape, v, columns) {
  const ends = [0, columns];
  for (let axis = 0; axis < 3; axis++) narrow(ends, start[axis] + v * row[axis], column[axis], shape[axis]);
  return ends;
}

/** Narrow `ends` to the columns u at which start + u * step lies in the cells' box [-0.5, size - 0.5]. */
function narrow(ends, start, step, size) {
  const [low, high] = [-0.5 - EDGE - start, size - 0.5 + EDGE - start];
  if (Math.abs(step) < 1e-12) {
    if (low > 0 || high < 0) ends[1] = ends[0];
    return;
  }
  const [first, last] = step > 0 ? [low / step, high / step] : [high / step, low / step];
  ends[0] = Math.max(ends[0], Math.ceil(first));
  ends[1] = Math.max(ends[0], Math.min(ends[1], Math.floor(last) + 1));
}
