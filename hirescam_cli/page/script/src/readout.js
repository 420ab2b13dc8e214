// The readout below the planes.

import { placementName } from "./case.js";
import { rampGradient } from "./colour.js";
import { paneState } from "./compare.js";
import { byId, fixed, logitText, MINUS, make, positionText, signedText } from "./dom.js";

/** What the HU shown are: the scan's own, means of so many voxels, or rounded to a step. */
export function huName({ exact, factors, step }) {
  if (exact) return "HU";
  if (factors.some((f) => f > 1)) return `HU, mean of ${[...factors].reverse().join(" \u00d7 ")}`;
  return step > 1 ? `HU, in steps of ${step}` : "HU, rounded";
}

/** Position, HU and evidence under the crosshair, and the colours' scale. */
export class Readout {
  constructor(theCase, ramps) {
    this.case = theCase;
    this.ramps = ramps;
    const item = (name) =>
      make("span", { class: "reading" }, make("span", { class: "reading-name" }, name), make("b", {}));
    this.position = item("Position, mm");
    this.hu = item(huName(theCase.description.scan));
    this.value = item("Map");
    this.other = item("Map B");
    this.bar = make("span", { class: "colourbar", role: "img" });
    this.ends = [make("span", {}), make("span", { class: "colourbar-title" }), make("span", {})];
    this.shown = make("p", { class: "in-print" });
    byId("readout").append(
      this.shown,
      this.position,
      this.hu,
      this.value,
      this.other,
      make("span", { class: "scale" }, this.bar, make("span", { class: "colourbar-ends" }, ...this.ends)),
    );
  }

  draw(state, limits) {
    const point = this.case.worldOf(state.voxel);
    const found = this.case.probe(point, state);
    const { other } = state;
    const unit = this.case.unitOf(state.method);
    this.position.lastChild.textContent = positionText(point, 1, "  ");
    this.hu.lastChild.textContent = fixed(found.hu, 0);
    const valueIn = (pane) => {
      const shown = this.case.probe(point, paneState(state, pane));
      return state.cells ? shown.cell : shown.value;
    };
    this.value.firstChild.textContent = other ? `Map A, ${unit}` : `Map, ${unit}`;
    this.value.lastChild.textContent = found.seen ? signedText(valueIn("a")) : "not seen";
    this.other.hidden = !other;
    if (other) {
      const [a, b] = [valueIn("a"), valueIn("b")];
      this.other.firstChild.textContent = limits.common ? "Map B, and A \u2212 B" : "Map B";
      this.other.lastChild.textContent = !found.seen
        ? "not seen"
        : `${signedText(b)}${limits.common ? `   ${signedText(a - b)}` : ""}`;
    }
    this.drawScale(state, limits);
  }

  /** What the planes show, for print, where the controls are left out. */
  shownText(state) {
    const one = ({ method, label, placement }) =>
      `${this.case.titleOf(method)} of ${this.case.labels[label].name}, ${placementName(placement)}`;
    const second = state.other ? `; B: ${one(paneState(state, "b"))}` : "";
    const kind = `${state.signed ? "signed" : "positive"} evidence, ${state.cells ? "true cells" : "interpolated"}`;
    const low = fixed(state.level - state.width / 2, 0);
    return `${one(state)}${second}; ${kind}; window ${low} to ${fixed(state.level + state.width / 2, 0)} HU.`;
  }

  drawScale(state, limits) {
    this.shown.textContent = this.shownText(state);
    const [limit, unit] = [limits.a, this.case.unitOf(state.method)];
    const text = limit > 0 ? logitText(limit) : "";
    const from = state.signed || (state.other && state.difference && limits.common) ? -1 : 0;
    const low = limit > 0 ? (from < 0 ? MINUS + text : "0") : "";
    this.bar.style.backgroundImage = limit > 0 ? rampGradient(this.ramps, from, 1) : "none";
    this.ends[0].textContent = low;
    this.ends[1].textContent = limit > 0 ? this.scaleTitle(state, limits, unit) : "no positive evidence";
    this.ends[2].textContent = text;
    this.bar.setAttribute(
      "aria-label",
      limit > 0 ? `Colours from ${low} to ${text}, ${unit}` : "No positive evidence",
    );
  }

  scaleTitle(state, limits, unit) {
    if (!state.other) return `${this.case.titleOf(state.method)}, ${unit}`;
    return limits.common ? `one scale for all maps, ${unit}` : `A: ${unit}; B has a scale of its own`;
  }
}
