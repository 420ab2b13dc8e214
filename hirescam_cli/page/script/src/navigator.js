// Moving through the scan: positions, zoom, window; what arrow keys do on a plane.

import { distanceMm } from "./geometry.js";

/** Moves that keep the crosshair in the scan and the view around it. */
export class Navigator {
  constructor(theCase, store) {
    this.case = theCase;
    this.store = store;
    this.planes = [];
  }

  /** Put the crosshair on a voxel, or on the one nearest to it in the scan. */
  moveTo(voxel) {
    const inside = voxel.map((value, axis) =>
      Math.min(Math.max(Math.round(value), 0), this.case.shape[axis] - 1),
    );
    this.store.set({ voxel: inside });
    this.follow(inside);
  }

  moveBy(axis, steps) {
    const voxel = [...this.store.state.voxel];
    voxel[axis] += steps;
    this.moveTo(voxel);
  }

  moveToPeak() {
    this.moveTo(this.case.nearestVoxel(this.case.peakOf(this.store.state).pointMm));
  }

  /** When zoomed in, keep the crosshair in sight. */
  follow(voxel) {
    const { view } = this.store.state;
    if (view.auto) return;
    const centre = [...view.centre];
    for (const plane of this.planes) {
      const { across, down } = plane.definition;
      const { size } = plane.layout(view);
      const half = { [across]: plane.canvas.width / size[0] / 2, [down]: plane.canvas.height / size[1] / 2 };
      for (const axis of [across, down]) {
        const room = half[axis] * 0.94;
        if (plane.canvas.width > 1 && Math.abs(voxel[axis] - centre[axis]) > room) centre[axis] = voxel[axis];
      }
    }
    this.store.set({ view: { ...view, centre } });
  }

  /** Show the whole scan, at the same scale in every plane. */
  fit() {
    const shown = this.planes.filter((plane) => plane.canvas.clientWidth > 0);
    const scale = Math.min(
      ...shown.map((plane) => {
        const [width, height] = plane.extent();
        return 0.97 * Math.min(plane.canvas.clientWidth / width, plane.canvas.clientHeight / height);
      }),
    );
    const centre = this.case.shape.map((n) => (n - 1) / 2);
    this.store.set({ view: { auto: true, centre, scale: Number.isFinite(scale) ? scale : 1 } });
  }

  /** Zoom by `factor` about a voxel position (the crosshair if none is given). */
  zoom(factor, about = this.store.state.voxel) {
    const { view } = this.store.state;
    const scale = Math.min(Math.max(view.scale * factor, 0.1), 60);
    const shift = 1 - view.scale / scale;
    const centre = view.centre.map((value, axis) => value + (about[axis] - value) * shift);
    this.store.set({ view: { auto: false, centre, scale } });
  }

  /** Shift the view by CSS pixels of one plane. */
  pan(plane, dx, dy) {
    const { view } = this.store.state;
    const { across, down } = plane.definition;
    const centre = [...view.centre];
    centre[across] -= dx / (view.scale * this.case.spacing[across]);
    centre[down] -= dy / (view.scale * this.case.spacing[down]);
    this.store.set({ view: { ...view, auto: false, centre } });
  }

  /** Change the window by a drag of CSS pixels: to the right wider, downwards darker (a higher level). */
  dragWindow(dx, dy) {
    const { level, width } = this.store.state;
    const gain = Math.max(width, 50) / 300;
    this.setWindow(level + dy * gain, width + dx * gain);
  }

  /** Level and width in whole HU, kept within what the fields of the toolbar take. */
  setWindow(level, width) {
    const within = (value, low, high) => Math.min(Math.max(Math.round(value), low), high);
    this.store.set({ level: within(level, -4000, 8000), width: within(width, 1, 8000) });
  }

  /** The RAS point in mm of a continuous index on a plane's slice. */
  pointOn({ across, down }, at) {
    const voxel = [...this.store.state.voxel];
    [voxel[across], voxel[down]] = at;
    return this.case.worldOf(voxel);
  }

  /** A distance between two RAS points; points less than half a millimetre apart are a slip. */
  addDistance(from, to) {
    const { distances } = this.store.state;
    const kept = distanceMm(from, to) >= 0.5 ? [...distances, { from, to }] : distances;
    this.store.set({ measuring: null, distances: kept });
  }

  /** Measure from the crosshair, or to it if a distance is under way. */
  markDistance() {
    const here = this.case.worldOf(this.store.state.voxel);
    const { measuring } = this.store.state;
    if (measuring) this.addDistance(measuring.from, here);
    else this.store.set({ measuring: { from: here, to: here } });
  }
}

/** Keys on a plane that has the focus; true when the key was one of them. */
export function planeKey(event, definition, navigator) {
  const far = event.shiftKey ? 10 : 1;
  const last = navigator.case.shape[definition.normal] - 1;
  const moves = {
    ArrowLeft: () => navigator.moveBy(definition.across, -far),
    ArrowRight: () => navigator.moveBy(definition.across, far),
    ArrowUp: () => navigator.moveBy(definition.down, -far),
    ArrowDown: () => navigator.moveBy(definition.down, far),
    PageUp: () => navigator.moveBy(definition.normal, -far),
    PageDown: () => navigator.moveBy(definition.normal, far),
    Home: () => navigator.moveBy(definition.normal, -last),
    End: () => navigator.moveBy(definition.normal, last),
  };
  const move = moves[event.key];
  if (move) move();
  return Boolean(move);
}
