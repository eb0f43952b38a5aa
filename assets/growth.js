// How a run's pictures grow: its sheets of the same seeds, a bar to move through them, and a film that melts one into the next.
import { OWN_CLASS, complain, fileUrl, h, icon, openInPlayer } from "./studio.js";
import { amount, snapshotAt, upTo } from "./story.js";

const KEPT_SHEETS = 240;
const AT_ONCE = 4;
const LARGEST_PX = 2048;
const SMALL_PX = 48;
const FILM_SECONDS = [4, 16];
const STAGE_SECONDS = 0.3;
const OVER = new Set(["finished", "failed"]);
/** Whether nothing more comes of a run by itself, or by resuming it. */
export const isOver = ({ state }) => OVER.has(state);
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

/** The pictures of one run. `moved()` hears when another stage is shown; `choose` (if set) takes clicks on cells. */
export function growth(run, { moved = () => {}, buttons = [] } = {}) {
  const view = {
    run, moved, choose: null, summary: null, told: null, classes: 0, sheets: new Map(), wanted: [], loading: 0, place: 0, count: 0, newest: null, playing: false,
    image: h("img", { id: "preview", alt: "" }), canvas: h("canvas.growth-canvas", { hidden: true, ariaHidden: "true" }), cells: h("div.cells"),
    range: h("input", { id: "scrub", type: "range", min: 0, max: 0, step: 1, value: 0, ariaLabel: "Stage of the training" }),
    label: h("output.scrub-label", { id: "scrub-label" }), marks: h("span.scrub-marks", { ariaHidden: "true" }),
  };
  view.film = h("button.button.small.square", { id: "play-film", type: "button", ariaLabel: "Play how it learned", onclick: () => play(view) }, icon("play"));
  view.open = h("button.button.small", { id: "play-snapshot", type: "button", onclick: () => openInPlayer({ model: modelAt(view) }) });
  view.range.addEventListener("input", () => { view.playing = false; go(view, Number(view.range.value)); });
  view.range.addEventListener("pointerdown", () => loadAll(view));
  view.range.addEventListener("focus", () => loadAll(view));
  view.range.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); play(view); } });
  view.image.addEventListener("load", () => view.frame.classList.remove("waiting"));
  view.frame = h("div.growth-frame.waiting", view.image, view.canvas, view.cells);
  view.bar = h("div.scrub", view.film, h("span.scrub-track", view.range, view.marks), view.label);
  view.tools = h("div.growth-tools", view.open, ...buttons);
  return {
    element: h("section.growth", { ariaLabel: "Pictures of fixed seeds" }, view.frame, view.bar, view.tools),
    bar: view.bar,
    update: (summary, told, classes) => update(view, summary, told, classes),
    stage: () => stage(view),
    step: () => stepAt(view),
    isLive: () => isLive(view),
    goTo: (step) => { const place = stages(view).findIndex((one) => one.step >= step); if (place >= 0) go(view, place); },
    choosing(choose) { view.choose = choose; view.frame.classList.toggle("choosing", Boolean(choose)); showChosen(view); },
    showChosen: () => showChosen(view),
    close: () => { view.playing = false; view.wanted = []; view.sheets.clear(); },
  };
}

const stages = (view) => view.told?.stages ?? [];
const isLive = (view) => view.place >= stages(view).length - 1;
const stage = (view) => stages(view)[Math.round(view.place)];
const stepAt = (view) => (isLive(view) ? view.summary.snapshots.at(-1) : snapshotAt(view.told, view.summary.snapshots, stage(view).kimg));
const modelAt = (view) => `${view.run}@${stepAt(view)}`;

/** The address of a stage's sheet; the same step can be drawn twice, so the time of day tells them apart. */
export const sheetUrl = (run, { file, at }) => fileUrl("preview", `${run}/${file}`, { v: at });

function update(view, summary, told, classes) {
  const live = view.place >= view.count - 1;
  const all = told.stages;
  Object.assign(view, { summary, told, classes, count: all.length });
  view.bar.hidden = all.length < 2;
  view.tools.hidden = !summary.snapshots.length;
  view.range.max = Math.max(0, all.length - 1);
  if (live || view.place > all.length - 1) view.place = Math.max(0, all.length - 1);
  view.range.value = Math.round(view.place);
  if (all.length && all.at(-1) !== view.newest) showNewest(view, (view.newest = all.at(-1)));
  showMarks(view);
  tell(view);
}

