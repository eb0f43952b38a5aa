// The player: one state, from which the scene is computed; every control writes the state and asks the canvas for a picture.
import { OWN_CLASS, attempt, call, clamp, complain, debounce, dismiss, download, emit, errand, fileUrl, fillTrack, h, icon, notice, on, open } from "./studio.js";
import { LiveCanvas } from "./canvas.js";
import { Classes } from "./classes.js";
import { crossCard, drawnModel, readDrawn } from "./cross.js";
import { Directions, snap } from "./directions.js";
import { SeedMap, latticeSeed, seedsAt } from "./map.js";
import { amount } from "./story.js";
import { Strip } from "./strip.js";

const LARGE_PX = 64;
const FRESH = { x: 0, y: 0, label: OWN_CLASS, mix: null, edits: {}, truncation: 1, noise_seed: null, translate_x: 0, translate_y: 0, rotate: 0, seeds: null, between: null, cross: null };
const LAST_SEED = 2 ** 32 - 1;
const PLACE = "latent-studio-place";

const randomSeed = () => Math.floor(Math.random() * 1e6);

class Player {
  constructor(element) {
    this.state = { model: "", origin: randomSeed(), ...structuredClone(FRESH) };
    this.past = [];
    this.future = [];
    this.awaited = 0;
    this.about = null;
    this.directions = new Directions(this);
    this.classes = new Classes(this);
    this.build(element);
    this.canvas = new LiveCanvas(this.view, { onframe: (stamp) => { if (stamp >= this.awaited) { this.waiting.hidden = true; this.hint.style.opacity = 0; } } });
    this.strip = new Strip(this.stripHost, this);
    this.listen();
    this.start();
  }

  // ── layout ──

  build(element) {
    this.picker = h("select", { id: "model-picker", ariaLabel: "Model", onchange: () => this.openModel(this.picker.value) });
    this.view = h("canvas.view", { id: "live-canvas", width: 64, height: 64, tabIndex: 0, role: "img", ariaLabel: "The live picture. Drag on it to move through latent space." });
    this.waiting = h("div.waiting", { id: "canvas-waiting" }, "Waking the model…");
    this.hint = h("div.hint", "Drag on the picture · Shift-drag bends it · R random · S save");
    this.map = new SeedMap({
      place: () => this.state,
      move: (x, y, final) => this.moveTo(x, y, final),
      tile: () => ({ model: this.drawn, point: this.tilePoint() }),
      key: () => JSON.stringify([this.drawn, this.tilePoint()]),
      atOnce: () => this.atOnce(),
    });
    this.knobs = h("div.panel");
    this.stripHost = h("section.card.strip-card", { id: "strip" });
    element.replaceChildren(h("div.player",
      h("div.stage",
        h("div.player-head", this.picker, this.aboutModel = h("span.tag")),
        h("div.frame", this.view, this.waiting, this.hint),
        this.toolbar(),
        this.stripHost),
      this.knobs));
  }

  toolbar() {
    const button = (name, label, key, action, extra = "") =>
      h(`button.button${extra}`, { id: `do-${name}`, title: `${label} (${key})`, onclick: action, ariaKeyShortcuts: key }, icon(ICON_OF[name]), h("span.text", label));
    this.undoButton = button("undo", "Undo", "Z", () => this.undo());
    this.redoButton = button("redo", "Redo", "Shift+Z", () => this.redo());
    this.undoButton.disabled = this.redoButton.disabled = true;
    this.driftButton = button("drift", "Drift", "D", () => this.toggleDrift());
    return h("div.toolbar",
      button("random", "Random", "R", () => this.random()), this.undoButton, this.redoButton, this.driftButton,
      h("span.spacer"),
      button("add", "Add to strip", "A", () => this.strip.add()),
      button("save", "Save", "S", () => this.save(), ".primary.keep"));
  }

