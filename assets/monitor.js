// The runs: cards of all, the chosen one large and live. Its id stands in the address, so a reload or another tab attaches again.
import { alarms, keep, mayKeep } from "./alarms.js";
import { charts } from "./charts.js";
import { comparison } from "./compare.js";
import { filmMaker } from "./film.js";
import { growth, isOver } from "./growth.js";
import { originality } from "./originality.js";
import { seen, story, take } from "./story.js";
import { attempt, call, complain, duration, emit, fileUrl, h, icon, notice, on, open, openInPlayer, session, show, trainFurther } from "./studio.js";
import { outcome } from "./waiting.js";

const DIAL = [[5, "5 minutes"], [30, "half an hour"], [180, "an evening"], [480, "a night"], ["", "minutes…"]];
const MOVING = new Set(["waiting", "starting", "training", "pausing", "stopping"]);

export async function mount(element) {
  const desk = {
    preparing: h("div", { id: "preparing" }), list: h("div", { id: "run-cards" }), cards: new Map(),
    place: h("div", { id: "run-place" }), runs: [], chosen: "", view: null, element,
  };
  element.replaceChildren(desk.preparing, desk.list, desk.place);
  await open().catch(complain);
  readAddress(desk);
  window.addEventListener("hashchange", () => readAddress(desk));
  window.addEventListener("studio-training", (event) => prepare(desk, event.detail));
  on("run", (id) => chooseRun(desk, id));
  on("status", ({ runs, lost }) => lost || showRuns(desk, runs));
  follow(desk);
}

// ── which run ──

/** The address says which run, beside which other one, and at which step of it we look. */
function readAddress(desk) {
  const named = new URLSearchParams(location.hash.slice(1));
  if (named.get("run")) chooseRun(desk, named.get("run"), { other: named.get("with") ?? "", step: Number(named.get("at") ?? 0) });
  if (named.get("job")) prepare(desk, named.get("job"));
}

const writeAddress = (text) => history.replaceState(history.state, "", `${location.pathname}${location.search}#${text}`);

const writePlace = (view) => {
  const [other, step] = [view.beside.other(), view.pictures.isLive() ? 0 : view.pictures.stage().step];
  writeAddress(`run=${view.id}${other && `&with=${other}`}${step ? `&at=${step}` : ""}`);
};

function chooseRun(desk, id, place = { other: "", step: 0 }) {
  desk.wanted = place;
  if (desk.chosen === id && desk.view) { returnTo(desk); return; }
  desk.chosen = id;
  writeAddress(`run=${id}${place.other && `&with=${place.other}`}${place.step ? `&at=${place.step}` : ""}`);
  desk.view?.close();
  desk.view = null;
  showRuns(desk, desk.runs);
}

function showRuns(desk, runs) {
  desk.runs = runs;
  if (!desk.chosen && runs.length && !desk.preparing.hasChildNodes()) return chooseRun(desk, (runs.find((run) => MOVING.has(run.state)) ?? runs[0]).id);
  showCards(desk);
  const summary = runs.find((run) => run.id === desk.chosen);
  if (!summary) return showNothing(desk);
  if (!desk.view) {
    desk.view = runView(desk, summary);
    desk.place.replaceChildren(desk.view.element);
    read(desk).then(() => returnTo(desk));
  }
  desk.view.beside.offer(runs);
  desk.view.update(summary);
  return undefined;
}

/** After a reload: beside the other run again, and at the stage that was seen. */
function returnTo({ view, wanted }) {
  if (!view || !wanted) return;
  if (wanted.step) view.pictures.goTo(wanted.step);
  if (wanted.other) view.beside.choose(wanted.other);
}

function showNothing(desk) {
  if (desk.view || desk.chosen) {
    desk.view?.close();
    desk.view = null;
    if (desk.runs.length) desk.chosen = "";
  }
  if (desk.runs.length || desk.preparing.hasChildNodes()) return desk.place.replaceChildren();
  if (desk.place.querySelector(".empty")) return undefined;
  return desk.place.replaceChildren(session.may.train ? emptyRoom() : closedRoom());
}

const emptyRoom = () => h("div.empty", { id: "no-runs" },
  h("strong", "No run yet."),
  "Give the studio some pictures and a little time. You can watch the model learn here, and play it while it does.");

const closedRoom = () => h("div.empty", { id: "no-training" },
  h("strong", "Training is switched off on this public studio."),
  h("span", "You can play everything on the shelf. To train on your own pictures, start a studio of your own: ", h("code", "python -m studio")),
  h("div", h("button.button.primary", { type: "button", onclick: () => show("play") }, "Play a model")));

// ── staying up to date ──

async function follow(desk) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (document.hidden || !desk.element.offsetParent || !desk.view) continue;
    await read(desk);
    await desk.view?.beside.read();
  }
}

