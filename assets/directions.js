// Directions: a slider each, with a picture at either end that shows where it leads, and five all along it where it is pointed at.
import { Faces, nothingYet } from "./faces.js";
import { sheet } from "./map.js";
import { attempt, debounce, fillTrack, h, icon, toUrl } from "./studio.js";

const GROUPS = { code: "Learned codes", trait: "What you see", sefa: "Whole picture", "sefa-coarse": "Shape (coarse layers)", "sefa-middle": "Parts (middle layers)", "sefa-fine": "Colour (fine layers)", styles: "Where styles spread", pictures: "Whole picture" };
const MARKS = {
  kept: "It does here what it did in the model that this one was trained from.",
  faded: "It hardly changes anything here any more.",
  changed: "It does something else here than in the model that this one was trained from.",
};
const WAY = [-4, -2, 0, 2, 4];
const [WAY_PX, END_PX] = [96, 48];
const ENDS = [-3, 3];

export class Directions {
  constructor(player) {
    this.player = player;
    this.ends = new Faces(player, END_PX, () => this.wanted());
    this.drawWaySoon = debounce(200, () => this.drawWay());
    this.forget();
  }

  /** Another model is played. */
  forget() {
    this.found = [];
    this.shown = [];
    this.groupChosen = false;
    this.groupShown = null;
  }

  card() {
    this.place = h("div", { style: { display: "grid", gap: "10px" } }, h("p.muted", "Looking for directions…"));
    this.groupSelect = h("select", { id: "direction-group", ariaLabel: "Layers", onchange: () => { this.groupChosen = true; this.fill(); } });
    const reset = h("button.quiet.reset", { ariaLabel: "Reset all directions", title: "Reset all", onclick: () => { this.player.change(() => { this.player.state.edits = {}; }); this.player.commit(); } }, icon("reset"));
    this.player.rows.push(() => reset.classList.toggle("awake", Object.keys(this.player.state.edits).length > 0));
    return h("section.card", { id: "directions" }, h("header", h("h3", "Directions"), h("div.right", reset, this.groupSelect)), this.place);
  }

  async load(model) {
    const found = await attempt("directions", { id: model });
    if (!found || model !== this.player.state.model) return;
    this.found = found;
    const groups = [...new Set(found.map(({ group }) => group))];
    const chosen = this.groupSelect.value;
    this.groupSelect.replaceChildren(...groups.map((group) => h("option", { value: group }, GROUPS[group] ?? group)));
    if (groups.includes(chosen) && this.atWork()) this.groupSelect.value = chosen;
    this.groupSelect.hidden = groups.length < 2;
    if (this.groupSelect.value !== chosen || this.groupShown !== chosen) this.fill();
  }

  /** Somebody chose a group of directions, points at one or moves along it: then it stays. */
  atWork() {
    return this.groupChosen || (this.shown.length > 0 && this.place.matches(":hover")) || Object.keys(this.player.state.edits).length > 0 || this.place.contains(document.activeElement);
  }

  /** What takes a while to find for a model comes once the job that this call begins is done. */
  async find(call, model) {
    const id = await attempt(call, { id: model });
    if (!id) return;
    for (let job = { state: "running" }; job?.state === "running"; job = await attempt("job", { id })) await new Promise((resolve) => setTimeout(resolve, 500));
    if (model === this.player.state.model) await this.load(model);
  }

  async findAll(model) {
    await this.find("find_traits", model);
    if (model === this.player.state.model && this.player.about.card.lineage?.length) await this.find("inherit", model);
  }

  fill() {
    this.groupShown = this.groupSelect.value;
    const found = this.found.filter(({ group }) => group === this.groupShown);
    this.shown = found.map((direction, index) => this.row(direction, index));
    this.leaveWay();
    this.place.replaceChildren(...(this.shown.length ? this.shown.map(({ row }) => row) : [h("p.muted", "Looking for directions…")]));
    this.player.show();
    this.ends.refresh();
  }