  buildKnobs() {
    const { about } = this;
    this.rows = [];
    const groups = [this.seedCard(), this.knobCard()];
    if (about.card.classes.length) groups.splice(1, 0, this.classes.card(about.card.classes));
    if (about.movable) groups.push(this.placeCard());
    groups.push(this.directions.card());
    groups.push(...crossCard(this));
    if (about.num_styles > 1) groups.push(this.mixCard());
    this.knobs.replaceChildren(...groups);
    this.show();
  }

  seedCard() {
    this.seedInput = h("input", { id: "seed", type: "number", min: 0, max: LAST_SEED, step: 1, ariaLabel: "Seed", onchange: () => {
      const seed = seedIn(this.seedInput);
      this.seedInput.blur();
      if (seed === undefined) this.show();
      else this.goToSeed(seed);
    } });
    this.axes = ["x", "y"].map((axis) => h("input.visually-hidden", {
      id: `map-${axis}`, type: "range", min: -1000, max: 1000, step: 0.05, ariaLabel: axis === "x" ? "Across the map" : "Down the map",
      oninput: ({ target }) => this.moveTo(...(axis === "x" ? [Number(target.value), this.state.y] : [this.state.x, Number(target.value)]), false),
      onchange: () => this.commit(),
    }));
    return h("section.card",
      h("header", h("h3", "Map of seeds"), h("div.right.seed-row", h("span.muted", "seed"), this.seedInput)),
      this.map.canvas, ...this.axes);
  }

  knobCard() {
    const card = h("section.card", h("header", h("h3", "Character")));
    card.append(this.knob({ id: "truncation", name: "Truncation", low: -1, high: 2, step: 0.01, neutral: 1, snaps: [0, 0.7, 1], title: "Lower is more typical, higher more daring",
      get: () => this.state.truncation, set: (value) => { this.state.truncation = value; } }));
    if (this.about.has_noise) {
      const choose = (value) => () => { this.change(() => { this.state.noise_seed = value; }); this.commit(); };
      const chips = [["own", "Own grain", () => choose(null)()], ["none", "No grain", () => choose(-1)()], ["new", "New grain", () => choose(randomSeed())()]]
        .map(([kind, label, action]) => h("button.button.small", { id: `noise-${kind}`, onclick: action }, label));
      card.append(h("div.chips", { ariaLabel: "Noise" }, ...chips));
      this.rows.push(() => chips.forEach((chip, index) => chip.classList.toggle("on", index === (this.state.noise_seed === null ? 0 : this.state.noise_seed === -1 ? 1 : 2))));
    }
    return card;
  }

  /** For models whose pictures are signals without borders: where the picture is cut from. */
  placeCard() {
    const slider = (id, key, name, low, high, step, snaps, title, unit) => this.knob({ id, name, low, high, step, unit, neutral: 0, snaps, title,
      get: () => this.state[key], set: (value) => { this.state[key] = value; } });
    return h("section.card", { id: "place" }, h("header", h("h3", "Place")),
      slider("move-across", "translate_x", "Move across", -1, 1, 0.01, [0], "To the left or right, in widths of the picture"),
      slider("move-up", "translate_y", "Move up", -1, 1, 0.01, [0], "Down or up, in heights of the picture"),
      slider("turn", "rotate", "Turn", -180, 180, 1, [-90, 0, 90], "Clockwise, in degrees", "°"));
  }

  knob({ id, name, low, high, step, unit = "", neutral, snaps = [], title, get, set }) {
    const input = h("input", { id, type: "range", min: low, max: high, step, ariaLabel: name, title });
    const output = h("output", { htmlFor: id });
    const reset = h("button.quiet.reset", { ariaLabel: `Reset ${name}`, title: "Reset", onclick: () => { this.change(() => set(neutral)); this.commit(); } }, icon("reset"));
    const row = h("div.knob", h("label.name", { htmlFor: id, title }, name), input, output, reset);
    const reach = (high - low) / 90;
    input.addEventListener("input", () => this.change(() => set(snap(Number(input.value), snaps, reach))));
    input.addEventListener("change", () => this.commit());
    input.addEventListener("dblclick", () => { this.change(() => set(neutral)); this.commit(); });
    this.rows.push(() => {
      const value = get();
      input.value = value;
      output.textContent = step < 1 ? value.toFixed(2) : `${value}${unit}`;
      fillTrack(input, neutral);
      row.classList.toggle("changed", value !== neutral);
    });
    return row;
  }

