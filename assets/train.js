// The first step of a new run: pictures arrive by drag and drop, are looked through, and the report says what was found.
// The component's value tells Gradio what was chosen: {token, upload, suggestion} or {token, dataset}.
import { attempt, call, complain, dismiss, emit, errand, fileUrl, h, icon, notice, on, open, plural, post, session } from "./studio.js";
import { filesChosen, filesDropped } from "./dropping.js";
import { overview, sheet } from "./overview.js";
import { outcome } from "./waiting.js";

const LAST_MINUTES = "latent-studio-minutes";
const OTHER_MINUTES = "latent-studio-other-minutes";
const UPLOAD = "latent-studio-upload";
const OTHER_FIELD = "#other-minutes input";
const TITLE_FIELD = "#train-title :is(input, textarea)";
const BATCH_FILES = 50;
const BATCH_BYTES = 24 << 20;

// How frames are taken out of films: so many, spread evenly, or one every so many seconds, as many as a film may give.
const USUAL_FRAMES = { video_frames: 200, video_seconds: 0 };
const FRAMES = [
  ...[50, 100, 200, 400, 600].map((count) => [`Up to ${count}, evenly spread`, { video_frames: count, video_seconds: 0 }]),
  ...[1, 2, 5, 10, 30, 60].map((seconds) => [`One every ${seconds === 1 ? "second" : `${seconds} seconds`}`, { video_frames: 600, video_seconds: seconds }]),
];

export async function mount(element, { trigger, props }) {
  const body = h("div", { id: "pictures", ariaLive: "polite" });
  element.replaceChildren(body);
  const desk = { body, trigger, props, cancelled: false, sending: false, film: null };
  await open().catch(complain);
  on("session", () => { if (props.value) props.value = { ...props.value, token: session.token }; });
  window.addEventListener("studio-training", () => showEmpty(desk));
  on("datasets", () => desk.body.querySelector(".dropzone") && listPrepared(desk));
  listenForBase(desk);
  rememberMinutes();
  window.addEventListener("studio-prepare", ({ detail }) => {
    if (!kept()) return;
    keep({ settings: detail });
    desk.drawAgain?.();
  });
  on("choices", () => desk.drawAgain?.());
  window.addEventListener("studio-refused", ({ detail }) => markFields(detail));
  window.addEventListener("beforeunload", (event) => desk.sending && event.preventDefault());
  if (!await takeUp(desk)) await showEmpty(desk);
}

// ── what a reload comes back to ──

/** The upload of this tab: {id, film, settings}, or null. */
const kept = () => JSON.parse(sessionStorage.getItem(UPLOAD));
const keep = (change) => sessionStorage.setItem(UPLOAD, JSON.stringify({ ...kept(), ...change }));
const forget = () => sessionStorage.removeItem(UPLOAD);

/** Go on with the pictures that had been sent before the page was loaded anew; false if there are none. */
async function takeUp(desk) {
  const upload = kept();
  if (!upload) return false;
  try {
    const report = await call("upload_report", { upload: upload.id });
    desk.film = upload.film;
    write(TITLE_FIELD, upload.title);
    if (report) {
      showUpload(desk, upload.id, { ...report, suggested: { ...report.suggested, ...upload.settings } });
      desk.drawAgain();
    } else await lookThrough(desk, upload.id, upload.film);
    return !desk.cancelled;
  } catch {
    return false;
  }
}

/** A part of the page that is Gradio's, as soon as it is there; null if it does not come. */
async function appears(selector) {
  for (let tries = 100; tries > 0 && !document.querySelector(selector); tries -= 1) await new Promise((resolve) => setTimeout(resolve, 50));
  return document.querySelector(selector);
}

