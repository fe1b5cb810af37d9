// Which photos all browsers turn upright as the service does: JPEGs, and those that don't ask for it.

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const EXIF_IN_WEBP = 0x08;

function nameAt(bytes, place) {
  return String.fromCharCode(...bytes.subarray(place, place + 4));
}

/** Return whether `photo` (a Blob) is a PNG or WebP with EXIF, whose orientation some browsers follow, others not. */
export async function turnsUnsurely(photo) {
  const head = new Uint8Array(await photo.slice(0, 32).arrayBuffer());
  if (nameAt(head, 0) === "RIFF" && nameAt(head, 8) === "WEBP") {
    return nameAt(head, 12) === "VP8X" && (head[20] & EXIF_IN_WEBP) !== 0;
  }
  if (!PNG.every((byte, place) => head[place] === byte)) return false;
  const bytes = new Uint8Array(await photo.arrayBuffer());
  const view = new DataView(bytes.buffer);
  // Length, name, data and checksum of each part of the file.
  for (let place = PNG.length; place + 12 <= bytes.length; place += 12 + view.getUint32(place)) {
    if (nameAt(bytes, place + 4) === "eXIf") return true;
  }
  return false;
}
