// One photo: its way to the service, and what came back.

import { ServiceError, analyze, annotate, serviceLimits } from "./api.js";
import { announce, button, make, saveFile, saveJson } from "./elements.js";
import { fitCanvas } from "./paint.js";
import { turnsUnsurely } from "./upright.js";
import { FacesView } from "./view.js";
import { currentLanguage, problemText, word } from "./words.js";

const MOST_TRIES = 8;
let cards = 0;

/** Return the words for what went wrong. */
export function errorText(error) {
  if (!(error instanceof ServiceError)) return String(error.message ?? error);
  if (["offline", "swapped"].includes(error.cause) || !error.message) return word(error.cause) ?? word("unclear");
  return problemText(error);
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

export class Card {
  /**
   * `photo` is a Blob, `named` returns its name in the language of now. `onRemove(card)` is called when it goes,
   * `onAgain(card)` where it should be sent again, `onToken()` where the service wants a token.
   */
  constructor(photo, named, { onRemove, onAgain, onToken }) {
    Object.assign(this, { photo, named, onAgain, onToken });
    cards += 1;
    this.document = null;
    this.state = "waiting";
    this.problem = null;
    this.told = () => word("waiting");
    this.image = null;
    this.picture = make("canvas", { class: "picture", role: "img" });
    this.view = new FacesView(this.picture);
    this.title = make("h3", { id: `card-${cards}` });
    this.about = make("p", { class: "about" });
    this.bar = make("progress", { max: 100, "aria-labelledby": `card-${cards}` });
    this.wait = make("div", { class: "wait" }, make("span", { class: "told" }), this.bar);
    this.failure = make("p", { class: "problem", hidden: true });
    this.buttons = {
      cancel: button("cancel", () => this.cancel()),
      again: button("again", () => onAgain(this), { hidden: true }),
      picture: button("picture", () => this.#savePicture(), { hidden: true }),
      save: button("save", () => saveJson(this.json(), `${this.#stem()}.json`), { hidden: true }),
      remove: button("remove", () => onRemove(this), { hidden: true, class: "quiet" }),
    };
    this.element = make(
      "article",
      { class: "panel card", "aria-labelledby": `card-${cards}`, tabindex: "-1" },
      make("div", { class: "head" }, make("div", { class: "names" }, this.title, this.about), make("span", { class: "row" }, ...Object.values(this.buttons))),
      this.wait,
      this.failure,
      make("div", { class: "body" }, this.view.stage, this.view.side),
    );
    this.view.stage.hidden = true;
    this.observer = new ResizeObserver(() => this.#paintPicture());
    this.observer.observe(this.view.stage);
    this.shown = this.#showFile();
    this.translate();
  }

  get name() {
    return this.named();
  }

  /** Wait for its turn. */
  rest() {
    this.#enter("waiting", () => word("waiting"));
  }

  /** Send it; returns when it is answered, has failed or was cancelled. */
  async run() {
    this.control = new AbortController();
    this.#enter("sending", () => word("sending", { percent: 0 }));
    try {
      this.#checkSize();
      // What the browser can't show, or may turn otherwise than the service, the service draws.
      await this.#ask({ annotated: !(await this.shown) || (await turnsUnsurely(this.photo)) });
      this.#enter("done");
      announce(word("found", { name: this.name, faces: this.#count() }));
    } catch (error) {
      if (error.name === "AbortError") this.#fail("cancelled", () => word("cancelled"));
      else this.#fail("failed", () => errorText(error));
      this.wantsToken = error.status === 401;
      if (this.wantsToken) this.onToken();
    }
  }

  cancel() {
    this.control?.abort();
    if (this.state === "waiting") this.#fail("cancelled", () => word("cancelled"));
    this.element.focus();
  }

  /** Let go of the picture. */
  close() {
    this.control?.abort();
    this.view.close();
    this.observer.disconnect();
    this.image = null;
  }

  /** Return the answer as the API gave it, with the photo's name. */
  json() {
    return { ...this.document, images: this.document.images.map((image) => ({ ...image, name: this.name })) };
  }

  translate() {
    this.title.textContent = this.name;
    for (const [key, each] of Object.entries(this.buttons)) {
      each.textContent = word(key);
      each.setAttribute("aria-label", word(`${key}Named`, { name: this.name }));
    }
    this.view.translate();
    this.#tell();
  }

  async #ask({ annotated }) {
    const document = await this.#patiently(annotated);
    const [found] = document.images;
    const { width, height, faces } = found;
    if (found.annotated) {
      await this.#load(`data:${found.annotated.media_type};base64,${found.annotated.data}`);
      delete found.annotated;
    } else if (this.image.naturalWidth !== width || this.image.naturalHeight !== height) {
      // The browser turns it otherwise than the service: boxes would be at the wrong place.
      return this.#ask({ annotated: true });
    }
    this.document = document;
    this.view.stage.hidden = false;
    this.view.show(faces, { width, height, name: this.name, drawn: annotated });
    return undefined;
  }

  /** Ask; where the service is busy, wait as long as it says and ask again. */
  async #patiently(annotated) {
    const onProgress = (sent, all) => {
      if (sent >= all) return this.#enter("looking", () => word("looking"));
      const percent = Math.floor((100 * sent) / all);
      this.bar.value = percent;
      return this.#enter("sending", () => word("sending", { percent }));
    };
    for (let tries = 1; ; tries += 1) {
      try {
        return await analyze(this.photo, { annotated, lang: currentLanguage(), signal: this.control.signal, onProgress });
      } catch (error) {
        if (error.retryAfter === undefined || error.retryAfter === null || tries === MOST_TRIES) throw error;
        await this.#pause(error.retryAfter);
      }
    }
  }

  async #pause(seconds) {
    this.#enter("busy", () => word("busy", { seconds }));
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000 * seconds);
      this.control.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(new DOMException("cancelled", "AbortError"));
      });
    });
  }

  #checkSize() {
    const most = serviceLimits().max_body;
    // A browser that sends more than is taken often sees the connection end, and not the answer.
    if (most && this.photo.size > most * 1e6) {
      throw new Error(word("tooLarge", { size: megabytes(this.photo.size), most }));
    }
    if (!this.photo.size) throw new Error(word("empty"));
  }

  async #showFile() {
    const address = URL.createObjectURL(this.photo);
    try {
      await this.#load(address);
      return true;
    } catch {
      return false;
    } finally {
      URL.revokeObjectURL(address);
    }
  }

  async #load(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    this.image = image;
    this.view.shape(image.naturalWidth, image.naturalHeight);
    this.view.stage.hidden = false;
    this.#paintPicture();
  }

  #paintPicture() {
    if (!this.image) return;
    const { width, height } = fitCanvas(this.picture);
    if (!width) return;
    const context = this.picture.getContext("2d");
    // As the service does: what shines through is white, and of an animation there is the first picture.
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image, 0, 0, width, height);
  }

  #enter(state, told = () => "") {
    Object.assign(this, { state, told, problem: null });
    this.#tell();
  }

  #fail(state, problem) {
    Object.assign(this, { state, problem });
    this.#tell();
    announce(word("failed", { name: this.name, problem: problem() }));
  }

  #tell() {
    const ended = ["done", "failed", "cancelled"].includes(this.state);
    this.element.dataset.state = this.state;
    this.element.setAttribute("aria-busy", String(!ended));
    this.wait.hidden = ended;
    if (!ended) this.wait.firstElementChild.textContent = this.told();
    if (this.state !== "sending") this.bar.removeAttribute("value");
    this.failure.hidden = this.problem === null;
    this.failure.textContent = this.problem === null ? "" : this.problem();
    this.buttons.cancel.hidden = ended;
    this.buttons.again.hidden = !ended || this.state === "done";
    this.buttons.remove.hidden = !ended;
    this.buttons.save.hidden = this.buttons.picture.hidden = this.state !== "done";
    this.about.textContent = "";
    let label = this.name;
    if (this.state === "done") {
      const { width, height, timing } = this.document.images[0];
      const seconds = ((timing?.total_ms ?? 0) / 1000).toFixed(2);
      this.about.append(make("strong", { text: this.#count() }), ` · ${word("details", { width, height, seconds })}`);
      label = word("pictureOf", { name: this.name, faces: this.#count() });
    }
    this.picture.setAttribute("aria-label", label);
  }

  #count() {
    return word("faces", { count: this.document.images[0].faces.length });
  }

  #stem() {
    return this.name.replace(/\.[^.]*$/, "") || "faces";
  }

  async #savePicture() {
    this.buttons.picture.disabled = true;
    try {
      saveFile(await annotate(this.photo, { lang: currentLanguage() }), `${this.#stem()}.faces.jpg`);
    } catch (error) {
      this.failure.textContent = errorText(error);
      this.failure.hidden = false;
    }
    this.buttons.picture.disabled = false;
  }
}
