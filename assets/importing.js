// Bringing a model: a dialog that takes a file, a folder, a path or a repository of the Hub, shows what it is, and keeps it.
import { attempt, call, fileUrl, h, icon, notice, plural, session, StudioFailure, url } from "./studio.js";
import { filesChosen, filesDropped } from "./dropping.js";
import { outcome } from "./waiting.js";

const KINDS = ".pkl,.pickle,.pt,.pth,.bin,.ckpt,.safetensors,.zip,.json";
const STAGES = { sending: "Sending", asking: "Asking", downloading: "Downloading", reading: "Reading", drawing: "Drawing", saving: "Saving" };

/** Open the dialog, with files in hand if some were dropped. `kept(id, title)` hears of the model that is on the shelf. */
export function bring(kept, files) {
  const body = h("div.bring-body", { ariaLive: "polite" });
  const dialog = h("dialog.sheet.mount.bring", { id: "bring", ariaLabel: "Bring a model" }, body);
  const desk = { dialog, body, kept, id: null, busy: null };
  dialog.addEventListener("cancel", (event) => { if (desk.busy) event.preventDefault(); });
  const gone = () => { if (desk.id) navigator.sendBeacon(url(`import/${desk.id}/forget`)); };
  window.addEventListener("pagehide", gone);
  dialog.addEventListener("close", () => { window.removeEventListener("pagehide", gone); leave(desk); dialog.remove(); });
  roof().append(dialog);
  dialog.showModal();
  if (files) send(desk, files); else showWays(desk);
}

/** Where dialogs live: Gradio lets rules for small screens reach no further up. */
const roof = () => document.querySelector(".gradio-container .contain") ?? document.body;

/** Show this step of the dialog, less what is not there. */
const present = (desk, ...parts) => desk.body.replaceChildren(...parts.filter(Boolean));

/** Forget what was sent; what was downloaded stays for a while. */
function leave(desk) {
  desk.busy?.();
  desk.busy = null;
  if (desk.id) attempt("forget_import", { id: desk.id });
  desk.id = null;
}

/** Let the whole room of `element`, while it is shown, take files that are dropped; pictures are left to the player. */
export function takeDrops(element, take) {
  const veil = h("div.shelf-veil.mount", { hidden: true }, h("div", icon("plus"), h("strong", "Drop it here"), h("p", "A model's file, several, its folder, or a zip of them.")));
  roof().append(veil);
  const meant = (event) => element.offsetParent && !document.querySelector("dialog[open]")
    && [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file" && !item.type.startsWith("image/"));
  const listen = (name, listener) => window.addEventListener(name, (event) => {
    if (meant(event)) listener(event);
    else veil.hidden = true;
  }, { capture: true });
  listen("dragover", (event) => { event.preventDefault(); event.stopPropagation(); veil.hidden = false; });
  listen("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    veil.hidden = true;
    filesDropped(event.dataTransfer).then(take);
  });
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) veil.hidden = true; });
}

// ── the three ways ──

function showWays(desk, failure, again) {
  leave(desk);
  present(desk,
    head("Bring a model", "A generator that you or somebody else trained, of any of the usual programs. It is read as numbers; nothing inside it is ever run."),
    failure && problem(failure, again),
    dropzone(desk),
    hubForm(desk),
    !session.public && pathForm(desk),
    h("div.bring-foot", h("span.spacer"), h("button.button", { type: "button", onclick: () => desk.dialog.close() }, "Close")));
}

const head = (title, text) => h("header.bring-head", h("h2", title), text && h("p", text));

const problem = ({ message, hint }, again) => h("div.bring-problem", { id: "bring-problem", role: "alert" },
  h("div", h("b", message), hint && h("p", hint)),
  again && h("button.button.small", { type: "button", id: "bring-again", onclick: again }, "Try again"));

