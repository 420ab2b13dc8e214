// What is drawn over a plane's picture: crosshair, scale bar, distances, outlines of masks.

import { fixed } from "./dom.js";
import { barLength, distanceMm, transform } from "./geometry.js";

const CROSSHAIR = "rgba(126, 211, 255, 0.85)";
const MEASURED = "#ffe45c";
const GAP = 9; // free pixels about the crosshair's centre
const OUTLINES = ["#7dff9b", "#ff9df0", "#8fd0ff", "#ffd166", "#c3b1ff", "#ff8f88"];

/** The colour of the n-th outline. */
export function outlineColour(n) {
  return OUTLINES[n % OUTLINES.length];
}

/** Canvas position of an embedded voxel index. */
function place({ across, down }, { size, origin }, index) {
  return [origin[0] + index[across] * size[0], origin[1] + index[down] * size[1]];
}

/** Two lines that leave the point itself free. `unit`: canvas pixels of one pixel of a mark, here and below. */
export function drawCrosshair(context, unit, definition, layout, { voxel }) {
  const { canvas } = context;
  const [x, y] = place(definition, layout, voxel).map((at) => Math.round(at) + 0.5);
  const gap = GAP * unit;
  context.strokeStyle = CROSSHAIR;
  context.lineWidth = unit;
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

/** Text with a dark rim, so that it can be read over bone and air alike. */
function write(context, unit, text, x, y, colour) {
  context.font = `${11 * unit}px system-ui, sans-serif`;
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.85)";
  context.lineWidth = 3 * unit;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function stroke(context, points, colour, width) {
  for (const [style, thick] of [
    ["rgba(0, 0, 0, 0.7)", width * 2.2],
    [colour, width],
  ]) {
    context.strokeStyle = style;
    context.lineWidth = thick;
    context.beginPath();
    for (const [n, [x, y]] of points.entries()) context[n ? "lineTo" : "moveTo"](x, y);
    context.stroke();
  }
}

/** A bar of a round number of mm above the lower left corner. */
export function drawScaleBar(context, unit, pixelsPerMm) {
  const { canvas } = context;
  const mm = barLength(pixelsPerMm, canvas.width * 0.3);
  if (mm === null || canvas.height < 90 * unit) return;
  const [left, base] = [10 * unit, canvas.height - 28 * unit];
  const right = left + mm * pixelsPerMm;
  const tick = 3 * unit;
  const bar = [
    [left, base - tick],
    [left, base],
    [right, base],
    [right, base - tick],
  ];
  stroke(context, bar, "#ffffff", 1.4 * unit);
  write(context, unit, `${mm} mm`, left, base - 6 * unit, "#ffffff");
}

/** The distances that lie in this slice: a line between two points (RAS mm) with its length. */
export function drawDistances(context, unit, definition, layout, fromWorld, { voxel, distances, measuring }) {
  for (const { from, to } of measuring ? [...distances, measuring] : distances) {
    const ends = [from, to].map((point) => transform(fromWorld, point));
    const here = ends.every((end) => Math.abs(end[definition.normal] - voxel[definition.normal]) <= 0.5);
    if (!here) continue;
    const points = ends.map((end) => place(definition, layout, end));
    stroke(context, points, MEASURED, 1.5 * unit);
    for (const [x, y] of points) {
      context.fillStyle = MEASURED;
      context.fillRect(x - 2 * unit, y - 2 * unit, 4 * unit, 4 * unit);
    }
    const [x, y] = points[1];
    write(context, unit, `${fixed(distanceMm(from, to), 1)} mm`, x + 7 * unit, y - 5 * unit, MEASURED);
  }
}

/** The outlines of masks in this slice; `lines`: [number of the mask, [across, down, across, down, ...]]. */
export function drawOutlines(context, unit, layout, lines) {
  const { size, origin } = layout;
  for (const [n, line] of lines) {
    const points = [];
    for (let at = 0; at < line.length; at += 2)
      points.push([origin[0] + line[at] * size[0], origin[1] + line[at + 1] * size[1]]);
    stroke(context, points, outlineColour(n), 1.4 * unit);
  }
}
