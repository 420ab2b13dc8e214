// The toolbar: what a drag does, window, zoom.

import { byId, MINUS, make } from "./dom.js";
import { TOOLS } from "./pointer.js";
import { windowPresets } from "./store.js";
import { segmented } from "./widgets.js";

export class Toolbar {
  constructor(theCase, store, navigator) {
    this.store = store;
    this.presets = windowPresets(theCase.description);
    const names = Object.fromEntries(Object.entries(this.presets).map(([key, { name }]) => [key, name]));
    this.tools = segmented("Drag with the left button", "tool", TOOLS, (tool) => store.set({ tool }));
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
    const button = (text, title, action, name = null) =>
      make("button", { class: "button", "aria-label": name, title, click: action }, text);
    byId("toolbar").append(
      this.tools.element,
      this.windows.element,
      make("label", { class: "field" }, "Level", this.level),
      make("label", { class: "field" }, "Width", this.width),
      make(
        "span",
        { class: "zoom" },
        button(MINUS, "Zoom out", () => navigator.zoom(0.8), "Zoom out"),
        button("Fit", "Show the whole scan", () => navigator.fit()),
        button("+", "Zoom in", () => navigator.zoom(1.25), "Zoom in"),
      ),
    );
  }

  choose(key) {
    const { level, width } = this.presets[key];
    this.store.set({ level, width });
  }

  draw({ level, width, tool }) {
    this.tools.show(tool);
    const match = Object.entries(this.presets).find(([, p]) => p.level === level && p.width === width);
    this.windows.show(match ? match[0] : null);
    if (document.activeElement !== this.level || Number(this.level.value) !== level) this.level.value = level;
    if (document.activeElement !== this.width || Number(this.width.value) !== width) this.width.value = width;
  }
}
