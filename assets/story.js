// What a run's log tells, put in order: stages to look at, figures, scores, and marks on the time axis. Nothing here touches the page.

/** How many pictures were seen, from thousands of them: to three places or so. */
export const seen = (kimg) => (kimg < 10 ? Math.round(1000 * kimg) : 100 * Math.round(10 * kimg)).toLocaleString("en");

/** Whether so little was seen that scores say nothing of the run yet. */
export const isEarly = ({ kimg }) => kimg < 1;

/** A place in a training, to stand behind "at". */
export const amount = (kimg) => (kimg ? `${seen(kimg)} pictures` : "the start");

/** An empty story; `take(story, records)` tells it on. Older runs lack scores, and nothing minds. */
export const story = () => ({ stages: [], figures: [], scores: [], marks: [], snapshots: new Map(), warnings: new Map(), atWork: false });

/** Take in events in the order in which they happened. What a roll-back undid is forgotten, but not that it happened. */
export function take(told, records) {
  for (const record of records) TAKERS[record.event]?.(told, record);
}

const TAKERS = {
  progress: (told, record) => push(told.figures, record),
  preview: (told, record) => push(told.stages, record),
  scored(told, record) {
    push(told.scores, record);
    const again = told.marks.some(({ kind, kimg }) => kind === "best" && kimg === record.kimg);
    if (record.best && !again) mark(told, "best", record, `Best so far (KID ${number(record.kid)})`);
  },
  snapshot(told, record) {
    for (const [step, kimg] of told.snapshots) if (kimg > record.kimg) told.snapshots.delete(step);
    told.snapshots.set(Number(record.name), record.kimg);
    mark(told, "snapshot", record, "A stage was saved");
  },
  warned(told, record) {
    told.warnings.set(record.topic, record);
    mark(told, isRollback(record) ? "rollback" : "warning", record, record.message);
  },
  started(told, record) {
    const last = told.figures.at(-1);
    if (told.atWork && record.resumed) mark(told, "pause", record, `Cut off${last && last.kimg > record.kimg ? ` at ${amount(last.kimg)}` : ""}; it went on by itself from ${amount(record.kimg)}`);
    else if (record.resumed) mark(told, "pause", record, "It went on");
    told.atWork = true;
  },
  paused(told, record) {
    told.atWork = false;
    mark(told, "pause", record, record.reason === "asked" ? "Paused" : "Interrupted");
  },
  finished(told, record) {
    told.atWork = false;
    mark(told, "pause", record, "Finished");
  },
  failed: (told) => { told.atWork = false; },
};

export const isRollback = ({ topic, did }) => topic.startsWith("roll") || /went back|rolled back|go back/i.test(did ?? "");

function push(list, record) {
  while (list.length && list.at(-1).kimg >= record.kimg) list.pop();
  list.push(record);
}

const mark = (told, kind, { kimg, seconds }, words) => told.marks.push({ kind, kimg, seconds, words });

export const number = (value) => (Number.isFinite(value) ? (Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(Math.abs(value) < 0.1 ? 4 : 2)) : "–");

/** The last entry of a list in order of `key` that is not later than `value`; the first one if all are. */
export function upTo(list, key, value) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle][key] <= value) low = middle + 1;
    else high = middle;
  }
  return list[Math.max(0, low - 1)];
}

/** The best of at least two judged stages, if it still can be played: {step, kimg, kid, …}, or undefined. */
export function best(told, playable) {
  if (told.scores.length < 2) return undefined;
  const found = told.scores.filter((score) => score.best && !isEarly(score) && playable.includes(Number(score.snapshot))).at(-1);
  return found && { ...found, step: Number(found.snapshot) };
}

/** The stage of the model that was saved at or before so many thousand pictures: its step, or undefined. */
export function snapshotAt(told, playable, kimg) {
  const known = playable.filter((step) => told.snapshots.has(step));
  const before = known.filter((step) => told.snapshots.get(step) <= kimg + 1e-6);
  return before.at(-1) ?? known[0] ?? playable.at(-1);
}
