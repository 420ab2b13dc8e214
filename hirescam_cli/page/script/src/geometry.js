// Affines (rows of a 4x4 matrix) and the rule by which a map has a value at every point.

export const EDGE = 1e-6;

/** Map a point through an affine. */
export function transform(affine, point) {
  return [0, 1, 2].map(
    (row) =>
      affine[row][0] * point[0] + affine[row][1] * point[1] + affine[row][2] * point[2] + affine[row][3],
  );
}

/** The affine that first applies `second`, then `first`. */
export function multiply(first, second) {
  return first.map((row) =>
    [0, 1, 2, 3].map((n) => row.reduce((sum, value, k) => sum + value * second[k][n], 0)),
  );
}

/** The inverse of an affine, by cofactors. */
export function invert(affine) {
  const [a, b, c] = affine;
  const cofactor = (p, q, i, j) => p[i] * q[j] - p[j] * q[i];
  const determinant = a[0] * cofactor(b, c, 1, 2) - a[1] * cofactor(b, c, 0, 2) + a[2] * cofactor(b, c, 0, 1);
  const linear = [
    [cofactor(b, c, 1, 2), -cofactor(a, c, 1, 2), cofactor(a, b, 1, 2)],
    [-cofactor(b, c, 0, 2), cofactor(a, c, 0, 2), -cofactor(a, b, 0, 2)],
    [cofactor(b, c, 0, 1), -cofactor(a, c, 0, 1), cofactor(a, b, 0, 1)],
  ].map((row) => row.map((value) => value / determinant));
  const rows = linear.map((row) => [...row, -(row[0] * a[3] + row[1] * b[3] + row[2] * c[3])]);
  return [...rows, [0, 0, 0, 1]];
}

/** Whether a continuous index lies in the box of a grid's cells, [-0.5, n - 0.5] on each axis. */
export function insideCells(shape, index) {
  return index.every((value, axis) => value >= -0.5 - EDGE && value <= shape[axis] - 0.5 + EDGE);
}

/** Lower cell, upper cell and the upper one's weight on an axis of `size` cells. */
function neighbours(size, position) {
  const clamped = Math.min(Math.max(position, 0), size - 1);
  const lower = Math.min(Math.floor(clamped), Math.max(size - 2, 0));
  return [lower, Math.min(lower + 1, size - 1), clamped - lower];
}

/**
 * Value at a continuous index: linear between cell centres, constant in the outer half cells, 0 where no cell is.
 * `data` holds a grid of `shape` from `offset` on, the last axis fastest.
 */
export function linearAt(data, offset, shape, index) {
  if (!insideCells(shape, index)) return 0;
  const axes = index.map((position, axis) => neighbours(shape[axis], position));
  let value = 0;
  for (let corner = 0; corner < 8; corner++) {
    const [s, y, x] = axes.map(([lower, upper], axis) => ((corner >> axis) & 1 ? upper : lower));
    const weight = axes.reduce((w, [, , f], axis) => w * ((corner >> axis) & 1 ? f : 1 - f), 1);
    value += weight * data[offset + (s * shape[1] + y) * shape[2] + x];
  }
  return value;
}

/** Value of the cell that a continuous index lies in; 0 where no cell is. */
export function cellAt(data, offset, shape, index) {
  if (!insideCells(shape, index)) return 0;
  const [s, y, x] = index.map((value, axis) =>
    Math.min(Math.max(Math.floor(value + 0.5), 0), shape[axis] - 1),
  );
  return data[offset + (s * shape[1] + y) * shape[2] + x];
}

/** The voxel of a grid that holds a continuous index, or null outside. */
export function voxelOf(shape, index) {
  const voxel = index.map((value) => Math.floor(value + 0.5));
  return voxel.every((value, axis) => value >= 0 && value < shape[axis]) ? voxel : null;
}

/** Distance between neighbouring voxel centres along each index axis. */
export function spacingOf(affine) {
  return [0, 1, 2].map((axis) => Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]));
}

/** Distance in mm of two points in mm. */
export function distanceMm(first, second) {
  return Math.hypot(...first.map((value, axis) => value - second[axis]));
}

/** The longest of 1, 2, 5, 10, ... mm that takes at most `room` pixels, or null where not even 1 mm does. */
export function barLength(pixelsPerMm, room) {
  const lengths = [500, 200, 100, 50, 20, 10, 5, 2, 1];
  return lengths.find((mm) => mm * pixelsPerMm <= room) ?? null;
}
