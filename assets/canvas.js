// The live canvas: sends wishes, shows frames. The newest wish wins on both sides of the wire; a few are on their way at
// once, frames older than the last one shown are dropped. A WebSocket carries them, or Gradio's server function where none connects.
import { dismiss, notice, open, socketUrl, wishByCall } from "./studio.js";

const IN_FLIGHT = 4;
const HEADER_BYTES = 12;
const RAW = 0;
const PIXEL_ART = 48;
const SMOOTH_PX = 256;
const REST_MS = 150;
const LONG_MS = 350;
const MIME = { 1: "image/jpeg", 2: "image/webp" };

export class LiveCanvas {
  constructor(view, { onframe = () => {} } = {}) {
    this.view = view;
    this.context = view.getContext("2d");
    this.onframe = onframe;
    this.stamp = 0;
    this.shown = 0;
    this.draft = false; // what is shown is a draft of half the size; the full picture follows
    this.askedAt = -Infinity;
    this.underway = new Map(); // stamp -> time of asking
    this.wish = null;
    this.connect();
  }

  async connect() {
    await open();
    const socket = new WebSocket(socketUrl("live"));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { this.socket = socket; this.failures = 0; this.underway.clear(); this.send(); };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.receiveWord(JSON.parse(data)) : this.receiveFrame(data));
    socket.onclose = () => {
      this.socket = null;
      this.failures = (this.failures ?? 0) + 1;
      this.underway.clear();
      setTimeout(() => this.connect(), Math.min(500 * this.failures, 8000));
      this.send();
    };
  }

  /** Ask for a picture: {scene} or {time}. Only the newest unsent wish is kept. While the hand moves a draft will do. */
  ask(wish) {
    const now = performance.now();
    this.wish = { ...wish, stamp: ++this.stamp, moving: now - this.askedAt < REST_MS };
    this.askedAt = now;
    this.last = wish;
    clearTimeout(this.settling);
    this.send();
  }

  /** The last wish failed: once more, for nobody else will ask. */
  askAgain() {
    this.retried = this.stamp + 1;
    setTimeout(() => this.ask(this.last), 2 * REST_MS);
  }

  /** Show that a picture is on its way, if it takes long enough to be wondered at. */
  mark() {
    clearTimeout(this.marking);
    if (!this.underway.size) { this.view.classList.remove("drawing"); return; }
    const oldest = Math.min(...this.underway.values());
    this.marking = setTimeout(() => this.view.classList.add("drawing"), Math.max(0, oldest + LONG_MS - performance.now()));
  }

  /** After a draft: the full picture as soon as the hand rests. */
  settle() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.ask(this.last), REST_MS + 10);
  }

  send() {
    if (!this.wish || this.underway.size >= IN_FLIGHT) return;
    const bySocket = this.socket?.readyState === WebSocket.OPEN;
    if (!bySocket && (this.failures ?? 0) < 2) return; // the socket may still connect
    const { wish } = this;
    this.wish = null;
    this.underway.set(wish.stamp, performance.now());
    this.mark();
    if (bySocket) this.socket.send(JSON.stringify(wish));
    else this.sendByCall(wish);
  }

  async sendByCall(wish) {
    const answer = await wishByCall(JSON.stringify(wish));
    if (answer?.frame) this.receiveFrame(Uint8Array.from(atob(answer.frame), (letter) => letter.charCodeAt(0)).buffer);
    else this.receiveWord(answer ?? { stamp: wish.stamp, error: "The studio does not answer.", hint: "It may be restarting." });
  }

  receiveWord({ stamp, dropped, error, hint }) {
    this.underway.delete(stamp);
    if (!dropped && error && error !== this.complaint) notice(error, { hint, kind: "bad", about: "canvas" });
    if (!dropped) this.complaint = error;
    if (error && stamp === this.stamp && stamp !== this.retried) this.askAgain();
    this.mark();
    this.send();
  }

  async receiveFrame(buffer) {
    const header = new DataView(buffer, 0, HEADER_BYTES);
    const stamp = header.getUint32(0, true);
    const asked = this.underway.get(stamp);
    this.underway.delete(stamp);
    this.mark();
    this.send();
    if (stamp <= this.shown) return;
    this.shown = stamp;
    if (this.complaint) dismiss("canvas");
    this.complaint = null;
    this.draft = Boolean(header.getUint8(5));
    if (this.draft) this.settle();
    const [kind, width, height] = [header.getUint8(4), header.getUint16(6, true), header.getUint16(8, true)];
    const data = new Uint8Array(buffer, HEADER_BYTES);
    if (kind === RAW) {
      this.drawRaw(new ImageData(new Uint8ClampedArray(data), width, height));
    } else {
      const bitmap = await createImageBitmap(new Blob([data], { type: MIME[kind] }));
      if (stamp < this.shown) return;
      this.size(width, height);
      this.context.clearRect(0, 0, width, height);
      this.context.drawImage(bitmap, 0, 0);
    }
    this.onframe(stamp, performance.now() - asked);
  }

  /** Small pictures as they are while the hand moves; at rest, enlarged far more smoothly than the page itself would. */
  drawRaw(picture) {
    this.size(picture.width, picture.height);
    this.context.putImageData(picture, 0, 0);
    clearTimeout(this.resting);
    if (picture.width > PIXEL_ART && picture.width < SMOOTH_PX) this.resting = setTimeout(() => this.smooth(picture), REST_MS);
  }

  smooth(picture) {
    const { width, height } = picture;
    const factor = Math.floor(SMOOTH_PX / width);
    this.size(factor * width, factor * height);
    this.small ??= document.createElement("canvas").getContext("2d");
    Object.assign(this.small.canvas, { width, height });
    this.small.putImageData(picture, 0, 0);
    this.context.imageSmoothingQuality = "high";
    this.context.clearRect(0, 0, factor * width, factor * height);
    this.context.drawImage(this.small.canvas, 0, 0, factor * width, factor * height);
  }

  size(width, height) {
    if (this.view.width === width && this.view.height === height) return;
    this.view.width = width;
    this.view.height = height;
    this.view.classList.toggle("pixels", width <= PIXEL_ART);
  }
}
