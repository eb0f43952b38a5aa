// The dataset doctor's card under the pictures of a new run: what could be mended, each finding as one line with some
// of its pictures and a button that mends and undoes. Nothing changes without a click.
import { attempt, clamp, complain, emit, fileUrl, h, heard, icon, on, open, plural } from "./studio.js";

const ON_A_LINE = 6;
const PAGE = 60;
const STEP = 0.02;
const LEAST = 0.05;
const CROPPED_PX = 192;
const LEAST_STAGE_PX = 340;
const STAGE_SHARE = 0.42;

export async function mount(element, { trigger }) {
  const body = h("div", { id: "doctor", role: "region", ariaLabel: "Dataset doctor" });
  element.replaceChildren(body);
  const desk = { body, trigger, settings: {}, before: {}, upload: "" };
  await open().catch(complain);
  on("pictures", (value) => show(desk, value));
  window.addEventListener("studio-prepare", ({ detail }) => { desk.settings = detail; refresh(desk); });
  if (heard("pictures")) show(desk, heard("pictures"));
}

/** Ask what was found on the pictures that were just looked through, and draw it; nothing for other pictures. */
async function show(desk, value) {
  desk.upload = value?.upload?.id ?? "";
  desk.settings = value?.suggestion ?? {};
  desk.body.replaceChildren();
  if (!desk.upload) return;
  const upload = desk.upload;
  const found = await attempt("doctor", { upload });
  if (!found || upload !== desk.upload) return;
  Object.assign(desk, found, { before: {}, cells: [], lines: [] });
  draw(desk);
}

// ── the card ──

function draw(desk) {
  const count = desk.findings.length;
  desk.summary = h("p.muted", { id: "doctor-summary", ariaLive: "polite" });
  desk.words = h("p.doctor-words", { id: "doctor-words" });
  desk.body.replaceChildren(h("div.doctor-card",
    h("h4", "Doctor"),
    desk.words,
    count > 0 && h("ul.findings", desk.findings.map((finding) => findingLine(desk, finding))),
    allPictures(desk),
    desk.summary));
  refresh(desk);
}

/** What there is to do: how many findings are not mended yet. */
function advice(desk) {
  const { findings } = desk;
  const left = findings.filter((finding) => !isMended(desk, finding)).length;
  if (!findings.length) return "Nothing to mend.";
  if (!left) return "All that was found is mended.";
  const done = findings.length - left;
  return `${plural(left, "thing")} could be mended by a click${done ? `; ${done} ${done === 1 ? "is" : "are"} mended` : ""}.`;
}

/** Everything that depends on what is chosen: buttons, left-out pictures, the sum below. */
function refresh(desk) {
  if (!desk.upload || !desk.findings) return;
  for (const tell of [...(desk.lines ?? []), ...(desk.cells ?? [])]) tell();
  if (desk.words) desk.words.textContent = advice(desk);
  if (desk.summary) desk.summary.textContent = sum(desk);
}

/** What is not used, and what was drawn by hand. */
function sum(desk) {
  const groups = desk.findings.filter((finding) => isSet(desk, finding)).flatMap(({ same }) => same);
  const copies = groups.reduce((count, group) => count + Math.max(0, stillIn(desk, group).length - 1), 0);
  const squares = Object.keys(desk.squares).length;
  return [desk.left_out.length && `${plural(desk.left_out.length, "picture")} left out`,
    copies && `${plural(copies, "exact copy", "exact copies")} not used`,
    squares && `${plural(squares, "square")} drawn by hand`].filter(Boolean).join(", ");
}

// ── one finding ──

function findingLine(desk, finding) {
  const mend = h("button.button.small.mend", { type: "button", onclick: () => toggle(desk, finding) });
  const shown = finding.pictures.slice(0, ON_A_LINE);
  const all = h("div.finding-all", { id: `finding-${finding.topic}`, hidden: true });
  const more = h("button.link", {
    type: "button", ariaExpanded: "false",
    onclick: () => {
      all.hidden = !all.hidden;
      more.ariaExpanded = String(!all.hidden);
      if (!all.hasChildNodes()) paged(desk, all, finding.pictures.length, (start) => finding.pictures.slice(start, start + PAGE).map((id) => ({ id, ...desk.pictures[id] })));
    },
  }, finding.pictures.length === 1 ? "Look at it" : `Look at all ${finding.pictures.length.toLocaleString("en")}`);
  more.setAttribute("aria-controls", all.id);
  const thumbs = shown.map((id) => thumb(desk, id));
  const line = h(`li.finding${shown.length <= 2 ? ".few" : ""}`, { "data-topic": finding.topic },
    h("p", finding.sentence),
    h("div.finding-thumbs", thumbs),
    h("div.finding-actions", mend, more),
    all);
  desk.lines.push(() => {
    const mended = isMended(desk, finding);
    line.classList.toggle("mended", mended);
    mend.replaceChildren(...(mended ? [icon("undo"), "Undo"] : [finding.remedy]));
    mend.hidden = mended && !canUndo(desk, finding);
    mend.ariaPressed = String(mended);
    thumbs.forEach((picture, place) => showUse(desk, picture, shown[place]));
  });
  return line;
}

