"""How the live canvas follows the hand, read from the canvas itself in headless Chromium.

    python -m benchmarks.live [--model MODEL | --stylegan2] [--seconds 10] [--training]

A pointer drags on the picture 60 times a second. A picture counts as shown when the canvas' pixels have changed in a new
animation frame; hand-to-picture is the time from the pointer event that asked for it until that frame. `--training` starts a
run on drawn pictures first and measures beside it; `--stylegan2` plays one of 256 px and random weights.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.conftest import FLAGS, Server  # noqa: E402
from tests.making import draw_shapes  # noqa: E402

WATCH = """
() => {
  const player = window.latentStudioPlayer;
  const view = player.view;
  const seen = { asked: new Map(), shown: [], frames: 0, before: "" };
  window.seen = seen;
  const ask = player.canvas.ask.bind(player.canvas);
  view.addEventListener("pointermove", () => { seen.hand = performance.now(); }, { capture: true });
  player.canvas.ask = (wish) => { ask(wish); seen.asked.set(player.canvas.stamp, seen.hand); };
  const look = (now) => {
    seen.frames += 1;
    if (player.canvas.shown === seen.counted) { requestAnimationFrame(look); return; }
    const pixels = view.getContext("2d").getImageData(0, 0, view.width, view.height).data;
    let hash = 0;
    for (let i = 0; i < pixels.length; i += 52) // one pixel of thirteen: looking must not slow what is looked at
      hash = (Math.imul(hash, 31) + pixels[i] + 3 * pixels[i + 1] + 7 * pixels[i + 2]) | 0;
    if (hash !== seen.before) {
      seen.before = hash;
      seen.counted = player.canvas.shown;
      const hand = seen.asked.get(player.canvas.shown);
      if (hand) seen.shown.push([now, performance.now() - hand]);
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
"""


def drag(page: Page, seconds: float) -> dict[str, float]:
    """Drag in circles for so long; pictures shown a second and hand-to-picture in ms."""
    box = page.locator("#live-canvas").bounding_box()
    assert box is not None
    page.evaluate(WATCH)
    page.evaluate(
        """([x, y, reach, seconds]) => new Promise((resolve) => {
            const view = window.latentStudioPlayer.view;
            const send = (type, t) => view.dispatchEvent(new PointerEvent(type, { pointerId: 1, bubbles: true,
                clientX: x + reach * Math.cos(t), clientY: y + reach * Math.sin(1.3 * t) }));
            view.setPointerCapture = () => {};
            const start = performance.now();
            send("pointerdown", 0);
            const timer = setInterval(() => {
                const elapsed = (performance.now() - start) / 1000;
                if (elapsed <= seconds) { send("pointermove", 2 * elapsed); return; }
                clearInterval(timer);
                send("pointerup", 2 * elapsed);
                resolve();
            }, 1000 / 60);
        })""",
        [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"] / 3, seconds],
    )
    shown = page.evaluate("window.seen.shown")
    waits = sorted(wait for _, wait in shown)
    span = (shown[-1][0] - shown[0][0]) / 1000
    return {
        "pictures_per_second": (len(shown) - 1) / span,
        "hand_to_picture_median_ms": statistics.median(waits),
        "hand_to_picture_p95_ms": waits[int(0.95 * len(waits))],
        "animation_frames_per_second": page.evaluate("window.seen.frames") / seconds,
    }


def start_training(page: Page, folder: Path) -> None:
    """Start a run on drawn pictures through the named endpoints' own services, and wait until it trains."""
    from gradio_client import Client, handle_file

    client = Client(page.url, verbose=False)
    files = sorted(folder.rglob("*.png"))
    report: Any = client.predict(files=[handle_file(str(file)) for file in files], names=None, api_name="/upload")
    dataset: Any = client.predict(
        upload_id=report["upload_id"], settings={"resolution": 64}, title="shapes", api_name="/prepare"
    )
    run = client.predict(dataset=dataset["id"], minutes=30, base="", title="", changes={}, api_name="/start_run")
    end = time.monotonic() + 120
    while time.monotonic() < end:
        state = next(one for one in client.predict(api_name="/runs") if one["id"] == run)
        if state["state"] == "training" and state["step"] > 3:
            return
        time.sleep(0.5)
    raise SystemExit("the run did not begin to train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="naturalist", help="model on the shelf [naturalist]")
    parser.add_argument("--stylegan2", action="store_true", help="a StyleGAN2 of 256 px and random weights instead")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--training", action="store_true", help="while a run trains on the same machine")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        server = Server(Path(folder) / "home")
        server.home.mkdir()
        if chosen.stylegan2:
            from benchmarks.synthesis import save

            chosen.model = "stylegan2-256"
            (server.home / "models").mkdir()
            save(server.home / "models" / chosen.model)
        server.start()
        try:
            chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
            page = chromium.new_page(viewport={"width": 1440, "height": 900})
            page.goto(server.url)
            page.locator(f"#model-{chosen.model} .button.primary").click(timeout=120_000)
            page.locator("#direction-0").wait_for(timeout=120_000)
            page.wait_for_timeout(10_000)
            if chosen.training:
                start_training(page, draw_shapes(Path(folder) / "shapes", 60))
            drag(page, 2)
            page.reload()
            page.locator(f"#model-{chosen.model} .button.primary").click()
            page.locator("#direction-0").wait_for()
            page.wait_for_timeout(10_000)
            for name, value in drag(page, chosen.seconds).items():
                print(f"{name:<32}{value:8.1f}")
            chromium.close()
        finally:
            server.end()


if __name__ == "__main__":
    main()
