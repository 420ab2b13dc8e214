// The toolbar (window, zoom), the readout below the planes, and the controls of the map.

import { rampGradient } from "./colour.js";
import { byId, DASH, fixed, logitText, MINUS, make, percentText, positionText, signedText } from "./dom.js";
import { windowPresets } from "./store.js";

/** Radio buttons drawn as one segmented control. `choices`: value -> text. */
function segmented(legend, name, choices, onChange) {
  const inputs = Object.entries(choices).map(([value, text]) => {
    const input = make("input", {
      type: "radio",
      name,
      value,
      id: `${name}-${value}`,
      change: () => onChange(value),
    });
    return [input, make("label", { for: `${name}-${value}` }, text)];
  });
  const element = make(
    "fieldset",
    { class: "segmented" },
    make("legend", {}, legend),
    make("span", { class: "segments" }, ...inputs.flat()),
  );
  const show = (value) => {
    for (const [input] of inputs) input.checked = input.value === value;
  };
  return { element, show };
}

/** A labelled range input with its value beside it. */
function slider(text, id, attributes, onInput) {
  const output = make("output", { for: id });
  const input = make("input", {
    type: "range",
    id,
    ...attributes,
    input: () => onInput(Number(input.value)),
  });
  const element = make("div", { class: "slider" }, make("label", { for: id }, text), output, input);
  const show = (value, shown) => {
    if (Number(input.value) !== value) input.value = value;
    output.textContent = shown;
    input.setAttribute("aria-valuetext", shown);
  };
  return { element, show };
}

function checkbox(text, id, shortcut, onChange) {
  const input = make("input", {
    type: "checkbox",
    id,
    "aria-keyshortcuts": shortcut,
    change: () => onChange(input.checked),
  });
  const element = make(
    "label",
    { class: "check", for: id },
    input,
    make("span", {}, text),
    make("kbd", {}, shortcut),
  );
  return { element, show: (value) => (input.checked = value) };
}

export class Toolbar {
  constructor(theCase, store, navigator) {
    this.store = store;
    this.presets = windowPresets(theCase.description);
    const names = Object.fromEntries(Object.entries(this.presets).map(([key, { name }]) => [key, name]));
    this.windows = segmented("Window", "window", names, (key) => this.choose(key));
    const number = (id, least, key) =>
      make("input", {
        type: "number",
        id,
        step: 10,
        min: least,
        max: 8000,
        change: (event) => {
          const value = Number(event.target.value);
          if (Number.isFinite(value) && value >= least) store.set({ [key]: value });
          else this.draw(store.state);
        },
      });
    this.level = number("level", -4000, "level");
    this.width = number("width", 1, "width");
    const button = (text, name, action) =>
      make("button", { class: "button", "aria-label": name, title: name, click: action }, text);
    byId("toolbar").append(
      this.windows.element,
      make("label", { class: "field" }, "Level", this.level),
      make("label", { class: "field" }, "Width", this.width),
      make("span", { class: "spacer" }),
      button(MINUS, "Zoom out", () => navigator.zoom(0.8)),
      button("Fit", "Show the whole scan", () => navigator.fit()),
      button("+", "Zoom in", () => navigator.zoom(1.25)),
    );
  }

  choose(key) {
    const { level, width } = this.presets[key];
    this.store.set({ level, width });
  }

  draw({ level, width }) {
    const match = Object.entries(this.presets).find(([, p]) => p.level === level && p.width === width);
    this.windows.show(match ? match[0] : null);
    if (document.activeElement !== this.level || Number(this.level.value) !== level) this.level.value = level;
    if (document.activeElement !== this.width || Number(this.width.value) !== width) this.width.value = width;
  }
}

/** What the HU shown are: the scan's own, means of several voxels, or rounded. */
function huName({ exact, factors }) {
  if (exact) return "HU";
  return factors.some((f) => f > 1) ? "HU, mean" : "HU, rounded";
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
    this.bar = make("span", { class: "colourbar", role: "img" });
    this.ends = [make("span", {}), make("span", { class: "colourbar-title" }), make("span", {})];
    byId("readout").append(
      this.position,
      this.hu,
      this.value,
      make("span", { class: "scale" }, this.bar, make("span", { class: "colourbar-ends" }, ...this.ends)),
    );
  }

  draw(state, limit) {
    const point = this.case.worldOf(state.voxel);
    const found = this.case.probe(point, state);
    this.position.lastChild.textContent = positionText(point, 1, "  ");
    this.hu.lastChild.textContent = fixed(found.hu, 0);
    this.value.firstChild.textContent = `Map, ${this.case.unitOf(state.method)}`;
    this.value.lastChild.textContent = found.seen
      ? signedText(state.cells ? found.cell : found.value)
      : "not seen";
    const text = limit > 0 ? logitText(limit) : "";
    const from = state.signed ? -1 : 0;
    this.bar.style.backgroundImage = limit > 0 ? rampGradient(this.ramps, from, 1) : "none";
    this.ends[0].textContent = limit > 0 ? (state.signed ? MINUS + text : "0") : "";
    this.ends[1].textContent =
      limit > 0
        ? `${this.case.titleOf(state.method)}, ${this.case.unitOf(state.method)}`
        : "no positive evidence";
    this.ends[2].textContent = text;
    this.bar.setAttribute(
      "aria-label",
      limit > 0
        ? `Colours from ${this.ends[0].textContent} to ${text}, ${this.case.unitOf(state.method)}`
        : "No positive evidence",
    );
  }
}

/** The "Map" tab. */
export class MapControls {
  constructor(theCase, store, actions) {
    this.case = theCase;
    const set = (key) => (value) => store.set({ [key]: value });
    const flag = (key) => (value) => store.set({ [key]: value === "yes" });
    const placements = { stretch: "Stretch", "receptive-field": "Receptive field" };
    const known = Object.fromEntries(theCase.placements.map((name) => [name, placements[name] || name]));
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
      make("div", { class: "checks" }, this.visible.element, this.grey.element, this.crosshair.element),
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
    const range = this.case.rangeOf(state.method, state.label);
    const { pointMm, inside } = this.case.peakOf(state);
    const where = inside ? "" : ": outside the scan, in padding";
    this.peak.textContent = `${signedText(range.max)} at ${positionText(pointMm, 0)} mm${where}`;
  }
}
