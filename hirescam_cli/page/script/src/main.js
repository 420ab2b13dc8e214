// Putting the page together.

import { aboutCase, tabs } from "./about.js";
import { Case, PLANES } from "./case.js";
import { rampOf } from "./colour.js";
import { MapControls, Readout, Toolbar } from "./controls.js";
import { announce, byId, make, percentText, sideText } from "./dom.js";
import { Evidence } from "./evidence.js";
import { helpDialog, listenToKeys } from "./keys.js";
import { LabelList } from "./labels.js";
import { Plane } from "./plane.js";
import { listenToPointer, Navigator } from "./pointer.js";
import { Profile } from "./profile.js";
import { initialState, Store } from "./store.js";
import { themeButton } from "./theme.js";

const EDGES = ["left", "right", "top", "bottom"];

/** The figure of a plane: canvas, caption, slice slider, button to enlarge. */
function planeFigure(theCase, definition, navigator, ramps, enlarge) {
  const { name, normal } = definition;
  // Planes of the page follow the scan's own axes; pictures cut the patient's, and call them so.
  const caption = theCase.description.scan.oblique
    ? make(
        "span",
        { class: "plane-name", title: "along the scan's own axes, not the patient's" },
        `${name} of the scan`,
      )
    : make("span", { class: "plane-name" }, name);
  const count = theCase.shape[normal];
  const canvas = make("canvas", {
    id: `plane-${name}`,
    tabindex: 0,
    role: "application",
    "aria-roledescription": "image plane",
  });
  const number = make("span", { class: "plane-place" });
  const place = make("span", { class: "plane-place corner" });
  const slices = make("input", {
    type: "range",
    class: "slices",
    min: 1,
    max: count,
    step: 1,
    "aria-label": `${name} slice`,
    input: () => {
      const voxel = [...navigator.store.state.voxel];
      voxel[normal] = Number(slices.value) - 1;
      navigator.moveTo(voxel);
    },
  });
  const button = make(
    "button",
    { class: "enlarge", "aria-label": `Enlarge ${name}`, title: "Enlarge (E)", click: () => enlarge(name) },
    "\u2922",
  );
  const element = make(
    "figure",
    { class: "plane", id: `figure-${name}` },
    canvas,
    make("figcaption", { class: "plane-caption" }, caption, number),
    place,
    ...definition.letters.map((letter, n) => make("span", { class: `side-letter ${EDGES[n]}` }, letter)),
    button,
    slices,
  );
  const plane = new Plane(theCase, definition, canvas, ramps);
  plane.element = element;
  plane.describe = ({ voxel }) => {
    const at = sideText(theCase.worldOf(voxel)[2 - normal], 2 - normal, 0);
    number.textContent = `${voxel[normal] + 1} / ${count}`;
    place.textContent = `${at} mm`;
    slices.value = voxel[normal] + 1;
    slices.setAttribute("aria-valuetext", `${voxel[normal] + 1} of ${count}, ${at} mm`);
    canvas.setAttribute(
      "aria-label",
      `${name} plane, slice ${voxel[normal] + 1} of ${count}, ${at} mm. Arrow keys move the crosshair.`,
    );
  };
  listenToPointer(plane, navigator, enlarge);
  return plane;
}

function header(theCase, showWarnings) {
  const { summary } = theCase.description;
  byId("case-name").textContent = summary.case;
  const badges = byId("badges");
  if (summary.model && summary.model.demonstration) {
    badges.append(make("span", { class: "chip caution" }, "Demonstration model: no medical meaning"));
  }
  const count = (summary.warnings || []).length;
  if (count > 0) {
    badges.append(
      make(
        "button",
        { class: "chip caution", id: "warnings-button", click: showWarnings },
        `${count} warning${count > 1 ? "s" : ""}`,
      ),
    );
  }
}

class Page {
  constructor(theCase) {
    const { description } = theCase;
    this.case = theCase;
    this.ramps = {
      positive: rampOf(description.ramps.positive),
      negative: rampOf(description.ramps.negative),
    };
    this.store = new Store(initialState(theCase));
    this.navigator = new Navigator(theCase, this.store);
    const enlarge = (name) => this.enlarge(name);
    this.planes = PLANES.map((definition) =>
      planeFigure(theCase, definition, this.navigator, this.ramps, enlarge),
    );
    this.navigator.planes = this.planes;
    this.profile = new Profile(theCase, this.store, this.navigator);
    byId("planes").append(...this.planes.map((plane) => plane.element), this.profile.element);
    this.build();
    this.store.subscribe((state) => this.draw(state));
    new ResizeObserver(() => this.resize()).observe(byId("planes"));
    this.resize();
    this.store.draw();
  }