/** What happened to the chosen run since we last asked. */
async function read(desk) {
  const { view } = desk;
  if (!view || view.reading) return;
  view.reading = true;
  try {
    const { version, records } = await call("changes", { id: view.id, since: view.since });
    view.since = version;
    view.take(records);
  } catch (failure) {
    if (failure.kind && failure.kind !== "NotFound") complain(failure);
  } finally {
    view.reading = false;
  }
}

// ── a run that is being prepared ──

async function prepare(desk, job) {
  if (!job || desk.job === job) return;
  desk.job = job;
  writeAddress(`job=${job}`);
  const line = h("strong", "Preparing your pictures…");
  const fill = h("i");
  desk.preparing.replaceChildren(h("div.card.preparing-card", h("div.working-line", line, h("button.button.small", { type: "button", onclick: () => attempt("cancel", { id: job }) }, "Cancel")), h("div.progress", fill)));
  desk.preparing.scrollIntoView({ behavior: "smooth", block: "nearest" });
  try {
    const run = await outcome(job, ({ message, done, total }) => {
      line.textContent = total ? `${message}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : `${message || "Preparing"}…`;
      fill.style.width = `${total ? (100 * done) / total : 0}%`;
    });
    desk.preparing.replaceChildren();
    emit("datasets");
    desk.runs = (await call("status")).runs;
    if (run) chooseRun(desk, run);
    else writeAddress("");
  } catch (failure) {
    desk.preparing.replaceChildren(banner("bad", failure.message, failure.hint, () => desk.preparing.replaceChildren()));
    writeAddress("");
  }
  desk.job = "";
}

const banner = (kind, message, hint, close) => h(`div.banner.${kind}`, { role: kind === "bad" ? "alert" : "status" },
  h("div", h("strong", message), hint && h("p", hint)),
  h("button.quiet.square", { type: "button", ariaLabel: "Close", onclick: close }, icon("close")));

// ── cards ──

const STATES = {
  waiting: "waiting", starting: "waking up", training: "training", pausing: "pausing", paused: "paused",
  stopping: "finishing", finished: "finished", failed: "failed", interrupted: "interrupted",
};

const percent = (fraction) => `${Math.floor(100 * fraction)} %`;

/** The cards, each kept while its run is there, so that focus and scrolling stay where they are. */
function showCards(desk) {
  const { cards, list, runs } = desk;
  const cardOf = (run) => {
    if (!cards.has(run.id)) cards.set(run.id, runCard(desk, run.id));
    const card = cards.get(run.id);
    card.update(run);
    return card.element;
  };
  const wanted = runs.map(cardOf);
  if (wanted.some((element, place) => list.children[place] !== element) || list.children.length !== wanted.length) list.replaceChildren(...wanted);
  list.hidden = runs.length < 2;
}

function runCard(desk, id) {
  const face = h("img", { alt: "", hidden: true });
  const [title, state, fill] = [h("b"), h("span.muted"), h("i")];
  const element = h("button.run-card", { type: "button", onclick: () => chooseRun(desk, id) },
    h("span.face", face), h("span.run-card-text", title, state, h("span.progress", fill)));
  let shown = "";
  return {
    element,
    update(run) {
      element.className = `run-card ${run.state}`;
      const current = String(id === desk.chosen);
      if (current === "true" && element.ariaCurrent !== current) requestAnimationFrame(() => element.parentElement?.scrollTo({ left: element.offsetLeft - element.parentElement.offsetLeft - 8 }));
      element.ariaCurrent = current;
      title.textContent = run.title;
      state.textContent = MOVING.has(run.state) ? `${STATES[run.state]} · ${percent(run.fraction)}` : STATES[run.state];
      fill.style.width = `${100 * run.fraction}%`;
      if (run.preview === shown) return;
      shown = run.preview;
      Object.assign(face, { src: fileUrl("preview", `${id}/${shown}`), hidden: false });
    },
  };
}

// ── the chosen run ──

function runView(desk, first) {
  const told = story();
  const parts = {
    title: h("h2", { id: "run-title" }), sentence: h("p.run-sentence", { id: "run-state" }), about: h("p.muted.run-about"),
    actions: h("div.run-actions"), fill: h("i"), figures: h("dl.figures", { id: "run-figures" }),
  };
  parts.bar = h("div.progress", { id: "run-progress", role: "progressbar", ariaLabel: "Training", ariaValueMin: 0, ariaValueMax: 100 }, parts.fill);
  const view = { id: first.id, since: 0, reading: false, summary: first, told, parts, classes: 0 };
  furnish(desk, view);
  view.close = () => { view.pictures.close(); view.plots.close(); };
  view.take = (records) => {
    take(told, records);
    if (records.length) showStory(view);
  };
  view.update = (summary) => {
    const before = view.summary.state;
    view.summary = summary;
    updateParts(desk, view, before);
    if (before === summary.state) showPictures(view);
    else showStory(view);
  };
  call("run", { id: first.id }).then((facts) => {
    view.classes = facts.classes;
    parts.about.textContent = facts.sentence;
    view.minutes = facts.minutes;
    showPictures(view);
  }).catch(complain);
  return view;
}

/** The pieces of a run's view, each from its own file, and where they stand. */
function furnish(desk, view) {
  const { parts } = view;
  view.onshelf = h("button.button.small", { id: "keep-stage", type: "button", onclick: () => keep(view.id, view.pictures.step(), view.onshelf) }, "Put it on the shelf");
  view.plots = charts(() => view.summary.title);
  view.alarms = alarms(view.id, { healed: (runs) => { showRuns(desk, runs); read(desk); } });
  view.beside = comparison(view.id, { changed: () => { showStory(view); if (desk.view === view) writePlace(view); } });
  view.film = filmMaker(view.id, { choosing: (choose) => view.pictures.choosing(choose), showChosen: () => view.pictures.showChosen() });
  view.pictures = growth(view.id, { moved: () => moved(desk, view), buttons: [mayKeep() && view.onshelf, view.film.button].filter(Boolean) });
  view.original = originality(view.id);
  view.grown = h("div.grown", view.pictures.element, view.beside.own, view.beside.beside);
  view.element = h("article.run", { ariaLabelledby: "run-title" },
    h("header.run-head", h("div.run-words", parts.title, parts.sentence, parts.about), parts.actions),
    parts.bar, parts.figures, view.alarms.element,
    h("div.run-body",
      h("div.run-pictures", h("div.beside-menu", view.beside.menus), view.grown, view.film.panel, view.beside.table, view.original.element),
      view.plots.element));
}

/** Another stage is seen. */
function moved(desk, view) {
  const stage = view.pictures.stage();
  view.original.update(view.told, stage, isOver(view.summary));
  offerShelf(view);
  view.beside.show(stage, view.told.stages.at(-1));
  clearTimeout(view.writing);
  view.writing = setTimeout(() => desk.view === view && writePlace(view), 300);
}

function showPictures(view) {
  view.pictures.update(view.summary, view.told, view.classes);
  view.original.update(view.told, view.pictures.stage(), isOver(view.summary));
  offerShelf(view);
  view.alarms.update(view.summary, view.told);
  view.grown.classList.toggle("two", Boolean(view.beside.other()));
  view.beside.show(view.pictures.stage(), view.told.stages.at(-1));
}

function showStory(view) {
  showPictures(view);
  const other = view.beside.other() && { told: view.beside.told(), title: view.beside.title() };
  view.plots.show(view.told, other || null, isOver(view.summary));
}

/** The end of a finished run stands on the shelf already. */
function offerShelf({ onshelf, summary, pictures }) {
  onshelf.hidden = Boolean(summary.model_id) && pictures.isLive();
}

function updateParts(desk, view, before) {
  const { summary, parts } = view;
  parts.title.textContent = summary.title;
  parts.sentence.textContent = sentence(summary);
  parts.sentence.className = `run-sentence ${summary.state}`;
  parts.fill.style.width = `${100 * summary.fraction}%`;
  parts.bar.ariaValueNow = Math.floor(100 * summary.fraction);
  showFigures(parts.figures, summary);
  const key = `${summary.state} ${summary.model_id} ${summary.snapshots.length > 0}`;
  if (parts.actions.dataset.key !== key) {
    parts.actions.dataset.key = key;
    parts.actions.replaceChildren(...actions(desk, view));
  }
  if (before !== "finished" && summary.state === "finished") celebrate(summary);
}

function celebrate({ title, model_id: model }) {
  emit("run-finished", model);
  if (model) notice(`${title} is on the shelf.`, { action: "Play it", onaction: () => openInPlayer({ model }) });
}

function sentence({ state, fraction, seconds_left: left, message, hint, model_id: model }) {
  const said = [message, hint].filter(Boolean).join(" ");
  return {
    waiting: "Waiting until the run before it is done.",
    starting: "The trainer is waking up. Its time begins with the first step.",
    training: fraction >= 1 ? "The time is used. The end is being measured and saved." : left > 0 ? `Learning. About ${duration(left)} to go; you can close this page.` : "Learning. You can close this page.",
    pausing: "It ends the step that it is at, saves, and then pauses.",
    paused: "Paused. Everything is saved.",
    stopping: "Finishing: the model is being put on the shelf.",
    finished: model ? "Finished. The model stands on the shelf." : said || "Finished.",
    failed: said || "The training could not go on.",
    interrupted: "Interrupted. It can go on from its last checkpoint.",
  }[state] ?? state;
}

function showFigures(list, run) {
  const moving = run.state === "training";
  const facts = [
    ["Done", percent(run.fraction)], ["Pictures seen", seen(run.kimg)],
    ["Speed", moving && run.images_per_second ? `${run.images_per_second >= 10 ? Math.round(run.images_per_second) : run.images_per_second.toFixed(1)} /s` : "–"],
    ["Trained", duration(run.seconds_trained)], ["Time left", ["stopping", "finished"].includes(run.state) ? "–" : duration(run.seconds_left)],
    ["Memory", moving && run.memory_bytes ? bytes(run.memory_bytes) : "–"],
  ];
  if (list.children.length !== facts.length) list.replaceChildren(...facts.map(([name]) => h("div", h("dt", name), h("dd"))));
  facts.forEach(([, value], index) => { list.children[index].lastChild.textContent = value; });
}

const bytes = (count) => (count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${Math.round(count / 1e6)} MB`);

// ── what can be done with it ──

function actions(desk, view) {
  const { state, model_id: model, snapshots } = view.summary;
  const may = session.may.train;
  const stage = () => model || `${view.id}@${view.summary.snapshots.at(-1)}`;
  const can = {
    pause: may && ["waiting", "starting", "training"].includes(state), resume: may && ["paused", "interrupted", "failed"].includes(state),
    stop: may && ["starting", "training", "paused", "interrupted", "failed"].includes(state), more: may && state === "finished",
  };
  return [
    (model || snapshots.length > 0) && button("play-run", model ? "Play it" : "Play it as it is now", () => openInPlayer({ model: stage() }), "primary", "play"),
    can.resume && button("resume-run", "Resume", () => ask(desk, "resume_run", view.id), snapshots.length ? "" : "primary"),
    can.pause && button("pause-run", "Pause", () => ask(desk, "pause_run", view.id), "", "pause"),
    can.stop && button("stop-run", "Finish now", () => ask(desk, "stop_run", view.id), "", "stop"),
    model && may && button("train-further", "New run from it", () => trainFurther(model)),
    model && button("to-shelf", "On the shelf", () => { show("shelf"); emit("shelf"); }),
    model && h("a.button", { id: "download-model", href: fileUrl("model-zip", model, { download: 1 }), download: `${model}.zip` }, icon("save"), "Folder"),
    ...(can.more ? moreTime(desk, view) : []),
    may && button("delete-run", "Delete", () => remove(desk, view.id), "delete"),
  ].filter(Boolean);
}

const button = (id, text, onclick, kind = "", picture = "") => h(`button.button${kind && `.${kind}`}`, { type: "button", id, onclick }, picture && icon(picture), text);

/** Ask for something and show at once that it was heard; the pulse tells the rest. */
async function ask(desk, name, id, more = {}) {
  const runs = await attempt(name, { id, ...more });
  if (runs) showRuns(desk, runs);
  read(desk);
}

/** More time for a finished run; what is wrong with it stands below. */
function moreTime(desk, view) {
  const other = h("input", { id: "more-minutes-other", type: "number", min: 1, value: 60, hidden: true, ariaLabel: "Minutes" });
  const dial = h("select", { id: "more-minutes", ariaLabel: "How much more time", onchange: () => { other.hidden = dial.value; if (!other.hidden) other.focus(); } },
    DIAL.map(([minutes, words]) => h("option", { value: minutes }, words)));
  const problem = h("p.more-problem", { id: "more-problem", role: "alert" });
  const go = async ({ currentTarget: asked }) => {
    asked.disabled = true;
    try {
      if (!dial.value && !other.value) throw new Error("Write a number of minutes, such as 60.");
      showRuns(desk, await call("continue_run", { id: view.id, minutes: Number(dial.value || other.value) }));
      read(desk);
    } catch (failure) { problem.textContent = [failure.message, failure.hint].filter(Boolean).join(" "); }
    asked.disabled = false;
  };
  for (const field of [dial, other]) field.addEventListener("input", () => { problem.textContent = ""; });
  return [h("span.more-time", button("continue-run", "Go on for", go), dial, other), problem];
}

async function remove(desk, id) {
  const runs = await attempt("delete_run", { id });
  if (!runs) return;
  desk.view?.close();
  Object.assign(desk, { view: null, chosen: "" });
  writeAddress("");
  showRuns(desk, runs);
  notice("The run was deleted.", { seconds: 20, action: "Undo", onaction: async () => {
    const back = await attempt("restore_run", { id });
    if (!back) return;
    desk.runs = back;
    chooseRun(desk, id);
  } });
}
