// The map of seeds: an endless plane with a picture at every whole-numbered place. The player stands at its middle; between
// places neighbouring seeds blend. Drag it, throw it, click on a picture to glide there, or use the arrow keys.
import { playedModel } from "./cross.js";
import { attempt, clamp, debounce, h } from "./studio.js";

const CELL_PX = 76;
const TILE_PX = 64;
const FAINT = 0.45;
const MOST_KEPT = 1500;
const FEW_AT_ONCE = 3; // while the hand moves, so that the picture itself never waits long

/** The seed at a place of the map: the same formula as `latent.point.lattice_seed`. */
export function latticeSeed(origin, i, j) {
  if (i === 0 && j === 0) return origin;
  let mixed = Math.imul(origin ^ i, 0x9e3779b1) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 15) ^ j, 0x85ebca77) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae3d) >>> 0;
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** The seeds around a place with bilinear weights: the same as `latent.point.seed_pad`. */
export function seedsAt(x, y, origin) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, down] = [x - left, y - top];
  return [[0, 0, (1 - right) * (1 - down)], [1, 0, right * (1 - down)], [0, 1, (1 - right) * down], [1, 1, right * down]]
    .filter(([, , weight]) => weight > 1e-6)
    .map(([i, j, weight]) => ({ seed: latticeSeed(origin, left + i, top + j), weight }));
}

