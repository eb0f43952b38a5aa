// The first step of a new run: pictures arrive by drag and drop, are looked through, and the report says what was found.
// The component's value tells Gradio what was chosen: {token, upload, suggestion} or {token, dataset}.
import { attempt, bus, call, complain, errand, fileUrl, h, icon, notice, on, open, post, session } from "./studio.js";

const BATCH_FILES = 50;
const BATCH_BYTES = 24 << 20;
const SHOWN_SAMPLES = 24;
const SHOWN_GROUPS = 12;

export async function mount(element, { trigger, props }) {
  const body = h("div", { id: "pictures", ariaLive: "polite" });
  element.replaceChildren(body);
  const desk = { body, trigger, props, cancelled: false };
  await open().catch(complain);
  if (!session.may.train) return showForbidden();
  on("session", () => { if (props.value) props.value = { ...props.value, token: session.token }; });
  listenForBase(desk);
  await showEmpty(desk);
}

/** A public studio: say plainly what can be done instead. */
function showForbidden() {
  document.querySelector("#new-run")?.classList.add("closed");
}

/** Tell Gradio what is chosen; null for nothing. */
function choose(desk, value) {
  desk.props.value = value && { token: session.token, ...value };
  desk.trigger("change");
}

/** "Train it further", on the shelf or beside a finished run: the model to start from. */
function listenForBase(desk) {
  const begin = (id) => {
    errand.base = null;
    desk.trigger("select", { base: id });
    document.querySelector("#new-run")?.scrollIntoView({ behavior: "smooth", block: "start" });
  };
  document.addEventListener("studio-base", (event) => begin(event.detail));
  if (errand.base) begin(errand.base);
  bus.addEventListener("run-finished", () => desk.trigger("select", { base: "" }));
}

// ── nothing chosen yet ──

async function showEmpty(desk) {
  desk.cancelled = false;
  choose(desk, null);
  const prepared = h("div.prepared");
  desk.body.replaceChildren(dropzone(desk), prepared);
  const datasets = await attempt("datasets");
  if (datasets?.length) prepared.replaceChildren(h("h4", "Or pictures that you prepared before"), h("div.dataset-list", datasets.map((one) => datasetButton(desk, one))));
}

