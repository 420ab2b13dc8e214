// The case: description, unpacked scan and maps, and what is computed from them once.

import {
  cellAt,
  insideCells,
  invert,
  linearAt,
  multiply,
  spacingOf,
  transform,
  voxelOf,
} from "./geometry.js";
import { unpackMap, unpackScan } from "./unpack.js";

/** Axes are those of the embedded scan's index (z to the feet, y to the back, x to the patient's left). */
export const PLANES = [
  { name: "Axial", normal: 0, across: 2, down: 1, letters: ["R", "L", "A", "P"] },
  { name: "Coronal", normal: 1, across: 2, down: 0, letters: ["R", "L", "H", "F"] },
  { name: "Sagittal", normal: 2, across: 1, down: 0, letters: ["A", "P", "H", "F"] },
];

const PLACEMENT_NAMES = { stretch: "Stretch", "receptive-field": "Receptive field" };

/** A placement's name for people. */
export function placementName(name) {
  return PLACEMENT_NAMES[name] || name;
}

export class Case {
  constructor(description) {
    this.description = description;
    this.summary = description.summary;
    this.labels = description.summary.labels;
    this.methods = description.maps.map((map) => map.method);
    this.placements = Object.keys(description.placements);
    this.shape = description.scan.shape;
    this.affine = description.scan.affine;
    this.spacing = spacingOf(this.affine);
    this.fromWorld = invert(this.affine);
    this.toCell = new Map(); // placement -> RAS mm to cell
    this.voxelToCell = new Map(); // placement -> embedded voxel to cell
    for (const [name, affine] of Object.entries(description.placements)) {
      this.toCell.set(name, invert(affine));
      this.voxelToCell.set(name, multiply(invert(affine), this.affine));
    }
    this.toSeen = invert(description.seen.affine); // RAS mm to a voxel of the network's input
    this.voxelToSeen = multiply(this.toSeen, this.affine);
    this.seenShape = description.seen.shape;
    this.about = new Map(description.maps.map((map) => [map.method, map])); // title, unit
    this.sums = new Map(); // "method/label" -> the map summed by slice
    this.maps = new Map(); // method -> {data, shape [S, h, w]}
    this.outlines = description.outlines || []; // [{name, lines: {plane: {slice: [[across, down, ...], ...]}}}]
    this.ledger = description.ledger || []; // [{label, method, region, logits}]
    this.ranges = new Map(); // "method/label" -> {max, min, peak}
  }

  async unpack() {
    const { scan, maps } = this.description;
    const [hu, ...values] = await Promise.all([unpackScan(scan), ...maps.map(unpackMap)]);
    this.hu = hu;
    for (const [n, { method, shape }] of maps.entries())
      this.maps.set(method, { data: values[n], shape: shape.slice(1) });
  }

  /** A method's name for people. */
  titleOf(method) {
    return this.about.get(method).title;
  }

  /** The unit of a method's cells. */
  unitOf(method) {
    return this.about.get(method).unit;
  }

  /** The label's score in each slice of the map, or, where the network has none, the map summed by slice. */
  profileOf({ method, label }) {
    const scores = this.labels[label].slice_scores;
    if (scores) return { values: scores, name: "Slice scores" };
    const key = `${method}/${label}`;
    if (!this.sums.has(key)) {
      const { data, offset, shape } = this.mapOf(method, label);
      const plane = shape[1] * shape[2];
      const sumFrom = (start) => data.subarray(start, start + plane).reduce((sum, value) => sum + value, 0);
      const values = Array.from({ length: shape[0] }, (_, s) => sumFrom(offset + s * plane));
      this.sums.set(key, values);
    }
    return { values: this.sums.get(key), name: "Map summed by slice" };
  }

  /** The grid of one label's map: its values, where they start, and its shape [S, h, w]. */
  mapOf(method, label) {
    const map = this.maps.get(method);
    const [s, h, w] = map.shape;
    return { data: map.data, offset: this.labels[label].index * s * h * w, shape: map.shape };
  }

  /** Largest and smallest value of a map, and the cell of the largest. */
  rangeOf(method, label) {
    const key = `${method}/${label}`;
    if (!this.ranges.has(key)) {
      const { data, offset, shape } = this.mapOf(method, label);
      const count = shape[0] * shape[1] * shape[2];
      let [max, min, at] = [-Infinity, Infinity, 0];
      for (let n = 0; n < count; n++) {
        const value = data[offset + n];
        if (value > max) [max, at] = [value, n];
        if (value < min) min = value;
      }
      const plane = shape[1] * shape[2];
      const peak = [Math.floor(at / plane), Math.floor((at % plane) / shape[2]), at % shape[2]];
      this.ranges.set(key, { max, min, peak });
    }
    return this.ranges.get(key);
  }

  /** The value that gets the strongest colour; 0 when there is nothing to colour. */
  scaleOf({ method, label, signed, shared }) {
    const size = (n) => {
      const { max, min } = this.rangeOf(method, n);
      return signed ? Math.max(max, -min, 0) : Math.max(max, 0);
    };
    return shared ? Math.max(...this.labels.map((_, n) => size(n))) : size(label);
  }

  /** RAS mm of the centre of a map's strongest cell, and whether it lies in the scan. */
  peakOf({ method, label, placement }) {
    const pointMm = transform(this.description.placements[placement], this.rangeOf(method, label).peak);
    return { pointMm, inside: voxelOf(this.shape, transform(this.fromWorld, pointMm)) !== null };
  }

  /** The outlines of masks in a plane's slice: [number of the mask, [across, down, across, down, ...]] each. */
  outlinesIn({ name, normal }, voxel) {
    return this.outlines.flatMap(({ lines }, n) =>
      (lines[name]?.[voxel[normal]] || []).map((line) => [n, line]),
    );
  }

  /** What the scanner calls a slice across an axis: "image 12", "images 12-13" where several are one; null if unknown. */
  imageAt(axis, slice) {
    const { images } = this.description.scan;
    const found = images && images.axis === axis ? images.numbers[slice] : null;
    if (!found) return null;
    const [first, last] = found;
    return first === last ? `${images.word} ${first}` : `${images.word}s ${first}\u2013${last}`;
  }

  /** The parts of a label's logit by region, for one method. */
  ledgerOf(name, method) {
    return this.ledger.filter((row) => row.label === name && row.method === method);
  }

  worldOf(voxel) {
    return transform(this.affine, voxel);
  }

  huAt(voxel) {
    const [, ny, nx] = this.shape;
    return this.hu[(voxel[0] * ny + voxel[1]) * nx + voxel[2]];
  }

  /** The nearest voxel of the embedded scan, taken to its border where the point lies outside. */
  nearestVoxel(pointMm) {
    return transform(this.fromWorld, pointMm).map((value, axis) =>
      Math.min(Math.max(Math.floor(value + 0.5), 0), this.shape[axis] - 1),
    );
  }

  /**
   * What lies at a RAS point: `hu` of the embedded voxel that holds it (null outside the scan), `value` of the
   * interpolated map and `cell` of the cell that holds it in the method's unit, `seen` whether the network saw it.
   */
  probe(pointMm, { method, label, placement }) {
    const voxel = voxelOf(this.shape, transform(this.fromWorld, pointMm));
    const { data, offset, shape } = this.mapOf(method, label);
    const index = transform(this.toCell.get(placement), pointMm);
    return {
      voxel,
      hu: voxel ? this.huAt(voxel) : null,
      value: linearAt(data, offset, shape, index),
      cell: cellAt(data, offset, shape, index),
      seen: insideCells(this.seenShape, transform(this.toSeen, pointMm)),
    };
  }
}