function isMended(desk, finding) {
  const { leave_out: ids, same } = finding;
  if (ids.length) return ids.every((id) => desk.left_out.includes(id));
  return isSet(desk, finding) || (same.length > 0 && same.every((group) => stillIn(desk, group).length < 2));
}

const isSet = (desk, { settings }) => Object.entries(settings).every(([name, value]) => desk.settings[name] === value);
const stillIn = (desk, group) => group.filter((id) => !desk.left_out.includes(id));

/** Copies that were left out one by one are taken back where that was done. */
const canUndo = (desk, finding) => finding.leave_out.length > 0 || isSet(desk, finding);

async function toggle(desk, finding) {
  const mended = isMended(desk, finding);
  if (finding.leave_out.length) return choose(desk, mended ? "take_back" : "leave_out", { ids: finding.leave_out });
  const before = Object.fromEntries(Object.keys(finding.settings).map((name) => [name, desk.settings[name]]));
  if (!mended) desk.before[finding.topic] = before;
  desk.trigger("select", { settings: mended ? desk.before[finding.topic] ?? unset(finding.settings) : finding.settings });
}

/** What a setting was before it was mended, where it was so from the beginning. */
const unset = (settings) => Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, { fit: "crop", colour: "rgb" }[name] ?? !value]));

/** Change what is left out or cut; the plan is made anew. */
async function choose(desk, name, args) {
  const chosen = await attempt(name, { upload: desk.upload, ...args });
  if (!chosen) return;
  Object.assign(desk, chosen);
  refresh(desk);
  desk.trigger("select", {});
  emit("choices", desk.upload);
}

/** A thumbnail in its frame; `showUse` dims it while it is not used, and shows the square that was drawn by hand. */
function thumb(desk, id, label = desk.pictures[id]?.label ?? "") {
  return h("span.thumb", { title: label }, h("img", { src: fileUrl("thumb", `${desk.upload}/${id}`), alt: label, loading: "lazy", draggable: false }));
}

function showUse(desk, picture, id) {
  picture.classList.toggle("out", Boolean(unusedAs(desk, id)));
  const square = desk.squares[id];
  picture.classList.toggle("cut", Boolean(square));
  const [left, top, right, bottom] = square ?? [0, 0, 1, 1];
  const [wide, high] = [right - left, bottom - top];
  const percent = (share) => `${(100 * share).toFixed(2)}%`;
  Object.assign(picture.firstChild.style, square
    ? { width: percent(1 / wide), height: percent(1 / high), left: percent(-left / wide), top: percent(-top / high) }
    : { width: "", height: "", left: "", top: "" });
}

/** Why a picture is not used, in a word or two; "" if it is. */
function unusedAs(desk, id) {
  if (desk.left_out.includes(id)) return "left out";
  const copies = desk.findings.find(({ same }) => same.length);
  const group = copies && isSet(desk, copies) && copies.same.find((ids) => ids.includes(id));
  return group && stillIn(desk, group)[0] !== id ? "a copy" : "";
}

// ── pictures one by one ──

/** Cells of pictures, sixty at a time; `page(start)` gives those from `start` on. */
async function paged(desk, place, count, page, start = 0) {
  const pictures = await page(start);
  const next = start + pictures.length;
  const more = next < count && h("button.button.small", { type: "button", onclick: () => { more.remove(); paged(desk, place, count, page, next); } }, "Show more");
  place.append(h("div.cells-of-pictures", pictures.map((one) => cell(desk, one))), ...(more ? [more] : []));
  refresh(desk);
}

function cell(desk, { id, label, size }) {
  const picture = thumb(desk, id, `${label}, ${size}`);
  const keep = h("button.cell-keep", { type: "button", onclick: () => choose(desk, desk.left_out.includes(id) ? "take_back" : "leave_out", { ids: [id] }) }, picture, h("span.cell-mark"));
  const cut = h("button.cell-cut", { type: "button", onclick: () => cropDialog(desk, { id, label }) });
  const box = h("div.picture-cell", keep, cut);
  desk.cells.push(() => {
    const out = desk.left_out.includes(id);
    showUse(desk, picture, id);
    keep.ariaPressed = String(out);
    keep.ariaLabel = `${label}: ${out ? "left out, take it back" : "used, leave it out"}`;
    box.querySelector(".cell-mark").textContent = unusedAs(desk, id);
    cut.textContent = id in desk.squares ? "Crop ✓" : "Crop";
    cut.ariaLabel = `${label}: choose the square by hand`;
  });
  return box;
}

