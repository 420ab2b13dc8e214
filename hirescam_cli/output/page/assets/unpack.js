// The inverse of encode.py: base64, deflate, byte planes, differences.

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
async function unpackScan(description) {
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

/** The float32 values [label, s, y, x] of one method. */
async function unpackMap(id) {
  const bytes = await bytesOfBlock(id);
  const count = bytes.length / 4;
  const joined = new Uint8Array(bytes.length);
  for (let plane = 0; plane < 4; plane++) {
    for (let n = 0; n < count; n++) joined[4 * n + plane] = bytes[plane * count + n];
  }
  return new Float32Array(joined.buffer);
}
