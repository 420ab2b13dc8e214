// The inverse of encode.py: base64, deflate, byte planes, differences.

import { byId } from "./dom.js";

function bytesOfBase64(text) {
  if (typeof Uint8Array.fromBase64 === "function") return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = binary.charCodeAt(n);
  return bytes;
}

/** The inflated bytes of the data block `id`; the block is emptied, its text is not needed twice. */
async function bytesOfBlock(id) {
  const block = byId(id);
  const packed = bytesOfBase64(block.textContent);
  block.textContent = "";
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** HU of every voxel, z slowest and x fastest. */
export async function unpackScan(description) {
  const bytes = await bytesOfBlock("scan");
  const count = bytes.length / 2;
  const hu = new Int16Array(count);
  const step = description.step;
  let stored = 0;
  for (let n = 0; n < count; n++) {
    const folded = bytes[n] | (bytes[count + n] << 8);
    stored = ((stored + ((folded >>> 1) ^ -(folded & 1))) << 16) >> 16;
    hu[n] = stored * step;
  }
  return hu;
}

/** The values [label, s, y, x] of one method: float32, or whole multiples of a step for each label. */
export async function unpackMap({ id, shape, bits, steps }) {
  const bytes = await bytesOfBlock(id);
  const size = bits / 8;
  const count = bytes.length / size;
  const joined = new Uint8Array(bytes.length);
  for (let plane = 0; plane < size; plane++) {
    for (let n = 0; n < count; n++) joined[size * n + plane] = bytes[plane * count + n];
  }
  if (bits === 32) return new Float32Array(joined.buffer);
  const whole = bits === 16 ? new Int16Array(joined.buffer) : new Int8Array(joined.buffer);
  const values = Float32Array.from(whole);
  const cells = count / shape[0];
  for (let n = 0; n < count; n++) values[n] *= steps[Math.floor(n / cells)];
  return values;
}
