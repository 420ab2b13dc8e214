// One plane: the scan's voxels, the map's values over them, the crosshair.

import { LEVELS, opacityTable, UNSEEN } from "./colour.js";
import { EDGE, transform } from "./geometry.js";

const CROSSHAIR = "rgba(126, 211, 255, 0.85)";
const GAP = 9; // free pixels about the crosshair's centre

export class Plane {
  constructor(theCase, definition, canvas, ramps) {
    this.case = theCase;
    this.definition = definition;
    this.canvas = canvas;
    this.ramps = ramps;
    this.context = canvas.getContext("2d", { alpha: false });
    this.scan = document.createElement("canvas");
    this.scan.width = theCase.shape[definition.across];
    this.scan.height = theCase.shape[definition.down];
    this.evidence = document.createElement("canvas");
    this.drawn = { scan: "", evidence: "" };
    this.ratio = 1;
  }

  /** Match the canvas to its size on the screen. */
  fit() {
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(box.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(box.height * this.ratio));
    this.drawn.evidence = "";
  }

  /** Millimetres of the scan along the plane's two directions. */
  extent() {
    const { across, down } = this.definition;
    const { shape, spacing } = this.case;
    return [shape[across] * spacing[across], shape[down] * spacing[down]];
  }

  /** Canvas pixels per voxel, and the canvas position of voxel index 0, along the two directions. */
  layout(view) {
    const { across, down } = this.definition;
    const { spacing } = this.case;
    const size = [view.scale * this.ratio * spacing[across], view.scale * this.ratio * spacing[down]];
    return {
      size,
      origin: [
        this.canvas.width / 2 - view.centre[across] * size[0],
        this.canvas.height / 2 - view.centre[down] * size[1],
      ],
    };
  }

  /** Continuous index across and down at a position on the canvas, in CSS pixels. */
  indexAt(x, y, view) {
    const { size, origin } = this.layout(view);
    return [(x * this.ratio - origin[0]) / size[0], (y * this.ratio - origin[1]) / size[1]];
  }

  draw(state, limit) {
    const layout = this.layout(state.view);
    const { context, canvas } = this;
    this.drawScan(state);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const [left, top] = [layout.origin[0] - layout.size[0] / 2, layout.origin[1] - layout.size[1] / 2];
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "low";
    context.drawImage(
      this.scan,
      left,
      top,
      this.scan.width * layout.size[0],
      this.scan.height * layout.size[1],
    );
    const patch = this.patch(layout);
    if (patch && (state.visible || state.grey)) {
      this.drawEvidence(state, limit, layout, patch);
      context.imageSmoothingEnabled = patch.step > 1;
      context.drawImage(
        this.evidence,
        0,
        0,
        patch.columns,
        patch.rows,
        patch.left,
        patch.top,
        patch.columns * patch.step,
        patch.rows * patch.step,
      );
    }
    if (state.crosshair) this.drawCrosshair(state, layout);
  }