  // ── style mixing ──

  mixCard() {
    const last = this.about.num_styles - 1;
    const fresh = () => ({ seed: randomSeed(), first_layer: Math.min(4, this.about.num_styles >> 1), last_layer: last }); // a small network's upper half
    const make = (id, label) => h("input", { id, type: "range", min: 0, max: last, step: 1, ariaLabel: label });
    const [first, end] = [make("mix-first", "First layer"), make("mix-last", "Last layer")];
    const seed = h("input", { id: "mix-seed", type: "number", min: 0, max: LAST_SEED, step: 1, ariaLabel: "Seed to mix in" });
    const toggle = h("button.button.small", { id: "mix-toggle", onclick: () => { this.change(() => { this.state.mix = this.state.mix ? null : fresh(); }); this.commit(); } }, "Mix in a seed");
    const dice = h("button.button.small.square", { ariaLabel: "Another seed", onclick: () => { this.change(() => { this.state.mix = { ...(this.state.mix ?? fresh()), seed: randomSeed() }; }); this.commit(); } }, icon("dice"));
    const label = h("span.muted");
    const body = h("div", { style: { display: "grid", gap: "6px" } }, h("div.seed-row", seed, dice), h("div.range-pair", first, end), label);
    const write = (change) => { if (this.state.mix) this.change(() => { this.state.mix = { ...this.state.mix, ...change }; }); };
    const layers = () => { const [a, b] = [Number(first.value), Number(end.value)]; write({ first_layer: Math.min(a, b), last_layer: Math.max(a, b) }); };
    [first, end].forEach((input) => { input.addEventListener("input", layers); input.addEventListener("change", () => this.commit()); });
    seed.addEventListener("change", () => { write({ seed: seedIn(seed) ?? this.state.mix?.seed }); this.commit(); });
    this.rows.push(() => {
      const { mix } = this.state;
      body.hidden = !mix;
      toggle.classList.toggle("on", Boolean(mix));
      toggle.textContent = mix ? "On" : "Off";
      if (!mix) return;
      [seed.value, first.value, end.value] = [mix.seed, mix.first_layer, mix.last_layer ?? last];
      fillTrack(first, 0);
      fillTrack(end, 0);
      label.textContent = `Layers ${mix.first_layer} to ${mix.last_layer ?? last} of ${last} come from this seed: low ones shape, high ones colour.`;
    });
    return h("section.card", h("header", h("h3", "Style mixing"), toggle), body);
  }

  // ── state and scene ──

  point() {
    const { x, y, origin, seeds, mix, edits, truncation, noise_seed, translate_x, translate_y, rotate, between } = this.state;
    return between ?? { seeds: seeds ?? seedsAt(x, y, origin), label: this.label, mix, truncation, noise_seed, translate_x, translate_y, rotate, edits: Object.entries(edits).map(([name, amount]) => this.directions.edit(name, amount)) };
  }

  tilePoint() {
    const { truncation, noise_seed } = this.state;
    return { label: this.label, truncation, noise_seed };
  }

  /** The class; a model without classes has none. */
  get label() { return this.about?.card.classes.length ? this.state.label : null; }

  get drawn() { return drawnModel(this.state); }

  scene() {
    return { model: this.drawn, point: this.point() };
  }

  /** How many thumbnails to ask for at a time: a large model's come a few at a time, so that each is seen soon. */
  atOnce() {
    return this.about?.card.resolution > LARGE_PX ? 4 : 24;
  }

