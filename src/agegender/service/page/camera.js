// The browser's camera: one picture after another to the service, never two at a time.

import { analyze } from "./api.js";
import { errorText } from "./card.js";
import { announce, make, showProblem } from "./elements.js";
import { FacesView } from "./view.js";
import { word } from "./words.js";

// Milliseconds from one picture to the next, at least, and the longest side that is sent.
const PACE = 200;
const LONGEST = 640;
// Seconds between two sentences of a screen reader about how many faces there are.
const TALK = 4;

export class Camera {
  /** `host` takes the picture and the faces; `onToken()` is called where the service wants a token. */
  constructor(host, { onChange, onToken }) {
    Object.assign(this, { onChange, onToken });
    this.video = make("video", { playsinline: true, muted: true });
    this.video.muted = true;
    this.view = new FacesView(this.video);
    this.frame = make("canvas");
    this.stream = null;
    this.facing = "user";
    this.rate = null;
    this.told = { count: -1, at: 0 };
    host.append(this.view.stage, this.view.side);
  }

  get on() {
    return this.stream !== null;
  }

  /** Ask for the camera and begin. Says on the page why where that can't be. */
  async start() {
    showProblem();
    if (!navigator.mediaDevices?.getUserMedia) return showProblem(word("cameraInsecure"));
    try {
      const video = { facingMode: this.facing, width: { ideal: 1280 }, height: { ideal: 720 } };
      this.stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      return showProblem(word(error.name === "NotAllowedError" ? "cameraRefused" : "cameraMissing"));
    }
    const [track] = this.stream.getVideoTracks();
    track.addEventListener("ended", () => this.stop());
    // People know themselves from the mirror; a camera that looks away from them is no mirror.
    this.mirrored = track.getSettings().facingMode !== "environment";
    this.video.classList.toggle("mirrored", this.mirrored);
    this.video.srcObject = this.stream;
    await this.video.play();
    this.onChange(await this.#several());
    announce(word("cameraOn"));
    this.#loop(this.stream);
    return undefined;
  }

  stop() {
    if (!this.stream) return;
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = null;
    this.control?.abort();
    this.video.srcObject = null;
    this.view.show([], { width: 1, height: 1, name: word("camera") });
    this.onChange(false);
    announce(word("cameraOff"));
  }

  async turn() {
    this.facing = this.facing === "user" ? "environment" : "user";
    this.stop();
    await this.start();
  }

  /** Return what the camera sees now, at its full size, as a JPEG Blob. */
  take() {
    return this.#picture(Infinity);
  }

  async #several() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter((device) => device.kind === "videoinput").length > 1;
  }

  async #loop(stream) {
    while (this.stream === stream) {
      const begun = performance.now();
      let pause = PACE;
      try {
        if (this.video.videoWidth && !document.hidden) await this.#look(stream);
      } catch (error) {
        if (error.name === "AbortError" || this.stream !== stream) return;
        showProblem(errorText(error));
        if (error.status === 401) {
          this.stop();
          return this.onToken();
        }
        pause = 1000 * (error.retryAfter ?? 2);
      }
      const seconds = (performance.now() - begun) / 1000;
      this.#count(Math.max(seconds, pause / 1000));
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, pause - 1000 * seconds)));
    }
    return undefined;
  }

  async #look(stream) {
    this.control = new AbortController();
    const picture = await this.#picture(LONGEST);
    const answer = await analyze(picture, { signal: this.control.signal });
    if (this.stream !== stream) return;
    showProblem();
    const { width, height, faces } = answer.images[0];
    this.view.shape(width, height);
    this.view.show(faces, { width, height, name: word("camera"), mirrored: this.mirrored });
    const now = performance.now() / 1000;
    if (faces.length !== this.told.count && now - this.told.at > TALK) {
      this.told = { count: faces.length, at: now };
      announce(word("found", { name: word("camera"), faces: word("faces", { count: faces.length }) }));
    }
  }

  #picture(longest) {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, longest / Math.max(videoWidth, videoHeight));
    this.frame.width = Math.round(videoWidth * scale);
    this.frame.height = Math.round(videoHeight * scale);
    this.frame.getContext("2d").drawImage(this.video, 0, 0, this.frame.width, this.frame.height);
    return new Promise((resolve) => this.frame.toBlob(resolve, "image/jpeg", 0.9));
  }

  #count(seconds) {
    this.rate = this.rate === null ? 1 / seconds : 0.8 * this.rate + 0.2 / seconds;
    document.getElementById("camera-rate").textContent = word("cameraRate", { rate: this.rate.toFixed(1) });
  }
}
