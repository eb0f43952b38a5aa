// The classes of a model, each with the picture that the place which is played has in it.
import { Faces, nothingYet } from "./faces.js";
import { OWN_CLASS, call, complain, dismiss, emit, h, notice, session } from "./studio.js";

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
    this.name = h("input", { id: "class-name", type: "text", maxLength: 60, title: "Enter keeps it", ariaLabel: "Name of this class", onchange: () => this.rename(player.about, player.state.label, this.name.value) });
    this.naming = h("label.seed-row", h("span.muted", "name"), this.name);
    player.rows.push(() => {
      [...others, ...this.chips].forEach(({ label, button }) => button.classList.toggle("on", player.state.label === label));
      this.showName();
    });
    const kind = this.pictured ? "div.chips.pictured" : "div.chips";
    return h("section.card", { id: "classes" }, h("header", h("h3", "Class"), h("div.right", others.map(({ button }) => button))), h(kind, this.chips.map(({ button }) => button)), this.naming);
  }

  /** The chosen class of a model of one's own can be called otherwise. */
  showName() {
    const { about, models, state } = this.player;
    const mine = session.may.shelf && models.some(({ id, shipped }) => id === about.id && !shipped);
    this.naming.hidden = !mine || !this.chips[state.label];
    if (document.activeElement !== this.name) this.name.value = about.card.classes[state.label] ?? "";
  }

  async rename(about, place, name) {
    const before = about.card.classes[place];
    if (name.trim() === before) return;
    let kept;
    try {
      kept = await call("name_class", { id: about.id, place, name });
    } catch (failure) {
      complain(failure, "class-name");
      this.name.value = before;
      return;
    }
    dismiss("class-name");
    about.card.classes[place] = kept;
    if (about === this.player.about) {
      this.chips[place].button.querySelector(".text").textContent = kept;
      this.player.show();
    }
    notice(`${before} is called ${kept} now.`, { action: "Undo", onaction: () => this.rename(about, place, before) });
    emit("shelf");
  }

  wanted() {
    const here = this.player.point();
    if (!this.pictured || here.blend?.length) return []; // what lies between two places has the classes of both
    return this.chips.map(({ label, image }) => ({ image, point: { ...here, label } }));
  }

  /** Another model is played. */
  forget() { this.chips = []; }

  refresh() { if (this.chips.length) this.faces.refresh(); }
}