function allPictures(desk) {
  const place = h("div");
  const fold = h("details.report-part", { id: "all-pictures" }, h("summary", "Choose and crop single pictures"), place);
  fold.addEventListener("toggle", () => {
    if (fold.open && !place.hasChildNodes()) paged(desk, place, desk.count, async (start) => (await attempt("upload_pictures", { upload: desk.upload, start }) ?? []).slice(0, PAGE));
  });
  return fold;
}

// ── a square by hand ──

function cropDialog(desk, { id, label }) {
  const image = h("img", { src: fileUrl("large", `${desk.upload}/${id}`), alt: label, draggable: false });
  const square = h("div.crop-square", { tabIndex: 0, role: "group", ariaLabel: "The square. Arrow keys move it, plus and minus change its size." }, h("i.crop-handle"));
  const stage = h("div.crop-stage", image, square);
  const chosen = id in desk.squares;
  const close = () => { dialog.close(); dialog.remove(); };
  const act = (words, box, kind = "") => h(`button.button${kind}`, { type: "button", onclick: () => { close(); choose(desk, "crop_picture", { id, square: box() }); } }, words);
  const view = { x: 0, y: 0, side: 1, ratio: 1, image, result: h("canvas", { width: CROPPED_PX, height: CROPPED_PX, ariaHidden: "true" }) };
  const dialog = h("dialog.sheet.mount.crop", { id: "crop-dialog", ariaLabel: `Choose the square of ${label}` },
    h("h3", "Choose the square of ", h("span.crop-name", label)), h("p.muted", "Drag it; drag its corner to change its size. Arrow keys, plus and minus do the same."),
    h("div.crop-table", stage, h("figure.crop-result", view.result, h("figcaption.muted", "as it will be used"))),
    h("div.crop-buttons", act("Use this square", () => boxOf(view), ".primary"), chosen && act("As the settings say", () => null),
      h("button.button", { type: "button", onclick: close }, "Cancel")));
  image.addEventListener("load", () => {
    const ratio = image.naturalHeight / image.naturalWidth;
    image.style.width = `${Math.min(Math.max(image.naturalWidth, LEAST_STAGE_PX), (STAGE_SHARE * window.innerHeight) / ratio)}px`;
    begin(view, image, desk.squares[id]);
    lay(view, square);
    square.focus();
  });
  image.addEventListener("error", () => { close(); complain(new Error("This picture cannot be opened any more.")); });
  dialog.addEventListener("close", () => dialog.remove());
  steer(view, stage, square);
  document.body.append(dialog);
  dialog.showModal();
}

/** `view` holds left, top and side of the square as shares of the width; `ratio` is the picture's height by its width. */
function begin(view, image, box) {
  view.ratio = image.naturalHeight / image.naturalWidth;
  view.side = box ? box[2] - box[0] : Math.min(1, view.ratio);
  view.x = box ? box[0] : (1 - view.side) / 2;
  view.y = box ? box[1] * view.ratio : (view.ratio - view.side) / 2;
  keepInside(view);
}

function keepInside(view) {
  view.side = clamp(view.side, LEAST * Math.min(1, view.ratio), Math.min(1, view.ratio));
  view.x = clamp(view.x, 0, 1 - view.side);
  view.y = clamp(view.y, 0, view.ratio - view.side);
}

const boxOf = ({ x, y, side, ratio }) => [x, y / ratio, x + side, (y + side) / ratio].map((share) => clamp(share, 0, 1));

function lay(view, square) {
  keepInside(view);
  const [left, top, right, bottom] = boxOf(view).map((share) => 100 * share);
  Object.assign(square.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  const { image, result, x, y, side } = view;
  const width = image.naturalWidth;
  const context = result.getContext("2d");
  context.clearRect(0, 0, result.width, result.height);
  context.drawImage(image, x * width, y * width, side * width, side * width, 0, 0, result.width, result.height);
}

/** Pointer and keys move the square and change its size. */
function steer(view, stage, square) {
  let held = null;
  square.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    square.focus();
    square.setPointerCapture(event.pointerId);
    held = { ...view, resize: event.target.classList.contains("crop-handle"), fromX: event.clientX, fromY: event.clientY, width: stage.clientWidth };
  });
  square.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [right, down] = [(event.clientX - held.fromX) / held.width, (event.clientY - held.fromY) / held.width];
    if (held.resize) view.side = clamp(held.side + Math.max(right, down), 0, Math.min(1 - view.x, view.ratio - view.y));
    else Object.assign(view, { x: held.x + right, y: held.y + down });
    lay(view, square);
  });
  for (const end of ["pointerup", "pointercancel"]) square.addEventListener(end, () => { held = null; });
  const keys = { ArrowLeft: ["x", -STEP], ArrowRight: ["x", STEP], ArrowUp: ["y", -STEP], ArrowDown: ["y", STEP], "+": ["side", STEP], "=": ["side", STEP], "-": ["side", -STEP] };
  square.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    const [name, step] = keys[event.key];
    view[name] += step;
    lay(view, square);
  });
}
