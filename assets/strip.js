// The strip: points in a row that become a walk, played live and exported as a film. It survives a reload.
import { attempt, call, clamp, complain, debounce, dismiss, fileUrl, fillTrack, h, icon, notice, on, toUrl } from "./studio.js";
import { sheet } from "./map.js";

const EASINGS = { linear: "even", smooth: "smooth", "ease-in": "ease in", "ease-out": "ease out", hold: "hold" };
const PATHS = { slerp: "Through z, on the sphere", lerp: "Straight through w", spline: "Smooth curve through w" };
const EMPTY = JSON.stringify({ keys: [], loop: true, path: "slerp", speed: 1 });
const store = (model) => `latent-studio-strip-${model}`;

/** The points on the strip of a model; none if it cannot be read. */
function keysOf(model) {
  try { return JSON.parse(localStorage.getItem(store(model)) ?? EMPTY).keys; } catch { return []; }
}

export class Strip {
  constructor(host, player) {
    Object.assign(this, { host, player, keys: [], loop: true, path: "slerp", speed: 1, time: 0, playing: false, shown: null, shots: new Map() });
    this.sendLater = debounce(80, () => this.send());
    this.build();
    on("model", () => this.restore());
    window.addEventListener("storage", ({ key, newValue }) => newValue && key === store(this.player.state.model) && this.follow(newValue));
  }

  build() {
    this.row = h("div.strip", { role: "list", ariaLabel: "Points of the walk" });
    this.playButton = h("button.button.square", { id: "walk-play", title: "Play the walk (space)", ariaLabel: "Play the walk", onclick: () => this.toggle() }, icon("play"));
    this.scrub = h("input", { id: "walk-scrub", type: "range", min: 0, max: 1, step: 0.001, ariaLabel: "Time", oninput: () => { this.pause(); this.seek(Number(this.scrub.value) * this.length); } });
    this.clock = h("span.muted", { style: { fontVariantNumeric: "tabular-nums", minWidth: "74px" } });
    this.loopButton = h("button.button.small", { id: "walk-loop", title: "Come back to the start", onclick: () => this.edit(() => { this.loop = !this.loop; }) }, icon("loop"), h("span.text", "Loop"));
    this.pathSelect = h("select", { id: "walk-path", ariaLabel: "Way between points", onchange: () => this.edit(() => { this.path = this.pathSelect.value; }) },
      ...Object.entries(PATHS).map(([value, label]) => h("option", { value }, label)));
    this.easingSelect = h("select", { id: "walk-easing", ariaLabel: "Easing", onchange: () => this.edit(() => this.keys.forEach((key) => { key.easing = this.easingSelect.value; })) },
      ...Object.entries(EASINGS).map(([value, label]) => h("option", { value }, label)));
    this.easingSelect.value = "smooth";
    this.speedInput = h("input", { id: "walk-speed", type: "range", min: 0.25, max: 4, step: 0.05, value: 1, ariaLabel: "Speed", style: { width: "96px" }, oninput: () => this.edit(() => { this.speed = Number(this.speedInput.value); }, false) });
    this.clearButton = h("button.button.small", { onclick: () => this.clear() }, "Clear");
    this.exportButton = h("button.button.small", { id: "walk-export", onclick: () => this.openExport() }, icon("film"), "Export");
    this.controls = h("div.transport", this.playButton, h("div.scrub", this.scrub), this.clock, this.loopButton, this.pathSelect, this.easingSelect, h("label", "Speed", this.speedInput));
    this.exportHost = h("div");
    this.host.replaceChildren(h("header", h("h3", "Strip"), h("div.toolbar", this.clearButton, this.exportButton)), this.row, this.controls, this.exportHost);
    this.show();
  }

  // ── points ──

  add() {
    if (!this.player.state.model) return;
    if (this.shown !== null || this.player.state.between) {
      notice("This place lies between two points and cannot be one itself.", { hint: "Move a little, or go to a point of the strip, and add that.", about: "strip" });
      return;
    }
    if (this.keys.length >= 64) { notice("The strip is full: 64 points are the most.", { kind: "bad", about: "strip" }); return; }
    this.edit(() => this.keys.push({ point: this.player.point(), seconds: 2, easing: this.easingSelect.value }));
    this.row.scrollLeft = this.row.scrollWidth;
    this.shoot();
  }

  edit(write, remember = true) {
    const before = this.toJson();
    dismiss("strip"); // what was said of the strip before, and the undo of that
    write();
    this.unsent = true;
    if (remember) this.player.remember({ strip: before });
    this.time = Math.min(this.time, this.length);
    this.show();
    this.keep();
    this.sendLater();
  }

  clear() {
    this.leave();
    this.edit(() => { this.keys = []; });
    notice("The strip was cleared.", { action: "Undo", onaction: () => this.player.undo(), seconds: 15, about: "strip" });
  }

  remove(key) {
    this.edit(() => { this.keys = this.keys.filter((other) => other !== key); });
    notice("The point was taken off the strip.", { action: "Undo", onaction: () => this.player.undo(), about: "strip" });
  }

