// How a run's pictures grow: the newest sheet of its fixed seeds, and a bar that draws the same seeds at every snapshot.
import { call, complain, fileUrl, h, icon, openInPlayer } from "./studio.js";

const AT_ONCE = 12;
const CELL_PX = 96;
const FILM_MILLISECONDS = 420;
const SMALL_PX = 48;

/** The pictures of one run. `update(summary, about)` with `about` = {classes, kimg: Map(step → kimg)}. */
export function growth(run) {
  const view = {
    run, summary: null, about: { classes: 0, kimg: new Map() }, kept: new Map(), wanted: null, drawing: false, playing: false,
    image: h("img", { id: "preview", alt: "" }), canvas: h("canvas", { id: "film", hidden: true }), cells: h("div.cells"),
    range: h("input", { id: "scrub", type: "range", min: 0, max: 0, step: 1, value: 0, ariaLabel: "Snapshot" }),
    label: h("output.scrub-label", { id: "scrub-label" }),
  };
  view.film = h("button.button.small.square", { id: "play-film", type: "button", ariaLabel: "Play how it learned", onclick: () => film(view) }, icon("play"));
  view.play = h("button.button.small", { id: "play-snapshot", type: "button", onclick: () => openInPlayer({ model: modelAt(view) }) }, "Play this one");
  view.range.addEventListener("input", () => { view.playing = false; scrubbed(view); });
  view.image.addEventListener("load", () => view.frame.classList.remove("waiting"));
  view.frame = h("div.growth-frame.waiting", view.image, view.canvas, view.cells);
  view.bar = h("div.scrub", view.film, view.range, view.label, view.play);
  return {
    element: h("section.growth", view.frame, view.bar),
    update: (summary, about) => update(view, summary, about),
    close: () => { view.playing = false; view.wanted = null; },
  };
}

const isLive = (view) => Number(view.range.value) >= Number(view.range.max);
const stepAt = (view) => view.summary.snapshots[Number(view.range.value)];
const modelAt = (view) => `${view.run}@${isLive(view) ? view.summary.snapshots.at(-1) : stepAt(view)}`;

function update(view, summary, about) {
  const live = !view.summary || isLive(view);
  const [before, count] = [view.summary?.snapshots.length ?? -1, summary.snapshots.length];
  const seeds = view.summary?.preview_seeds.length;
  Object.assign(view, { summary, about });
  if (summary.preview_seeds.length && summary.preview_seeds.length !== seeds) fillCells(view);
  if (before !== count) {
    view.range.max = count;
    view.bar.hidden = count === 0;
    if (live) view.range.value = count;
  }
  if (summary.preview && view.shown !== summary.preview) {
    view.shown = summary.preview;
    view.image.src = fileUrl("preview", `${view.run}/${summary.preview}`);
    view.image.alt = `Newest pictures of ${summary.title}`;
  }
  tell(view);
}

function fillCells(view) {
  const { preview_seeds: seeds, preview_columns: columns } = view.summary;
  const rows = Math.ceil(seeds.length / columns);
  view.frame.style.aspectRatio = `${columns} / ${rows}`;
  view.cells.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
  Object.assign(view.canvas, { width: columns * CELL_PX, height: rows * CELL_PX });
  view.cells.replaceChildren(...seeds.map((seed) => h("button.cell", {
    type: "button", title: `Seed ${seed}: open it in the player`, ariaLabel: `Open seed ${seed} in the player`, onclick: () => openCell(view, seed),
  })));
}

/** The place that the trainer draws for a seed: with classes, the class is the seed modulo their number. */
const point = (view, seed) => ({
  seeds: [{ seed, weight: 1 }], label: view.about.classes ? seed % view.about.classes : null,
  mix: null, edits: [], truncation: 1, noise_seed: null, blend: [], space: "w",
});

function openCell(view, seed) {
  if (!view.summary.snapshots.length) {
    complain({ message: "This run has no snapshot yet.", hint: "The first one comes a few seconds after the start." });
    return;
  }
  openInPlayer({ scene: { model: modelAt(view), point: point(view, seed) } });
}

/** The sentence beside the bar, and which of the two pictures is seen. */
function tell(view) {
  const live = isLive(view);
  const { summary, about } = view;
  const seen = live ? summary.kimg : about.kimg.get(stepAt(view));
  const place = live && !OVER.has(summary.state) ? "now" : live ? "at the end" : seen === undefined ? `at step ${stepAt(view)}` : `at ${amount(seen)}`;
  view.label.textContent = place;
  view.range.ariaValueText = place;
  view.range.style.setProperty("--to", `${(100 * view.range.value) / Math.max(1, view.range.max)}%`);
  view.canvas.hidden = live;
  view.play.classList.toggle("asleep", live);
  view.frame.classList.toggle("pixels", (about.size_px ?? 64) <= SMALL_PX);
  view.film.ariaPressed = String(view.playing);
  view.film.replaceChildren(icon(view.playing ? "pause" : "play"));
}

const OVER = new Set(["finished", "failed"]);

/** Thousands of pictures, readable. */
export const amount = (kimg) => `${kimg >= 100 ? Math.round(kimg) : kimg >= 10 ? kimg.toFixed(1) : kimg.toFixed(2)} kimg`;

function scrubbed(view) {
  tell(view);
  view.wanted = isLive(view) ? null : stepAt(view);
  return drawWanted(view);
}

/** Draw the newest wish; older ones are dropped. */
async function drawWanted(view) {
  if (view.drawing) return;
  view.drawing = true;
  try {
    while (view.wanted !== null) {
      const step = view.wanted;
      const complete = await drawAt(view, step);
      if (complete && view.wanted === step) view.wanted = null;
    }
  } catch (failure) {
    view.wanted = null;
    complain(failure);
  } finally {
    view.drawing = false;
  }
}

/** The pinned seeds at one snapshot, a few at a time; false if another wish came between. */
async function drawAt(view, step) {
  const context = view.canvas.getContext("2d");
  if (view.kept.has(step)) {
    context.drawImage(view.kept.get(step), 0, 0);
    return true;
  }
  const seeds = view.summary.preview_seeds;
  for (let start = 0; start < seeds.length; start += AT_ONCE) {
    const some = seeds.slice(start, start + AT_ONCE);
    const answer = await call("thumbnails", { model: `${view.run}@${step}`, points: some.map((seed) => point(view, seed)), size: CELL_PX });
    await paint(view, context, answer, start);
    if (view.wanted !== step) return false;
  }
  view.kept.set(step, await createImageBitmap(view.canvas));
  return true;
}

async function paint(view, context, { sheet, size }, start) {
  const image = new Image();
  image.src = sheet;
  await image.decode();
  const columns = view.summary.preview_columns;
  for (let tile = 0; tile * size < image.width; tile += 1) {
    const cell = start + tile;
    context.drawImage(image, tile * size, 0, size, size, (cell % columns) * CELL_PX, Math.floor(cell / columns) * CELL_PX, CELL_PX, CELL_PX);
  }
}

/** A film of learning: from here, or from the first snapshot if it stands at the end. */
async function film(view) {
  view.playing = !view.playing;
  tell(view);
  if (!view.playing) return;
  if (isLive(view)) view.range.value = 0;
  while (view.playing && !isLive(view)) {
    const pause = new Promise((resolve) => setTimeout(resolve, FILM_MILLISECONDS));
    await scrubbed(view);
    await pause;
    if (view.playing) view.range.value = Number(view.range.value) + 1;
  }
  view.playing = false;
  scrubbed(view);
}