  /** Change the state, then show it everywhere; `light` while the hand moves over the map, which changes no control. */
  change(write, light = false) {
    this.strip?.leave();
    const { between } = this.state;
    write();
    if (this.state.between === between) this.state.between = null;
    if (light) this.map.drawSoon();
    else this.show();
    this.ask();
  }

  ask() {
    if (this.state.model) this.canvas.ask({ scene: this.scene() });
  }

  show() {
    this.rows?.forEach((update) => update());
    this.directions.show();
    this.map.draw();
    if (this.seedInput) {
      const nearest = this.state.seeds ? [...this.state.seeds].sort((a, b) => b.weight - a.weight)[0].seed : latticeSeed(this.state.origin, Math.round(this.state.x), Math.round(this.state.y));
      if (document.activeElement !== this.seedInput) this.seedInput.value = nearest;
      [this.axes[0].value, this.axes[1].value] = [this.state.x, this.state.y];
    }
    this.undoButton.disabled = !this.past.length;
    this.redoButton.disabled = !this.future.length;
  }

  /** A gesture ended: remember where it began, for undo. */
  commit() {
    const now = JSON.stringify(this.state);
    if (this.committed && this.committed !== now) this.remember({ state: this.committed });
    this.settle(now);
    this.show();
    this.refreshLaterOn ??= debounce(250, () => { this.directions.refresh(); this.classes.refresh(); });
    this.refreshLaterOn();
  }

  /** Here we are: this tab opens here again, and so does the next one. */
  settle(state) {
    this.committed = state;
    try {
      sessionStorage.setItem(PLACE, state);
      if (!this.state.model.includes("@")) localStorage.setItem(PLACE, state);
    } catch { /* the browser keeps no more */ }
  }

  /** Where this tab, or the last one, was; undefined if that model is gone. */
  lastPlace() {
    try {
      const place = JSON.parse(sessionStorage.getItem(PLACE) ?? localStorage.getItem(PLACE));
      return place && (place.model.includes("@") || this.models.some(({ id }) => id === place.model)) ? place : undefined;
    } catch { return undefined; }
  }

  /** One step for undo: what the player or the strip was before it. */
  remember(step) {
    this.past.push(step);
    if (this.past.length > 300) this.past.shift();
    this.future = [];
    this.show();
  }

  /** What the strip was before is no step back any more. */
  forgetStrips() {
    this.past = this.past.filter(({ strip }) => !strip);
    this.future = this.future.filter(({ strip }) => !strip);
    this.show();
  }

  undo() { this.travel(this.past, this.future); }

  redo() { this.travel(this.future, this.past); }

  travel(from, to) {
    if (!from.length) return;
    if (this.drifting) this.toggleDrift();
    const target = from.pop();
    if (target.strip) {
      to.push({ strip: this.strip.toJson() });
      this.strip.load(target.strip);
      this.show();
      return;
    }
    to.push({ state: JSON.stringify(this.state) });
    this.map.stop();
    this.strip.leave();
    const model = this.state.model;
    this.state = JSON.parse(target.state);
    this.settle(target.state);
    if (this.state.model !== model) this.loadModel(this.state.model);
    else { this.show(); this.ask(); this.refreshLaterOn?.(); }
  }

  moveTo(x, y, final) {
    this.change(() => {
      if (this.state.seeds) { this.state.origin = this.state.seeds[0].seed; this.state.seeds = null; x -= this.state.x; y -= this.state.y; }
      Object.assign(this.state, { x, y });
    }, true);
    if (final) this.commit();
  }

  goToSeed(seed) {
    this.map.stop();
    this.change(() => Object.assign(this.state, { origin: seed, x: 0, y: 0, seeds: null }));
    this.commit();
  }

  random() { this.goToSeed(randomSeed()); }

