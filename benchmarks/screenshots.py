"""The pictures of the studio in docs/: every room at 1440 and 390 px.

    python -m benchmarks.screenshots --home FOLDER [--model naturalist]

A run that is under way or done in the home folder makes the train room worth seeing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.conftest import FLAGS, Server  # noqa: E402

SIZES = (("", 1440, 1000), ("-phone", 390, 844))


def shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(2500)
    page.evaluate("document.querySelector('#notices')?.replaceChildren()")
    page.screenshot(path=ROOT / "docs" / f"{name}.png")


def fill_gallery(page: Page, model: str) -> None:
    """Save a few pictures, if there are none, and put some places on the strip."""
    page.locator(f"#model-{model} .button.primary").click()
    page.locator("#direction-0").wait_for()
    for _ in range(9):
        page.keyboard.press("r")
        page.wait_for_timeout(400)
        page.keyboard.press("s")
        page.wait_for_timeout(500)


def shoot_rooms(browser: Browser, url: str, model: str, seed: int) -> None:
    for suffix, width, height in SIZES:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(url)
        page.locator(f"#model-{model} .button.primary").wait_for()
        if not suffix:
            fill_gallery(page, model)
            page.locator("#shelf-room-button").click()
        shoot(page, f"shelf{suffix}")
        page.locator(f"#model-{model} .button.primary").click()
        page.locator("#direction-0").wait_for()
        page.locator("#truncation").fill("0.7")
        for step in range(5):
            page.locator("#seed").fill(str(seed + step))
            page.keyboard.press("Enter")
            page.locator("#live-canvas").focus()
            page.wait_for_timeout(300)
            page.keyboard.press("a")
        page.locator("#live-canvas").blur()
        shoot(page, f"play{suffix}")
        page.locator("#train-room-button").click()
        page.wait_for_timeout(2500)
        page.evaluate("window.scrollTo(0, 0)")
        shoot(page, f"train{suffix}")
        page.locator("#gallery-room-button").click()
        shoot(page, f"gallery{suffix}")
        page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", default="naturalist")
    parser.add_argument("--seed", type=int, default=40)
    chosen = parser.parse_args()
    (ROOT / "docs").mkdir(exist_ok=True)
    server = Server(chosen.home.resolve())
    server.start()
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
            shoot_rooms(browser, server.url, chosen.model, chosen.seed)
            browser.close()
    finally:
        server.end()


if __name__ == "__main__":
    main()
