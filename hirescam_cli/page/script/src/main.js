// Putting the page together.

import { aboutCase, tabs } from "./about.js";
import { Case, PLANES, placementName } from "./case.js";
import { rampOf } from "./colour.js";
import { firstOther, limitsOf, paneNames, panesOf } from "./compare.js";
import { MapControls } from "./controls.js";
import { announce, byId, make, percentText } from "./dom.js";
import { Evidence } from "./evidence.js";
import { planeFigure } from "./figure.js";
import { helpDialog, listenToKeys, planeOf } from "./keys.js";
import { LabelList } from "./labels.js";
import { changesFrom, hashOf } from "./link.js";
import { Navigator } from "./navigator.js";
import { Profile } from "./profile.js";
import { Readout } from "./readout.js";
import { initialState, Store } from "./store.js";
import { themeButton } from "./theme.js";
import { Toolbar } from "./toolbar.js";

function header(theCase, showWarnings) {
  const { summary } = theCase.description;
  byId("case-name").textContent = summary.case;
  const badges = byId("badges");
  if (summary.model?.demonstration) {
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

const PANES = ["a", "b", "difference"];

class Page {
  constructor(theCase) {
    const { description } = theCase;
    this.case = theCase;
    this.ramps = {
      positive: rampOf(description.ramps.positive),
      negative: rampOf(description.ramps.negative),
    };
    this.store = new Store({ ...initialState(theCase), ...changesFrom(theCase, location.hash) });
    this.navigator = new Navigator(theCase, this.store);
    this.everyPlane = PLANES.flatMap((definition) => PANES.map((pane) => this.figure(definition, pane)));
    this.profile = new Profile(theCase, this.store, this.navigator);
    byId("planes").append(...this.everyPlane.map((plane) => plane.element), this.profile.element);
    this.build();
    this.store.subscribe((state) => this.draw(state));
    new ResizeObserver(() => this.resize()).observe(byId("planes"));
    window.addEventListener("hashchange", () => this.followLink());
    this.arrange();
    this.store.draw();
  }

  figure(definition, pane) {
    const enlarge = (name) => this.enlarge(name);
    return planeFigure(this.case, definition, pane, this.navigator, this.ramps, enlarge);
  }

  build() {
    const { case: theCase, store, navigator } = this;
    const actions = {
      jump: () => navigator.moveToPeak(),
      chooseMethod: (method) => this.choose({ method }),
      stepLabel: (steps) => this.labels.step(steps),
      chooseWindow: (key) => this.toolbar.choose(key),
      enlargeFocused: () => this.enlargeFocused(),
      markDistance: () => navigator.markDistance(),
      compare: (on) => store.set({ other: on ? firstOther(theCase, store.state) : null }),
      copyLink: () => this.copyLink(),
    };
    this.labels = new LabelList(theCase, store, (label) => this.choose({ label }));
    this.toolbar = new Toolbar(theCase, store, navigator);
    this.readout = new Readout(theCase, this.ramps);
    this.controls = new MapControls(theCase, store, actions);
    this.evidence = new Evidence(theCase);
    const details = tabs([
      ["map", "Map", this.controls.element],
      ["evidence", "Evidence", this.evidence.element],
      ["case", "Case", aboutCase(theCase)],
    ]);
    byId("panel").append(...details.element);
    header(theCase, () => details.show(2));
    themeButton();
    byId("link-button").addEventListener("click", actions.copyLink);
    listenToKeys(store, navigator, actions, helpDialog());
  }

  /** Another label or method, at the same place. */
  choose(change) {
    this.store.set(change);
    const { label, method } = this.store.state;
    const { name, probability } = this.case.labels[label];
    announce(`${name}, ${percentText(probability)}, ${this.case.titleOf(method)}`);
  }

  /** One plane alone, or all of them again. */
  enlarge(name) {
    this.store.set({ enlarged: this.store.state.enlarged === name ? null : name });
  }

  enlargeFocused() {
    const focused = planeOf(document.activeElement);
    this.enlarge(this.store.state.enlarged || (focused || PLANES[0]).name);
  }

  /** Show the figures that the state asks for. */
  arrange() {
    const { enlarged } = this.store.state;
    const panes = panesOf(this.store.state);
    const key = [enlarged, ...panes].join();
    if (key === this.arranged) return;
    this.arranged = key;
    const planes = byId("planes");
    planes.classList.toggle("single", enlarged !== null);
    planes.classList.toggle("comparing", panes.length > 1);
    planes.dataset.panes = panes.length;
    for (const { element, definition, pane } of this.everyPlane)
      element.hidden = !panes.includes(pane) || (enlarged !== null && enlarged !== definition.name);
    this.profile.element.hidden = enlarged !== null || panes.length > 1;
    this.navigator.planes = this.everyPlane.filter(({ element }) => !element.hidden);
    this.resize();
  }

  resize() {
    for (const plane of this.navigator.planes) plane.fit();
    if (this.store.state.view.auto) this.navigator.fit();
    else this.store.set({});
  }

  draw(state) {
    const started = performance.now();
    this.arrange();
    const limits = limitsOf(this.case, state);
    const names = state.other ? paneNames(this.case, state, placementName) : {};
    for (const plane of this.navigator.planes) {
      plane.draw(state, limits);
      plane.describe(state, names);
    }
    if (!this.profile.element.hidden) this.profile.draw(state);
    this.labels.draw(state);
    this.toolbar.draw(state);
    this.readout.draw(state, limits);
    this.controls.draw(state, limits.a);
    this.evidence.draw(state);
    this.keepLink();
    window.hirescam.drawMs = performance.now() - started;
  }

  /** Keep the address bar at this view, once it rests. */
  keepLink() {
    clearTimeout(this.linking);
    this.linking = setTimeout(() => {
      this.hash = `#${hashOf(this.case, this.store.state)}`;
      history.replaceState(null, "", this.hash);
    }, 300);
  }

  /** Somebody changed the part of the address behind "#". */
  followLink() {
    if (location.hash !== this.hash) this.store.set(changesFrom(this.case, location.hash));
  }

  async copyLink() {
    const address = `${location.href.split("#")[0]}#${hashOf(this.case, this.store.state)}`;
    const done = await navigator.clipboard.writeText(address).then(
      () => true,
      () => false,
    );
    announce(done ? "The link is copied." : "The address bar holds the link.");
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
