// Faces over a picture: boxes on a canvas, a place for the focus at each face, the ages of one, and a table of all.

import { ageChart } from "./chart.js";
import { make } from "./elements.js";
import { genderOf, intervalText, paintFaces, wholeYears } from "./paint.js";
import { word } from "./words.js";

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function percent(share) {
  return share === null ? "" : `${Math.round(100 * share)}%`;
}

/** What is told of one face, for screen readers. */
export function faceWords(face, number) {
  const words = [word("face", { number }), face.gender === null ? word("unsure") : word(face.gender)];
  if (face.age !== null) words.push(word("ageOf", { age: wholeYears(face.age) }));
  if (face.age_interval) {
    const [low, high] = face.age_interval.map(wholeYears);
    words.push(word("intervalOf", { low, high }));
  }
  return words.join(word("comma"));
}

export class FacesView {
  /** `picture` is the element that shows the picture: a canvas or a video. */
  constructor(picture) {
    this.faces = [];
    this.size = { width: 1, height: 1 };
    this.name = "";
    this.active = null;
    this.mirrored = false;
    this.drawn = false;
    this.canvas = make("canvas", { class: "boxes", "aria-hidden": "true" });
    this.spots = make("div", { class: "spots", role: "group", on: { keydown: (event) => this.#step(event) } });
    this.stage = make("div", { class: "stage" }, picture, this.canvas, this.spots);
    this.figure = make("div", { class: "figure" });
    this.rows = make("tbody");
    this.heads = ["number", "gender", "age", "interval", "score"].map((key) => {
      return make("th", { scope: "col", "data-word": key, text: word(key) });
    });
    this.table = make("table", {}, make("thead", {}, make("tr", {}, ...this.heads)), this.rows);
    this.scroller = make("div", { class: "rows", role: "region" }, this.table);
    this.hint = make("p", { class: "muted hint", "data-word": "hint", text: word("hint") });
    this.side = make("div", { class: "side", hidden: true }, this.figure, this.scroller, this.hint);
    this.observer = new ResizeObserver(() => this.paint());
    this.observer.observe(this.stage);
  }

  /** Show `faces` of a picture of `width` x `height` pixels; `drawn` where it has boxes already. */
  show(faces, { width, height, name, drawn = false, mirrored = false }) {
    Object.assign(this, { faces, size: { width, height }, name, drawn, mirrored });
    if (!faces.length) this.active = null;
    else this.active = Math.min(this.active ?? 0, faces.length - 1);
    this.side.hidden = !faces.length;
    for (const each of [this.table, this.scroller]) each.setAttribute("aria-label", word("tableOf", { name }));
    this.hint.hidden = faces.length < 2;
    this.#fillRows();
    // What scrolls has to be reached by keys, too.
    this.scroller.tabIndex = this.scroller.scrollHeight > this.scroller.clientHeight ? 0 : -1;
    this.#placeSpots();
    this.#chart();
    this.paint();
  }

  /** Give the picture's place its shape before anything is known of its faces. */
  shape(width, height) {
    const ratio = width / height;
    this.stage.style.aspectRatio = `${width} / ${height}`;
    // Small pictures are enlarged, to twice their size at most; no picture is higher than most of the window.
    const most = Math.max(280, 2 * width);
    this.stage.style.width = `min(100%, ${most}px, ${(76 * ratio).toFixed(2)}vh)`;
  }

  select(number, { focus = false } = {}) {
    if (focus) this.spots.children[number].focus();
    if (number === this.active) return;
    this.active = number;
    this.#mark();
    this.#chart();
    this.paint();
  }

  paint() {
    const faces = this.drawn ? [] : this.faces;
    const active = this.faces.length > 1 ? this.active : null;
    paintFaces(this.canvas, faces, { ...this.size, active, mirrored: this.mirrored });
  }

  /** Say everything again, in the language of now. */
  translate() {
    if (this.faces.length) this.show(this.faces, { ...this.size, name: this.name, drawn: this.drawn, mirrored: this.mirrored });
    else this.paint();
  }

  close() {
    this.observer.disconnect();
  }

  #chart() {
    this.figure.replaceChildren();
    if (this.active !== null) this.figure.append(ageChart(this.faces[this.active], this.active + 1));
  }

  // Elements are kept from one picture of the camera to the next: the focus stays where it is.
  #placeSpots() {
    const { width, height } = this.size;
    this.spots.setAttribute("aria-label", word("facesOf", { name: this.name }));
    while (this.spots.children.length > this.faces.length) this.spots.lastElementChild.remove();
    while (this.spots.children.length < this.faces.length) {
      const number = this.spots.children.length;
      const select = () => this.select(number);
      const on = { focus: select, pointerenter: select, click: () => this.select(number, { focus: true }) };
      this.spots.append(make("button", { type: "button", class: "spot", on }));
    }
    this.faces.forEach((face, number) => {
      const spot = this.spots.children[number];
      const [x1, y1, x2, y2] = face.box;
      const left = this.mirrored ? width - x2 : x1;
      spot.style.left = `${(100 * left) / width}%`;
      spot.style.top = `${(100 * y1) / height}%`;
      spot.style.width = `${(100 * (x2 - x1)) / width}%`;
      spot.style.height = `${(100 * (y2 - y1)) / height}%`;
      spot.setAttribute("aria-label", faceWords(face, number + 1));
    });
    this.#mark();
  }

  #fillRows() {
    while (this.rows.children.length > this.faces.length) this.rows.lastElementChild.remove();
    while (this.rows.children.length < this.faces.length) {
      const number = this.rows.children.length;
      const cells = [1, 2, 3, 4].map(() => make("td"));
      const select = () => this.select(number);
      this.rows.append(make("tr", { on: { pointerenter: select, click: select } }, make("th", { scope: "row" }), ...cells));
    }
    this.faces.forEach((face, number) => {
      const [head, gender, age, interval, score] = this.rows.children[number].children;
      head.replaceChildren(make("span", { class: `number ${genderOf(face)}`, text: String(number + 1) }));
      gender.replaceChildren(
        `${face.gender === null ? word("unsure") : word(face.gender)} `,
        make("span", { class: "muted", text: percent(face.gender_probability) }),
      );
      age.textContent = face.age === null ? "" : wholeYears(face.age);
      interval.textContent = intervalText(face);
      score.textContent = percent(face.score);
    });
  }

  #mark() {
    for (const [number, spot] of [...this.spots.children].entries()) {
      // One stop of the tab key for the picture; arrows go on from there.
      spot.tabIndex = number === this.active ? 0 : -1;
      spot.setAttribute("aria-current", String(number === this.active));
    }
    for (const [number, row] of [...this.rows.children].entries()) row.classList.toggle("active", number === this.active);
  }

  #step(event) {
    const last = this.faces.length - 1;
    const ends = { Home: 0, End: last };
    if (!(event.key in STEPS) && !(event.key in ends)) return;
    event.preventDefault();
    const next = ends[event.key] ?? (this.active + STEPS[event.key] + last + 1) % (last + 1);
    this.select(next, { focus: true });
  }
}