  build() {
    const { case: theCase, store, navigator } = this;
    const actions = {
      jump: () => navigator.moveToPeak(),
      chooseMethod: (method) => this.choose({ method }),
      stepLabel: (steps) => this.labels.step(steps),
      chooseWindow: (key) => this.toolbar.choose(key),
      enlargeFocused: () => this.enlargeFocused(),
    };
    this.labels = new LabelList(theCase, store, (label) => this.choose({ label }));
    this.toolbar = new Toolbar(theCase, store, navigator);
    this.readout = new Readout(theCase, this.ramps);
    this.controls = new MapControls(theCase, store, actions);
    this.evidence = new Evidence(theCase, actions.jump);
    const details = tabs([
      ["map", "Map", this.controls.element],
      ["evidence", "Evidence", this.evidence.element],
      ["case", "Case", aboutCase(theCase)],
    ]);
    byId("panel").append(...details.element);
    header(theCase, () => details.show(2));
    themeButton();
    listenToKeys(store, navigator, actions, helpDialog());
  }

  /** Another label or method: the crosshair goes to its peak, if it has evidence for the label at all. */
  choose(change) {
    this.store.set(change);
    const { label, method } = this.store.state;
    if (this.case.rangeOf(method, label).max > 0) this.navigator.moveToPeak();
    const { name, probability } = this.case.labels[label];
    announce(`${name}, ${percentText(probability)}, ${this.case.titleOf(method)}`);
  }

  /** One plane alone, or all four again. */
  enlarge(name) {
    const enlarged = this.store.state.enlarged === name ? null : name;
    byId("planes").classList.toggle("single", enlarged !== null);
    for (const plane of this.planes)
      plane.element.classList.toggle("chosen", plane.definition.name === enlarged);
    this.store.set({ enlarged });
    this.resize();
  }

  enlargeFocused() {
    const focused = PLANES.find(({ name }) => document.activeElement.id === `plane-${name}`);
    this.enlarge(this.store.state.enlarged || (focused || PLANES[0]).name);
  }

  resize() {
    for (const plane of this.planes) plane.fit();
    if (this.store.state.view.auto) this.navigator.fit();
    else this.store.set({});
  }

  draw(state) {
    const started = performance.now();
    const limit = this.case.scaleOf(state);
    for (const plane of this.planes) {
      if (state.enlarged === null || state.enlarged === plane.definition.name) plane.draw(state, limit);
      plane.describe(state);
    }
    this.profile.draw(state);
    this.labels.draw(state);
    this.toolbar.draw(state);
    this.readout.draw(state, limit);
    this.controls.draw(state, limit);
    this.evidence.draw(state);
    window.hirescam.drawMs = performance.now() - started;
  }
}

/**
 * What scripts and tests may use: `ready` (a promise), `state`, `set`, `probe` and `moveTo` (a point in RAS mm),
 * `pointMm` (of the crosshair), `spacing` (mm of the embedded scan), `firstViewMs` and `drawMs` (measured times).
 */
async function open() {
  const theCase = new Case(JSON.parse(byId("case-json").textContent));
  await theCase.unpack();
  const page = new Page(theCase);
  Object.assign(window.hirescam, {
    spacing: theCase.spacing,
    set: (changes) => page.store.set(changes),
    probe: (pointMm) => theCase.probe(pointMm, page.store.state),
    moveTo: (pointMm) => page.navigator.moveTo(theCase.nearestVoxel(pointMm)),
    redraw: () => page.store.draw(),
    firstViewMs: performance.now(),
  });
  Object.defineProperty(window.hirescam, "state", { get: () => ({ ...page.store.state }) });
  Object.defineProperty(window.hirescam, "pointMm", { get: () => theCase.worldOf(page.store.state.voxel) });
  byId("loading").remove();
  document.documentElement.dataset.ready = "yes";
}

window.hirescam = {};
window.hirescam.ready = open().catch((error) => {
  const old = typeof DecompressionStream === "undefined";
  byId("loading").textContent = old
    ? "This browser is too old for the page: it needs Chrome 80, Firefox 113, Safari 16.4 or later."
    : `The page could not be opened: ${error.message}`;
  throw error;
});
