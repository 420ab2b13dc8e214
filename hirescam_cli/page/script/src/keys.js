// Keys that work anywhere on the page but in text fields, and the list of them.

import { PLANES } from "./case.js";
import { byId, make } from "./dom.js";
import { planeKey } from "./pointer.js";

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
  ["E", "enlarge the plane in focus, or all four"],
  ["/", "search labels"],
  ["Arrows", "on a plane: move the crosshair by a voxel (Shift: ten)"],
  ["Page Up / Down", "on a plane: previous, next slice (Shift: ten)"],
  ["Home / End", "on a plane: first, last slice"],
  [
    "Mouse",
    "click or drag: crosshair; wheel: slices; Ctrl + wheel: zoom; right button: pan; double click: enlarge",
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
    const definition = PLANES.find(({ name }) => event.target.id === `plane-${name}`);
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
