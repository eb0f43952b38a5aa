// Crossing: the model that is played takes shapes or surfaces of a relative. What is drawn has a name of its own, "first~second~30~80".
import { attempt, emit, h, notice, session } from "./studio.js";

const MARK = "~";
const WHOLE = 100;

/** The id of the model that a state draws with. */
export function drawnModel({ model, cross }) {
  const crossed = cross && (cross.shapes || cross.surfaces);
  return crossed ? [model, cross.model, cross.shapes, cross.surfaces].join(MARK) : model;
}

/** The model and the cross of a state that draws with the model of this id. */
export function readDrawn(id) {
  const [model, second, shapes, surfaces] = id.split(MARK);
  return { model, cross: surfaces === undefined ? null : { model: second, shapes: Number(shapes), surfaces: Number(surfaces) } };
}

/** The id of the model or the run that is played, whatever it is crossed with and at whichever step. */
export const playedModel = (drawn) => readDrawn(drawn).model.split("@")[0];

/** The card of the player; nothing for a model without relatives. */
export function crossCard(player) {
  const others = Object.entries(player.about.relatives ?? {});
  if (!others.length) return [];
  const first = others[0][0];
  const cross = () => player.state.cross ?? { model: first, shapes: 0, surfaces: 0 };
  const write = (change) => { player.state.cross = { ...cross(), ...change }; };
  const choose = h("select", { id: "cross-with", ariaLabel: "Cross with", onchange: () => { player.change(() => write({ model: choose.value })); player.commit(); } },
    ...others.map(([id, title]) => h("option", { value: id }, title)));
  const keep = h("button.button.small", { id: "keep-cross", type: "button", onclick: () => keepCross(player, keep) }, "Put it on the shelf");
  const slider = (id, key, name, title) => player.knob({ id, name, title, low: 0, high: WHOLE, step: 1, unit: " %", neutral: 0, snaps: [0, WHOLE],
    get: () => cross()[key], set: (value) => write({ [key]: value }) });
  player.rows.push(() => {
    choose.value = cross().model;
    keep.hidden = !session.may.shelf || drawnModel(player.state) === player.state.model;
  });
  return [h("section.card", { id: "cross" }, h("header", h("h3", "Cross with"), h("div.right", choose)),
    slider("cross-shapes", "shapes", "Shapes", "How much of its shapes"), slider("cross-surfaces", "surfaces", "Surfaces", "How much of its colours and surfaces"), keep)];
}

async function keepCross({ state }, button) {
  button.disabled = true;
  const kept = await attempt("keep_cross", { id: drawnModel(state) });
  button.disabled = false;
  if (kept) onTheShelf(kept);
}

/** Say that a model is on the shelf now, with a way back. */
export function onTheShelf({ model, title }) {
  emit("shelf");
  notice(`${title} is on the shelf.`, { seconds: 15, about: `model-${model}`, action: "Undo", onaction: async () => {
    await attempt("delete_model", { id: model });
    emit("shelf");
  } });
}