function dropzone(desk) {
  const file = chooser("bring-file", { accept: KINDS, multiple: true }, desk);
  const folder = chooser("bring-folder", { webkitdirectory: true, multiple: true }, desk);
  const zone = h("div.dropzone.bring-drop", { id: "bring-drop" },
    h("strong", "Drop a file or a folder"),
    h("p", ".pkl, .pt, .pth, .bin, .ckpt, .safetensors, or a zip of them"),
    h("div.dropzone-buttons",
      h("button.button", { type: "button", onclick: () => file.click() }, "Choose a file"),
      h("button.button", { type: "button", onclick: () => folder.click() }, "Choose a folder")),
    file, folder);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", (event) => { if (!zone.contains(event.relatedTarget)) zone.classList.remove("over"); });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    filesDropped(event.dataTransfer).then((found) => send(desk, found));
  });
  return zone;
}

function chooser(id, attributes, desk) {
  const input = h("input.visually-hidden", { id, type: "file", tabIndex: -1, ariaHidden: "true", ...attributes });
  input.addEventListener("change", () => send(desk, filesChosen(input)));
  return input;
}

function hubForm(desk) {
  const address = h("input", { id: "bring-hub", type: "text", placeholder: "owner/name, or its address", value: desk.address ?? "", ariaLabel: "Repository on the Hugging Face Hub", spellcheck: false, autocomplete: "off" });
  const revision = h("input.revision", { id: "bring-revision", type: "text", placeholder: "newest revision", value: desk.revision ?? "", ariaLabel: "Revision: a branch, a tag or a commit", title: "Revision: a branch, a tag or a commit", spellcheck: false, autocomplete: "off" });
  return way("From the Hugging Face Hub", [address, revision], "Look", "bring-hub-look", () => {
    Object.assign(desk, { address: address.value.trim(), revision: revision.value.trim() });
    if (desk.address) askHub(desk);
  });
}

function pathForm(desk) {
  const path = h("input", { id: "bring-path", type: "text", placeholder: "/folder/network-snapshot.pkl", value: desk.path ?? "", ariaLabel: "Path of a file or a folder on this machine", spellcheck: false, autocomplete: "off" });
  return way("From this machine", [path], "Open", "bring-path-open", () => {
    desk.path = path.value.trim();
    if (desk.path) openPath(desk);
  });
}

const way = (title, inputs, verb, id, submit) => h("form.bring-way", { onsubmit: (event) => { event.preventDefault(); submit(); } },
  h("h3", title), h("div.bring-line", inputs, h("button.button", { id }, verb)));

// ── sending, asking, downloading, reading ──

const isHidden = ({ path }) => path.split("/").some((part) => part.startsWith(".") && part !== ".config.json");

/** Do `steps` with a bar and Cancel; a failure leads back to the three ways, with its sentence. */
async function work(desk, stages, steps, again, back = () => showWays(desk), failed = (failure) => showWays(desk, failure, desk.stage !== "reading" && again)) {
  desk.stage = stages[0];
  const view = working(desk, stages, () => { desk.busy?.(); });
  const self = {};
  desk.token = self;
  try {
    await steps(view);
  } catch (failure) {
    desk.busy = null;
    if (desk.token === self && !failure.cancelled) failed(failure);
    else if (desk.token === self && desk.dialog.open) back();
  }
}

class Cancelled extends Error {
  cancelled = true;
}

/** Wait for a job of the studio; throws its failure, or Cancelled. */
async function follow(desk, view, job) {
  desk.busy = () => attempt("cancel", { id: job });
  const result = await outcome(job, view.tell);
  desk.busy = null;
  if (result === undefined || result === null) throw new Cancelled();
  return result;
}

function send(desk, found) {
  const files = found.filter((one) => !isHidden(one));
  if (!files.length) return showWays(desk, { message: "There are no files in this.", hint: "Drop the model's file, or its folder." });
  return work(desk, ["sending", "reading", "drawing"], async (view) => {
    desk.id = await call("begin_import");
    const total = files.reduce((sum, { file }) => sum + file.size, 0);
    let before = 0;
    for (const { file, path } of files) {
      await post(desk, file, path, (bytes) => view.tell({ stage: "sending", message: `Sending ${file.name}`, done: before + bytes, total }));
      before += file.size;
    }
    desk.stage = "reading"; // what cannot be read now never can, so there is no trying again
    showLook(desk, await follow(desk, view, await call("look_at_import", { id: desk.id })));
  }, () => send(desk, found));
}

