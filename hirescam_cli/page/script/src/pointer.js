// What mouse, pen, touch and wheel do on a plane.

export const TOOLS = {
  crosshair: "Crosshair",
  window: "Window",
  pan: "Pan",
  measure: "Measure",
};

/** What a press starts: the chosen tool with the left button; the right one windows, the middle one or Shift pans. */
function toolOf(event, { tool }) {
  if (event.button === 2) return "window";
  if (event.button === 1 || event.shiftKey) return "pan";
  return tool;
}

/** Mouse, pen and touch on a plane. */
export function listenToPointer(plane, navigator, enlarge) {
  const { canvas, definition } = plane;
  const { store } = navigator;
  const fingers = new Map();
  let drag = null;
  const indexOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return plane.indexAt(event.clientX - box.left, event.clientY - box.top, store.state.view);
  };
  const place = (event) => {
    const voxel = [...store.state.voxel];
    [voxel[definition.across], voxel[definition.down]] = indexOf(event);
    return voxel;
  };
  const pointOf = (event) => navigator.pointOn(definition, indexOf(event));
  const moves = {
    crosshair: (event) => navigator.moveTo(place(event)),
    window: (_, dx, dy) => navigator.dragWindow(dx, dy),
    pan: (_, dx, dy) => navigator.pan(plane, dx, dy),
    measure: (event) => store.set({ measuring: { from: drag.from, to: pointOf(event) } }),
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    fingers.set(event.pointerId, event);
    drag = { tool: toolOf(event, store.state), x: event.clientX, y: event.clientY, from: pointOf(event) };
    if (drag.tool === "crosshair" && fingers.size === 1) navigator.moveTo(place(event));
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) pinch(plane, navigator, before, [...fingers.values()], place);
    else if (fingers.size === 1) moves[drag.tool](event, event.clientX - drag.x, event.clientY - drag.y);
    drag = { ...drag, x: event.clientX, y: event.clientY };
  });
  const release = (event) => {
    fingers.delete(event.pointerId);
    const { measuring } = store.state;
    if (drag && drag.tool === "measure" && measuring) navigator.addDistance(measuring.from, measuring.to);
    drag = null;
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => enlarge(definition.name));
  listenToWheel(plane, navigator, place);
}

/** Two fingers: zoom by how far they part, pan by how far their middle moves. */
function pinch(plane, navigator, before, after, place) {
  const span = ([one, two]) => Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY);
  const middle = ([one, two]) => ({
    clientX: (one.clientX + two.clientX) / 2,
    clientY: (one.clientY + two.clientY) / 2,
  });
  const [from, to] = [middle(before), middle(after)];
  if (span(before) > 0) navigator.zoom(span(after) / span(before), place(from));
  navigator.pan(plane, to.clientX - from.clientX, to.clientY - from.clientY);
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
