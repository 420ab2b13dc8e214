// One plane: the scan's voxels, the map's values over them, and the marks on top.

import { colourTable, opacityTable, UNSEEN } from "./colour.js";
import { paneState } from "./compare.js";
import { drawCrosshair, drawDistances, drawOutlines, drawScaleBar } from "./marks.js";
import { colour, columnsInside, sampleMap, subtract, walkOf } from "./sampling.js";

const MOST_PIXELS = 1200000; // of a map in one plane; larger ones are sampled at every second pixel

/** `pane`: "a" shows the chosen map, "b" the one it is compared with, "difference" the first minus the second. */
export class Plane {
  constructor(theCase, definition, pane, canvas, ramps) {
    this.case = theCase;
    this.definition = definition;
    this.pane = pane;
    this.canvas = canvas;
    this.ramps = ramps;
    this.context = canvas.getContext("2d", { alpha: false });
    this.scan = document.createElement("canvas");
    this.scan.width = theCase.shape[definition.across];
    this.scan.height = theCase.shape[definition.down];
    this.evidence = document.createElement("canvas");
    this.drawn = { scan: "", evidence: "" };
    this.ratio = 1; // canvas pixels per CSS pixel
    this.unit = 1; // canvas pixels per pixel of a mark
  }

  /** Match the canvas to its size on the screen. */
  fit() {
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(box.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(box.height * this.ratio));
    // Marks grow with the page's type, which is larger on large screens.
    this.unit = (this.ratio * Number.parseFloat(getComputedStyle(document.documentElement).fontSize)) / 13;
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

  /** Draw the state; `limits`: the value that gets the strongest colour in each pane. */
  draw(state, limits) {
    const layout = this.layout(state.view);
    const { context, canvas, definition, ratio, unit } = this;
    this.drawScan(state);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const [left, top] = [layout.origin[0] - layout.size[0] / 2, layout.origin[1] - layout.size[1] / 2];
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "low";
    const [wide, high] = [this.scan.width * layout.size[0], this.scan.height * layout.size[1]];
    context.drawImage(this.scan, left, top, wide, high);
    const patch = this.patch(layout);
    if (patch && (state.visible || state.grey)) {
      this.drawEvidence(state, limits[this.pane], layout, patch);
      const { columns, rows, step } = patch;
      context.imageSmoothingEnabled = step > 1;
      context.drawImage(
        this.evidence,
        0,
        0,
        columns,
        rows,
        patch.left,
        patch.top,
        columns * step,
        rows * step,
      );
    }
    if (state.outlines) drawOutlines(context, unit, layout, this.case.outlinesIn(definition, state.voxel));
    if (state.crosshair) drawCrosshair(context, unit, definition, layout, state);
    drawDistances(context, unit, definition, layout, this.case.fromWorld, state);
    drawScaleBar(context, unit, state.view.scale * ratio);
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
    const count = [this.scan.width, this.scan.height];
    const low = [0, 1].map((d) => Math.floor(origin[d] - size[d] / 2));
    const high = [0, 1].map((d) => Math.ceil(origin[d] + (count[d] - 0.5) * size[d]));
    const [left, top] = [Math.max(0, low[0]), Math.max(0, low[1])];
    const [right, bottom] = [Math.min(canvas.width, high[0]), Math.min(canvas.height, high[1])];
    if (right <= left || bottom <= top) return null;
    const step = (right - left) * (bottom - top) > MOST_PIXELS ? 2 : 1;
    const [columns, rows] = [Math.ceil((right - left) / step), Math.ceil((bottom - top) / step)];
    return { left, top, step, columns, rows };
  }

  /** The evidence and the grey of what the network did not see, one pixel of the patch each. */
  drawEvidence(state, limit, layout, patch) {
    const { voxel, method, label, placement, other, signed, cells, opacity, threshold, visible, grey } =
      state;
    const shown = [method, label, placement, other, signed, cells, opacity, threshold, visible, grey];
    const key = JSON.stringify([voxel[this.definition.normal], shown, limit, layout, patch]);
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
    const valuesOf = (pane) => this.sample(paneState(state, pane), layout, patch);
    const difference = this.pane === "difference";
    const values = difference ? subtract(valuesOf("a"), valuesOf("b")) : valuesOf(this.pane);
    const alpha = opacityTable(state.opacity);
    const tables = [colourTable(this.ramps.positive, alpha), colourTable(this.ramps.negative, alpha)];
    colour(pixels, values, { limit, threshold: state.threshold, signed: state.signed || difference, tables });
  }

  sample({ voxel, method, label, placement, cells }, layout, patch) {
    const affine = this.case.voxelToCell.get(placement);
    const walk = walkOf(affine, this.definition, voxel[this.definition.normal], layout, patch);
    return sampleMap(this.case.mapOf(method, label), walk, patch, cells);
  }

  /** Grey and hatch the scan's voxels outside the network's input. */
  paintUnseen(pixels, { voxel }, layout, patch) {
    const { seenShape, voxelToSeen } = this.case;
    const walk = walkOf(voxelToSeen, this.definition, voxel[this.definition.normal], layout, patch);
    const every = Math.round((UNSEEN.every * this.ratio) / patch.step);
    for (let v = 0; v < patch.rows; v++) {
      const [first, end] = columnsInside(walk, seenShape, v, patch.columns);
      for (let u = 0; u < patch.columns; u++) {
        if (u === first && end > first) u = end;
        if (u >= patch.columns) break;
        const shade = UNSEEN.grey + ((u + v) % every === 0 ? UNSEEN.hatch * 2 : 0);
        pixels[v * patch.columns + u] = (0xa6000000 | (shade << 16) | (shade << 8) | shade) >>> 0;
      }
    }
  }
}
