// Small helpers around the document.

import { word } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element with attributes (`text` is its text, `on` its listeners by event) and children. */
export function make(tag, { text, on = {}, ...attributes } = {}, ...children) {
  return filled(document.createElement(tag), { text, on, attributes, children });
}

/** Return a new SVG element; as `make`. */
export function draw(tag, { text, ...attributes } = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), { text, on: {}, attributes, children });
}

function filled(element, { text, on, attributes, children }) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  for (const [event, react] of Object.entries(on)) element.addEventListener(event, react);
  element.append(...children);
  return element;
}

/** Say something to screen readers, without taking the focus. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** Show a line about what went wrong with the page itself; an empty one takes it away. */
export function showProblem(text = "") {
  const place = document.getElementById("problem");
  place.textContent = text;
  place.hidden = !text;
}

/** Let the browser save `blob` as a file. */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export function saveJson(value, name) {
  saveFile(new Blob([`${JSON.stringify(value, null, 1)}\n`], { type: "application/json" }), name);
}

/** Return a button whose words follow the language. */
export function button(key, react, attributes = {}) {
  return make("button", { type: "button", "data-word": key, text: word(key), on: { click: react }, ...attributes });
}