/** Write into a field of Gradio's, as a hand would. */
async function write(selector, text) {
  const field = await appears(selector);
  if (!field || !text) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** The dial "How long" stands where it stood last. It is Gradio's; a click is what it hears. */
function rememberMinutes() {
  const dial = document.querySelector("#train-minutes");
  const last = localStorage.getItem(LAST_MINUTES);
  const others = () => write(OTHER_FIELD, localStorage.getItem(OTHER_MINUTES));
  dial.addEventListener("change", ({ target }) => { localStorage.setItem(LAST_MINUTES, target.value); if (target.value === "0") others(); });
  document.querySelector("#new-run").addEventListener("input", ({ target }) => {
    if (target.matches(OTHER_FIELD)) localStorage.setItem(OTHER_MINUTES, target.value);
    if (target.matches(TITLE_FIELD) && kept()) keep({ title: target.value });
  });
  [...dial.querySelectorAll("input")].find(({ value }) => value === last)?.click();
}

/** What was refused stands beside its field, too. The fields are Gradio's; the sentences come as the page shows them. */
function markFields(told) {
  const form = document.querySelector("#new-run");
  for (const line of form.querySelectorAll(".field-problem")) line.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const problem of new DOMParser().parseFromString(told, "text/html").querySelectorAll("[data-field]")) {
    const place = document.getElementById(problem.dataset.field);
    place?.querySelector("input")?.setAttribute("aria-invalid", "true");
    place?.append(h("p.field-problem", problem.querySelector("b").textContent));
  }
}

/** Tell Gradio what is chosen; null for nothing. */
function choose(desk, value) {
  desk.props.value = value && { token: session.token, ...value };
  desk.trigger("change");
  emit("pictures", value);
}

/** "Train it further", on the shelf or beside a finished run: the model to start from. */
function listenForBase(desk) {
  const begin = (id) => {
    errand.base = null;
    desk.trigger("select", { base: id });
    document.querySelector("#new-run")?.scrollIntoView({ behavior: "smooth", block: "start" });
  };
  on("base", begin);
  if (errand.base) begin(errand.base);
  on("run-finished", () => desk.trigger("select", { base: "" }));
}

// ── nothing chosen yet ──

async function showEmpty(desk) {
  Object.assign(desk, { cancelled: false, film: null });
  forget();
  choose(desk, null);
  desk.body.replaceChildren(dropzone(desk), h("div.prepared"));
  await listPrepared(desk);
}

async function listPrepared(desk) {
  const datasets = await attempt("datasets");
  if (!datasets?.length) return;
  desk.body.querySelector(".prepared")?.replaceChildren(
    h("h4", "Or take pictures that are ready"),
    h("div.dataset-list", datasets.map((one) => datasetButton(desk, one))));
}

function dropzone(desk) {
  const files = picker("choose-files", { multiple: true, accept: "image/*,video/*,.mkv,.zip" }, desk);
  const folder = picker("choose-folder", { multiple: true, webkitdirectory: true }, desk);
  const zone = h("div.dropzone", { id: "dropzone" },
    h("span.dropzone-mark", icon("folder")),
    h("strong", "Drop your pictures here"),
    h("p", "A folder, loose files, a zip, or a film. Sub-folders can become classes."),
    h("div.dropzone-buttons",
      h("button.button", { type: "button", onclick: () => folder.click() }, "Choose a folder"),
      h("button.button", { type: "button", onclick: () => files.click() }, "Choose files")),
    files, folder);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", (event) => { if (!zone.contains(event.relatedTarget)) zone.classList.remove("over"); });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    filesDropped(event.dataTransfer).then((found) => take(desk, found)).catch(complain);
  });
  return zone;
}

function picker(id, attributes, desk) {
  const input = h("input.visually-hidden", { id, type: "file", tabIndex: -1, ariaHidden: "true", ...attributes });
  input.addEventListener("change", () => take(desk, filesChosen(input)));
  return input;
}

// ── sending ──

const isHidden = ({ path }) => path.split("/").some((part) => part.startsWith("."));

async function take(desk, found) {
  const files = found.filter((one) => !isHidden(one));
  if (!files.length) {
    notice("There are no files in this.", { hint: "Drop a folder of pictures, loose pictures or a zip.", kind: "bad", about: "pictures" });
    return;
  }
  dismiss("pictures");
  const upload = await attempt("begin_upload");
  if (!upload) return;
  try {
    await send(desk, upload, files);
    if (!desk.cancelled) await lookThrough(desk, upload);
  } catch (failure) {
    await startOver(desk, upload);
    desk.body.prepend(h("p.problem", { id: "upload-problem", role: "alert" }, h("b", failure.message), " ", failure.hint));
    return;
  }
  if (desk.cancelled) startOver(desk, upload);
}

