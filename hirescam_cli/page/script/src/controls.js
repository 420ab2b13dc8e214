// The "Map" tab.

import { placementName } from "./case.js";
import { limitsOf } from "./compare.js";
import { DASH, fixed, logitText, make, percentText, positionText, signedText } from "./dom.js";
import { distanceMm } from "./geometry.js";
import { outlineColour } from "./marks.js";
import { checkbox, choice, segmented, slider } from "./widgets.js";

/** Method, placement, colours, what is compared, distances. */
export class MapControls {
  constructor(theCase, store, actions) {
    this.case = theCase;
    const set = (key) => (value) => store.set({ [key]: value });
    const flag = (key) => (value) => store.set({ [key]: value === "yes" });
    const known = Object.fromEntries(theCase.placements.map((name) => [name, placementName(name)]));
    const methods = Object.fromEntries(theCase.methods.map((method) => [method, theCase.titleOf(method)]));
    this.method = segmented("Method", "method", methods, actions.chooseMethod);
    this.signed = segmented("Evidence", "signed", { no: "Positive", yes: "Signed" }, flag("signed"));
    this.cells = segmented("Cells", "cells", { no: "Smooth", yes: "True cells" }, flag("cells"));
    this.placement = segmented("Placement", "placement", known, set("placement"));
    this.shared = segmented(
      "Strongest colour",
      "shared",
      { no: "This label", yes: "All labels" },
      flag("shared"),
    );
    const range = { min: 0, max: 1, step: 0.01 };
    this.opacity = slider("Opacity", "opacity", range, set("opacity"));
    this.threshold = slider("Threshold", "threshold", range, set("threshold"));
    this.visible = checkbox("Show the map", "visible", "V", set("visible"));
    this.grey = checkbox("Grey what the network did not see", "grey", "G", set("grey"));
    this.crosshair = checkbox("Crosshair", "crosshair", "X", set("crosshair"));
    this.outlines = checkbox("Outlines of the masks", "outlines", "O", set("outlines"));
    this.outlines.element.hidden = theCase.outlines.length === 0;
    this.comparison = new Comparison(theCase, store, actions);
    this.distances = new Distances(theCase, store, actions);
    this.peak = make("span", { class: "hint" });
    this.element = make(
      "div",
      { class: "stack" },
      make(
        "button",
        { class: "button primary", id: "peak", "aria-keyshortcuts": "P", click: actions.jump },
        "Go to the peak",
        make("kbd", {}, "P"),
      ),
      this.peak,
      this.method.element,
      this.signed.element,
      this.cells.element,
      this.placement.element,
      this.shared.element,
      this.opacity.element,
      this.threshold.element,
      make(
        "div",
        { class: "checks" },
        this.visible.element,
        this.grey.element,
        this.crosshair.element,
        this.outlines.element,
        outlineKey(theCase),
      ),
      this.comparison.element,
      this.distances.element,
    );
  }

  draw(state, limit) {
    const yes = (value) => (value ? "yes" : "no");
    this.method.show(state.method);
    this.signed.show(yes(state.signed));
    this.cells.show(yes(state.cells));
    this.placement.show(state.placement);
    this.shared.show(yes(state.shared));
    this.opacity.show(state.opacity, percentText(state.opacity, 0));
    const sign = state.signed ? "\u00b1" : "";
    this.threshold.show(state.threshold, limit > 0 ? `${sign}${logitText(state.threshold * limit)}` : DASH);
    this.visible.show(state.visible);
    this.grey.show(state.grey);
    this.crosshair.show(state.crosshair);
    this.outlines.show(state.outlines);
    this.comparison.draw(state);
    this.distances.draw(state);
    const range = this.case.rangeOf(state.method, state.label);
    const { pointMm, inside } = this.case.peakOf(state);
    const where = inside ? "" : ": outside the scan, in padding";
    this.peak.textContent = `${signedText(range.max)} at ${positionText(pointMm, 0)} mm${where}`;
  }
}

/** The masks' names in their outlines' colours; null where there are none. */
function outlineKey(theCase) {
  if (theCase.outlines.length === 0) return null;
  const row = ({ name }, n) => {
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = outlineColour(n);
    return make("li", {}, swatch, name);
  };
  return make("ul", { class: "outline-key" }, ...theCase.outlines.map(row));
}

/** Which map the chosen one is compared with. */
class Comparison {
  constructor(theCase, store, actions) {
    // The first choice of each list is "as A".
    const change = (key, values) => (n) =>
      store.set({ other: { ...store.state.other, [key]: n === 0 ? null : values[n - 1] } });
    this.case = theCase;
    this.on = checkbox("Compare with a second map, B", "compare", "B", actions.compare);
    this.difference = checkbox("Show the difference, A \u2212 B", "difference", "F", (difference) =>
      store.set({ difference }),
    );
    const { methods, placements, labels } = theCase;
    const list = (text, key, values, nameOf) => {
      const names = ["as A", ...values.map(nameOf)];
      const { element, show } = choice(text, `other-${key}`, names, change(key, values));
      return { element, show: (value) => show(value === null ? 0 : 1 + values.indexOf(value)) };
    };
    this.method = list("Method", "method", methods, (method) => theCase.titleOf(method));
    this.label = list(
      "Label",
      "label",
      labels.map((_, n) => n),
      (n) => labels[n].name,
    );
    this.placement = list("Placement", "placement", placements, placementName);
    this.fields = make(
      "div",
      { class: "stack" },
      this.method.element,
      this.label.element,
      this.placement.element,
      this.difference.element,
    );
    this.note = make(
      "p",
      { class: "hint" },
      "The units of A and B differ, so there is no difference of them.",
    );
    this.element = make(
      "section",
      { class: "stack", "aria-label": "Comparison" },
      this.on.element,
      this.fields,
      this.note,
    );
  }

  draw(state) {
    const { other, difference } = state;
    this.on.show(other !== null);
    this.fields.hidden = other === null;
    this.note.hidden = other === null || limitsOf(this.case, state).common;
    if (other === null) return;
    this.method.show(other.method);
    this.label.show(other.label);
    this.placement.show(other.placement);
    this.difference.show(difference);
  }
}

/** The distances measured, longest form: length, from, to. */
class Distances {
  constructor(theCase, store, actions) {
    this.case = theCase;
    this.store = store;
    this.list = make("ul", { class: "distances" });
    this.hint = make("p", { class: "hint" });
    this.clear = make(
      "button",
      { class: "button", click: () => store.set({ distances: [], measuring: null }) },
      "Remove all",
    );
    this.element = make(
      "section",
      { class: "stack", "aria-label": "Distances" },
      make(
        "button",
        { class: "button", id: "measure", "aria-keyshortcuts": "D", click: actions.markDistance },
        "Measure from the crosshair",
        make("kbd", {}, "D"),
      ),
      this.hint,
      this.list,
      this.clear,
    );
  }

  draw({ distances, measuring, voxel }) {
    this.hint.textContent = measuring
      ? `${fixed(distanceMm(measuring.from, this.case.worldOf(voxel)), 1)} mm from the mark; again for the end.`
      : "";
    this.hint.hidden = !measuring;
    this.clear.hidden = distances.length === 0 && !measuring;
    if (distances === this.drawn) return;
    this.drawn = distances;
    this.list.replaceChildren(
      ...distances.map(({ from, to }) =>
        make(
          "li",
          {},
          make("b", {}, `${fixed(distanceMm(from, to), 1)} mm`),
          ` ${positionText(from, 0)} to ${positionText(to, 0)}`,
        ),
      ),
    );
  }
}
