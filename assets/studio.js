// The core of the page: the session, calls to the studio, small DOM helpers, notices, and moving between rooms.
// Rooms (shelf.js, play.js, train.js, gallery.js) are mounted by page.py when their tab is first shown.

export const bus = new EventTarget();
const said = new Map();
export const emit = (name, detail) => { said.set(name, detail); bus.dispatchEvent(new CustomEvent(name, { detail })); };
export const on = (name, listener) => bus.addEventListener(name, (event) => listener(event.detail));
/** What was said last, for those who came late. */
export const heard = (name) => said.get(name);

export const session = { token: "", may: {}, public: false };

const PREFIX = new URL("gradio_api/studio/", document.baseURI);

let server;
let opened;
let markConnected;
const connected = new Promise((resolve) => { markConnected = resolve; });

/** Called once by the page with Gradio's server functions. */
export function connect(serverFunctions) {
  server = serverFunctions;
  markConnected();
  watchStatus();
  dropRecipes();
}

function secret() {
  let value = localStorage.getItem("latent-studio-secret");
  if (!value) {
    value = Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem("latent-studio-secret", value);
  }
  return value;
}

/** Open a session, once; again after the studio was restarted. */
export function open() {
  opened ??= connected.then(async () => {
    const answer = await server.open(secret());
    if (!answer || answer.error) throw new StudioFailure(answer ?? { error: "The studio does not answer." });
    const { token } = session;
    Object.assign(session, answer.result);
    if (token) renewAddresses(token);
    emit("session", session);
  });
  return opened;
}

/** Pictures and links that the page shows already carry the token of before the restart. */
function renewAddresses(old) {
  for (const name of ["src", "href"]) {
    for (const element of document.querySelectorAll(`[${name}*="token=${CSS.escape(old)}"]`)) element[name] = element[name].replace(old, session.token);
  }
}

export class StudioFailure extends Error {
  constructor({ error, hint = "", kind = "" }) {
    super(error);
    Object.assign(this, { hint, kind });
  }
}

/** Ask the studio for something; throws StudioFailure with a plain sentence. */
export async function call(name, args = {}, again = true) {
  await open();
  const answer = await server.call([session.token, name, args]);
  if (!answer) throw new StudioFailure({ error: "The studio does not answer.", hint: "It may be restarting; try again in a moment." });
  if (answer.kind === "Forbidden" && again && answer.error.startsWith("This page was opened")) {
    opened = undefined;
    return call(name, args, false);
  }
  if (answer.error) throw new StudioFailure(answer);
  return answer.result;
}

/** The same, but a failure becomes a notice, until it succeeds, and the answer undefined. */
export async function attempt(name, args = {}) {
  try {
    const result = await call(name, args);
    dismiss(name);
    return result;
  } catch (failure) {
    complain(failure, name);
    return undefined;
  }
}

/** A wish for pages that no WebSocket reaches. */
export const wishByCall = (text) => server.wish([session.token, text]);

export const complain = (failure, about) => notice(failure.message, { hint: failure.hint, kind: "bad", about });

export function url(path, query = {}) {
  const address = new URL(path, PREFIX);
  address.search = new URLSearchParams({ token: session.token, ...query });
  return address.href;
}

export const fileUrl = (kind, name, query = {}) => url(`file/${kind}/${name}`, query);

export function socketUrl(path) {
  return url(path).replace(/^http/, "ws");
}

/** POST a body to one of the studio's own addresses; answers its result or throws StudioFailure. */
export async function post(path, body) {
  await open();
  const response = await fetch(url(path), { method: "POST", body });
  const answer = await response.json();
  if (answer.error) throw new StudioFailure(answer);
  return answer.result;
}

// ── DOM ──

