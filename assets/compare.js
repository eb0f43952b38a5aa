// Another run beside this one: its pictures at a like stage, its curves, and what is set differently.
import { call, complain, duration, h } from "./studio.js";
import { sheetUrl } from "./growth.js";
import { amount, story, take, upTo } from "./story.js";

const SMALL_PX = 48;
const LIKE = { seconds: "after the same time", kimg: "after as many pictures", share: "as far through the run" };

/** The menu and the view beside. `changed(id, told)` hears of another run and of what it tells. */
export function comparison(run, { changed }) {
  const view = { run, changed, other: "", told: null, since: 0, reading: false, runs: [], image: h("img", { id: "other-preview", alt: "" }), label: h("span.muted", { id: "other-label" }), title: h("strong"), ownLabel: h("span.muted"), ownTitle: h("strong"), table: h("div.differences", { id: "differences" }) };
  view.menu = h("select", { id: "compare-with", ariaLabel: "Compare with another run", onchange: () => choose(view, view.menu.value) });
  view.like = h("select", { id: "compare-like", ariaLabel: "What is compared", hidden: true, onchange: () => { view.changed(view.other, view.told); } },
    ...Object.entries(LIKE).map(([value, words]) => h("option", { value }, words)));
  view.frame = h("div.growth-frame.other-frame", view.image);
  view.beside = h("section.growth.beside", { id: "beside", ariaLabel: "The other run", hidden: true }, view.frame, h("p.beside-words", view.title, " ", view.label));
  view.own = h("p.beside-words.own", { hidden: true }, view.ownTitle, " ", view.ownLabel);
  view.table.hidden = true;
  return {
    menus: [view.menu, view.like], beside: view.beside, own: view.own, table: view.table,
    other: () => view.other, told: () => view.told, title: () => view.runs.find(({ id }) => id === view.other)?.title ?? "",
    choose: (id) => choose(view, id),
    offer: (runs) => offer(view, runs),
    show: (stage, last) => show(view, stage, last),
    read: () => read(view),
  };
}

/** The runs of the menu; it stays as it is while nothing has changed. */
function offer(view, runs) {
  view.runs = runs;
  const others = runs.filter(({ id }) => id !== view.run);
  view.menu.hidden = !others.length;
  const key = JSON.stringify(others.map(({ id, title, created }) => [id, title, created]));
  if (view.menu.dataset.key !== key) {
    view.menu.dataset.key = key;
    view.menu.replaceChildren(h("option", { value: "" }, "Compare with…"), ...others.map((one) => h("option", { value: one.id }, named(one, others))));
  }
  view.menu.value = others.some(({ id }) => id === view.other) ? view.other : "";
  if (view.other && !view.menu.value && runs.length) choose(view, "");
}

/** A run's title, with its date where two are called the same. */
const named = ({ id, title, created }, all) => (all.some((one) => one.id !== id && one.title === title) ? `${title}, ${created.slice(5, 16).replace("T", " ")}` : title);

async function choose(view, id) {
  if (id === view.run) id = "";
  Object.assign(view, { other: id, told: id ? story() : null, since: 0, reading: false });
  view.menu.value = id;
  view.beside.hidden = view.own.hidden = view.table.hidden = view.like.hidden = !id;
  view.image.removeAttribute("src");
  view.shown = "";
  view.table.replaceChildren();
  if (id) {
    view.title.textContent = view.runs.find((one) => one.id === id)?.title ?? "";
    view.ownTitle.textContent = view.runs.find((one) => one.id === view.run)?.title ?? "";
    await Promise.all([read(view), tellDifferences(view)]);
  }
  if (view.other === id) view.changed(id, view.told);
}

/** What happened to the other run since we last asked. */
async function read(view) {
  const { other } = view;
  if (!other || view.reading) return;
  view.reading = true;
  try {
    const { version, records } = await call("changes", { id: other, since: view.since });
    if (view.other !== other) return;
    view.since = version;
    take(view.told, records);
    if (records.length) view.changed(other, view.told);
  } catch (failure) {
    if (failure.kind === "NotFound") choose(view, "");
    else if (failure.kind) complain(failure);
  } finally {
    view.reading = false;
  }
}

async function tellDifferences(view) {
  const { other } = view;
  try {
    const found = await call("differences", { id: view.run, other });
    if (view.other !== other) return;
    const [here, there] = [view.run, other].map((id) => view.runs.find((run) => run.id === id)?.title ?? id);
    view.table.replaceChildren(h("h3", "What is set differently"), found.length ? table(found, here, there) : h("p.muted", "Nothing: both runs have the same settings."));
  } catch (failure) {
    if (failure.kind !== "NotFound") complain(failure);
  }
}

const table = (found, here, there) => h("div.differences-scroll", { tabIndex: 0, role: "region", ariaLabel: "Settings that differ" }, h("table",
  h("thead", h("tr", h("th", { scope: "col" }, "Setting"), h("th.here", { scope: "col" }, here), h("th.there", { scope: "col" }, there))),
  h("tbody", found.map((one) => h("tr", h("th", { scope: "row" }, one.label), h("td", one.here), h("td", one.there))))));

/** The other run's stage that is like `stage` of a run that has come to `last`; its first one while there is none here. */
function likeStage({ told: { stages }, like: { value: key } }, stage, last) {
  if (!stage || !stages.length) return stages[0];
  const goal = key === "share" ? (stages.at(-1).seconds * stage.seconds) / last.seconds : stage[key];
  return upTo(stages, key === "share" ? "seconds" : key, goal + 1e-6);
}

/** The other run's pictures at a stage like this one. */
function show(view, stage, last) {
  if (!view.other) return;
  const shown = likeStage(view, stage, last);
  view.frame.classList.toggle("waiting", !shown);
  view.ownLabel.textContent = stage ? `after ${duration(stage.seconds)}, at ${amount(stage.kimg)}` : "";
  if (!shown) { view.label.textContent = "has drawn no pictures"; return; }
  view.label.textContent = `after ${duration(shown.seconds)}, at ${amount(shown.kimg)}`;
  const address = sheetUrl(view.other, shown);
  if (view.shown === address) return;
  view.shown = address;
  view.frame.style.aspectRatio = `${shown.columns} / ${shown.rows}`;
  view.frame.classList.toggle("pixels", shown.size_px <= SMALL_PX);
  Object.assign(view.image, { src: address, alt: `Pictures of ${view.title.textContent} ${LIKE[view.like.value]}` });
}