function showNewest(view, newest) {
  view.image.src = sheetUrl(view.run, newest);
  view.image.alt = `Newest pictures of ${view.summary.title}`;
  const key = `${newest.seeds} ${newest.columns}`;
  if (view.cells.dataset.key === key) return;
  view.cells.dataset.key = key;
  fillCells(view, newest);
}

function fillCells(view, { seeds, rows, columns, size_px: size }) {
  view.frame.style.aspectRatio = `${columns} / ${rows}`;
  view.cells.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
  const scale = Math.min(1, LARGEST_PX / (columns * size));
  Object.assign(view.canvas, { width: Math.round(columns * size * scale), height: Math.round(rows * size * scale) });
  view.frame.classList.toggle("pixels", size <= SMALL_PX);
  view.cells.replaceChildren(...seeds.map((seed) => h("button.cell", {
    type: "button", title: `Seed ${seed}: open it in the player`, ariaLabel: `Open seed ${seed} in the player`, "data-seed": String(seed), onclick: () => (view.choose ? view.choose(seed) : openCell(view, seed)),
  })));
}

function showChosen(view) {
  for (const cell of view.cells.children) {
    const chosen = view.choose?.seeds?.has(Number(cell.dataset.seed));
    cell.classList.toggle("chosen", Boolean(chosen));
    if (view.choose) cell.ariaPressed = String(Boolean(chosen));
    else cell.removeAttribute("aria-pressed");
  }
}

/** The place that the trainer draws for a seed: with classes, these take turns. */
const point = (view, seed) => ({
  seeds: [{ seed, weight: 1 }], label: view.classes ? OWN_CLASS : null,
  mix: null, edits: [], truncation: 1, noise_seed: null, blend: [], space: "w",
});

function openCell(view, seed) {
  if (!view.summary.snapshots.length) {
    complain({ message: "This run has no snapshot yet.", hint: "The first one comes a few seconds after the start." });
    return;
  }
  openInPlayer({ scene: { model: modelAt(view), point: point(view, seed) } });
}

/** What a click on the sheet of a stage opens: sheets are drawn more often than stages are saved. */
function playableAs(view, { kimg }) {
  const saved = view.told.snapshots.get(stepAt(view));
  return saved === undefined || Math.abs(saved - kimg) < 1e-6 ? "this stage" : `the stage at ${amount(saved)}`;
}

// ── where we stand ──

/** The sentence beside the bar, and which of the two pictures is seen. */
function tell(view) {
  const live = isLive(view);
  const shown = stage(view);
  const place = !shown ? "" : !live ? `at ${amount(shown.kimg)}` : isOver(view.summary) ? "at the end" : "now";
  view.label.textContent = place;
  view.range.ariaValueText = place;
  view.range.style.setProperty("--to", `${(100 * view.range.value) / Math.max(1, view.range.max)}%`);
  view.canvas.hidden = live && !view.playing;
  view.frame.dataset.words = view.summary.state === "waiting" ? "The run before it comes first." : "The first pictures are being drawn…";
  view.open.textContent = shown ? `Play ${playableAs(view, shown)}` : "Play";
  const picture = view.playing ? "pause" : "play";
  if (view.film.dataset.icon === picture) return;
  view.film.dataset.icon = picture;
  view.film.ariaPressed = String(view.playing);
  view.film.replaceChildren(icon(picture));
}

function showMarks(view) {
  const all = stages(view);
  const shown = view.told.marks.filter(({ kind }) => kind !== "snapshot" && kind !== "pause");
  const key = `${shown.length} ${all.length}`;
  if (view.marks.dataset.key === key) return;
  view.marks.dataset.key = key;
  const last = Math.max(1, all.length - 1);
  const best = shown.filter(({ kind }) => kind === "best").at(-1);
  view.marks.replaceChildren(...shown.filter((mark) => mark.kind !== "best" || mark === best).map((mark) => {
    const at = Math.max(0, all.indexOf(upTo(all, "kimg", mark.kimg))) / last;
    return h(`i.${mark.kind}`, { style: { left: `calc(9px + (100% - 18px) * ${at.toFixed(4)})` } });
  }));
}

