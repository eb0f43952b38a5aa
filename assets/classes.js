// The classes of a model, each with the picture that the place which is played has in it.
import { Faces, nothingYet } from "./faces.js";
import { OWN_CLASS, h } from "./studio.js";

const MOST_PICTURED = 48;
const FACE_PX = 64;

export class Classes {
  constructor(player) {
    this.player = player;
    this.chips = [];
    this.faces = new Faces(player, FACE_PX, () => this.wanted());
  }

  /** The card of a model with classes: all of them by turns, none, or one; with very many classes these have no pictures. */
  card(names) {
    const { player } = this;
    const choose = (label) => () => { player.change(() => { player.state.label = label; }); player.commit(); };
    const chip = (id, label, title, ...content) => ({ label, button: h("button.button.small", { id, title, onclick: choose(label) }, content) });
    const others = [chip("class-own", OWN_CLASS, "Every seed has a class of its own", "All"), chip("class-any", null, "No class is preferred", "None")];
    this.pictured = names.length <= MOST_PICTURED;
    this.chips = names.map((name, label) => {
      const image = this.pictured && h("img", nothingYet);
      return { image, ...chip(`class-${label}`, label, name, image, h("span.text", name)) };
    });
    player.rows.push(() => [...others, ...this.chips].forEach(({ label, button }) => button.classList.toggle("on", player.state.label === label)));
    const kind = this.pictured ? "div.chips.pictured" : "div.chips";
    return h("section.card", { id: "classes" }, h("header", h("h3", "Class"), h("div.right", others.map(({ button }) => button))), h(kind, this.chips.map(({ button }) => button)));
  }

  wanted() {
    if (!this.pictured) return [];
    const here = this.player.point();
    return this.chips.map(({ label, image }) => ({ image, point: { ...here, label } }));
  }

  /** Another model is played. */
  forget() { this.chips = []; }

  refresh() { if (this.chips.length) this.faces.refresh(); }
}
