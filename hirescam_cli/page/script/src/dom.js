// Elements from text. Names of cases and labels are only ever text nodes: nothing here parses HTML.

/** A new element; `properties` set attributes ("class", "role", "aria-...") or, where they are functions, listeners. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A new SVG element with attributes. */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

export const MINUS = "\u2212";
export const DASH = "\u2013";

/** `digits` decimals with a true minus sign; a dash where there is no number. */
export function fixed(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  return value.toFixed(digits).replace("-", Number(value.toFixed(digits)) === 0 ? "" : MINUS);
}

/** Logit units to three significant digits, without exponents down to 0.0001. */
export function logitText(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4) return value.toExponential(1).replace(/-/g, MINUS);
  return fixed(value, Math.max(0, 2 - Math.floor(Math.log10(size))));
}

/** The same with a sign in front of positive values as well. */
export function signedText(value) {
  return (value > 0 ? "+" : "") + logitText(value);
}

export function percentText(fraction, digits = 1) {
  return fraction === null || fraction === undefined ? DASH : `${fixed(100 * fraction, digits)} %`;
}

/** "L 12.3" for a RAS coordinate: the letter of the side it lies on and the distance in mm. */
export function sideText(value, axis, digits = 1) {
  const letters = ["RL", "AP", "HF"][axis];
  return `${letters[value >= 0 ? 0 : 1]} ${Math.abs(value).toFixed(digits)}`;
}

export function positionText(pointMm, digits = 1, between = ", ") {
  return pointMm.map((value, axis) => sideText(value, axis, digits)).join(between);
}

/** Say something to people who cannot see the page. */
export function announce(text) {
  byId("announcer").textContent = text;
}
