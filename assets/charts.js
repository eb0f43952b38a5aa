// Small multiples of a run's figures, with marks where something happened, and a second run behind them if one is compared.
import uPlot from "./vendor/uplot.js";
import { duration, h } from "./studio.js";
import { amount } from "./story.js";

const [LIME, BLUE, VIOLET, CORAL, SAND] = ["#d3f26a", "#6ad3f2", "#b58cff", "#ff8a73", "#e9c46a"];
const [HERE, THERE] = [LIME, BLUE];
const metric = (key) => (record) => record.metrics?.[key];
const field = (key) => (record) => record[key];

const CHARTS = [
  {
    id: "losses", title: "Losses", from: "figures", explanation: "Of the forger (generator) and the critic (discriminator). A game, not a descent: steady is good, falling is not the aim.",
    lines: [{ read: metric("loss_g"), name: "forger", colour: LIME }, { read: metric("loss_d"), name: "critic", colour: BLUE }],
  },
  {
    id: "sign", title: "Critic's certainty on your pictures", from: "figures", range: [-1, 1],
    explanation: "The mean sign of its answers. Close to 1 it knows them by heart.",
    lines: [{ read: metric("sign"), name: "r", colour: VIOLET }],
  },
  {
    id: "augmentation", title: "Augmentation strength", from: "figures", range: [0, 1], optional: true,
    explanation: "How strongly pictures are varied before the critic sees them, p.",
    lines: [{ read: metric("augment_p"), name: "p", colour: CORAL }],
  },
  {
    id: "codes", title: "How well codes are read", from: "figures", floor: 0, optional: true,
    explanation: "The mean squared error of the codes read off made pictures (InfoGAN): 1 is guessing, 0 is without error.",
    lines: [{ read: metric("code_error"), name: "error", colour: SAND }],
  },
  {
    id: "kid", title: "Distance to the look of your pictures", from: "scores", floor: 0,
    explanation: "KID, the kernel distance between features of made pictures and of yours: lower is better.",
    lines: [{ read: field("kid"), name: "KID", colour: LIME }],
  },
  {
    id: "reach", title: "Likeness and reach", from: "scores", range: [0, 1],
    explanation: "Precision: how many made pictures look like yours. Recall and coverage: how much of yours the model can make.",
    lines: [{ read: field("precision"), name: "precision", colour: LIME }, { read: field("recall"), name: "recall", colour: BLUE }, { read: field("coverage"), name: "coverage", colour: VIOLET }],
  },
  {
    id: "diversity", title: "Diversity and copies", from: "scores", floor: 0,
    explanation: "Diversity 1 is as varied as your pictures. Copied: the share that is nearer to one of yours than is usual.",
    lines: [{ read: field("diversity"), name: "diversity", colour: SAND }, { read: field("copied"), name: "copied", colour: CORAL }],
  },
  {
    id: "speed", title: "Speed", from: "figures", floor: 0, explanation: "Pictures shown to the critic in a second.",
    lines: [{ read: field("images_per_second"), name: "images a second", colour: SAND }],
  },
];
const DASHES = [[], [6, 4], [2, 3]];
const HEIGHT = 104;
const AXIS = { stroke: "#a09fa9", font: "11.5px Instrument Sans, system-ui", grid: { stroke: "#ffffff0d", width: 1 }, ticks: { show: false } };
const MARKS = { best: "#7fd4a0", warning: "#e9c46a", rollback: "#ff8a73", pause: "#77767f", snapshot: "#ffffff38" };
const NEAR_PX = 7;

const figure = (value) => (value === undefined || value === null || !Number.isFinite(value) ? "–" : Math.abs(value) >= 10 ? value.toFixed(1) : Math.abs(value) < 0.1 && value !== 0 ? value.toFixed(3) : value.toFixed(2));
const seen = (kimg) => (kimg < 1 ? `${Math.round(1000 * kimg)}` : `${Number(kimg.toFixed(1))}k`);
const clock = (seconds) => (seconds < 90 ? `${Math.round(seconds)}s` : seconds < 5400 ? `${Number((seconds / 60).toFixed(1))}m` : `${Number((seconds / 3600).toFixed(1))}h`);
const AXES = { kimg: { words: "pictures seen", ticks: seen }, seconds: { words: "time trained", ticks: clock } };

