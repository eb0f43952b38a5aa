// The shelf: a card for every model; one click and it plays.
import { attempt, call, complain, emit, fileUrl, h, icon, notice, on, open, openInPlayer, session, show, trainFurther } from "./studio.js";

export function mount(element) {
  const grid = h("div.shelf-grid", { id: "shelf" });
  element.replaceChildren(
    h("div.room-head", h("div", h("h2", "The shelf"), h("p", "Pick a generator and play it. What you train appears here too."))),
    grid);
  const refresh = () => { fill(grid, refresh); emit("shelf-changed"); };
  on("shelf", refresh);
  on("run-finished", refresh);
  fill(grid, refresh);
}

async function fill(grid, refresh) {
  try {
    await open();
    const models = await call("models");
    grid.replaceChildren(...(models.length ? models.map((model) => card(model, refresh)) : [empty()]));
  } catch (failure) {
    grid.replaceChildren(h("div.empty", h("strong", failure.message), failure.hint));
  }
}

const empty = () => h("div.empty", h("strong", "The shelf is empty."), "Train a model on your own pictures; it will stand here.",
  h("div", h("button.button.primary", { onclick: () => show("train") }, "Train a model")));

function card(model, refresh) {
  if (model.problem) return brokenCard(model, refresh);
  const { card: about } = model;
  const play = () => openInPlayer({ model: model.id });
  const image = model.has_preview && h("img", { src: fileUrl("model", model.id, { v: about.created }), alt: `Pictures made by ${about.title}`, loading: "lazy" });
  return h("article.card.model-card", { id: `model-${model.id}` },
    h("button.cover", { onclick: play, ariaLabel: `Play ${about.title}` }, image || h("span.nothing", "no preview")),
    h("div.body",
      h("h3", about.title),
      h("div.facts",
        !model.shipped && h("span.tag.own", "yours"),
        h("span.tag", `${about.resolution} px`),
        h("span.tag", FAMILIES[about.family] ?? about.family),
        about.channels === 4 && h("span.tag", "transparent"),
        about.channels === 1 && h("span.tag", "grey"),
        about.classes.length > 0 && h("span.tag", `${about.classes.length} classes`),
        h("span.tag", about.licence || "no licence given")),
      h("p", about.summary || `Trained on ${about.trained_on}.`)),
    h("div.actions",
      h("button.button.primary.small", { onclick: play }, "Play"),
      h("button.button.small", { onclick: () => details(model, refresh) }, "About")));
}

const FAMILIES = { stylegan2: "StyleGAN2", dcgan: "DCGAN", mlp: "MLP" };

const brokenCard = (model, refresh) => h("article.card.model-card",
  h("div.cover.broken", "✕"),
  h("div.body", h("h3", model.card?.title ?? model.id), h("p", model.problem)),
  h("div.actions", !model.shipped && session.may.shelf && h("button.button.small", { onclick: () => remove(model, refresh) }, "Take off the shelf")));

function details(model, refresh) {
  const { card: about } = model;
  const title = h("input", { type: "text", value: about.title, ariaLabel: "Title", maxLength: 80, style: { width: "100%" } });
  const mine = !model.shipped && session.may.shelf;
  const dialog = h("dialog.sheet.mount",
    mine ? title : h("h2", about.title),
    h("p.muted", { style: { marginTop: "10px" } }, about.summary),
    h("dl", ...rows(about)),
    h("div.toolbar",
      h("button.button.primary", { onclick: () => { dialog.close(); openInPlayer({ model: model.id }); } }, "Play"),
      session.may.train && h("button.button", { onclick: () => { dialog.close(); trainFurther(model.id); } }, "Train it further"),
      h("a.button", { href: fileUrl("model-zip", model.id, { download: 1 }), download: `${model.id}.zip` }, icon("save"), "Download folder"),
      mine && h("button.button", { onclick: () => { dialog.close(); remove(model, refresh); } }, "Take off the shelf"),
      h("span.spacer"),
      h("button.button", { onclick: () => dialog.close() }, "Close")));
  dialog.addEventListener("close", async () => {
    dialog.remove();
    if (mine && title.value.trim() && title.value !== about.title) {
      await attempt("rename_model", { id: model.id, title: title.value.trim() });
      refresh();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}

const rows = (about) => [
  ["Trained on", about.trained_on], ["Licence", about.licence], ["Author", about.author], ["Network", `${FAMILIES[about.family] ?? about.family}, ${about.resolution} px`],
  ["Seen", about.kimg ? `${about.kimg.toLocaleString("en", { maximumFractionDigits: 1 })} thousand pictures` : ""], ["Comes from", about.origin], ["Made with", about.command], ["Classes", about.classes.join(", ")],
].filter(([, value]) => value).flatMap(([name, value]) => [h("dt", name), h("dd", value)]);

async function remove(model, refresh) {
  try {
    await call("delete_model", { id: model.id });
    refresh();
    notice(`${model.card?.title ?? model.id} was taken off the shelf.`, {
      action: "Undo", onaction: async () => { await attempt("restore_model", { id: model.id }); refresh(); }, seconds: 15 });
  } catch (failure) {
    complain(failure);
  }
}
