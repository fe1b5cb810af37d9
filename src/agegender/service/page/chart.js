// The distribution of one face's age, as a drawing with the same told in words.

import { draw, make } from "./elements.js";
import { genderOf, intervalText, wholeYears } from "./paint.js";
import { word } from "./words.js";

const WIDE = 340;
const HIGH = 132;
const [LEFT, RIGHT, TOP, GROUND] = [12, 326, 8, 108];
const TICKS = [0, 20, 40, 60, 80, 100];

function across(age, oldest) {
  return LEFT + ((RIGHT - LEFT) * age) / oldest;
}

/** Return a figure about `face`, the `number`th (from 1) of its picture. */
export function ageChart(face, number) {
  const figure = make("figure", { class: `chart ${genderOf(face)}` });
  const told = [face.gender === null ? word("unsure") : word(face.gender)];
  if (face.age !== null) told.push(word("ageOf", { age: wholeYears(face.age) }));
  const caption = make(
    "figcaption",
    {},
    make("span", { class: "number", text: String(number) }),
    make("strong", { text: told.join(word("comma")) }),
  );
  if (face.age_interval) {
    const [low, high] = face.age_interval.map(wholeYears);
    caption.append(make("span", { class: "muted", text: word("intervalOf", { low, high }) }));
  }
  figure.append(caption);
  if (face.age === null) {
    figure.append(make("p", { class: "muted", text: word("noAge") }));
    return figure;
  }
  figure.append(drawing(face, number));
  if (!face.age_distribution) figure.append(make("p", { class: "muted", text: word("noDistribution") }));
  return figure;
}

function drawing(face, number) {
  const mass = face.age_distribution;
  const oldest = Math.max(100, mass ? mass.length - 1 : 0);
  const words = [word("chart", { number })];
  if (mass) words.push(word("chartPeak", { peak: mass.indexOf(Math.max(...mass)) }));
  if (face.age_interval) words.push(intervalText(face));
  const picture = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": words.join(word("comma")) });
  if (face.age_interval) {
    const [from, to] = face.age_interval.map((age) => across(Math.min(Math.max(age, 0), oldest), oldest));
    picture.append(draw("rect", { class: "interval", x: from, y: TOP, width: Math.max(1, to - from), height: GROUND - TOP }));
  }
  if (mass) {
    const most = Math.max(...mass, 1e-9);
    const points = mass.map((share, age) => {
      return `${across(age, oldest).toFixed(1)} ${(GROUND - (0.94 * (GROUND - TOP) * share) / most).toFixed(1)}`;
    });
    const line = `M${points.join("L")}`;
    picture.append(draw("path", { class: "mass", d: `${line}L${RIGHT} ${GROUND}L${LEFT} ${GROUND}Z` }));
    picture.append(draw("path", { class: "edge", d: line }));
  }
  const x = across(Math.min(Math.max(face.age, 0), oldest), oldest);
  picture.append(draw("line", { class: "age", x1: x, x2: x, y1: TOP, y2: GROUND }));
  picture.append(draw("line", { class: "ground", x1: LEFT, x2: RIGHT, y1: GROUND, y2: GROUND }));
  for (const tick of TICKS) {
    const place = across(tick, oldest);
    picture.append(draw("line", { class: "ground", x1: place, x2: place, y1: GROUND, y2: GROUND + 4 }));
    picture.append(draw("text", { x: place, y: GROUND + 18, "text-anchor": "middle", text: String(tick) }));
  }
  return picture;
}