/** An element: h("button.primary", {onclick, title}, "text", child, …). Text is never parsed as HTML. */
export function h(selector, ...rest) {
  const [name, ...classes] = selector.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  const plain = rest[0] && Object.getPrototypeOf(rest[0]) === Object.prototype;
  for (const [key, value] of Object.entries(plain ? rest.shift() : {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(element.style, value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...rest.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

export function icon(name) {
  const span = h("span.icon", { ariaHidden: "true" });
  span.innerHTML = `<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"><path d="${ICONS[name]}"/></svg>`;
  return span;
}

const ICONS = {
  dice: "M5 4h14a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1M8.5 8.5h.01M15.5 8.5h.01M12 12h.01M8.5 15.5h.01M15.5 15.5h.01",
  undo: "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "m15 14 5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  save: "M12 3v12m0 0 5-5m-5 5-5-5M4 19h16",
  plus: "M12 5v14M5 12h14",
  play: "M7 4.5v15l12-7.5z",
  pause: "M8 5v14M16 5v14",
  stop: "M6 6h12v12H6z",
  loop: "M17 2l4 4-4 4M3 11V9a3 3 0 0 1 3-3h15M7 22l-4-4 4-4M21 13v2a3 3 0 0 1-3 3H3",
  reset: "M3 12a9 9 0 1 0 3-6.7M3 4v5h5",
  film: "M4 4h16v16H4zM8 4v16M16 4v16M4 9h4M4 15h4M16 9h4M16 15h4",
  close: "M6 6l12 12M18 6 6 18",
  heart: "M12 20s-7-4.6-9-9a4.8 4.8 0 0 1 9-3 4.8 4.8 0 0 1 9 3c-2 4.4-9 9-9 9z",
  wind: "M3 8h11a3 3 0 1 0-3-3M3 12h16a3 3 0 1 1-3 3M3 16h8a3 3 0 1 1-3 3",
  left: "M14 6l-6 6 6 6",
  right: "M10 6l6 6-6 6",
  train: "M4 18 9 9l4 6 3-5 4 8M4 21h16",
  folder: "M3 6a1 1 0 0 1 1-1h5l2 3h9a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1z",
  more: "M6 12h.01M12 12h.01M18 12h.01",
};

/** A short message at the foot of the page, with an undo where there is one. It takes the place of an older one about the same. */
export function notice(message, { hint = "", kind = "good", action, onaction, seconds, about = "" } = {}) {
  let host = document.querySelector("#notices");
  if (!host) document.body.append((host = h("div", { id: "notices", role: "status" })));
  const close = () => box.remove();
  [...host.children].find((other) => other.querySelector("strong").textContent === message)?.remove();
  if (about) dismiss(about);
  const box = h(`div.notice.${kind}`, { role: kind === "bad" ? "alert" : "status", "data-about": about, "data-since": action && performance.now() },
    h("div", h("strong", message), hint && h("p", hint)),
    action && h("button.quiet", { onclick: () => { close(); onaction(); } }, action),
    h("button.quiet.square", { onclick: close, ariaLabel: "Close" }, icon("close")));
  host.append(box);
  setTimeout(close, 1000 * (seconds ?? (kind === "bad" ? 12 : 6)));
}

/** Close the notices about something that is no more as they say. */
export const dismiss = (about) => document.querySelectorAll(`#notices [data-about="${CSS.escape(about)}"]`).forEach((box) => box.remove());

/** Another room is opened: what a notice offered belonged to the one before. */
document.addEventListener("click", (event) => {
  if (!event.target.closest?.("#rooms [role=tab]:not([aria-selected=true])")) return;
  for (const box of document.querySelectorAll("#notices [data-since]")) if (performance.now() - box.dataset.since > 500) box.remove();
}, true);

export const debounce = (wait, run) => {
  let timer;
  return (...args) => { clearTimeout(timer); timer = setTimeout(run, wait, ...args); };
};

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** "1 picture", "1,200 classes". */
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Colour the track of a slider between its neutral place and where it stands. */
export function fillTrack(input, neutral) {
  const share = (value) => 100 * (value - input.min) / (input.max - input.min);
  const [a, b] = [share(neutral), share(Number(input.value))];
  input.style.setProperty("--from", `${Math.min(a, b)}%`);
  input.style.setProperty("--to", `${Math.max(a, b)}%`);
}

/** A bitmap as a data URL. */
export function toUrl(bitmap) {
  const canvas = h("canvas", { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.toDataURL();
}

/** Let the browser keep a file. */
export function download(href, name) {
  const link = h("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

// ── rooms ──

/** Show a room: shelf, play, train or gallery. Gradio draws its tabs later than the head, and a click too early is lost. */
export async function show(room, tries = 200) {
  for (; tries > 0; tries -= 1) {
    const tab = document.querySelector(`#${room}-room-button`);
    if (tab?.getAttribute("aria-selected") === "true") return;
    tab?.click();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Show the room that the page showed before it was loaded anew, or `other`; from then on it is remembered which is shown. */
export function comeBack(other) {
  const remember = () => {
    const tab = document.querySelector("#rooms [role=tab][aria-selected=true]");
    if (tab) history.replaceState({ ...history.state, room: tab.id.replace("-room-button", "") }, "");
  };
  const room = history.state?.room ?? other;
  if (room) show(room);
  else remember();
  new MutationObserver(remember).observe(document.body, { subtree: true, attributeFilter: ["aria-selected"] });
}

/** What a room should do when it is next shown: play {model} or {scene} or {model, seeds}; train further from base. */
export const errand = { play: null, base: null };

/** The label of a place whose seeds each have a class of their own, by turns: the number of `latent.point.OWN_CLASS`. */
export const OWN_CLASS = -1;

export function openInPlayer(request) {
  errand.play = request;
  window.scrollTo(0, 0);
  show("play");
  emit("play", request);
}

export function trainFurther(model) {
  errand.base = model;
  show("train");
  emit("base", model);
}

// ── the studio's pulse ──

async function watchStatus() {
  for (;;) {
    if (!document.hidden) {
      try {
        emit("status", await call("status"));
      } catch (failure) {
        emit("status", { stage: failure.message, ready: false, runs: [], lost: true });
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

const ENDING = { pausing: "Pausing…", stopping: "Finishing…" };

/** The chip at the top right: waking up, training, paused, or nothing. */
export function mountStatus(element) {
  const chip = h("button.chip", { id: "status-chip", onclick: () => chip.dataset.run && (show("train"), emit("run", chip.dataset.run)) });
  element.replaceChildren(chip);
  on("status", ({ stage, ready, runs, lost }) => {
    const active = (runs ?? []).find((run) => ["training", "starting", "pausing", "stopping"].includes(run.state));
    const paused = (runs ?? []).filter((run) => run.state === "paused");
    chip.dataset.run = (active ?? paused[0])?.id ?? "";
    chip.className = `chip ${lost ? "bad" : active ? "busy" : !ready ? "waking" : paused.length ? "paused" : "calm"}`;
    const resting = paused.length > 1 ? `${paused.length} runs are paused` : paused.length ? "A run is paused" : "Ready";
    chip.replaceChildren(
      h("i.lamp"),
      lost ? "Looking for the studio…" : !ready ? `${stage}…` : active ? ENDING[active.state] ?? `Training ${Math.round(100 * active.fraction)} %` : resting);
  });
}

// ── a saved picture dropped anywhere opens the place it came from ──

function dropRecipes() {
  const isOurs = (event) => [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file") && !event.target.closest?.(".dropzone");
  window.addEventListener("dragover", (event) => { if (isOurs(event)) event.preventDefault(); });
  window.addEventListener("drop", (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    if (session.may.import && [...event.dataTransfer.files].some(({ name }) => /\.(pkl|pt|pth|safetensors)$/i.test(name))) return bringDropped(event.dataTransfer);
    const file = [...event.dataTransfer.files].find((candidate) => /png|webp/.test(candidate.type)) ?? event.dataTransfer.files[0];
    if (file) openRecipe(file);
  });
}

/** A model that was dropped on another room goes to the shelf. */
async function bringDropped(transfer) {
  const files = [...transfer.files].map((file) => ({ file, path: file.name }));
  const { bring } = await import("./importing.js");
  bring((id, title) => { emit("shelf"); notice(`${title} is on the shelf.`, { action: "Play it", onaction: () => openInPlayer({ model: id }) }); }, files);
}

export async function openRecipe(file) {
  try {
    const recipe = await post("recipe", file);
    openInPlayer({ scene: recipe.scene });
    notice("Opened the place this picture came from.", { about: "recipe" });
  } catch (failure) {
    complain(failure, "recipe");
  }
}