  swap(index, by) {
    const other = index + by;
    if (other < 0 || other >= this.keys.length) return;
    this.edit(() => { [this.keys[index], this.keys[other]] = [this.keys[other], this.keys[index]]; });
  }

  /** For a model that was trained from another one. */
  bringButton() {
    const { card, favourites_of_base: favourites } = this.player.about ?? {};
    const base = card?.lineage?.[0];
    const some = favourites || (favourites === 0 && keysOf(base.id).length);
    return some && h("button.button.small", { id: "bring-points", title: "Its strip, and the favourites among your pictures of it", onclick: () => this.bring(base) }, `Bring the points of ${base.title}`);
  }

  async bring({ id, title }) {
    const keys = keysOf(id);
    const points = await attempt("inherit_points", { id: this.player.state.model, points: keys.map(({ point }) => point) });
    if (!points) return;
    if (!points.length) { notice(`There are no points of ${title} to bring.`, { hint: "Put some on its strip, or mark pictures of it as favourites." }); return; }
    this.edit(() => { this.keys = points.map((point, index) => ({ seconds: 2, easing: "smooth", ...keys[index], point })); });
    this.shoot();
  }

  /** Fetch the thumbnails that are missing. */
  async shoot() {
    const missing = this.keys.filter((key) => !this.shots.has(this.shotName(key)));
    if (!missing.length) return;
    const pictures = await sheet({ model: this.player.drawn, point: {} }, missing.map(({ point }) => point), 84);
    pictures?.forEach((picture, index) => { this.shots.set(this.shotName(missing[index]), toUrl(picture)); });
    this.show();
  }

  shotName({ point }) {
    return JSON.stringify([this.player.drawn, point]);
  }

  // ── looks ──

  show() {
    this.row.replaceChildren(...(this.keys.length ? this.keys.map((key, index) => this.keyElement(key, index)) :
      [h("p.nothing", "Press ", icon("plus"), " Add to strip (or A) at places you like; two make a walk that you can play and export as a film."), this.bringButton()].filter(Boolean)));
    this.controls.hidden = this.keys.length < 2;
    this.exportButton.disabled = this.keys.length < 2;
    this.clearButton.disabled = !this.keys.length;
    this.controls.style.display = this.keys.length < 2 ? "none" : "";
    this.loopButton.classList.toggle("on", this.loop);
    this.pathSelect.value = this.path;
    this.speedInput.value = this.speed;
    fillTrack(this.speedInput, 0.25);
    this.showTime();
  }

  keyElement(key, index) {
    const shot = this.shots.get(this.shotName(key));
    const tool = (name, label, action) => h("button", { ariaLabel: label, title: label, onclick: action }, icon(name));
    const seconds = h("input", { type: "number", min: 0.1, max: 60, step: 0.1, value: key.seconds, ariaLabel: "Seconds to the next point", title: "Seconds to the next point",
      style: { width: "58px", minHeight: "26px", padding: "0 4px", fontSize: "12px", textAlign: "center" }, onchange: (event) => this.edit(() => { key.seconds = clamp(Number(event.target.value) || 2, 0.1, 60); }) });
    const isLast = index === this.keys.length - 1 && !this.loop;
    return h("div.key", { role: "listitem" },
      h("button.shot", { ariaLabel: `Go to point ${index + 1}`, onclick: () => this.goTo(index) }, shot && h("img", { src: shot, alt: "", style: { imageRendering: this.player.view.width <= 48 ? "pixelated" : "" } })),
      h("div.tools", tool("left", "Move left", () => this.swap(index, -1)), tool("right", "Move right", () => this.swap(index, 1)), tool("close", "Take off the strip", () => this.remove(key))),
      h("div.time", isLast ? "end" : [seconds, " s"]));
  }

  showTime() {
    if (document.activeElement !== this.scrub || this.playing) this.scrub.value = this.length ? this.time / this.length : 0;
    fillTrack(this.scrub, 0);
    this.clock.textContent = this.length ? `${this.time.toFixed(1)} / ${this.length.toFixed(1)} s` : "";
    let elapsed = 0;
    [...this.row.children].forEach((element, index) => {
      const key = this.keys[index];
      if (!key) return;
      const next = elapsed + key.seconds / this.speed;
      element.classList.toggle("current", this.playing && this.time >= elapsed && this.time < next);
      elapsed = next;
    });
  }

  get length() {
    const ways = this.loop ? this.keys : this.keys.slice(0, -1);
    return this.keys.length < 2 ? 0 : ways.reduce((sum, key) => sum + key.seconds, 0) / this.speed;
  }

  // ── playing ──

  timeline() {
    return { keyframes: this.keys.map(({ point, seconds, easing }) => ({ point, seconds, easing })), loop: this.loop, path: this.path, speed: this.speed };
  }

