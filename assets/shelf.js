// The shelf: a card for every model; one click and it plays.
import { bring, takeDrops } from "./importing.js";
import { attempt, call, complain, dismiss, emit, fileUrl, h, icon, notice, on, open, openInPlayer, plural, session, show, trainFurther } from "./studio.js";

export function mount(element) {
  const grid = h("div.shelf-grid", { id: "shelf" });
  const refresh = async () => { await fill(grid, refresh); emit("shelf-changed"); };
  const button = h("button.button", { id: "bring-model", hidden: true, onclick: () => bring((...kept) => welcome(refresh, ...kept)) }, icon("plus"), "Bring a model");
  element.replaceChildren(
    h("div.room-head", h("div", h("h2", "The shelf"), h("p", "Pick a generator and play it. What you train or bring appears here too.")), button),
    grid);
  open().then(() => { button.hidden = !session.may.import; }, () => {});
  takeDrops(element, (files) => session.may.import && bring((...kept) => welcome(refresh, ...kept), files));
  on("shelf", refresh);
  on("run-finished", refresh);
  fill(grid, refresh);
}

async function fill(grid, refresh) {
  try {
    await open();
    const models = await call("models");
    grid.replaceChildren(...models.map((model) => card(model, refresh)), session.may.import ? tile(refresh) : models.length ? "" : empty());
  } catch (failure) {
    grid.replaceChildren(h("div.empty", h("strong", failure.message), failure.hint));
  }
}

const tile = (refresh) => h("button.bring-tile", { id: "bring-tile", onclick: () => bring((...kept) => welcome(refresh, ...kept)) },
  icon("plus"), h("strong", "Bring a model"), h("span", "Drop its file or folder anywhere here, or name one on the Hugging Face Hub"));

/** A model that was brought: show its card, with a way back. */
async function welcome(refresh, id, title) {
  await refresh();
  const shown = document.querySelector(`#model-${CSS.escape(id)}`);
  shown?.classList.add("fresh");
  shown?.scrollIntoView({ behavior: "smooth", block: "center" });
  shown?.querySelector(".primary")?.focus({ preventScroll: true });
  notice(`${title} is on the shelf.`, { action: "Undo", onaction: async () => { await attempt("delete_model", { id }); refresh(); }, seconds: 15, about: `model-${id}` });
}

const empty = () => h("div.empty", h("strong", "The shelf is empty."), "Train a model on your own pictures; it will stand here.",
  h("div", h("button.button.primary", { onclick: () => show("train") }, "Train a model")));

function card(model, refresh) {
  if (model.problem) return brokenCard(model, refresh);
  const { card: about } = model;
  const play = () => openInPlayer({ model: model.id });
  const image = model.has_preview && h("img", { src: fileUrl("model", model.id, { v: about.created }), alt: `Pictures made by ${about.title}`, loading: "lazy", onload: ({ target }) => target.classList.toggle("pixels", target.naturalWidth < 300) });
  return h("article.card.model-card", { id: `model-${model.id}` },
    h("button.cover", { onclick: play, ariaLabel: `Play ${about.title}` }, image || h("span.nothing", "no preview")),
    h("div.body",
      h("h3", about.title),
      h("div.facts",
        !model.shipped && h("span.tag.own", "yours"),
        h("span.tag", `${about.resolution} px`),
        h("span.tag", model.family_title),
        about.channels === 4 && h("span.tag", "transparent"),
        about.channels === 1 && h("span.tag", "grey"),
        about.classes.length > 0 && h("span.tag", plural(about.classes.length, "class", "classes")),
        h("span.tag", licence(about))),
      h("p", about.summary || (about.trained_on ? `Trained on ${about.trained_on}.` : "What it was trained on is not known."))),
    h("div.actions",
      h("button.button.primary.small", { onclick: play }, "Play"),
      h("button.button.small", { onclick: () => details(model, refresh) }, "About")));
}

const licence = (about) => (about.licence === "unknown" ? "licence unknown" : about.licence || "no licence given");

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
    h("dl", ...rows(model)),
    h("div.toolbar",
      h("button.button.primary", { onclick: () => { dialog.close(); openInPlayer({ model: model.id }); } }, "Play"),
      session.may.train && model.trains && h("button.button", { onclick: () => { dialog.close(); trainFurther(model.id); } }, "Train it further"),
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

const rows = ({ card: about, family_title: family }) => [
  ["Trained on", about.trained_on], ["Licence", about.licence], ["Author", about.author], ["Network", `${family}, ${about.resolution} px`],
  ["Seen", about.kimg ? `${about.kimg.toLocaleString("en", { maximumFractionDigits: 1 })} thousand pictures` : ""], ["Comes from", about.origin], ["Checksum", about.source.sha256 && `sha256 ${about.source.sha256}`], ["Made with", about.command], ["Classes", about.classes.join(", ")],
].filter(([, value]) => value).flatMap(([name, value]) => [h("dt", name), h("dd", value)]);

async function remove(model, refresh) {
  try {
    await call("delete_model", { id: model.id });
    dismiss(`model-${model.id}`);
    refresh();
    notice(`${model.card?.title ?? model.id} was taken off the shelf.`, {
      action: "Undo", onaction: async () => { await attempt("restore_model", { id: model.id }); refresh(); }, seconds: 15 });
  } catch (failure) {
    complain(failure, `model-${model.id}`);
  }
}
