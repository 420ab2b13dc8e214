// Keys that work anywhere on the page but in text fields, and the list of them.

import { PLANES } from "./case.js";
import { byId, make } from "./dom.js";
import { planeKey } from "./navigator.js";
import { TOOLS } from "./pointer.js";

const KEY_HELP = [
  ["J / K", "next, previous label"],
  ["P", "go to the map's peak"],
  ["M", "next method"],
  ["S", "positive or signed evidence"],
  ["C", "smooth or true cells"],
  ["T", "stretch or receptive field"],
  ["A", "strongest colour: this label or all labels"],
  ["V", "show or hide the map"],
  ["G", "grey what the network did not see"],
  ["X", "show or hide the crosshair"],
  ["[ / ]", "less, more opacity"],
  ["1 \u2026 4", "window: lung, mediastinum, bone, model"],
  ["+ / \u2212 / 0", "zoom in, out, whole scan"],
  [", / .", "darker, brighter by 10 HU (Shift: narrower, wider window)"],
  ["W", "what the left button does: crosshair, window, pan, measure"],
  ["D", "measure: from the crosshair, again: to the crosshair"],
  ["Escape", "give up the distance under way"],
  ["B", "compare with a second map, or not"],
  ["F", "show or hide the difference"],
  ["O", "show or hide the masks' outlines"],
  ["L", "copy a link to this view"],
  ["E", "enlarge the plane in focus, or all four"],
  ["/", "search labels"],
  ["Arrows", "on a plane: move the crosshair by a voxel (Shift: ten)"],
  ["Page Up / Down", "on a plane: previous, next slice (Shift: ten)"],
  ["Home / End", "on a plane: first, last slice"],
  [
    "Mouse",
    "left: crosshair or the chosen tool; right: window; middle or Shift: pan; wheel: slices; Ctrl + wheel: zoom; double click: enlarge",
  ],
];

export function helpDialog() {
  const rows = KEY_HELP.flatMap(([keys, text]) => [
    make("dt", {}, make("kbd", {}, keys)),
    make("dd", {}, text),
  ]);
  const dialog = make(
    "dialog",
    { id: "help", "aria-labelledby": "help-title" },
    make("h2", { id: "help-title" }, "Keys and mouse"),
    make("dl", { class: "keys" }, ...rows),
    make("button", { class: "button primary", click: () => dialog.close() }, "Close"),
  );
  document.body.append(dialog);
  byId("help-button").addEventListener("click", () => dialog.showModal());
  return dialog;
}

/** The plane whose canvas has the focus. */
export function planeOf({ id }) {
  const [, name] = /^plane-([A-Za-z]+)/.exec(id) || [];
  return PLANES.find((definition) => definition.name === name);
}

/** Whether typing there writes text or numbers. */
function takesText(element) {
  const typed = element instanceof HTMLInputElement && !["radio", "checkbox", "range"].includes(element.type);
  return typed || element instanceof HTMLSelectElement || element instanceof HTMLTextAreaElement;
}

export function listenToKeys(store, navigator, actions, dialog) {
  const toggle = (key) => () => store.set({ [key]: !store.state[key] });
  const next = (list, value) => list[(list.indexOf(value) + 1) % list.length];
  const { case: theCase } = navigator;
  const opacity = (by) =>
    store.set({ opacity: Math.round(100 * Math.min(1, Math.max(0, store.state.opacity + by))) / 100 });
  const window = (level, width) => navigator.setWindow(store.state.level + level, store.state.width + width);
  const shortcuts = {
    j: () => actions.stepLabel(1),
    k: () => actions.stepLabel(-1),
    p: actions.jump,
    m: () => actions.chooseMethod(next(theCase.methods, store.state.method)),
    s: toggle("signed"),
    c: toggle("cells"),
    t: () => store.set({ placement: next(theCase.placements, store.state.placement) }),
    a: toggle("shared"),
    v: toggle("visible"),
    g: toggle("grey"),
    x: toggle("crosshair"),
    e: actions.enlargeFocused,
    ",": () => window(10, 0),
    ".": () => window(-10, 0),
    "<": () => window(0, -20),
    ">": () => window(0, 20),
    w: () => store.set({ tool: next(Object.keys(TOOLS), store.state.tool) }),
    d: actions.markDistance,
    Escape: () => store.set({ measuring: null }),
    b: () => actions.compare(store.state.other === null),
    f: toggle("difference"),
    o: toggle("outlines"),
    l: actions.copyLink,
    "[": () => opacity(-0.05),
    "]": () => opacity(0.05),
    1: () => actions.chooseWindow("lung"),
    2: () => actions.chooseWindow("mediastinum"),
    3: () => actions.chooseWindow("bone"),
    4: () => actions.chooseWindow("model"),
    "+": () => navigator.zoom(1.25),
    "=": () => navigator.zoom(1.25),
    "-": () => navigator.zoom(0.8),
    0: () => navigator.fit(),
    "/": () => byId("label-search").focus(),
    "?": () => dialog.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (dialog.open || event.ctrlKey || event.altKey || event.metaKey || takesText(event.target)) return;
    const definition = planeOf(event.target);
    if (definition && planeKey(event, definition, navigator)) {
      event.preventDefault();
      return;
    }
    const action = shortcuts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
