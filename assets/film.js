// The film of a training as an MP4 file: how long, how large, which pictures; then progress, and the download.
import { attempt, call, complain, dismiss, fileUrl, h, icon, notice } from "./studio.js";
import { outcome } from "./waiting.js";

const LENGTHS = [5, 8, 12, 20, 30];
const SIZES = [[720, "720 px"], [1080, "1080 px"], [2160, "2160 px"]];

/** The button that opens the panel, and the panel. `choosing(choose)` lets the growing pictures take clicks. */
export function filmMaker(run, { choosing, showChosen }) {
  const view = { run, choosing, showChosen, chosen: new Set(), job: "", panel: h("div.film-panel", { hidden: true }) };
  view.button = h("button.button.small", { id: "growth-film", type: "button", ariaExpanded: "false", onclick: () => (view.panel.hidden ? open(view) : close(view)) }, icon("film"), "Film");
  return { button: view.button, panel: view.panel, close: () => close(view) };
}

function open(view) {
  view.panel.hidden = false;
  view.button.ariaExpanded = "true";
  if (!view.job) showForm(view);
}

function close(view) {
  view.panel.hidden = true;
  view.button.ariaExpanded = "false";
  view.choosing(null);
}

function showForm(view) {
  const length = choice("growth-film-seconds", "Length", LENGTHS.map((value) => [value, `${value} seconds`]), 12);
  const size = choice("growth-film-size", "Size", SIZES, 1080);
  const which = choice("growth-film-which", "Pictures", [["all", "All pictures"], ["some", "Only some…"]], "all");
  const hint = h("p.muted.film-hint", { id: "growth-film-hint", hidden: true });
  const begin = h("button.button.primary.small", { id: "growth-film-begin", type: "button" }, "Make the film");
  const tell = () => {
    const some = which.value === "some";
    hint.hidden = !some;
    hint.textContent = view.chosen.size ? `${view.chosen.size} chosen.` : "Choose pictures above: a click adds one to the film.";
    begin.disabled = some && !view.chosen.size;
  };
  which.addEventListener("change", () => { choose(view, which.value === "some", tell); tell(); });
  begin.addEventListener("click", () => make(view, {
    seconds: Number(length.value), size_px: Number(size.value), seeds: which.value === "some" ? [...view.chosen].sort((a, b) => a - b) : [],
  }));
  view.chosen.clear();
  view.panel.replaceChildren(h("div.film-row", length, size, which, begin), hint);
  tell();
}

const choice = (id, label, options, chosen) => h("select", { id, ariaLabel: label }, options.map(([value, words]) => h("option", { value, selected: value === chosen }, words)));

/** Clicks on the growing pictures choose them, or open them in the player again. */
function choose(view, some, tell) {
  if (!some) { view.choosing(null); return; }
  const pick = (seed) => {
    if (!view.chosen.delete(seed)) view.chosen.add(seed);
    view.showChosen();
    tell();
  };
  pick.seeds = view.chosen;
  view.choosing(pick);
}

async function make(view, settings) {
  dismiss("film");
  try {
    view.job = await call("growth_film", { id: view.run, settings });
    view.choosing(null);
    await watch(view);
  } catch (failure) {
    complain(failure, "film");
    view.job = "";
    showForm(view);
  }
}

async function watch(view) {
  const bar = h("i");
  const text = h("span.muted", "Starting…");
  const place = h("div.progress", { role: "progressbar", ariaLabel: "The film", ariaValueMin: 0, ariaValueMax: 100 }, bar);
  view.panel.replaceChildren(h("div.film-row", place, text, h("button.button.small", { id: "growth-film-cancel", type: "button", onclick: () => attempt("cancel", { id: view.job }) }, "Cancel")));
  const name = await outcome(view.job, ({ done, total }) => {
    const share = total ? (100 * done) / total : 0;
    bar.style.width = `${share}%`;
    place.ariaValueNow = String(Math.round(share));
    text.textContent = total ? `Drawing ${done} of ${total}` : "Starting…";
  });
  view.job = "";
  if (!name) {
    notice("The film was cancelled; nothing is left of it.", { about: "film" });
    showForm(view);
    return;
  }
  const again = h("button.button.small", { type: "button", onclick: () => showForm(view) }, "Another one");
  view.panel.replaceChildren(h("div.film-row", h("span", "The film is ready."), h("a.button.primary.small", { id: "growth-film-download", href: fileUrl("film", name, { download: 1 }), download: name }, icon("save"), "Download"), again),
    h("video.film-preview", { src: fileUrl("film", name), controls: true, loop: true, muted: true, playsInline: true }));
}
