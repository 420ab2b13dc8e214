// The page's state, in one place. Whoever draws subscribes; changes are drawn once per frame.

export class Store {
  constructor(state) {
    this.state = state;
    this.listeners = [];
    this.scheduled = false;
  }

  subscribe(listener) {
    this.listeners.push(listener);
  }

  /** Change the state; the drawing follows with the next frame. */
  set(changes) {
    Object.assign(this.state, changes);
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.draw());
  }

  /** Draw now. */
  draw() {
    this.scheduled = false;
    for (const listener of this.listeners) listener(this.state);
  }
}

const WINDOWS = {
  lung: { name: "Lung", level: -600, width: 1500 },
  mediastinum: { name: "Mediastinum", level: 50, width: 400 },
  bone: { name: "Bone", level: 450, width: 1500 },
};

/** Presets by key, the model's own window last. */
export function windowPresets(description) {
  const [low, high] = description.window;
  return { ...WINDOWS, model: { name: "Model", level: (low + high) / 2, width: high - low } };
}

/** What is shown first: the most probable label in the case's own method and placement, at the peak of its map. */
export function initialState(theCase) {
  const { description, labels } = theCase;
  const label = labels.reduce(
    (best, entry, n) => (entry.probability > labels[best].probability ? n : best),
    0,
  );
  const placement = theCase.placements.includes(description.placement)
    ? description.placement
    : theCase.placements[0];
  const { level, width } = windowPresets(description).model;
  return {
    label,
    method: theCase.methods[0],
    placement,
    signed: false,
    cells: false,
    shared: false,
    opacity: 0.7,
    threshold: 0,
    visible: true,
    grey: true,
    crosshair: true,
    outlines: true,
    tool: "crosshair",
    other: null, // {method, label, placement} of the map that the chosen one is compared with
    difference: true,
    distances: [], // {from, to} in RAS mm
    measuring: null, // the distance under way
    level,
    width,
    voxel: theCase.nearestVoxel(theCase.peakOf({ method: theCase.methods[0], label, placement }).pointMm),
    view: { auto: true, centre: theCase.shape.map((n) => (n - 1) / 2), scale: 1 },
    enlarged: null,
  };
}
