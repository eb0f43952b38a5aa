// The gallery: saved pictures; a click goes back to the exact place each came from.
import { attempt, call, fileUrl, h, icon, notice, on, openInPlayer, openRecipe, show } from "./studio.js";

export function mount(element) {
  const grid = h("div.gallery-grid", { id: "gallery" });
  const more = h("button.button", { hidden: true }, "Show older ones");
  const chooser = h("input.visually-hidden", { type: "file", accept: "image/png", onchange: () => { if (chooser.files[0]) openRecipe(chooser.files[0]); chooser.value = ""; } });
  element.replaceChildren(
    h("div.room-head",
      h("div", h("h2", "Saved pictures"), h("p", "Each PNG carries its recipe. Click one, or drop one anywhere on this page, and the player goes back to that place.")),
      h("label.button", icon("folder"), "Open a saved PNG", chooser)),
    grid, h("div.toolbar", { style: { marginTop: "18px" } }, more));
  let last = null;
  const load = async (before) => {
    const items = await attempt("gallery", { before }) ?? [];
    if (!before) grid.replaceChildren();
    if (!before && !items.length) grid.append(emptyState());
    grid.append(...items.map((item) => picture(item, () => load(null))));
    last = items.at(-1)?.id ?? null;
    more.hidden = items.length < 60;
  };
  more.addEventListener("click", () => load(last));
  on("saved", () => load(null));
  load(null);
}

const emptyState = () => h("div.empty", { style: { gridColumn: "1 / -1" } }, h("strong", "Nothing saved yet."),
  "Press Save in the player, or S on the keyboard, when you like what you see.",
  h("div", h("button.button.primary", { onclick: () => show("play") }, "Go and play")));

function picture(item, refresh) {
  const heart = h("button.quiet", { className: `quiet${item.favourite ? " on" : ""}`, ariaLabel: "Favourite", ariaPressed: String(item.favourite), onclick: async () => {
    item.favourite = !item.favourite;
    heart.classList.toggle("on", item.favourite);
    heart.ariaPressed = String(item.favourite);
    await attempt("favourite", { id: item.id, on: item.favourite });
  } }, icon("heart"));
  const image = h("img", { src: fileUrl("thumbnail", item.id), alt: item.title, loading: "lazy", onload: () => image.classList.toggle("pixels", image.naturalWidth <= 48) });
  return h("figure.saved", { style: { margin: 0 } },
    h("button", { onclick: () => openInPlayer({ scene: item.recipe }), title: "Back to this place", ariaLabel: `Open ${item.title}` }, image),
    h("div.bar",
      h("span", { title: item.title }, item.title), heart,
      h("a.quiet", { href: fileUrl("picture", item.id, { download: 1 }), download: `${item.id}.png`, ariaLabel: "Download" }, icon("save")),
      h("button.quiet", { ariaLabel: "Delete", onclick: async () => {
        await attempt("delete_picture", { id: item.id });
        refresh();
        notice("The picture was deleted.", { action: "Undo", onaction: async () => { await attempt("restore_picture", { id: item.id }); refresh(); }, seconds: 15 });
      } }, icon("close"))));
}