/** One file to the studio, straight to its disk. `fetch` does not tell how much was sent. */
function post(desk, file, path, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const cutOff = () => reject(new StudioFailure({ error: "The upload was cut off.", hint: "See whether the studio still runs, then try again." }));
    request.open("POST", url(`import/${desk.id}`, { path }));
    request.responseType = "json";
    request.upload.onprogress = (event) => tell(event.loaded);
    request.onload = () => (request.response?.result ? resolve() : request.response?.error ? reject(new StudioFailure(request.response)) : cutOff());
    request.onerror = cutOff;
    request.onabort = () => reject(new Cancelled());
    desk.busy = () => request.abort();
    request.send(file);
  });
}

const openPath = (desk) => work(desk, ["reading", "drawing"], async (view) => {
  desk.id = await call("begin_import", { path: desk.path });
  showLook(desk, await follow(desk, view, await call("look_at_import", { id: desk.id })));
});

const askHub = (desk) => work(desk, ["asking"], async (view) => {
  const listing = await follow(desk, view, await call("look_at_hub", { address: desk.address, revision: desk.revision }));
  desk.id = listing.id;
  showListing(desk, listing);
}, () => askHub(desk));

const download = (desk, listing, weights) => work(desk, ["downloading", "reading", "drawing"], async (view) => {
  showLook(desk, await follow(desk, view, await call("download_import", { id: listing.id, weights })));
}, () => askHub(desk), () => showListing(desk, listing));

/** Look at other weights of the folder. Should they be none, the step stays as it was, with the sentence. */
const lookAgain = (desk, look, choice, about) => {
  const stay = (failure) => showLook(desk, { ...look, about }, failure);
  return work(desk, ["reading", "drawing"], async (view) => {
    const found = await follow(desk, view, await call("look_at_import", { id: desk.id, choice }));
    showLook(desk, { ...found, about });
  }, undefined, stay, stay);
};

/** Where it is, how far, how fast; and Cancel. */
function working(desk, stages, cancel) {
  const steps = stages.map((stage) => h("li", STAGES[stage]));
  const line = h("strong", "One moment");
  const figure = h("span.muted");
  const fill = h("i");
  const bar = h("div.progress", { role: "progressbar", ariaLabel: "Bringing the model", ariaValueMin: 0, ariaValueMax: 100 }, fill);
  const button = h("button.button", { type: "button", id: "bring-cancel", onclick: () => { button.disabled = true; cancel(); } }, "Cancel");
  present(desk, head("Bring a model"),
    h("div.bring-work", steps.length > 1 && h("ol.bring-steps", steps), h("div.working-line", line, figure), bar),
    h("div.bring-foot", h("span.spacer"), button));
  const speed = speedometer();
  return {
    tell({ stage, message, done, total }) {
      const here = stages.indexOf(stage);
      steps.forEach((step, index) => { step.className = index < here ? "past" : index === here ? "now" : ""; });
      line.textContent = message || STAGES[stage] || "One moment";
      const bytes = stage === "sending" || stage === "downloading";
      figure.textContent = !total ? "" : bytes ? `${size(done)} of ${size(total)}${speed(done)}` : `${done} of ${total}`;
      bar.classList.toggle("unknown", !total);
      const percent = total ? Math.round((100 * done) / total) : 0;
      fill.style.width = total ? `${percent}%` : "";
      bar.ariaValueNow = percent;
    },
  };
}

