// Alarms in plain words, each with the one thing to do; and the best stage, offered.
import { onTheShelf } from "./cross.js";
import { copyingSoon } from "./originality.js";
import { attempt, h, icon, openInPlayer, session } from "./studio.js";
import { amount, best, number, snapshotAt } from "./story.js";

const ABLE = new Set(["waiting", "starting", "training", "paused", "interrupted", "failed"]);
const KEY = "latent-studio-alarms-seen";

/** The cards of one run. `update(summary, told)`; `healed(runs)` hears the runs after a remedy was asked for. */
export function alarms(run, { healed }) {
  const view = { run, healed, boxes: new Map(), asked: new Set(), seen: new Set(seen()), place: h("div.banners", { id: "run-warnings" }), best: h("div.banners", { id: "best-stage" }) };
  return { element: h("div.alarms", view.best, view.place), update: (summary, told) => update(view, summary, told) };
}

function update(view, summary, told) {
  const records = [...told.warnings.values(), copying(summary, told)].filter(Boolean);
  const wanted = new Map(records.map((record) => [keyOf(view, record), record]).filter(([key]) => !view.seen.has(key)));
  for (const [key, box] of view.boxes) if (!wanted.has(key)) { box.remove(); view.boxes.delete(key); }
  for (const [key, record] of wanted) {
    const state = `${ABLE.has(summary.state)} ${view.asked.has(key)}`;
    const box = view.boxes.get(key);
    if (box?.dataset.state === state) continue;
    const fresh = card(view, key, record, summary);
    fresh.dataset.state = state;
    if (box) box.replaceWith(fresh);
    else view.place.append(fresh);
    view.boxes.set(key, fresh);
  }
  offerBest(view, summary, told);
}

const keyOf = (view, { topic, kimg, step }) => `${view.run} ${topic} ${step ?? kimg}`;

/** The page's own warning about copies, where the trainer has not said it. */
function copying(summary, told) {
  const words = told.warnings.has("copies") ? "" : copyingSoon(told.scores);
  if (!words) return null;
  const found = told.scores.at(-1);
  return { topic: "page-copying", step: words, kimg: found.kimg, message: words, hint: "Look below at the pictures beside yours. An earlier stage may be freer; more pictures help most.", remedy: "", did: "" };
}

function card(view, key, { topic, message, hint, remedy, did, kimg }, summary) {
  const asked = view.asked.has(key);
  const able = remedy && session.may.train && ABLE.has(summary.state);
  return h("div.banner.calm.alarm", { role: "status", "data-topic": topic },
    h("div", h("strong", message), h("span.alarm-at", ` at ${amount(kimg)}`), hint && h("p", hint), did && h("p.did", icon("reset"), h("span", did)),
      able && h("button.button.small.primary.remedy", { type: "button", disabled: asked, onclick: () => heal(view, key, topic) }, asked ? "It is being done…" : remedy)),
    h("button.quiet.square", { type: "button", ariaLabel: "Close", onclick: () => forget(view, key) }, icon("close")));
}

async function heal(view, key, topic) {
  view.asked.add(key);
  const box = view.boxes.get(key);
  const button = box.querySelector(".remedy");
  Object.assign(button, { disabled: true, textContent: "It is being done…" });
  const runs = await attempt("heal_run", { id: view.run, topic });
  if (runs) return view.healed(runs);
  view.asked.delete(key);
  box.dataset.state = "";
  return undefined;
}

// ── cards that were closed stay closed in this tab ──

function seen() {
  try { return JSON.parse(sessionStorage.getItem(KEY) ?? "[]"); } catch { return []; }
}

function forget(view, key) {
  view.seen.add(key);
  try { sessionStorage.setItem(KEY, JSON.stringify([...view.seen].slice(-200))); } catch { /* it is closed until the next reload */ }
  view.boxes.get(key)?.remove();
  view.boxes.delete(key);
}

// ── the best stage ──

function offerBest(view, summary, told) {
  const found = best(told, summary.snapshots);
  const key = found ? `${found.step} ${found.kid} ${summary.model_id} ${summary.snapshots.at(-1)}` : "";
  if (view.best.dataset.key === key) return;
  view.best.dataset.key = key;
  if (!found) { view.best.replaceChildren(); return; }
  const newest = found.step === summary.snapshots.at(-1);
  const words = newest ? `The model is at its best now, at ${amount(found.kimg)}.` : `The best stage measured was at ${amount(found.kimg)}.`;
  view.best.replaceChildren(h("div.banner.good", { role: "status" },
    h("div", h("strong", words), h("p", `KID ${number(found.kid)}: the lower, the nearer its pictures are to the look of yours.${summary.model_id && !newest ? " The end of the run is on the shelf; this stage can stand beside it." : ""}`),
      !(newest && summary.model_id) && h("div.best-actions",
        h("button.button.small.primary", { type: "button", id: "play-best", onclick: () => openInPlayer({ model: `${view.run}@${found.step}` }) }, icon("play"), "Play it"),
        mayKeep() && h("button.button.small", { type: "button", id: "keep-best", onclick: ({ currentTarget }) => keep(view.run, found.step, currentTarget) }, "Put it on the shelf")))));
}

export const mayKeep = () => session.may.train && session.may.shelf;

/** Put a stage on the shelf, with a way back. */
export async function keep(run, step, button) {
  button.disabled = true;
  const kept = await attempt("keep_stage", { id: run, step });
  button.disabled = false;
  if (kept) onTheShelf(kept);
}