/** The charts of one run. `show(told, other)` draws its story, and beside it another one: {told, title} or null. */
export function charts(name) {
  const view = { name, told: null, other: null, axis: "kimg", note: h("p.chart-note.muted", { id: "chart-note" }), happened: h("ol", { id: "happened" }) };
  view.menu = h("select", { id: "chart-axis", ariaLabel: "Curves over", onchange: () => { view.axis = view.menu.value; draw(view); } }, Object.entries(AXES).map(([value, { words }]) => h("option", { value }, `over ${words}`)));
  view.parts = CHARTS.map((about) => chart(view, about));
  view.none = h("p.muted", { id: "no-scores" });
  view.log = h("details.happened", { hidden: true }, h("summary", "What happened"), view.happened);
  view.key = h("div.chart-key", { hidden: true });
  const element = h("section.charts", { ariaLabel: "Curves" }, h("div.charts-head", view.key, view.menu), ...view.parts.map((part) => part.element), view.none, view.note, view.log);
  const resize = new ResizeObserver(() => view.parts.forEach((part) => part.fit()));
  resize.observe(element);
  return {
    element,
    show(told, other, over) { Object.assign(view, { told, other, over }); draw(view); },
    close() { resize.disconnect(); view.parts.forEach((part) => part.close()); },
  };
}

function draw(view) {
  const { told, other } = view;
  if (!told) return;
  view.extent = extent(view);
  view.parts.forEach((part) => part.draw());
  view.none.hidden = told.scores.length > 0;
  view.none.textContent = view.over ? "This run was not scored." : "Scores against your pictures come with the first stages.";
  view.key.hidden = !other;
  if (other) view.key.replaceChildren(h("span", h("i", { style: { background: HERE } }), view.name()), h("span", h("i", { style: { background: THERE } }), other.title));
  const told_ = told.marks.filter(({ kind }) => kind !== "snapshot");
  view.log.hidden = !told_.length;
  if (Number(view.happened.dataset.count ?? 0) === told_.length) return;
  view.happened.dataset.count = told_.length;
  view.happened.replaceChildren(...told_.map((mark) => h(`li.${mark.kind}`, h("b", `${amount(mark.kimg)}, ${duration(mark.seconds)}`), " ", mark.words)));
}

/** From the first to the last place of the axis, the same for every chart, so that marks stand below each other. */
function extent({ told, other, axis }) {
  const ends = [told, other?.told].filter(Boolean).flatMap(({ figures, scores, stages }) => [figures, scores, stages].flatMap((list) => (list.length ? [list[0][axis], list.at(-1)[axis]] : [])));
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}

// ── one chart ──

function chart(view, about) {
  const { id, title, explanation, lines } = about;
  const values = lines.map(() => h("b", "–"));
  const swatches = lines.map((line, index) => h(`i.dash-${index}`, { style: { background: line.colour } }));
  const place = h("div.chart-place", { role: "img" });
  const element = h("figure.chart", { id: `chart-${id}`, hidden: true },
    h("figcaption", h("span.chart-title", { title: explanation }, title),
      h("span.chart-legend", lines.map((line, index) => h("span", swatches[index], `${line.name} `, values[index])))),
    place);
  const part = { view, about, place, element, values, plot: null, both: false };
  return {
    element,
    fit: () => { if (part.plot && place.clientWidth) part.plot.setSize({ width: place.clientWidth, height: HEIGHT }); else if (view.told) drawChart(part); },
    close: () => part.plot?.destroy(),
    draw: () => drawChart(part),
  };
}

function drawChart(part) {
  const { view, about, place, element } = part;
  const here = columns(view.told[about.from], about.lines, view.axis);
  const there = view.other && columns(view.other.told[about.from], about.lines, view.axis);
  element.hidden = about.optional ? !tells(here) && !tells(there) : !here[0].length && !there?.[0].length;
  if (element.hidden || !here[0].length || !place.clientWidth) return;
  const both = Boolean(there?.[0].length);
  if (part.plot && part.both !== both) { part.plot.destroy(); part.plot = null; }
  part.both = both;
  element.classList.toggle("both", both);
  element.classList.toggle("single", here[0].length < 2 && !both); // one number makes no curve
  const data = both ? uPlot.join([here, there]) : here;
  if (!part.plot) part.plot = new uPlot(settings(part, both), data, place);
  else part.plot.setData(data);
  showValues(part);
  const last = here[0].at(-1);
  place.ariaLabel = `${about.title} over ${AXES[view.axis].words}, up to ${AXES[view.axis].ticks(last)}: ${about.lines.map((line, index) => `${line.name} ${part.values[index].textContent}`).join(", ")}`;
}

