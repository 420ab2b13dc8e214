// The figure of a plane: canvas, caption, slice slider, button to enlarge.

import { make, sideText } from "./dom.js";
import { Plane } from "./plane.js";
import { listenToPointer } from "./pointer.js";

const EDGES = ["left", "right", "top", "bottom"];
const OBLIQUE = "along the scan's own axes, not the patient's";

/** Planes of the page follow the scan's own axes; pictures cut the patient's, and call them so. */
function titleOf(theCase, { name }) {
  return theCase.description.scan.oblique
    ? make("span", { class: "plane-name", title: OBLIQUE }, `${name} of the scan`)
    : make("span", { class: "plane-name" }, name);
}

/** A plane of a pane ("a", "b", "difference") with its figure as `element`; `describe` brings its texts up to date. */
export function planeFigure(theCase, definition, pane, navigator, ramps, enlarge) {
  const { name, normal } = definition;
  const id = pane === "a" ? name : `${name}-${pane}`;
  const count = theCase.shape[normal];
  const canvas = make("canvas", {
    id: `plane-${id}`,
    tabindex: 0,
    role: "application",
    "aria-roledescription": "image plane",
  });
  const number = make("span", { class: "plane-place" });
  const map = make("span", { class: "plane-map" });
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
    { class: `plane pane-${pane}`, id: `figure-${id}` },
    canvas,
    make("figcaption", { class: "plane-caption" }, titleOf(theCase, definition), number, map),
    place,
    ...definition.letters.map((letter, n) => make("span", { class: `side-letter ${EDGES[n]}` }, letter)),
    button,
    slices,
  );
  const plane = new Plane(theCase, definition, pane, canvas, ramps);
  plane.element = element;
  plane.describe = ({ voxel, other }, names) => {
    const at = sideText(theCase.worldOf(voxel)[2 - normal], 2 - normal, 1);
    const image = theCase.imageAt(normal, voxel[normal]);
    number.textContent = `${voxel[normal] + 1} / ${count}`;
    map.textContent = other ? names[pane] : "";
    place.textContent = `${at} mm${image ? `  ${image}` : ""}`;
    slices.value = voxel[normal] + 1;
    const where = `slice ${voxel[normal] + 1} of ${count}, ${at} mm${image ? `, ${image}` : ""}`;
    slices.setAttribute("aria-valuetext", where);
    canvas.setAttribute(
      "aria-label",
      `${name} plane${other ? `, ${names[pane]}` : ""}, ${where}. Arrow keys move the crosshair.`,
    );
  };
  listenToPointer(plane, navigator, enlarge);
  return plane;
}