  toggleDrift() {
    this.drifting = !this.drifting;
    this.driftButton.classList.toggle("on", this.drifting);
    if (!this.drifting) return this.commit();
    let heading = Math.random() * 2 * Math.PI;
    let before = performance.now();
    const step = (now) => {
      if (!this.drifting) return;
      const seconds = Math.min((now - before) / 1000, 0.1);
      before = now;
      heading += (Math.random() - 0.5) * 3 * seconds;
      if (!document.hidden && this.view.offsetParent) this.moveTo(this.state.x + 0.45 * seconds * Math.cos(heading), this.state.y + 0.45 * seconds * Math.sin(heading), false);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    return undefined;
  }

  // ── hands ──

  listen() {
    let from = null;
    this.view.addEventListener("pointerdown", (event) => {
      this.view.setPointerCapture(event.pointerId);
      this.map.stop();
      from = { x: event.clientX, y: event.clientY, state: structuredClone(this.state), bend: event.shiftKey };
    });
    this.view.addEventListener("pointermove", (event) => {
      if (!from) return;
      const size = this.view.getBoundingClientRect().width;
      const [dx, dy] = [(event.clientX - from.x) / size, (event.clientY - from.y) / size];
      if (from.bend) this.bend(from.state, dx, dy);
      else this.moveTo(from.state.x - 1.6 * dx, from.state.y - 1.6 * dy, false);
    });
    const release = () => { if (from) { from = null; this.commit(); } };
    this.view.addEventListener("pointerup", release);
    this.view.addEventListener("pointercancel", release);
    window.addEventListener("keydown", (event) => this.key(event));
    on("play", () => this.run());
    on("shelf-changed", () => this.fillPicker());
    on("run-finished", () => this.fillPicker());
  }

  /** Shift-drag: across is the first direction shown, up the second. */
  bend(state, dx, dy) {
    const [across, up] = this.directions.shown;
    if (!up) return;
    this.change(() => {
      for (const [{ name }, amount] of [[across, 6 * dx], [up, -6 * dy]])
        this.state.edits[name] = clamp((state.edits[name] ?? 0) + amount, -5, 5);
    });
  }

  key(event) {
    if (!this.view.offsetParent || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches?.("input[type=number], input[type=text], textarea, select") || document.querySelector("dialog[open]")) return;
    const onSlider = event.target.matches?.("input[type=range]");
    const move = (dx, dy) => { const step = event.shiftKey ? 1 : 0.1; this.moveTo(this.state.x + dx * step, this.state.y + dy * step, true); };
    const actions = {
      r: () => this.random(), z: () => (event.shiftKey ? this.redo() : this.undo()), y: () => this.redo(), s: () => this.save(),
      a: () => this.strip.add(), d: () => this.toggleDrift(), " ": () => this.strip.toggle(),
      ...(onSlider ? {} : { arrowleft: () => move(-1, 0), arrowright: () => move(1, 0), arrowup: () => move(0, -1), arrowdown: () => move(0, 1) }),
    };
    const action = actions[event.key.toLowerCase()];
    if (!action || (event.key === " " && event.target.matches?.("button"))) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) action();
  }

  // ── models and places ──

  async start() {
    await open();
    await this.fillPicker();
    this.run();
  }

  async fillPicker() {
    const models = (await attempt("models") ?? []).filter((model) => !model.problem);
    this.models = models;
    this.picker.replaceChildren(...models.map((model) => h("option", { value: model.id }, model.card.title)));
    if (this.about) this.describe();
    if (!models.length) { this.waiting.textContent = "The shelf is empty: train a model first."; this.waiting.hidden = false; }
  }

  /** Do what another room asked for, or go where we were last. */
  async run() {
    const request = errand.play;
    errand.play = null;
    if (request?.scene) return this.openScene(request.scene);
    if (request?.model) return this.openModel(request.model, request);
    if (this.state.model) return undefined;
    const place = this.lastPlace();
    if (place && (Object.assign(this.state, place), await this.loadModel(place.model))) return undefined;
    return this.models.length ? this.openModel(this.models[0].id) : undefined;
  }

