// Small multiples of a run's figures over the pictures it has seen: losses, the critic's sign, the augmentation.
import uPlot from "./vendor/uplot.js";
import { h } from "./studio.js";

const CHARTS = [
  {
    id: "losses", title: "Losses", explanation: "A game, not a descent: steady is good, falling is not the aim.",
    lines: [{ key: "loss_g", name: "forger", colour: "#d3f26a" }, { key: "loss_d", name: "critic", colour: "#6ad3f2" }],
  },
  {
    id: "sign", title: "Critic's certainty on your pictures", range: [-1, 1],
    explanation: "The mean sign of its answers. Close to 1 it knows them by heart.",
    lines: [{ key: "sign", name: "r", colour: "#b58cff" }],
  },
  {
    id: "augmentation", title: "Augmentation strength", range: [0, 1],
    explanation: "How strongly pictures are varied before the critic sees them, p.",
    lines: [{ key: "augment_p", name: "p", colour: "#ff8a73" }],
  },
];
const HEIGHT = 104;
const AXIS = { stroke: "#a09fa9", font: "11.5px Instrument Sans, system-ui", grid: { stroke: "#ffffff0d", width: 1 }, ticks: { show: false } };

const figure = (value) => (value === undefined || value === null ? "–" : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2));
const seen = (kimg) => (kimg < 1 ? `${Math.round(1000 * kimg)}` : `${Number(kimg.toFixed(1))}k`);

/** The charts of one run. `add(records)` takes its progress events; `draw()` shows them. */
export function charts() {
  const parts = CHARTS.map(chart);
  const element = h("div.charts", parts.map((part) => part.element));
  const resize = new ResizeObserver(() => parts.forEach((part) => part.fit()));
  resize.observe(element);
  const x = [];
  return {
    element,
    add(records) {
      for (const { kimg, metrics } of records) {
        while (x.length && x[x.length - 1] >= kimg) { x.pop(); parts.forEach((part) => part.pop()); }
        x.push(kimg);
        parts.forEach((part) => part.push(metrics));
      }
    },
    draw: () => parts.forEach((part) => part.draw(x)),
    close() { resize.disconnect(); parts.forEach((part) => part.close()); },
  };
}

function chart({ id, title, explanation, lines, range }) {
  const columns = lines.map(() => []);
  const values = lines.map((line) => h("b", "–"));
  const place = h("div.chart-place", { role: "img" });
  const element = h("figure.chart", { id: `chart-${id}` },
    h("figcaption", h("span.chart-title", { title: explanation }, title),
      h("span.chart-legend", lines.map((line, index) => h("span", h("i", { style: { background: line.colour } }), `${line.name} `, values[index])))),
    place);
  let plot;
  const show = (at) => columns.forEach((column, index) => { values[index].textContent = figure(column[at ?? column.length - 1]); });
  const open = () => { plot = new uPlot(settings(lines, range, place.clientWidth, (at) => show(at)), [[], ...columns], place); };
  return {
    element,
    push: (metrics) => columns.forEach((column, index) => column.push(metrics[lines[index].key] ?? null)),
    pop: () => columns.forEach((column) => column.pop()),
    fit: () => { if (plot && place.clientWidth) plot.setSize({ width: place.clientWidth, height: HEIGHT }); },
    close: () => plot?.destroy(),
    draw(x) {
      if (!x.length || !place.clientWidth) return;
      if (!plot) open();
      plot.setData([x, ...columns]);
      show();
      place.ariaLabel = `${title} after ${seen(x[x.length - 1] ?? 0)} pictures: ${lines.map((line, index) => `${line.name} ${values[index].textContent}`).join(", ")}`;
    },
  };
}

const settings = (lines, range, width, hover) => ({
  width, height: HEIGHT, padding: [8, 6, 0, 0], legend: { show: false },
  cursor: { sync: { key: "run" }, points: { size: 6 }, drag: { x: false, y: false }, y: false },
  scales: { x: { time: false }, y: range ? { range } : {} },
  axes: [
    { ...AXIS, size: 24, space: 70, values: (_, ticks) => ticks.map((tick) => seen(tick)) },
    { ...AXIS, size: 38, space: 34 },
  ],
  series: [{}, ...lines.map((line) => ({ stroke: line.colour, width: 1.5, points: { show: false }, spanGaps: true }))],
  hooks: { setCursor: [(plot) => hover(plot.cursor.idx ?? undefined)] },
});