export class SeedMap {
  /** `place()` -> {x, y, origin}; `move(x, y, final)`; `tile(seed)` -> {model, point} of a thumbnail; `key()` names what thumbnails depend on; `atOnce()` how many to ask for at a time. */
  constructor({ place, move, tile, key, atOnce }) {
    Object.assign(this, { place, move, tile, key, atOnce });
    this.tiles = new Map();
    this.before = new Map(); // the same seeds as they were before the last change, until they are drawn anew
    this.moved = 0;
    this.wanted = new Map(); // seed -> how far from the middle: near ones come first
    this.canvas = h("canvas.map", { id: "seed-map", tabIndex: 0, role: "application", ariaLabel: "Map of seeds: drag, or use the arrow keys" });
    this.context = this.canvas.getContext("2d");
    this.fetch = debounce(60, () => this.fetchTiles());
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  listen() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      cancelAnimationFrame(this.gliding);
      from = { x: event.clientX, y: event.clientY, place: this.place(), moved: 0, trail: [] };
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      from.moved = Math.max(from.moved, Math.hypot(dx, dy));
      from.trail = [...from.trail.slice(-4), { x: event.clientX, y: event.clientY, time: event.timeStamp }];
      if (from.moved > 3) this.move(from.place.x - dx / CELL_PX, from.place.y - dy / CELL_PX, false);
    });
    const release = (event) => {
      if (!from) return;
      const gesture = from;
      from = null;
      if (gesture.moved <= 3) this.glideToClick(event);
      else this.throwOn(gesture.trail, event.timeStamp);
    };
    this.canvas.addEventListener("pointerup", release);
    this.canvas.addEventListener("pointercancel", release);
  }

  glideToClick(event) {
    const box = this.canvas.getBoundingClientRect();
    const { x, y } = this.place();
    const target = { x: Math.round(x + (event.clientX - box.left - box.width / 2) / CELL_PX), y: Math.round(y + (event.clientY - box.top - box.height / 2) / CELL_PX) };
    this.glideTo(target.x, target.y);
  }

  glideTo(x, y) {
    cancelAnimationFrame(this.gliding);
    const begin = this.place();
    const start = performance.now();
    const length = clamp(250 + 160 * Math.hypot(x - begin.x, y - begin.y), 300, 900);
    const step = (now) => {
      const t = clamp((now - start) / length, 0, 1);
      const eased = t * t * (3 - 2 * t);
      this.move(begin.x + (x - begin.x) * eased, begin.y + (y - begin.y) * eased, t === 1);
      if (t < 1) this.gliding = requestAnimationFrame(step);
    };
    this.gliding = requestAnimationFrame(step);
  }

  /** Let go of the map in motion and it slides on, slower and slower. */
  throwOn(trail, now) {
    const [first, last] = [trail[0], trail.at(-1)];
    const { x, y } = this.place();
    const elapsed = last && first ? last.time - first.time : 0;
    if (elapsed < 8 || now - last.time > 60) return this.move(x, y, true);
    const speed = { x: -(last.x - first.x) / elapsed / CELL_PX, y: -(last.y - first.y) / elapsed / CELL_PX };
    if (Math.hypot(speed.x, speed.y) < 0.0012) return this.move(x, y, true);
    const start = performance.now();
    const reach = 320;
    const step = (time) => {
      const gone = 1 - Math.exp(-(time - start) / reach);
      const done = gone > 0.99;
      this.move(x + speed.x * reach * gone, y + speed.y * reach * gone, done);
      if (!done) this.gliding = requestAnimationFrame(step);
    };
    this.gliding = requestAnimationFrame(step);
    return undefined;
  }

  stop() {
    cancelAnimationFrame(this.gliding);
  }

  /** Draw, but not more than thirty times a second: the picture itself goes first. */
  drawSoon() {
    this.moved = performance.now();
    this.drawing ??= setTimeout(() => { this.drawing = undefined; this.draw(); }, 33);
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width) return;
    if (this.canvas.width !== Math.round(width * ratio)) Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const { context } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.takeKey();
    this.wanted.clear();
    const { x, y, origin } = this.place();
    const [across, down] = [width / 2 / CELL_PX, height / 2 / CELL_PX];
    for (let j = Math.floor(y - down); j <= Math.ceil(y + down); j++)
      for (let i = Math.floor(x - across); i <= Math.ceil(x + across); i++)
        this.drawTile(latticeSeed(origin, i, j), width / 2 + (i - x) * CELL_PX, height / 2 + (j - y) * CELL_PX, Math.hypot(i - x, j - y));
    context.strokeStyle = "#d3f26a";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(width / 2, height / 2, 9, 0, 2 * Math.PI);
    context.stroke();
    if (this.wanted.size) this.fetch();
  }

  /** Of the same model the pictures stay, faint, until the new ones have come; of another one nothing does. */
  takeKey() {
    const key = this.key();
    if (key === this.shownKey) return;
    const model = playedModel(this.tile().model);
    const stays = model === this.shownModel;
    this.before = new Map(stays ? [...this.before, ...this.tiles].slice(-MOST_KEPT) : []);
    this.tiles = new Map();
    Object.assign(this, { shownKey: key, shownModel: model });
  }

  drawTile(seed, centreX, centreY, distance) {
    const half = CELL_PX / 2 - 3;
    const picture = this.tiles.get(seed) ?? this.before.get(seed);
    const { context } = this;
    context.globalAlpha = clamp(1.15 - 0.17 * distance, 0.35, 1) * (this.tiles.has(seed) ? 1 : FAINT);
    context.beginPath();
    context.roundRect(centreX - half, centreY - half, 2 * half, 2 * half, 9);
    if (picture) {
      context.save();
      context.clip();
      context.drawImage(picture, centreX - half, centreY - half, 2 * half, 2 * half);
      context.restore();
    } else {
      context.fillStyle = "#1d1d22";
      context.fill();
    }
    if (!this.tiles.has(seed)) this.wanted.set(seed, distance);
    context.globalAlpha = 1;
  }

  async fetchTiles() {
    const missing = [...this.wanted].filter(([seed]) => !this.tiles.has(seed)).sort((a, b) => a[1] - b[1]);
    const seeds = missing.map(([seed]) => seed).slice(0, performance.now() - this.moved < 300 ? FEW_AT_ONCE : this.atOnce());
    if (!seeds.length || this.fetching) return;
    const key = this.key();
    this.fetching = true;
    const pictures = await sheet(this.tile(), seeds.map((seed) => [{ seed, weight: 1 }]));
    this.fetching = false;
    if (pictures && key === this.key()) pictures.forEach((picture, index) => this.tiles.set(seeds[index], picture));
    if (this.tiles.size > MOST_KEPT) this.tiles.clear();
    if (this.tiles.size >= this.before.size) this.before.clear();
    if (pictures) this.draw();
  }
}

/** Thumbnails of a model at several seeds (or whole points) as bitmaps; undefined if that failed. */
export async function sheet({ model, point }, places, size = TILE_PX) {
  const points = places.map((place) => (Array.isArray(place) ? { ...point, seeds: place } : place));
  const answer = await attempt("thumbnails", { model, points, size });
  if (!answer) return undefined;
  const image = await createImageBitmap(await (await fetch(answer.sheet)).blob());
  return Promise.all(places.map((_, index) => createImageBitmap(image, index * answer.size, 0, answer.size, answer.size)));
}
