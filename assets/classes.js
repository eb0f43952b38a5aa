// The classes of a model, each with the picture that the place which is played has in it.
import { Faces, nothingYet } from "./faces.js";
import { h } from "./studio.js";

const MOST_PICTURED = 48;
const FACE_PX = 64;

export class Classes {
  constructor(player) {
    this.player = player;
    this.chips = [];
    this.faces = new Faces(player, FACE_PX, () => this.wanted());
  }

  /** The card of a model with classes: "Any", and a button for each; with very many classes these have no pictures. */
  card(names) {
    const choose = (label) => () => { this.player.change(() => { this.player.state.label = label; }); this.player.commit(); };
    const any = h("button.button.small", { id: "class-any", title: "No class is preferred", onclick: choose(null) }, "Any");
    this.pictured = names.length <= MOST_PICTURED;
    this.chips = names.map((name, label) => {
      const image = this.pictured && h("img", nothingYet);
      return { label, image, button: h("button.button.small", { id: `class-${label}`, title: name, onclick: choose(label) }, image, h("span.text", name)) };
    });
    this.player.rows.push(() => {
      any.classList.toggle("on", this.player.state.label === null);
      this.chips.forEach(({ label, button }) => button.classList.toggle("on", this.player.state.label === label));
    });
    return h("section.card", { id: "classes" }, h("header", h("h3", "Class"), any), h("div.chips", { className: this.pictured ? "chips pictured" : "chips" }, this.chips.map(({ button }) => button)));
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
