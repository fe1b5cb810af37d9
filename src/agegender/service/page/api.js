// Requests to the service. The token lives in this variable alone.

let token = "";
let limits = {};

export class ServiceError extends Error {
  /** `cause` is the API's word, or one of ours: offline, unclear, swapped; `retryAfter` in seconds or null. */
  constructor(status, cause, message, retryAfter = null) {
    super(message);
    Object.assign(this, { status, cause, retryAfter });
  }
}

export function useToken(chosen) {
  token = chosen;
}

export function serviceLimits() {
  return limits;
}

/** Return what `/v1/models` says, and remember its limits. Throws ServiceError. */
export async function askModels() {
  const { document } = await send("v1/models", { method: "GET" });
  limits = document.limits ?? {};
  return document;
}

/**
 * Return the API's answer about one photo (a Blob), an object of `/v1/analyze` with one image.
 *
 * `annotated` asks for the picture with boxes too, for what the browser can't show. Throws ServiceError, and a
 * DOMException named AbortError after `signal` aborts.
 */
export async function analyze(photo, { annotated = false, lang = "en", signal, onProgress } = {}) {
  const query = new URLSearchParams({ distribution: "1" });
  if (annotated) {
    query.set("annotated", "jpeg");
    query.set("lang", lang);
  }
  const [{ document }, digest] = await Promise.all([
    send(`v1/analyze?${query}`, { body: photo, signal, onProgress }),
    digestOf(photo),
  ]);
  const image = document.images?.[0];
  if (!image?.faces) throw new ServiceError(200, "unclear", "");
  if (digest && image.sha256 !== digest) throw new ServiceError(200, "swapped", "");
  return document;
}

/** Return the photo (a Blob) with boxes and labels, as a JPEG Blob. Throws what `analyze` throws. */
export async function annotate(photo, { lang }) {
  const query = new URLSearchParams({ lang });
  const { blob } = await send(`v1/analyze?${query}`, { body: photo, accept: "image/jpeg", wanted: "blob" });
  return blob;
}

// XMLHttpRequest and not fetch, which tells no progress of what it sends.
function send(path, { method = "POST", body = null, accept = "application/json", wanted = "text", signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = wanted;
    request.setRequestHeader("Accept", accept);
    if (body) request.setRequestHeader("Content-Type", "application/octet-stream");
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    if (onProgress) request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    const abort = () => request.abort();
    signal?.addEventListener("abort", abort);
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onerror = () => reject(new ServiceError(0, "offline", ""));
    request.onload = async () => {
      const good = request.status === 200;
      if (good && wanted === "blob") return resolve({ blob: request.response });
      const text = wanted === "blob" ? await request.response.text() : request.response;
      const document = parsed(text);
      if (good && document) return resolve({ document });
      const problem = document?.error ?? { cause: "unclear", message: "" };
      const retry = Number.parseInt(request.getResponseHeader("Retry-After") ?? "", 10);
      reject(new ServiceError(request.status, problem.cause, problem.message, Number.isNaN(retry) ? null : retry));
    };
    if (signal?.aborted) return reject(new DOMException("cancelled", "AbortError"));
    request.send(body);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Return the SHA-256 in hexadecimal; null where the browser has no crypto (a page over plain http). */
async function digestOf(photo) {
  if (!window.crypto?.subtle) return null;
  const digest = await window.crypto.subtle.digest("SHA-256", await photo.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
