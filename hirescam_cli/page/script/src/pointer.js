// Moving through the scan: positions, zoom, and what mouse, wheel and arrow keys do on a plane.

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
}

/** Mouse, pen and touch on a plane. */
export function listenToPointer(plane, navigator, enlarge) {
  const { canvas, definition } = plane;
  let drag = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const [across, down] = plane.indexAt(
      event.clientX - box.left,
      event.clientY - box.top,
      navigator.store.state.view,
    );
    const voxel = [...navigator.store.state.voxel];
    voxel[definition.across] = across;
    voxel[definition.down] = down;
    return voxel;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    const panning = event.button !== 0 || event.shiftKey;
    drag = { panning, x: event.clientX, y: event.clientY };
    if (!panning) navigator.moveTo(place(event));
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (drag.panning) navigator.pan(plane, event.clientX - drag.x, event.clientY - drag.y);
    else navigator.moveTo(place(event));
    drag = { ...drag, x: event.clientX, y: event.clientY };
  });
  const release = () => {
    drag = null;
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => enlarge(definition.name));
  listenToWheel(plane, navigator, place);
}

function listenToWheel({ canvas, definition }, navigator, place) {
  let rest = 0;
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) {
        navigator.zoom(Math.exp(-event.deltaY * 0.0022), place(event));
        return;
      }
      rest += event.deltaMode === 1 ? event.deltaY / 3 : event.deltaY / 60; // a wheel's notch is a slice or two
      const steps = Math.trunc(rest);
      rest -= steps;
      if (steps) navigator.moveBy(definition.normal, steps);
    },
    { passive: false },
  );
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