/** [x, one column for each line]: x grows, what has no number is null. */
function columns(records, lines, axis) {
  const kept = [];
  for (const record of records) {
    while (kept.length && kept.at(-1)[axis] >= record[axis]) kept.pop();
    kept.push(record);
  }
  return [kept.map((record) => record[axis]), ...lines.map(({ read }) => kept.map((record) => { const value = read(record); return Number.isFinite(value) ? value : null; }))];
}

/** Whether any line has a number. */
const tells = (columns) => Boolean(columns?.slice(1).some((column) => column.some(Boolean)));

function showValues({ plot, about, values }, at) {
  about.lines.forEach((_, index) => {
    const column = plot.data[index + 1];
    let place = at ?? column.length - 1;
    while (place > 0 && !Number.isFinite(column[place])) place -= 1;
    values[index].textContent = figure(column[place]);
  });
}

function settings(part, both) {
  const { view, about, place } = part;
  const line = (one, index, there) => ({ stroke: both ? (there ? THERE : HERE) : one.colour, dash: both ? DASHES[index] : undefined, width: 1.5, points: { show: about.from === "scores", size: 4 }, spanGaps: true });
  return {
    width: place.clientWidth, height: HEIGHT, padding: [8, 16, 0, 0], legend: { show: false },
    cursor: { sync: { key: "run" }, points: { size: 6 }, drag: { x: false, y: false }, y: false },
    scales: { x: { time: false, range: () => view.extent }, y: scale(about) },
    axes: [{ ...AXIS, size: 24, space: 70, values: (_, ticks) => ticks.map((tick) => AXES[view.axis].ticks(tick)) }, { ...AXIS, size: 38, space: 34 }],
    series: [{}, ...about.lines.map((one, index) => line(one, index, false)), ...(both ? about.lines.map((one, index) => line(one, index, true)) : [])],
    hooks: { draw: [(plot) => drawMarks(plot, view)], setCursor: [(plot) => { showValues({ ...part, plot }, plot.cursor.idx ?? undefined); tellMark(plot, view); }] },
  };
}

function scale({ range, floor }) {
  if (range) return { range };
  if (floor === undefined) return {};
  return { range: (_, low, high) => [Math.min(floor, low ?? floor), (high ?? 1) === floor ? floor + 1 : (high ?? 1) * 1.08] };
}

// ── marks on the time axis ──

function drawMarks(plot, { told, axis }) {
  const { ctx, bbox } = plot;
  ctx.save();
  const best = told.marks.filter(({ kind }) => kind === "best").at(-1);
  for (const mark of told.marks) {
    const { kind, [axis]: at } = mark;
    if (kind === "best" && mark !== best) continue;
    const x = Math.round(plot.valToPos(at, "x", true));
    if (!(x >= bbox.left && x <= bbox.left + bbox.width)) continue;
    const low = kind === "snapshot" || kind === "pause";
    ctx.fillStyle = MARKS[kind];
    ctx.globalAlpha = low ? 1 : 0.8;
    ctx.fillRect(x, low ? bbox.top + bbox.height - 5 * devicePixelRatio : bbox.top, devicePixelRatio, low ? 5 * devicePixelRatio : bbox.height);
    if (!low) dot(ctx, x, bbox.top, kind);
  }
  ctx.restore();
}

function dot(ctx, x, y, kind) {
  const size = 3.5 * devicePixelRatio;
  ctx.globalAlpha = 1;
  ctx.beginPath();
  if (kind === "best") ctx.arc(x, y + size, size, 0, 2 * Math.PI);
  else { ctx.moveTo(x - size, y); ctx.lineTo(x + size, y); ctx.lineTo(x, y + 2 * size); }
  ctx.fill();
}

/** The words of the mark under the pointer. */
function tellMark(plot, { told, axis, note }) {
  const { left } = plot.cursor;
  const near = left >= 0 ? told.marks.filter((mark) => Math.abs(plot.valToPos(mark[axis], "x") - left) <= NEAR_PX) : [];
  const words = [...new Set(near.map(({ kimg, words }) => `${amount(kimg)}: ${words}`))].slice(0, 3).join(" · ");
  if (note.textContent !== words) note.textContent = words;
}
