// The "Case" tab: warnings, what the network saw, and where scan, model and numbers come from.

import { fixed, make, percentText } from "./dom.js";
import { definitions } from "./evidence.js";

/** A value of the summary as text. */
function plainText(value) {
  if (value === null || value === undefined || value === "") return null;
  if (Array.isArray(value)) return value.length ? value.map(plainText).join(" \u00d7 ") : null;
  if (typeof value === "number")
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

/** What was done to the scan so that it fits into the page. */
function reductionText({ factors, step, exact, shape }, scanShape) {
  const size = [...shape].reverse().join(" \u00d7 ");
  if (exact) return `The scan's own voxels (${size}); HU are those of the voxel under the crosshair.`;
  const parts = [`${size} voxels, from ${plainText(scanShape) || "the scan"}`];
  if (factors.some((f) => f > 1))
    parts.push(`each the mean of ${[...factors].reverse().join(" \u00d7 ")} voxels of the scan`);
  parts.push(step > 1 ? `HU rounded to multiples of ${step}` : "HU rounded to whole numbers");
  return `${parts.join("; ")}.`;
}

/** How exactly the maps are embedded. */
function mapPrecision(maps) {
  const bits = Math.min(...maps.map((map) => map.bits));
  if (bits === 32) return "Every label's own cells in float32.";
  return `Every label's own cells, rounded to ${bits} bits of the label's largest value so that the page stays small.`;
}

function share(fraction, text) {
  const fill = make("span", { class: "meter-fill" });
  fill.style.width = `${100 * fraction}%`;
  return make(
    "div",
    { class: "share" },
    make("span", {}, text),
    make("b", {}, percentText(fraction)),
    make("span", { class: "meter" }, fill),
  );
}

function warningList(warnings) {
  if (!warnings || warnings.length === 0) return make("p", { class: "hint" }, "None.");
  const row = ({ code, text }) =>
    make("li", {}, text.charAt(0).toUpperCase() + text.slice(1), make("code", {}, code));
  return make("ul", { class: "warnings" }, ...warnings.map(row));
}

export function aboutCase(theCase) {
  const { summary, scan, maps, version } = theCase.description;
  const { input, model, run, coverage, seen, target } = summary;
  const spacing = (input.spacing_mm || scan.spacing_mm).map((value) => fixed(value, 2)).join(" \u00d7 ");
  const window = theCase.description.window.map((value) => fixed(value, 0)).join(" to ");
  const shares = [
    ["Share of the scan that the network saw", coverage.scan_seen_fraction],
    ["Share of the network's input that is padding", coverage.padding_fraction],
  ].filter(([, value]) => Number.isFinite(value));
  return make(
    "div",
    { class: "stack" },
    make("h3", { id: "warnings" }, "Warnings"),
    warningList(summary.warnings),
    make("h3", {}, "Coverage"),
    ...shares.map(([text, value]) => share(value, text)),
    make("h3", {}, "Scan"),
    definitions([
      ["Format", input.kind],
      ["Voxels", plainText(input.shape)],
      ["Spacing", `${spacing} mm`],
      ["Orientation", input.orientation],
      ["HU", rangeText(input.hu_min, input.hu_max)],
      ["Series", input.series_uid],
      ["Fingerprint", hash(input.fingerprint)],
      ["On this page", reductionText(scan, input.shape)],
      ["Maps", mapPrecision(maps)],
    ]),
    make("h3", {}, "Model"),
    definitions([
      ["Name", model.name],
      ["Demonstration", plainText(model.demonstration)],
      ["Architecture", model.architecture],
      ["Labels", plainText(model.labels)],
      ["Weights, SHA-256", hash(model.weights_sha256)],
      ["Target layer", target.at === "input" ? `input of ${target.layer}` : target.layer],
      ["Placement", summary.placement],
      ["Input", plainText(seen.shape)],
      ["Window", `${window} HU`],
    ]),
    make("h3", {}, "Run"),
    definitions([
      ["hirescam", run.version || version],
      ["torch", run.torch],
      ["Started", summary.started],
      ["Device", run.device],
      ["Precision", run.precision],
      ["Fallbacks", (run.fallbacks || []).join("; ")],
      ["Options, SHA-256", hash(run.params_hash)],
      ["Seconds", run.seconds ? plainText(run.seconds.total) : null],
    ]),
    make(
      "p",
      { class: "hint" },
      "A map is linear between the centres of its cells, constant in its outer half cells and zero where " +
        "the network saw nothing. For research; not a medical device.",
    ),
  );
}

function hash(digits) {
  return digits ? make("code", {}, digits) : null;
}

function rangeText(low, high) {
  return Number.isFinite(low) && Number.isFinite(high) ? `${fixed(low, 0)} to ${fixed(high, 0)}` : null;
}

/** Tabs after the ARIA pattern: arrow keys move between them, the panel follows. `panels`: [id, title, element]. */
export function tabs(panels) {
  const buttons = panels.map(([id, title], n) =>
    make(
      "button",
      {
        role: "tab",
        id: `tab-${id}`,
        class: "tab",
        "aria-controls": `panel-${id}`,
        click: () => show(n),
        keydown: (event) => {
          const to = { ArrowLeft: n - 1, ArrowRight: n + 1, Home: 0, End: panels.length - 1 }[event.key];
          if (to === undefined) return;
          event.preventDefault();
          show((to + panels.length) % panels.length);
          buttons[(to + panels.length) % panels.length].focus();
        },
      },
      title,
    ),
  );
  const bodies = panels.map(([id, , element]) =>
    make(
      "div",
      { role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, tabindex: 0, class: "tab-body" },
      element,
    ),
  );
  const show = (chosen) => {
    buttons.forEach((button, n) => {
      button.setAttribute("aria-selected", String(n === chosen));
      button.setAttribute("tabindex", n === chosen ? "0" : "-1");
      bodies[n].hidden = n !== chosen;
    });
  };
  show(0);
  return {
    element: [
      make("div", { role: "tablist", class: "tabs", "aria-label": "Details" }, ...buttons),
      ...bodies,
    ],
    show,
  };
}
