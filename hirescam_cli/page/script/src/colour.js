// Colours of the scan and of the evidence over it; the same laws as in the pictures.

const LEVELS = 256;
export const UNSEEN = { grey: 76, contrast: 0.38, hatch: 26, every: 11 };

/** A ramp of 256 colours from its hexadecimal digits, as bytes r, g, b, r, g, b, ... */
export function rampOf(digits) {
  const bytes = new Uint8ClampedArray(3 * LEVELS);
  for (let n = 0; n < bytes.length; n++) bytes[n] = parseInt(digits.slice(2 * n, 2 * n + 2), 16);
  return bytes;
}

/** Opacity for each of 256 strengths: grows from 0, steeply at first. */
export function opacityTable(opacity) {
  const table = new Uint8ClampedArray(LEVELS);
  for (let n = 0; n < LEVELS; n++) table[n] = 255 * opacity * (1 - (1 - n / (LEVELS - 1)) ** 2);
  return table;
}

/** CSS gradient of the evidence's colours from `from` to `to` of the scale's limit (-1 .. 1). */
export function rampGradient(ramps, from, to) {
  const stops = [];
  for (let n = 0; n <= 32; n++) {
    const t = from + ((to - from) * n) / 32;
    const ramp = t < 0 ? ramps.negative : ramps.positive;
    const at = 3 * Math.round(Math.abs(t) * (LEVELS - 1));
    stops.push(`rgb(${ramp[at]} ${ramp[at + 1]} ${ramp[at + 2]})`);
  }
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

/** 256 pixels (little-endian r, g, b, opacity) of a ramp. */
export function colourTable(ramp, alpha) {
  const table = new Uint32Array(LEVELS);
  for (let n = 0; n < LEVELS; n++) {
    table[n] = ((alpha[n] << 24) | (ramp[3 * n + 2] << 16) | (ramp[3 * n + 1] << 8) | ramp[3 * n]) >>> 0;
  }
  return table;
}
