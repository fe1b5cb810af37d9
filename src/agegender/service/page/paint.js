// Boxes and labels on a canvas, as the package's own drawing does it: blue and orange of Okabe and Ito's palette, apart
// for every kind of colour blindness. Sizes are in CSS pixels, so that text is as legible on a phone as over 8K.

import { word } from "./words.js";

const COLOURS = { male: "#0072b2", female: "#e69f00", unsure: "#6e6e6e" };
const INKS = { male: "#ffffff", female: "#000000", unsure: "#ffffff" };
const SMALLEST_TEXT = 11;
const LARGEST_TEXT = 17;
// A label may be so much wider than its face before a shorter form is taken, and hide so much of others.
const WIDEST = 2.3;
const MOST_HIDDEN = 0.35;

export function genderOf(face) {
  return face.gender ?? "unsure";
}

export function wholeYears(value) {
  return String(Math.round(value));
}

export function intervalText(face) {
  return face.age_interval ? `${wholeYears(face.age_interval[0])}–${wholeYears(face.age_interval[1])}` : "";
}

/** Return the words for a face, from the longest form to the shortest; what isn't known is left out. */
export function labelForms(face) {
  const age = face.age === null ? [] : [wholeYears(face.age)];
  const interval = face.age === null || !face.age_interval ? [] : [`(${intervalText(face)})`];
  const gender = face.gender === null ? [] : [word(face.gender)];
  const initial = face.gender === null ? [] : [word(face.gender === "male" ? "initialMale" : "initialFemale")];
  const forms = [[...gender, ...age, ...interval], [...gender, ...age], [...initial, ...age]];
  return [...new Set(forms.map((form) => form.join(" ")))].filter(Boolean);
}

/**
 * Draw `faces` on `canvas`, which lies over a picture of `width` x `height` pixels.
 *
 * `active` is the number of the face that stands out, null for none; `mirrored` where the picture is shown mirrored.
 */
export function paintFaces(canvas, faces, { width, height, active = null, mirrored = false }) {
  const size = fitCanvas(canvas);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, size.width, size.height);
  if (!faces.length || !size.width) return;
  const boxes = faces.map((face) => shownBox(face.box, { width, height, size, mirrored }));
  const line = Math.max(2, Math.min(3, Math.round(Math.min(size.width, size.height) / 200)));
  // The active one comes last, over all others.
  const order = faces.map((_, number) => number).filter((number) => number !== active);
  if (active !== null) order.push(active);
  for (const number of order) drawBox(context, boxes[number], genderOf(faces[number]), line, number === active);
  const taken = [];
  // The active face's label is placed first, and drawn in any case.
  for (const number of active === null ? order : [active, ...order.slice(0, -1)]) {
    const avoid = [...boxes.filter((_, other) => other !== number), ...taken];
    const chip = faces.length > 1 ? String(number + 1) : "";
    const area = drawLabel(context, faces[number], boxes[number], { size, line, avoid, chip, forced: number === active });
    if (area) taken.push(area);
  }
}

/** Give the canvas as many pixels as it covers on the screen; return its size in CSS pixels. */
export function fitCanvas(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height };
}

function shownBox([x1, y1, x2, y2], { width, height, size, mirrored }) {
  const [across, down] = [size.width / width, size.height / height];
  const left = mirrored ? size.width - x2 * across : x1 * across;
  const right = mirrored ? size.width - x1 * across : x2 * across;
  return {
    left: Math.round(Math.max(0, left)),
    top: Math.round(Math.max(0, y1 * down)),
    right: Math.round(Math.min(size.width, right)),
    bottom: Math.round(Math.min(size.height, y2 * down)),
  };
}

function drawBox(context, box, gender, line, active) {
  const area = [box.left, box.top, box.right - box.left, box.bottom - box.top];
  // A dark and a light rim: seen on any picture.
  context.lineJoin = "round";
  context.strokeStyle = active ? "#ffffff" : "rgb(0 0 0 / 55%)";
  context.lineWidth = line + (active ? 5 : 2);
  context.strokeRect(...area);
  context.strokeStyle = COLOURS[gender];
  context.lineWidth = line + (active ? 1.5 : 0);
  context.strokeRect(...area);
}

function drawLabel(context, face, box, { size, line, avoid, chip, forced }) {
  const text = Math.min(LARGEST_TEXT, Math.max(SMALLEST_TEXT, (box.right - box.left) / 7));
  context.font = `600 ${text}px system-ui, "Noto Sans CJK SC", sans-serif`;
  context.textBaseline = "middle";
  const [margin, high] = [text * 0.4, Math.round(text * 1.45)];
  const chipWidth = chip ? context.measureText(chip).width + 2 * margin : 0;
  const forms = labelForms(face);
  let best = null;
  for (const form of forms) {
    const wide = chipWidth + context.measureText(form).width + 2 * margin;
    if (wide > size.width || (wide > WIDEST * (box.right - box.left) && form !== forms.at(-1) && !forced)) continue;
    const found = placed(box, { wide, high, size, line, avoid });
    if (!best || found.hidden < best.hidden) best = { ...found, form, wide };
    if (best.hidden === 0 || forced) break;
  }
  // A label that would hide its neighbours is left out until its face is pointed at.
  if (!best || (!forced && best.hidden > MOST_HIDDEN * best.wide * high)) return null;
  const { left, top } = best.area;
  const gender = genderOf(face);
  context.fillStyle = COLOURS[gender];
  context.fillRect(left, top, best.wide, high);
  if (chip) {
    context.fillStyle = "rgb(0 0 0 / 80%)";
    context.fillRect(left, top, chipWidth, high);
    context.fillStyle = "#ffffff";
    context.fillText(chip, left + margin, top + high / 2 + 0.5);
  }
  context.fillStyle = INKS[gender];
  context.fillText(best.form, left + chipWidth + margin, top + high / 2 + 0.5);
  return best.area;
}

/** Return where a label goes, above the box, below, beside or inside it, and how much it hides of others there. */
function placed(box, { wide, high, size, line, avoid }) {
  const half = line / 2;
  const [left, top, right, bottom] = [box.left - half, box.top - half, box.right + half, box.bottom + half];
  const middle = (left + right - wide) / 2;
  const across = [left, right - wide, middle];
  // Far to one side it would seem to be the neighbour's.
  if (wide > 1.4 * (right - left)) across.sort((one, other) => (other === middle) - (one === middle));
  const wishes = [
    ...across.map((x) => [x, top - high]),
    ...across.map((x) => [x, bottom]),
    [right, top],
    [left - wide, top],
    [right, bottom - high],
    [left - wide, bottom - high],
    [left, bottom - high],
    [left, top],
  ];
  let best = null;
  for (const [wishX, wishY] of wishes) {
    const x = Math.min(Math.max(wishX, 0), size.width - wide);
    const y = Math.min(Math.max(wishY, 0), size.height - high);
    const area = { left: x, top: y, right: x + wide, bottom: y + high };
    const hidden = avoid.reduce((sum, other) => sum + shared(area, other), 0);
    // Hiding the own face counts too, but less than covering a neighbour's.
    const cost = 3 * hidden + shared(area, box);
    if (!best || cost < best.cost) best = { area, hidden, cost };
  }
  return best;
}

function shared(one, other) {
  const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
  const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
  return wide > 0 && high > 0 ? wide * high : 0;
}
