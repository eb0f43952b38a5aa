// Overviews of pictures: drawn by the studio as one sheet, laid out anew by the page, and enlarged by a click.
import { call, fileUrl, h } from "./studio.js";

// A sheet as the studio draws it: cells of 96 px with gaps of 4, ten in a row.
const CELL_PX = 96;
const STEP_PX = 100;
const SHEET_COLUMNS = 10;
const LARGE_PX = 116;
const PROOFS = 5;

/** The cells of a sheet, laid out anew: `every` so many in a row, at `most` so many of them, evenly chosen. */
export function sheet(address, count, alt, { every = SHEET_COLUMNS, most = count } = {}) {
  const canvas = h("canvas.sheet-canvas", { role: "img", ariaLabel: alt });
  const image = new Image();
  const shown = Math.min(count, most);
  const lay = () => {
    const columns = Math.min(SHEET_COLUMNS, count);
    Object.assign(canvas, { width: Math.min(every, shown) * CELL_PX, height: Math.ceil(shown / every) * CELL_PX });
    const context = canvas.getContext("2d");
    for (let cell = 0; cell < shown; cell += 1) {
      const from = Math.floor((cell * count) / shown);
      context.drawImage(image, (from % columns) * STEP_PX, Math.floor(from / columns) * STEP_PX, CELL_PX - 4, CELL_PX - 4,
        (cell % every) * CELL_PX + 2, Math.floor(cell / every) * CELL_PX + 2, CELL_PX - 4, CELL_PX - 4);
    }
  };
  image.src = address;
  canvas.drawn = image.decode().then(lay, () => {});
  return canvas;
}

/**
 * Some of the pictures of an upload as they will be used, drawn anew by `again()`, one drawing at a time.
 * `settings()` says how they are prepared. `proof` is one row of them, for where the settings stand far from the overview.
 */
export function overview(upload, first, settings) {
  const proof = h("div.proof", { ariaHidden: "true", onclick: () => enlarge.click() });
  const enlarge = h("button.sheet-button", { type: "button", ariaLabel: "Enlarge the overview", title: "Enlarge" });
  const caption = h("figcaption.muted");
  const element = h("figure.overview", { id: "overview" }, enlarge, caption);
  const show = async ({ shown, words }) => {
    const address = fileUrl("upload", upload, { v: Date.now() });
    const draw = (layout) => sheet(address, shown, words, layout);
    const canvases = [draw(), draw({ every: PROOFS, most: PROOFS })];
    if (enlarge.hasChildNodes()) await Promise.all(canvases.map(({ drawn }) => drawn));
    enlarge.replaceChildren(canvases[0]);
    proof.replaceChildren(canvases[1]);
    caption.textContent = words;
    enlarge.onclick = () => enlarged(draw, words);
  };
  show(first);
  let wanted = false;
  const again = async () => {
    wanted = true;
    if (element.ariaBusy === "true") return;
    element.ariaBusy = "true";
    while (wanted && element.isConnected) {
      wanted = false;
      const drawn = await call("draw_upload", { upload, settings: settings() }).catch(() => null);
      if (drawn?.shown && !wanted && element.isConnected) await show(drawn);
    }
    element.ariaBusy = "false";
  };
  return { element, proof, again };
}

/** The overview alone, with as many in a row as there is room for. */
function enlarged(draw, words) {
  const every = Math.max(3, Math.min(SHEET_COLUMNS, Math.floor((window.innerWidth - 64) / LARGE_PX)));
  const dialog = h("dialog.sheet.mount.enlarged", { id: "enlarged-overview", ariaLabel: words, onclick: () => dialog.close(), onclose: () => dialog.remove() },
    draw({ every }), h("div.enlarged-words", h("p.muted", words), h("button.button", { type: "button" }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}