  row({ name, title, mark }, index) {
    const id = `direction-${index}`;
    const set = (value) => { if (value) this.player.state.edits[name] = value; else delete this.player.state.edits[name]; };
    const input = h("input", { id, type: "range", min: -5, max: 5, step: 0.05, ariaLabel: title });
    const output = h("output", { htmlFor: id });
    const reset = h("button.quiet.reset", { ariaLabel: `Reset ${title}`, onclick: () => { this.player.change(() => set(0)); this.player.commit(); } }, icon("reset"));
    const ends = ENDS.map((amount) => h("img", { ...nothingYet, ariaLabel: `${title} ${amount}`, title: `Go to ${amount} σ`, onclick: () => { this.player.change(() => set(amount)); this.player.commit(); } }));
    const row = h("div.direction", ends[0],
      h("div.middle", h("div.top", h("label", { htmlFor: id }, title, mark && h(`span.mark.${mark}`, { title: MARKS[mark] }, mark)), h("span", { style: { display: "flex", alignItems: "center", gap: "4px" } }, output, reset)), input), ends[1]);
    input.addEventListener("input", () => this.player.change(() => set(snap(Number(input.value), [0], 0.12))));
    input.addEventListener("change", () => this.player.commit());
    row.addEventListener("pointerenter", ({ pointerType }) => pointerType === "mouse" && this.showWay(row, name));
    input.addEventListener("pointerdown", () => this.showWay(row, name)); // a finger points by dragging
    row.addEventListener("pointerleave", () => this.leaveWay());
    input.addEventListener("focus", () => input.matches(":focus-visible") && this.showWay(row, name));
    input.addEventListener("blur", () => this.leaveWay());
    input.addEventListener("dblclick", () => { this.player.change(() => set(0)); this.player.commit(); });
    const update = () => {
      const value = this.player.state.edits[name] ?? 0;
      input.value = value;
      output.textContent = inSigma(value, 2);
      fillTrack(input, 0);
      row.classList.toggle("changed", value !== 0);
    };
    return { name, row, ends, update };
  }

  /** A direction is pointed at, or reached by keys: pictures all along it say more than its name. */
  showWay(row, name) {
    this.pointed = { row, name };
    this.drawWaySoon();
  }

  leaveWay() {
    this.pointed = null;
    this.way?.remove();
  }

  async drawWay() {
    const { pointed } = this;
    if (!pointed || this.player.drifting) return;
    const here = this.player.point();
    const pictures = await sheet({ model: this.player.drawn, point: {} }, WAY.map((amount) => this.along(here, pointed.name, amount)), WAY_PX);
    if (!pictures || pointed !== this.pointed) return;
    const shown = pictures.map((picture, index) => h("figure", h("img", { src: toUrl(picture), alt: "" }), h("figcaption", inSigma(WAY[index]) || "0")));
    this.way?.remove();
    pointed.row.append(this.way = h("div.way", { ariaHidden: "true" }, shown));
    this.way.classList.toggle("above", this.way.getBoundingClientRect().bottom > window.innerHeight);
  }

  /** A place, but so far along a direction. */
  along(here, name, amount) {
    return { ...here, edits: [...here.edits.filter(({ direction }) => direction !== name), this.edit(name, amount)] };
  }

  /** What stands at the ends of the sliders. */
  wanted() {
    const here = this.player.point();
    return this.shown.flatMap(({ name, ends }) => ends.map((image, end) => ({ image, point: this.along(here, name, ENDS[end]) })));
  }

  /** Every slider stands where the state says. */
  show() {
    this.shown.forEach(({ update }) => update());
  }

  /** The place is another one: draw its pictures. */
  refresh() {
    this.drawWay();
    this.ends.refresh();
  }

  edit(name, amount) {
    const direction = this.found.find((candidate) => candidate.name === name);
    return { direction: name, amount, first_layer: direction?.first_layer ?? 0, last_layer: direction?.last_layer ?? null };
  }
}

/** "+2.50 σ"; nothing for nothing. */
const inSigma = (value, digits = 0) => (value ? `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(digits)} σ` : "");

export const snap = (value, places, reach) => places.find((place) => Math.abs(place - value) < reach) ?? value;