/** " · 8.1 MB/s", smoothed over some seconds. */
function speedometer() {
  const samples = [];
  return (done) => {
    const now = performance.now();
    samples.push([now, done]);
    while (samples.length > 2 && now - samples[0][0] > 4000) samples.shift();
    const [[then, before]] = samples;
    return now - then > 400 && done > before ? ` · ${size((1000 * (done - before)) / (now - then))}/s` : "";
  };
}

export function size(bytes) {
  if (bytes < 1e3) return `${Math.round(bytes)} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} KB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

// ── what a repository holds ──

function showListing(desk, listing) {
  const boxes = new Map();
  const add = () => {
    const taken = listing.files.filter((file) => (file.kind === "weights" ? boxes.get(file.path).checked : file.taken));
    begin.textContent = `Download ${size(taken.reduce((sum, file) => sum + file.size_bytes, 0))}`;
    begin.disabled = !taken.some((file) => file.kind === "weights");
  };
  const begin = h("button.button.primary", { type: "button", id: "bring-download", onclick: () => download(desk, listing, listing.files.filter((file) => boxes.get(file.path)?.checked).map((file) => file.path)) }, "Download");
  const row = (file) => {
    const box = h("input", { type: "checkbox", checked: file.taken, disabled: file.kind !== "weights", ariaLabel: `Take ${file.path}`, onchange: add });
    if (file.kind === "weights") boxes.set(file.path, box);
    return h(`label.hub-file${file.kind === "other" ? ".left" : ""}`, box, h("span", file.path), h("span.muted", size(file.size_bytes)));
  };
  const useful = listing.files.filter((file) => file.kind !== "other");
  const others = listing.files.filter((file) => file.kind === "other");
  present(desk,
    head(listing.title),
    h("div.facts",
      h("a.tag", { href: listing.address, target: "_blank", rel: "noreferrer" }, listing.repository),
      h("span.tag", { title: listing.revision }, `commit ${listing.revision.slice(0, 8)}`),
      h("span.tag", listing.licence || "no licence given"),
      listing.private && h("span.tag", "private"), listing.gated && h("span.tag", "gated")),
    !boxes.size && !useful.some((file) => file.kind === "weights") && problem({ message: "There are no weights in it that the studio could read.", hint: "Look for another repository of this model." }),
    h("div.hub-files", { id: "bring-files" }, useful.map(row)),
    others.length > 0 && h("details.hub-others", h("summary", `${others.length} other ${others.length === 1 ? "file stays" : "files stay"} there`), h("div.hub-files", others.map(row))),
    h("div.bring-foot", back(desk), h("span.spacer"), begin));
  add();
}

const back = (desk) => h("button.button", { type: "button", id: "bring-back", onclick: () => showWays(desk) }, icon("left"), "Back");

// ── what it is ──

const COLOURS = { 1: "grey", 3: "colour", 4: "with transparency" };

function showLook(desk, look, failure) {
  const form = aboutForm(look);
  const picked = () => Number(desk.body.querySelector(".candidate input:checked")?.value ?? 0);
  const keep = h("button.button.primary", { id: "bring-keep" }, "Keep on the shelf");
  present(desk, h("form.bring-look", { id: "bring-look", onsubmit: (event) => { event.preventDefault(); if (form.check()) save(desk, look, form, picked(), keep); } },
    head(look.format, look.file_name ? `${look.file_name} · ${size(look.size_bytes)}` : ""),
    h("div.facts",
      h("span.tag", look.family_title), h("span.tag", `${look.resolution} px`), h("span.tag", COLOURS[look.channels]),
      look.classes.length > 0 && h("span.tag", plural(look.classes.length, "class", "classes")),
      look.kimg > 0 && h("span.tag", `${look.kimg.toLocaleString("en", { maximumFractionDigits: 1 })} thousand pictures seen`),
      look.learns && h("span.tag.own", "can be trained further")),
    look.warnings.length > 0 && h("ul.warnings", look.warnings.map((sentence) => h("li", sentence))),
    failure && problem(failure),
    look.choices.length > 1 && choice(desk, look, form),
    candidates(look),
    form.element,
    h("div.bring-foot", form.said, back(desk), h("span.spacer"), keep)));
}

function choice(desk, look, form) {
  const select = h("select", { id: "bring-choice", onchange: () => lookAgain(desk, look, select.value, form.about()) },
    look.choices.map((name) => h("option", { value: name, selected: name === look.choice }, name)));
  return h("label.bring-field", h("span", `Weights: one of ${look.choices.length}`), select);
}

function candidates(look) {
  const several = look.candidates.length > 1;
  const picture = (index) => h("img", {
    src: fileUrl("import", `${look.id}/${index}`, { v: `${look.choice}-${look.size_bytes}` }), alt: several ? `Six pictures, read as: ${look.candidates[index]}` : "Six of its pictures",
    onload: ({ target }) => target.classList.toggle("pixels", target.naturalWidth < 300) });
  if (!several) return h("div.only-candidate", picture(0));
  return h("fieldset.candidates",
    h("legend", "Which looks right?"),
    h("p.muted", "The file does not say how its numbers become a picture. Pick by eye."),
    h("div", look.candidates.map((title, index) => h("label.candidate",
      h("input.visually-hidden", { type: "radio", name: "candidate", value: index, checked: index === 0 }),
      picture(index), h("span", title)))));
}

function aboutForm({ about, licences }) {
  const title = field("Name", h("input", { id: "bring-title", type: "text", value: about.title, maxLength: 120, required: true }));
  const known = licences.find((name) => name.toLowerCase() === about.licence.toLowerCase());
  const licence = h("select", { id: "bring-licence" },
    h("option", { value: "", disabled: true, selected: !about.licence }, "Choose…"),
    licences.map((name) => h("option", { value: name, selected: name === known }, name)),
    h("option", { value: "other", selected: Boolean(about.licence && !known && about.licence !== "unknown") }, "Another…"),
    h("option", { value: "unknown", selected: about.licence === "unknown" }, "I do not know"));
  const other = h("input", { id: "bring-other-licence", type: "text", value: known ? "" : about.licence, placeholder: "Its name", ariaLabel: "Name of the licence", maxLength: 200 });
  const author = field("Made by", h("input", { id: "bring-author", type: "text", value: about.author, placeholder: "not known", maxLength: 200 }));
  const trained = field("Trained on", h("input", { id: "bring-trained", type: "text", value: about.trained_on, placeholder: "not known", maxLength: 1000 }));
  const said = h("p.bring-missing", { role: "alert", hidden: true });
  const showOther = () => { other.hidden = licence.value !== "other"; said.hidden = true; };
  licence.addEventListener("change", showOther);
  showOther();
  const value = (label) => label.querySelector("input").value.trim();
  const named = () => (licence.value === "other" ? other.value.trim() : licence.value);
  return {
    element: h("div.bring-about", title, h("label.bring-field", h("span", "Licence"), licence, other), author, trained),
    said,
    check() {
      const missing = !value(title) ? [title.querySelector("input"), "Give it a name."] : !named() ? [licence.value === "other" ? other : licence, "Say under which licence it came, or that you do not know."] : null;
      if (missing) missing[0].focus();
      said.textContent = missing?.[1] ?? "";
      said.hidden = !missing;
      return !missing;
    },
    complain(failure) {
      said.textContent = `${failure.message} ${failure.hint}`;
      said.hidden = false;
    },
    about: () => ({ title: value(title), licence: named(), author: value(author), trained_on: value(trained) }),
  };
}

const field = (name, input) => h("label.bring-field", h("span", name), input);

async function save(desk, look, form, candidate, button) {
  button.disabled = true;
  button.textContent = "Putting it on the shelf…";
  try {
    const about = form.about();
    const id = await outcome(await call("keep_import", { id: look.id, about, candidate }), () => {});
    desk.id = null;
    desk.dialog.close();
    desk.kept(id, about.title);
  } catch (failure) {
    button.disabled = false;
    button.textContent = "Keep on the shelf";
    form.complain(failure);
  }
}