  openModel(model, { seeds } = {}) {
    const keep = model === this.state.model && !seeds;
    if (!keep) {
      Object.assign(this.state, structuredClone(FRESH), { model, truncation: this.state.truncation });
      if (seeds) Object.assign(this.state, { origin: seeds[0].seed, seeds: seeds.length > 1 ? seeds : null });
    }
    return this.loadModel(model);
  }

  openScene({ model: drawn, point }) {
    const { model, cross } = readDrawn(drawn);
    if (point.blend?.length) {
      const [{ point: near }] = [...point.blend].sort((a, b) => b.weight - a.weight);
      Object.assign(this.state, structuredClone(FRESH), { model, cross, origin: near.seeds[0].seed, between: point });
      return this.loadModel(model);
    }
    const edits = Object.fromEntries(point.edits.map(({ direction, amount }) => [direction, amount]));
    Object.assign(this.state, { model, cross, x: 0, y: 0, between: null, origin: point.seeds[0].seed, seeds: point.seeds.length > 1 ? point.seeds : null,
      label: point.label, mix: point.mix, truncation: point.truncation, noise_seed: point.noise_seed,
      translate_x: point.translate_x ?? 0, translate_y: point.translate_y ?? 0, rotate: point.rotate ?? 0, edits });
    return this.loadModel(model);
  }

  /** Open the model of the state; whether that worked. */
  async loadModel(model) {
    if (this.about?.id === model) { this.show(); this.ask(); this.commit(); return true; }
    this.waiting.hidden = false;
    this.waiting.textContent = "Waking the model…";
    this.picker.value = model;
    this.ask();
    this.awaited = this.canvas.stamp; // a picture that was asked for before is of another model
    try {
      const about = await call("model", { id: model });
      if (model !== this.state.model) return true;
      this.about = about;
    } catch (failure) {
      this.waiting.textContent = failure.message;
      complain(failure);
      return false;
    }
    this.directions.forget();
    this.classes.forget();
    this.describe();
    emit("model", this.about);
    this.buildKnobs();
    this.ask();
    await this.directions.load(model);
    this.ask();
    this.commit();
    this.directions.findAll(model);
    return true;
  }

  describe() {
    const { card, id } = this.about;
    if (![...this.picker.options].some((option) => option.value === id)) this.picker.append(h("option", { value: id }, nameOf(this.about)));
    this.picker.value = id;
    this.aboutModel.textContent = `${card.resolution} px`;
    this.view.classList.toggle("clear", card.channels === 4);
  }

  async save() {
    if (!this.state.model) return;
    const { shown } = this.strip;
    const saved = await attempt("save", { scene: this.scene(), time: shown });
    if (!saved) return;
    emit("saved", saved);
    notice("Saved to the gallery.", { action: "Download", onaction: () => download(fileUrl("picture", saved.id, { download: 1 }), `${saved.id}.png`) });
  }
}

const ICON_OF = { random: "dice", undo: "undo", redo: "redo", drift: "wind", add: "plus", save: "save" };

/** A stage of a run says which, as the model of its end has the same title. */
const nameOf = ({ id, card }) => (id.includes("@") ? `${card.title}, stage at ${amount(card.kimg)}` : card.title);

/** The seed that a field names; undefined if it is empty, or names none, which is said. */
function seedIn({ value, validity }) {
  if (validity.valid) { dismiss("seed"); return value === "" ? undefined : Number(value); }
  notice(`A seed is a whole number from 0 to ${LAST_SEED.toLocaleString("en")}.`, { hint: "The picture stays as it is.", kind: "bad", about: "seed" });
  return undefined;
}

export function mount(element) {
  window.latentStudioPlayer = new Player(element); // for benchmarks and the curious
}