async function send(desk, upload, files) {
  const total = files.length;
  const bar = working(desk, "Sending", () => { desk.cancelled = true; });
  let done = 0;
  desk.sending = true;
  try {
    for (const batch of batches(files)) {
      if (desk.cancelled) return;
      bar.tell(done, total);
      const form = new FormData();
      for (const { file, path } of batch) form.append("files", file, path);
      await post(`upload/${upload}`, form);
      done += batch.length;
      bar.tell(done, total);
    }
  } finally {
    desk.sending = false;
  }
}

/** Groups of about fifty files, fewer if they are large. */
export function* batches(files) {
  let batch = [];
  let bytes = 0;
  for (const one of files) {
    if (batch.length && (batch.length >= BATCH_FILES || bytes + one.file.size > BATCH_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(one);
    bytes += one.file.size;
  }
  if (batch.length) yield batch;
}

/** A bar that counts files, with Cancel. */
function working(desk, verb, cancel) {
  const line = h("strong", `${verb}…`);
  const figure = h("span.muted");
  const fill = h("i");
  const button = h("button.button.small", { type: "button", id: "cancel-upload", onclick: () => { button.disabled = true; cancel(); } }, "Cancel");
  const bar = h("div.progress", { role: "progressbar", ariaLabel: verb, ariaValueMin: 0, ariaValueMax: 100 }, fill);
  desk.body.replaceChildren(h("div.working", h("div.working-line", line, figure, button), bar));
  return {
    tell(done, total, sentence) {
      const percent = total ? Math.round((100 * done) / total) : 0;
      if (sentence) line.textContent = sentence;
      figure.textContent = total ? `${done.toLocaleString("en")} of ${plural(total, "file")}` : "";
      fill.style.width = `${percent}%`;
      bar.ariaValueNow = percent;
    },
  };
}

// ── looking through ──

async function lookThrough(desk, upload, film = null) {
  keep({ id: upload, film });
  const job = await call("scan_upload", { upload, film });
  const bar = working(desk, "Looking at every picture", () => {
    desk.cancelled = true;
    attempt("cancel", { id: job });
  });
  const report = await outcome(job, (status) => bar.tell(status.done, status.total, status.message));
  if (!report) desk.cancelled = true;
  if (desk.cancelled) return;
  desk.film = film;
  showUpload(desk, upload, report);
}

/** The report of an upload, and Gradio hears of it. */
function showUpload(desk, upload, report) {
  showReport(desk, upload, report);
  const { source: title, count, suggested: suggestion } = report;
  choose(desk, { upload: { id: upload, title, count, classes: report.classes.map(({ name }) => name) }, suggestion });
}

/** The same upload with other frames of its films; with those of before if that fails, or is cancelled. */
async function lookAgain(desk, upload, film) {
  for (const take of [film, desk.film]) {
    desk.cancelled = false;
    try {
      await lookThrough(desk, upload, take);
    } catch (failure) {
      complain(failure);
      desk.cancelled = true;
    }
    if (!desk.cancelled) return;
  }
  startOver(desk, upload);
}

async function startOver(desk, upload) {
  await showEmpty(desk); // no picture of it is asked for any more
  if (upload) attempt("drop_upload", { upload });
}

// ── the report ──

function showReport(desk, upload, report) {
  desk.body.replaceChildren(h("div.report", { id: "report" },
    head(desk, plural(report.count, "picture"), sizes(report), () => startOver(desk, upload)),
    showOverview(desk, upload, report),
    report.films.length > 0 && filmChoice(desk, upload, report.films),
    report.warnings.length > 0 && h("ul.warnings", report.warnings.map((sentence) => h("li", sentence))),
    report.classes.length > 0 && classChips(report.classes),
    refusals(report)));
}

/** Some of the pictures as they will be used; `desk.drawAgain` follows the form and what was chosen. */
function showOverview(desk, upload, { overview: first, suggested }) {
  const view = overview(upload, first, () => ({ ...suggested, ...kept()?.settings }));
  desk.drawAgain = view.again;
  appears("#proof").then((place) => place?.replaceChildren(view.proof));
  return view.element;
}

const head = (desk, title, about, again) => h("div.report-head",
  h("div", h("strong.report-count", title), h("p.muted", about)),
  h("button.button.small", { type: "button", id: "start-over", onclick: again }, icon("reset"), "Start over"));

function sizes({ smallest, median, largest, landscape, portrait, square }) {
  const side = smallest === largest ? `${smallest} px` : `${smallest} to ${largest} px, mostly around ${median}`;
  const shapes = [[square, "square"], [landscape, "wide"], [portrait, "tall"]].filter(([count]) => count);
  const shape = shapes.length === 1 ? `all ${shapes[0][1]}` : shapes.map(([count, word]) => `${count} ${word}`).join(", ");
  return `${side}; ${shape}`;
}

/** How many frames are taken out of the films: a choice looks through the upload again. */
function filmChoice(desk, upload, films) {
  const chosen = desk.film ?? USUAL_FRAMES;
  const options = FRAMES.map(([words, film]) => h("option", { selected: film.video_frames === chosen.video_frames && film.video_seconds === chosen.video_seconds }, words));
  const select = h("select", { id: "film-frames", onchange: () => lookAgain(desk, upload, FRAMES[select.selectedIndex][1]) }, options);
  return h("label.film-choice", films.length === 1 ? `Frames of ${films[0]}` : `Frames of each of ${films.length} films`, select);
}

const classChips = (classes) => h("div.report-part",
  h("h4", plural(classes.length, "sub-folder")),
  h("div.chips", classes.map(({ name, count }) => h("span.tag", `${name || "not in a folder"} · ${count}`))));

function refusals({ refused, refused_count: count }) {
  if (!count) return null;
  return h("details.report-part", { id: "refused" },
    h("summary", `${plural(count, "file")} cannot be used`),
    h("ul.refusals", refused.map(({ file, reason }) => h("li", h("b", file), h("span", reason)))),
    count > refused.length && h("p.muted", `and ${count - refused.length} more`));
}

// ── pictures prepared before ──

const COLOURS = { 1: "grey", 3: "colour", 4: "with transparency" };

function aboutDataset({ count, resolution, channels, labels }) {
  const parts = [plural(count, "picture"), `${resolution} px`, COLOURS[channels]];
  if (labels.length) parts.push(plural(labels.length, "class", "classes"));
  return parts.join(" · ");
}

const datasetSheet = (dataset, layout) => sheet(fileUrl("sheet", dataset.id), Math.min(dataset.count, 60), `Some of the pictures of ${dataset.title}`, layout);

function datasetButton(desk, dataset) {
  return h("button.dataset", { type: "button", id: `dataset-${dataset.id}`, onclick: () => showDataset(desk, dataset) },
    datasetSheet(dataset, { every: 2, most: 4 }),
    h("span.dataset-text", h("b", dataset.title), h("span.muted", aboutDataset(dataset))));
}

function showDataset(desk, dataset) {
  desk.body.replaceChildren(h("div.report", { id: "report" },
    head(desk, dataset.title, aboutDataset(dataset), () => showEmpty(desk)),
    datasetSheet(dataset),
    dataset.labels.length > 0 && classChips(dataset.labels.map((name, index) => ({ name, count: dataset.counts[index] }))),
    h("p.muted", "They are prepared already. ", h("button.link", { type: "button", onclick: () => remove(desk, dataset) }, "Delete them"))));
  choose(desk, { dataset: dataset.id });
}

async function remove(desk, { id, title }) {
  if (!await attempt("delete_dataset", { id })) return;
  await showEmpty(desk);
  notice(`${title} was deleted.`, { hint: "A run that learns from it cannot go on.", seconds: 20, action: "Undo", onaction: async () => {
    await attempt("restore_dataset", { id });
    await listPrepared(desk);
  } });
}