function dropzone(desk) {
  const files = picker("choose-files", { multiple: true, accept: "image/*,.zip" }, desk);
  const folder = picker("choose-folder", { multiple: true, webkitdirectory: true }, desk);
  const zone = h("div.dropzone", { id: "dropzone" },
    h("span.dropzone-mark", icon("folder")),
    h("strong", "Drop your pictures here"),
    h("p", "A folder, loose files, or a zip. Sub-folders can become classes."),
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
  input.addEventListener("change", () => {
    take(desk, [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
  });
  return input;
}

/** Every file below what was dropped, with its path. The entries must be asked for before the event is over. */
async function filesDropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

async function walk(entry, above, found) {
  const path = above + entry.name;
  if (entry.isFile) {
    found.push({ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const child of some) await walk(child, `${path}/`, found);
  }
}

// ── sending ──

const isHidden = ({ path }) => path.split("/").some((part) => part.startsWith("."));

async function take(desk, found) {
  const files = found.filter((one) => !isHidden(one));
  if (!files.length) {
    notice("There are no files in this.", { hint: "Drop a folder of pictures, loose pictures or a zip.", kind: "bad" });
    return;
  }
  const upload = await attempt("begin_upload");
  if (!upload) return;
  try {
    await send(desk, upload, files);
    if (!desk.cancelled) await lookThrough(desk, upload);
  } catch (failure) {
    complain(failure);
    desk.cancelled = true;
  }
  if (desk.cancelled) startOver(desk, upload);
}

async function send(desk, upload, files) {
  const total = files.length;
  const bar = working(desk, "Sending", () => { desk.cancelled = true; });
  let done = 0;
  for (const batch of batches(files)) {
    if (desk.cancelled) return;
    bar.tell(done, total);
    const form = new FormData();
    for (const { file, path } of batch) form.append("files", file, path);
    await post(`upload/${upload}`, form);
    done += batch.length;
    bar.tell(done, total);
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
      figure.textContent = total ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")} files` : "";
      fill.style.width = `${percent}%`;
      bar.ariaValueNow = percent;
    },
  };
}

// ── looking through ──

async function lookThrough(desk, upload) {
  const job = await call("scan_upload", { upload });
  const bar = working(desk, "Looking at every picture", () => {
    desk.cancelled = true;
    attempt("cancel", { id: job });
  });
  await finished(job, (status) => bar.tell(status.done, status.total, "Looking at every picture"));
  if (desk.cancelled) return;
  const report = await call("upload_report", { upload });
  showReport(desk, upload, report);
  choose(desk, { upload, suggestion: report.suggestion });
}

/** Wait for a job, telling how far it is; throws its error. */
export async function finished(id, tell) {
  for (;;) {
    const status = await call("job", { id });
    if (status.state === "failed") throw Object.assign(new Error(status.error), { hint: status.hint });
    if (status.state === "done" || status.state === "cancelled") return status;
    tell(status);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function startOver(desk, upload) {
  if (upload) attempt("drop_upload", { upload });
  await showEmpty(desk);
}

// ── the report ──

const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

function showReport(desk, upload, report) {
  const again = () => startOver(desk, upload);
  const picture = (label) => thumbnail(upload, label);
  desk.body.replaceChildren(h("div.report", { id: "report" },
    h("div.report-head",
      h("div", h("strong.report-count", plural(report.count, "picture")), h("p.muted", sizes(report))),
      h("button.button.small", { type: "button", id: "start-over", onclick: again }, icon("reset"), "Start over")),
    h("div.contact-sheet", report.samples.slice(0, SHOWN_SAMPLES).map(picture)),
    report.warnings.length > 0 && h("ul.warnings", report.warnings.map((sentence) => h("li", sentence))),
    report.classes.length > 0 && classChips(report.classes),
    duplicates("exact copy", "exact copies", report.duplicates, picture),
    duplicates("picture that looks nearly the same", "pictures that look nearly the same", report.near_duplicates, picture),
    refusals(report)));
}

function sizes({ smallest, median, largest, landscape, portrait, square }) {
  const side = smallest === largest ? `${smallest} px` : `${smallest} to ${largest} px, mostly around ${median}`;
  const shapes = [[square, "square"], [landscape, "wide"], [portrait, "tall"]].filter(([count]) => count);
  const shape = shapes.length === 1 ? `all ${shapes[0][1]}` : shapes.map(([count, word]) => `${count} ${word}`).join(", ");
  return `${side}; ${shape}`;
}

function thumbnail(upload, label) {
  const image = h("img", { src: fileUrl("upload", `${upload}/${encodeURIComponent(label)}`), alt: label, title: label, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.classList.add("missing"), { once: true });
  return image;
}

const classChips = (classes) => h("div.report-part",
  h("h4", plural(classes.length, "sub-folder")),
  h("div.chips", classes.map(({ name, count }) => h("span.tag", `${name || "not in a folder"} · ${count}`))));

function duplicates(one, many, groups, picture) {
  if (!groups.length) return null;
  const extra = groups.reduce((sum, group) => sum + group.length - 1, 0);
  return h("details.report-part",
    h("summary", plural(extra, one, many)),
    h("div.duplicate-groups", groups.slice(0, SHOWN_GROUPS).map((group) => h("div.duplicate-group", group.slice(0, 6).map(picture), group.length > 6 && h("span.muted", `+${group.length - 6}`)))),
    groups.length > SHOWN_GROUPS && h("p.muted", `and ${groups.length - SHOWN_GROUPS} groups more`));
}

function refusals({ refused, refused_count: count }) {
  if (!count) return null;
  return h("details.report-part", { id: "refused" },
    h("summary", `${plural(count, "file")} left out`),
    h("ul.refusals", refused.map(({ file, reason }) => h("li", h("b", file), h("span", reason)))),
    count > refused.length && h("p.muted", `and ${count - refused.length} more`));
}

// ── pictures prepared before ──

const COLOURS = { 1: "grey", 3: "colour", 4: "with transparency" };

function aboutDataset({ count, resolution, channels, labels }) {
  const parts = [plural(count, "picture"), `${resolution} px`, COLOURS[channels]];
  if (labels.length) parts.push(`${labels.length} classes`);
  return parts.join(" · ");
}

const sheet = (dataset, className) => h(`img.${className}`, { src: fileUrl("sheet", dataset.id), alt: `Some of the pictures of ${dataset.title}`, loading: "lazy" });

function datasetButton(desk, dataset) {
  return h("button.dataset", { type: "button", id: `dataset-${dataset.id}`, onclick: () => showDataset(desk, dataset) },
    sheet(dataset, "dataset-face"),
    h("span.dataset-text", h("b", dataset.title), h("span.muted", aboutDataset(dataset))));
}

function showDataset(desk, dataset) {
  const remove = async () => {
    if (await attempt("delete_dataset", { id: dataset.id }) === undefined) return;
    notice(`${dataset.title} is deleted.`, { action: "Undo", onaction: async () => { await attempt("restore_dataset", { id: dataset.id }); showEmpty(desk); } });
    showEmpty(desk);
  };
  desk.body.replaceChildren(h("div.report", { id: "report" },
    h("div.report-head",
      h("div", h("strong.report-count", dataset.title), h("p.muted", aboutDataset(dataset))),
      h("button.button.small", { type: "button", id: "start-over", onclick: () => showEmpty(desk) }, icon("reset"), "Start over")),
    sheet(dataset, "dataset-sheet"),
    dataset.labels.length > 0 && classChips(dataset.labels.map((name, index) => ({ name, count: dataset.counts[index] }))),
    h("p.muted.small", "These pictures are prepared already. ", h("button.link", { type: "button", onclick: remove }, "Delete them"))));
  choose(desk, { dataset: dataset.id });
}