  async send() {
    if (this.keys.length < 2) return false;
    this.unsent = false;
    const answer = await attempt("walk", { model: this.player.drawn, timeline: this.timeline() });
    if (!answer) this.unsent = true;
    return Boolean(answer);
  }

  async toggle() {
    if (this.playing) { this.pause(); return; }
    if (this.keys.length < 2) { notice("A walk needs at least two points.", { hint: "Press A to add the place where you are.", about: "strip" }); return; }
    if (!(await this.send())) return;
    this.player.map.stop();
    if (!this.loop && this.time >= this.length) this.time = 0;
    this.playing = true;
    this.playButton.replaceChildren(icon("pause"));
    let before = performance.now();
    const step = (now) => {
      if (!this.playing) return;
      this.time += (now - before) / 1000;
      before = now;
      if (this.loop) this.time %= this.length;
      else if (this.time >= this.length) { this.time = this.length; this.pause(); }
      this.seek(this.time);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.playButton.replaceChildren(icon("play"));
    this.showTime();
  }

  /** The player shows something of its own again. */
  leave() {
    this.pause();
    this.shown = null;
  }

  seek(seconds) {
    this.time = seconds;
    this.shown = seconds;
    this.showTime();
    if (this.unsent) this.send().then((sent) => sent && this.shown === seconds && this.player.canvas.ask({ time: seconds }));
    else this.player.canvas.ask({ time: seconds });
  }

  goTo(index) {
    this.leave();
    this.player.openScene({ model: this.player.drawn, point: structuredClone(this.keys[index].point) });
  }

  // ── films ──

  openExport() {
    if (this.exportHost.querySelector("#film-begin, #film-cancel")) { this.exportHost.replaceChildren(); return; }
    const format = h("select", { id: "film-format", ariaLabel: "Format" }, h("option", { value: "mp4" }, "MP4 film"), h("option", { value: "webp" }, "Animated WebP"));
    const fps = h("select", { id: "film-fps", ariaLabel: "Pictures per second" }, ...[24, 30, 60].map((value) => h("option", { value, selected: value === 30 }, `${value} a second`)));
    const size = h("select", { id: "film-size", ariaLabel: "Size" }, ...[256, 512, 1024].map((value) => h("option", { value, selected: value === 512 }, `${value} px`)));
    const begin = h("button.button.primary.small", { id: "film-begin", onclick: () => this.exportFilm({ format: format.value, fps: Number(fps.value), size_px: Number(size.value) }) }, "Make the film");
    this.exportHost.replaceChildren(h("div.transport", format, size, fps, begin));
  }

  async exportFilm(settings) {
    dismiss("film");
    try {
      const id = await call("film", { model: this.player.drawn, timeline: this.timeline(), settings });
      await this.watchFilm(id);
    } catch (failure) {
      complain(failure, "film");
      this.exportHost.replaceChildren();
    }
  }

  async watchFilm(id) {
    const bar = h("i");
    const text = h("span.muted", "Starting…");
    const stop = h("button.button.small", { id: "film-cancel", onclick: () => attempt("cancel", { id }) }, "Cancel");
    this.exportHost.replaceChildren(h("div.transport", h("div.progress", { role: "progressbar" }, bar), text, stop));
    for (;;) {
      const job = await call("job", { id });
      bar.style.width = `${job.total ? 100 * job.done / job.total : 0}%`;
      text.textContent = `${job.stage} ${job.done} of ${job.total}`;
      if (job.state === "done") {
        const href = fileUrl("film", job.result, { download: 1 });
        this.exportHost.replaceChildren(h("div.transport", h("span", "The film is ready."), h("a.button.primary.small", { id: "film-download", href, download: job.result }, icon("save"), "Download")));
        return;
      }
      if (job.state === "cancelled") { this.exportHost.replaceChildren(); notice("The film was cancelled; nothing is left of it.", { about: "film" }); return; }
      if (job.state === "failed") { this.exportHost.replaceChildren(); complain({ message: job.error, hint: job.hint }, "film"); return; }
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  // ── keeping ──

  toJson() {
    return JSON.stringify({ keys: this.keys, loop: this.loop, path: this.path, speed: this.speed });
  }

  load(text) {
    this.put(text);
    this.keep();
  }

  put(text) {
    Object.assign(this, JSON.parse(text));
    this.easingSelect.value = this.keys[0]?.easing ?? "smooth";
    this.time = Math.min(this.time, this.length);
    this.unsent = true;
    this.show();
    this.shoot();
    this.sendLater();
  }

  /** Another tab changed the strip of this model: both show the same one. Undoing it is that tab's, as is what was before. */
  follow(text) {
    this.put(text);
    this.player.forgetStrips();
  }

  keep() {
    try {
      localStorage.setItem(store(this.player.state.model), this.toJson());
    } catch { /* the browser keeps no more; the strip lives on in this page */ }
  }

  restore() {
    this.leave();
    this.time = 0;
    this.exportHost.replaceChildren();
    this.put(localStorage.getItem(store(this.player.state.model)) ?? EMPTY);
  }
}