  /** The voxels of the plane in grey, one pixel each. */
  drawScan({ voxel, level, width }) {
    const { normal, across, down } = this.definition;
    const key = [voxel[normal], level, width].join();
    if (key === this.drawn.scan) return;
    this.drawn.scan = key;
    const { hu, shape } = this.case;
    const strides = [shape[1] * shape[2], shape[2], 1];
    const context = this.scan.getContext("2d");
    const image = context.createImageData(this.scan.width, this.scan.height);
    const pixels = new Uint32Array(image.data.buffer);
    const [low, gain] = [level - width / 2, 255 / width];
    let at = 0;
    for (let row = 0; row < this.scan.height; row++) {
      let voxelAt = voxel[normal] * strides[normal] + row * strides[down];
      for (let column = 0; column < this.scan.width; column++, voxelAt += strides[across]) {
        const grey = Math.min(255, Math.max(0, (hu[voxelAt] - low) * gain)) | 0;
        pixels[at++] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** The part of the canvas that the scan covers, in whole pixels, or null. */
  patch({ size, origin }) {
    const { canvas } = this;
    const low = [0, 1].map((d) => Math.floor(origin[d] - size[d] / 2));
    const high = [0, 1].map((d) =>
      Math.ceil(origin[d] + ([this.scan.width, this.scan.height][d] - 0.5) * size[d]),
    );
    const [left, top] = [Math.max(0, low[0]), Math.max(0, low[1])];
    const [right, bottom] = [Math.min(canvas.width, high[0]), Math.min(canvas.height, high[1])];
    if (right <= left || bottom <= top) return null;
    const step = (right - left) * (bottom - top) > 1200000 ? 2 : 1;
    return {
      left,
      top,
      step,
      columns: Math.ceil((right - left) / step),
      rows: Math.ceil((bottom - top) / step),
    };
  }

  /** Map the patch's pixels to continuous indices of a grid: start, and steps per column and per row. */
  walk(affine, state, { size, origin }, patch) {
    const { normal, across, down } = this.definition;
    const index = [0, 0, 0];
    index[normal] = state.voxel[normal];
    index[across] = (patch.left + patch.step / 2 - origin[0]) / size[0];
    index[down] = (patch.top + patch.step / 2 - origin[1]) / size[1];
    const column = affine.slice(0, 3).map((row) => (row[across] * patch.step) / size[0]);
    const row = affine.slice(0, 3).map((r) => (r[down] * patch.step) / size[1]);
    return { start: transform(affine, index), column, row };
  }

  /** The evidence and the grey of what the network did not see, one pixel of the patch each. */
  drawEvidence(state, limit, layout, patch) {
    const { voxel, method, label, placement, signed, cells, opacity, threshold, visible, grey } = state;
    const key = JSON.stringify([
      voxel[this.definition.normal],
      method,
      label,
      placement,
      signed,
      cells,
      opacity,
      threshold,
      visible,
      grey,
      limit,
      layout,
      patch,
    ]);
    if (key === this.drawn.evidence) return;
    this.drawn.evidence = key;
    this.evidence.width = patch.columns;
    this.evidence.height = patch.rows;
    const context = this.evidence.getContext("2d");
    const image = context.createImageData(patch.columns, patch.rows);
    const pixels = new Uint32Array(image.data.buffer);
    if (visible && limit > 0) this.paintMap(pixels, state, limit, layout, patch);
    if (grey) this.paintUnseen(pixels, state, layout, patch);
    context.putImageData(image, 0, 0);
  }

  paintMap(pixels, state, limit, layout, patch) {
    const { theMap, walk } = this.mapWalk(state, layout, patch);
    const { data, offset, shape } = theMap;
    const [ns, ny, nx] = shape;
    const alpha = opacityTable(state.opacity);
    const tables = [colourTable(this.ramps.positive, alpha), colourTable(this.ramps.negative, alpha)];
    const faintest = state.threshold * limit;
    const gain = (LEVELS - 1) / limit;
    const whole = state.cells;
    const [ds, dy, dx] = walk.column;
    let at = 0;
    for (let row = 0; row < patch.rows; row++) {
      let s = walk.start[0] + row * walk.row[0];
      let y = walk.start[1] + row * walk.row[1];
      let x = walk.start[2] + row * walk.row[2];
      for (let column = 0; column < patch.columns; column++, at++, s += ds, y += dy, x += dx) {
        if (s < -0.5 || y < -0.5 || x < -0.5 || s > ns - 0.5 || y > ny - 0.5 || x > nx - 0.5) continue;
        let value;
        if (whole) {
          const si = Math.min(ns - 1, Math.max(0, Math.floor(s + 0.5)));
          const yi = Math.min(ny - 1, Math.max(0, Math.floor(y + 0.5)));
          const xi = Math.min(nx - 1, Math.max(0, Math.floor(x + 0.5)));
          value = data[offset + (si * ny + yi) * nx + xi];
        } else {
          const sc = s < 0 ? 0 : s > ns - 1 ? ns - 1 : s;
          const yc = y < 0 ? 0 : y > ny - 1 ? ny - 1 : y;
          const xc = x < 0 ? 0 : x > nx - 1 ? nx - 1 : x;
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
          value = front + (c + (d - c) * yf - front) * sf;
        }
        const size = value < 0 ? -value : value;
        if ((value < 0 && !state.signed) || size < faintest) continue;
        const strength = size * gain;
        pixels[at] = tables[value < 0 ? 1 : 0][strength > LEVELS - 1 ? LEVELS - 1 : (strength + 0.5) | 0];
      }
    }
  }

  mapWalk(state, layout, patch) {
    return {
      theMap: this.case.mapOf(state.method, state.label),
      walk: this.walk(this.case.voxelToCell.get(state.placement), state, layout, patch),
    };
  }

  /** Grey and hatch the scan's voxels outside the network's input. */
  paintUnseen(pixels, state, layout, patch) {
    const shape = this.case.seenShape;
    const { start, column, row } = this.walk(this.case.voxelToSeen, state, layout, patch);
    const every = Math.round((UNSEEN.every * this.ratio) / patch.step);
    for (let v = 0; v < patch.rows; v++) {
      const ends = [0, patch.columns];
      for (let axis = 0; axis < 3; axis++)
        narrow(ends, start[axis] + v * row[axis], column[axis], shape[axis]);
      for (let u = 0; u < patch.columns; u++) {
        if (u === ends[0] && ends[1] > ends[0]) u = ends[1];
        if (u >= patch.columns) break;
        const shade = UNSEEN.grey + ((u + v) % every === 0 ? UNSEEN.hatch * 2 : 0);
        pixels[v * patch.columns + u] = (0xa6000000 | (shade << 16) | (shade << 8) | shade) >>> 0;
      }
    }
  }

  drawCrosshair({ voxel }, { size, origin }) {
    const { across, down } = this.definition;
    const { context, canvas, ratio } = this;
    const x = Math.round(origin[0] + voxel[across] * size[0]) + 0.5;
    const y = Math.round(origin[1] + voxel[down] * size[1]) + 0.5;
    const gap = GAP * ratio;
    context.strokeStyle = CROSSHAIR;
    context.lineWidth = ratio;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(x - gap, y);
    context.moveTo(x + gap, y);
    context.lineTo(canvas.width, y);
    context.moveTo(x, 0);
    context.lineTo(x, y - gap);
    context.moveTo(x, y + gap);
    context.lineTo(x, canvas.height);
    context.stroke();
  }
}

/** 256 pixels (little-endian r, g, b, opacity) of a ramp. */
function colourTable(ramp, alpha) {
  const table = new Uint32Array(LEVELS);
  for (let n = 0; n < LEVELS; n++) {
    table[n] = ((alpha[n] << 24) | (ramp[3 * n + 2] << 16) | (ramp[3 * n + 1] << 8) | ramp[3 * n]) >>> 0;
  }
  return table;
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
