// The page: where photos come in, and in what order they go to the service.

import { askModels, useToken } from "./api.js";
import { Camera } from "./camera.js";
import { Card, errorText } from "./card.js";
import { announce, saveJson, showProblem } from "./elements.js";
import { currentLanguage, onLanguage, setLanguage, translatePage, word } from "./words.js";

// Photos on their way at one time.
const AT_ONCE = 2;
const part = (id) => document.getElementById(id);
let cards = [];
const waiting = [];
let running = 0;
const counts = { pasted: 0, taken: 0 };

function add(photo, named) {
  showProblem();
  const card = new Card(photo, named, { onRemove: remove, onAgain: enqueue, onToken: wantToken });
  cards.push(card);
  part("cards").prepend(card.element);
  showHead();
  enqueue(card);
}

function addFiles(files) {
  // The first one ends up on top.
  for (const file of [...files].reverse()) add(file, () => file.name);
}

function enqueue(card) {
  card.rest();
  waiting.push(card);
  pump();
}

function pump() {
  while (running < AT_ONCE && waiting.length) {
    const card = waiting.shift();
    // One that was cancelled or removed while it waited.
    if (!cards.includes(card) || card.state !== "waiting") continue;
    running += 1;
    card.run().finally(() => {
      running -= 1;
      pump();
    });
  }
}

function remove(card) {
  const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
  card.close();
  card.element.remove();
  cards = cards.filter((each) => each !== card);
  showHead();
  // The focus doesn't fall back to the top of the page.
  (next ?? part("results")).focus();
}

function showHead() {
  part("results-head").hidden = !cards.length;
  document.body.classList.toggle("some", cards.length > 0 || !part("camera").hidden);
}

function saveAll() {
  const done = cards.filter((card) => card.document).map((card) => card.json());
  const images = done.flatMap((each) => each.images).reverse();
  saveJson({ model: done[0]?.model ?? null, images: images.map((image, index) => ({ ...image, index })) }, "faces.json");
}

async function greet() {
  try {
    const { models, version } = await askModels();
    part("model").textContent = `· ${models.map((model) => model.name).join(" + ")} · ${version}`;
    return true;
  } catch (error) {
    if (error.status === 401) wantToken();
    else showProblem(errorText(error));
    return false;
  }
}

function wantToken() {
  if (!part("token").hidden) return;
  part("token").hidden = false;
  part("token-field").focus();
}

async function takeToken(event) {
  event.preventDefault();
  useToken(part("token-field").value.trim());
  showProblem();
  if (await greet()) {
    part("token").hidden = true;
    part("token-field").value = "";
    for (const card of cards) if (card.wantsToken) enqueue(card);
    part("file").focus();
  } else if (part("problem").hidden) {
    showProblem(word("tokenWrong"));
    part("token-field").select();
  }
}

function listenForPhotos() {
  part("file").addEventListener("change", (event) => {
    addFiles(event.target.files);
    // So that the same file can be chosen again.
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input")?.type === "password") return;
    const files = [...(event.clipboardData?.files ?? [])];
    for (const file of files) {
      counts.pasted += 1;
      const number = counts.pasted;
      // Browsers call every picture from the clipboard image.png.
      add(file, file.name && file.name !== "image.png" ? () => file.name : () => word("pasted", { number }));
    }
    if (!files.length) showProblem(word("notFiles"));
  });
  let inside = 0;
  const veil = (change) => {
    inside = Math.max(0, inside + change);
    part("veil").hidden = inside === 0;
  };
  document.addEventListener("dragenter", () => veil(1));
  document.addEventListener("dragleave", () => veil(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    veil(-inside);
    const files = event.dataTransfer?.files ?? [];
    if (files.length) addFiles(files);
    else showProblem(word("notFiles"));
  });
}

function listenForCamera() {
  const camera = new Camera(part("camera-body"), {
    onToken: wantToken,
    onChange: (several) => {
      part("camera").hidden = !camera.on;
      showHead();
      part("camera-start").disabled = camera.on;
      part("camera-turn").hidden = !several;
      part(camera.on ? "camera-photo" : "camera-start").focus();
    },
  });
  part("camera-start").addEventListener("click", () => camera.start());
  part("camera-stop").addEventListener("click", () => camera.stop());
  part("camera-turn").addEventListener("click", () => camera.turn());
  part("camera-photo").addEventListener("click", async () => {
    const photo = await camera.take();
    counts.taken += 1;
    const number = counts.taken;
    add(photo, () => word("taken", { number }));
  });
  return camera;
}

function listenForLanguage(camera) {
  const buttons = [...document.querySelectorAll("[data-language]")];
  for (const each of buttons) each.addEventListener("click", () => setLanguage(each.dataset.language));
  onLanguage(() => {
    translatePage();
    // What was said, was said in the other language.
    announce("");
    showProblem();
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.language === currentLanguage()));
    for (const card of cards) card.translate();
    camera.view.translate();
  });
}

part("token").addEventListener("submit", takeToken);
part("save-all").addEventListener("click", saveAll);
part("clear").addEventListener("click", () => {
  for (const card of [...cards]) remove(card);
  part("file").focus();
});
listenForPhotos();
listenForLanguage(listenForCamera());
greet();