function go(view, place) {
  view.place = Math.min(Math.max(0, place), Math.max(0, stages(view).length - 1));
  view.range.value = Math.round(view.place);
  tell(view);
  draw(view);
  view.moved();
}

// ── sheets ──

/** Draw the place between two sheets; where one is not there yet, the nearest that is, and once more when it comes. */
function draw(view) {
  const all = stages(view);
  if (!all.length) return;
  const [low, share] = [Math.floor(view.place), view.place % 1];
  const [before, after] = [sheet(view, all[low], true), share ? sheet(view, all[low + 1], true) : null];
  const base = before ?? nearest(view, low);
  if (!base) return;
  const context = view.canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.globalAlpha = 1;
  context.clearRect(0, 0, view.canvas.width, view.canvas.height);
  context.drawImage(base, 0, 0, view.canvas.width, view.canvas.height);
  if (!after || !before) return;
  context.globalAlpha = share * share * (3 - 2 * share);
  context.drawImage(after, 0, 0, view.canvas.width, view.canvas.height);
}

/** The picture of a stage if it has come; else it is asked for. */
function sheet(view, one, urgent = false) {
  const kept = view.sheets.get(one.file);
  if (kept?.at === one.at) return kept.ready ? kept.image : null;
  if (urgent) view.wanted.unshift(one);
  else view.wanted.push(one);
  load(view);
  return null;
}

function load(view) {
  while (view.loading < AT_ONCE && view.wanted.length) {
    const one = view.wanted.shift();
    if (view.sheets.get(one.file)?.at === one.at) continue;
    const kept = { at: one.at, ready: false, image: new Image() };
    view.sheets.set(one.file, kept);
    if (view.sheets.size > KEPT_SHEETS) view.sheets.delete(view.sheets.keys().next().value);
    view.loading += 1;
    kept.image.src = sheetUrl(view.run, one);
    kept.image.decode().then(() => { kept.ready = true; draw(view); }, () => {}).finally(() => { view.loading -= 1; load(view); });
  }
}

/** Ask for all sheets, the coarse ones first, so that the bar moves smoothly. */
function loadAll(view) {
  const all = stages(view);
  if (view.asked === all.length) return;
  view.asked = all.length;
  const order = [];
  for (let stride = 2 ** Math.floor(Math.log2(Math.max(1, all.length))); stride >= 1; stride >>= 1) {
    for (let place = 0; place < all.length; place += stride) order.push(all[place]);
  }
  [...new Set(order)].slice(0, KEPT_SHEETS - 8).forEach((one) => sheet(view, one));
}

function nearest(view, place) {
  const all = stages(view);
  for (let away = 0; away < all.length; away += 1) {
    for (const there of [place - away, place + away]) {
      const kept = all[there] && view.sheets.get(all[there].file);
      if (kept?.ready) return kept.image;
    }
  }
  return view.image.naturalWidth ? view.image : null;
}

// ── the film ──

/** Play from here, or from the first stage if it stands at the end. */
function play(view) {
  view.playing = !view.playing;
  if (!view.playing) { go(view, Math.round(view.place)); return; }
  if (isLive(view)) view.place = 0;
  loadAll(view);
  let before = performance.now();
  const advance = (now) => {
    if (!view.playing || !view.frame.isConnected) { view.playing = false; return; }
    const count = stages(view).length - 1;
    const seconds = Math.min(FILM_SECONDS[1], Math.max(FILM_SECONDS[0], count * STAGE_SECONDS));
    const passed = Math.min(0.1, (now - before) / 1000);
    before = now;
    if (arrived(view)) view.exact = Math.min(count, (view.exact ?? view.place) + (passed * count) / seconds);
    if (view.exact >= count) { view.playing = false; view.exact = undefined; go(view, count); return; }
    go(view, still.matches ? Math.floor(view.exact) : view.exact);
    requestAnimationFrame(advance);
  };
  view.exact = view.place;
  go(view, view.place);
  requestAnimationFrame(advance);
}

/** Whether the next sheet has come; one that cannot be read is not waited for. */
function arrived(view) {
  const next = stages(view)[Math.min(stages(view).length - 1, Math.floor(view.exact ?? view.place) + 1)];
  const kept = view.sheets.get(next.file);
  if (!kept) sheet(view, next, true);
  return Boolean(kept?.ready || (kept && kept.image.complete && !kept.image.naturalWidth));
}
