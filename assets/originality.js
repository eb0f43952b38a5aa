// The originality meter: how near the pictures are to those that the model learns from, and each beside its nearest one.
import { h, url } from "./studio.js";
import { sheetUrl } from "./growth.js";
import { amount, isEarly, upTo } from "./story.js";

const FEW = 6;
const SMALL_PX = 48;
/** From this share of pictures on that are nearer to yours than yours are to each other. */
const CLOSE = 0.2;
const COPIES = 0.5;
/** The same for one picture, in distances that are usual among your own. */
const CLOSE_DISTANCE = 0.75;
const COPIED_DISTANCE = 0.4;

const WORDS = {
  early: { title: "Too early to say", text: "The model has hardly seen your pictures." },
  original: { title: "Original", text: "The pictures keep their distance from yours." },
  close: { title: "Close to your pictures", text: "Some are nearer to one of your pictures than yours are to each other. Take an earlier stage, stop here, or add pictures." },
  copies: { title: "Copies", text: "Many of them repeat one of your pictures. Take an earlier stage; with more pictures, or stronger augmentation, it will stay freer." },
};

/** What the share of copied pictures means. */
export const verdict = (copied) => (copied >= COPIES ? "copies" : copied >= CLOSE ? "close" : "original");
const pairVerdict = (distance) => (distance < COPIED_DISTANCE ? "copies" : distance < CLOSE_DISTANCE ? "close" : "original");

/** A warning before it is too late: the words if the newest scores lead to copies, else "". */
export function copyingSoon(scores) {
  const last = scores.at(-1);
  if (!last) return "";
  if (verdict(last.copied) === "copies") return "The model has begun to copy your pictures.";
  const [before, now] = [scores.at(-3)?.copied ?? scores.at(-2)?.copied, last.copied];
  const rising = before !== undefined && now > before + 0.03;
  if (rising && now + (now - before) >= COPIES) return "The model is on its way to copying your pictures.";
  return verdict(now) === "close" ? "The pictures come close to yours." : "";
}

/** The meter of one run. `update(told, stage, over)` shows what was measured at or before that stage. */
export function originality(run) {
  const view = {
    run, all: false, needle: h("i.needle"), word: h("strong", { id: "originality-word" }), text: h("p.muted"), at: h("span.muted"), pairs: h("div.pairs", { id: "originality-pairs" }),
  };
  view.gauge = h("div.gauge", { id: "originality-gauge", role: "meter", ariaLabel: "Originality", ariaValueMin: 0, ariaValueMax: 100 }, h("i.zone.original"), h("i.zone.close"), h("i.zone.copies"), view.needle);
  view.more = h("button.button.small", { id: "originality-more", type: "button", onclick: () => { view.all = !view.all; showPairs(view); } });
  view.measured = h("div.originality-measured", h("div.originality-head", view.word, view.at), view.gauge, view.text, view.pairs, view.more);
  view.empty = h("p.muted.originality-empty", { id: "originality-empty" });
  const element = h("section.originality", { id: "originality", ariaLabel: "Originality" }, h("h3", "Originality"), view.empty, view.measured);
  return { element, update: (told, stage, over) => update(view, told, stage, over) };
}

function update(view, told, stage, over) {
  const score = told.scores.length && stage ? upTo(told.scores, "kimg", stage.kimg + 1e-6) : undefined;
  view.measured.hidden = !score;
  view.empty.hidden = Boolean(score);
  view.empty.textContent = over ? "This run did not measure how near its pictures come to yours." : "Measured with the first stages: each picture beside the one of yours that is nearest to it.";
  if (!score || view.score === score) return;
  view.score = score;
  view.sheet = upTo(told.stages, "kimg", score.kimg + 1e-6);
  const kind = isEarly(score) ? "early" : verdict(score.copied);
  view.word.textContent = WORDS[kind].title;
  view.word.className = kind;
  view.text.textContent = WORDS[kind].text;
  view.at.textContent = `measured at ${amount(score.kimg)}`;
  view.gauge.ariaValueNow = String(Math.round(100 * (1 - score.copied)));
  view.gauge.ariaValueText = WORDS[kind].title;
  view.needle.style.left = `${100 * needleAt(score.copied)}%`;
  showPairs(view);
}

/** Where the needle stands, 0 to 1: each of the three words has a third of the gauge. */
function needleAt(copied) {
  const [edges, value] = [[0, CLOSE, COPIES, 1], Math.min(1, Math.max(0, copied))];
  const zone = value >= COPIES ? 2 : value >= CLOSE ? 1 : 0;
  return (zone + (value - edges[zone]) / (edges[zone + 1] - edges[zone])) / 3;
}

function showPairs(view) {
  const { score, sheet } = view;
  const places = score.nearest.map((_, place) => place).sort((a, b) => score.distances[a] - score.distances[b]);
  const shown = view.all ? places : places.slice(0, FEW);
  view.pairs.replaceChildren(...(sheet ? shown.map((place) => pair(view, place)) : []));
  view.more.hidden = places.length <= FEW || !sheet;
  view.more.textContent = view.all ? "Show the nearest only" : `Show all ${places.length}`;
  view.more.ariaExpanded = String(view.all);
}

function pair({ run, score, sheet }, place) {
  const kind = isEarly(score) ? "early" : pairVerdict(score.distances[place]);
  const [x, y] = [place % sheet.columns, Math.floor(place / sheet.columns)];
  const made = h("span.pair-made", { role: "img", ariaLabel: `Picture of seed ${sheet.seeds[place]}`, style: {
    backgroundImage: `url("${sheetUrl(run, sheet)}")`, backgroundSize: `${100 * sheet.columns}% ${100 * sheet.rows}%`,
    backgroundPosition: `${sheet.columns > 1 ? (100 * x) / (sheet.columns - 1) : 0}% ${sheet.rows > 1 ? (100 * y) / (sheet.rows - 1) : 0}%`,
  } });
  const yours = h("img", { src: url(`training/${run}/${score.nearest[place]}`), alt: "The nearest of your pictures", loading: "lazy", onerror: ({ target }) => target.replaceWith(h("span.pair-gone", "gone")) });
  return h(`figure.pair.${kind}${sheet.size_px <= SMALL_PX ? ".pixels" : ""}`, { title: `${score.distances[place].toFixed(2)} of the usual distance between your pictures` },
    h("span.pair-pictures", made, yours), kind !== "early" && h("figcaption", WORDS[kind].title.split(" ")[0]));
}
