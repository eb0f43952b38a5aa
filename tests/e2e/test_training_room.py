"""Points 6 to 9: a folder of pictures becomes a run, is played while it learns, survives, and stands on the shelf."""

from __future__ import annotations

import json
import re
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.looking import around_an_end, load_anew
from tests.making import draw_shapes

expect = pytest.importorskip("playwright.sync_api").expect

SLOW_MS = 120_000
LEARNING_MS = 15_000


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as artists have them: two sub-folders, a duplicate, a text, a broken picture."""
    folder = draw_shapes(tmp_path_factory.mktemp("upload") / "shapes", 40)
    (folder / "discs" / "again.png").write_bytes((folder / "discs" / "000.png").read_bytes())
    (folder / "notes.txt").write_text("shopping list")
    (folder / "squares" / "broken.png").write_bytes((folder / "squares" / "001.png").read_bytes()[:90])
    return folder


@pytest.fixture(autouse=True)
def patience(page) -> Iterator[None]:
    expect.set_options(timeout=SLOW_MS)
    page.set_default_timeout(SLOW_MS)
    return


def open_train(page) -> None:
    page.locator("#train-room-button").click()
    expect(page.locator("#new-run")).to_be_visible()


def send_folder(page, folder: Path) -> None:
    page.locator("#choose-folder").set_input_files(folder)
    expect(page.locator("#report")).to_be_visible()


def plan(page) -> None:
    """Turn the dial to five minutes, and change one setting of the plan."""
    page.locator("#train-minutes").get_by_text("5 minutes").click()
    expect(page.locator("#train-plan")).to_contain_text("In 5 minutes")
    page.locator("#train-advanced").get_by_text("Advanced").click()
    page.locator("#advanced-seed input").last.fill("5")
    page.keyboard.press("Tab")


def state_of(page) -> str:
    return page.locator("#run-state").inner_text()


def test_a_folder_becomes_a_model_that_is_played_while_it_learns(page, studio_server, upload: Path) -> None:
    open_train(page)
    expect(page.locator("#runs")).to_contain_text("No run yet")
    send_folder(page, upload)
    report = page.locator("#report")
    expect(report).to_contain_text("41")
    page.locator("#refused summary").click()
    for reason in ("notes.txt", "broken.png"):
        expect(page.locator("#refused")).to_contain_text(reason)
    expect(page.locator('#doctor [data-topic="copies"]')).to_be_visible()

    page.locator("#prepare-resolution").get_by_text("32").first.click()
    plan(page)
    page.locator("#train-title input, #train-title textarea").first.fill("Shapes")
    page.locator("#start-training").click()

    expect(page.locator("#run-title")).to_have_text("Shapes")
    expect(page.locator(".cell").first).to_be_visible()
    expect(page.locator("#run-figures")).to_contain_text("Pictures seen")
    address = page.url
    assert "#run=" in address

    # a second tab and a reload see the same run
    load_anew(page)
    expect(page.locator("#run-title")).to_have_text("Shapes")
    second = page.context.new_page()
    second.goto(address)
    expect(second.locator("#run-title")).to_have_text("Shapes")
    second.close()

    # another run waits for its turn, and says so
    page.locator(".dataset").first.click()
    expect(page.locator("#train-plan")).to_contain_text("Another run is learning.")
    page.locator("#start-training").click()
    expect(page.locator("#run-state")).to_have_text("Waiting until the run before it is done.")
    expect(page.locator(".growth-frame").first).to_have_attribute("data-words", "The run before it comes first.")
    page.locator("#delete-run").click()
    expect(page.locator("#run-title")).to_have_text("Shapes")

    # play it while it learns: a cell of the preview opens in the player
    page.locator(".cell").nth(3).click()
    expect(page.locator("#live-canvas")).to_be_visible()
    expect(page.locator("#model-picker")).to_have_value(re.compile("@"))
    expect(page.locator("#seed")).to_have_value("3")

    # pause, kill the studio, go on
    page.locator("#train-room-button").click()
    page.locator("#pause-run").click()
    expect(page.locator("#resume-run")).to_be_visible()
    page.locator("#resume-run").click()
    expect(page.locator("#pause-run")).to_be_visible()
    around_an_end(page, address, lambda: studio_server.restart(signal.SIGKILL))
    expect(page.locator("#run-title")).to_have_text("Shapes")

    # the end: the scrub bar, the shelf, the player, the folder
    expect(page.locator("#stop-run")).to_be_visible()
    page.wait_for_timeout(LEARNING_MS)
    page.locator("#stop-run").click()
    expect(page.locator("#to-shelf")).to_be_visible()
    expect(page.locator("#keep-stage")).to_be_hidden()  # the end stands there already
    before = page.locator(".growth-frame:not(.other-frame)").screenshot()
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    expect(page.locator("#keep-stage")).to_be_visible()
    page.wait_for_timeout(1500)
    assert page.locator(".growth-frame:not(.other-frame)").screenshot() != before
    with page.expect_download() as download:
        page.locator("#download-model").click()
    with zipfile.ZipFile(download.value.path()) as packed:
        names = {Path(name).name for name in packed.namelist()}
    assert {"model.safetensors", "config.json", "README.md", "preview.webp"} <= names
    page.locator("#to-shelf").click()
    card = page.locator(".model-card", has=page.get_by_role("heading", name="Shapes", exact=True))
    expect(card).to_contain_text("yours")
    run = address.partition("#run=")[2]
    assert json.loads((studio_server.home / "runs" / run / "config.json").read_text())["seed"] == 5
    card.get_by_role("button", name="About").click()
    expect(page.get_by_role("dialog")).to_contain_text("Shapes")
    page.get_by_role("dialog").get_by_role("button", name="Play").click()
    expect(page.locator("#direction-0")).to_be_visible()

    # and further from there
    open_train(page)
    page.locator("#train-further").click()
    expect(page.locator("#train-base input")).to_have_value(re.compile("Shapes"))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [({"a.txt": b"text"}, "not a picture"), ({f"{i}.png": None for i in range(3)}, "at least 5")],
)
def test_an_upload_that_cannot_be_learned_from_is_explained(page, tmp_path: Path, files, sentence: str) -> None:
    drawn = sorted(draw_shapes(tmp_path / "drawn", 6).rglob("*.png"))
    folder = tmp_path / "upload"
    folder.mkdir()
    for (name, content), picture in zip(files.items(), drawn, strict=False):
        (folder / name).write_bytes(content or picture.read_bytes())
    open_train(page)
    page.locator("#choose-folder").set_input_files(folder)
    expect(page.locator("#upload-problem")).to_contain_text(sentence)


def test_a_zip_is_taken_apart(page, upload: Path, tmp_path: Path) -> None:
    packed = tmp_path / "shapes.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(upload.rglob("*.png")):
            archive.write(path, path.relative_to(upload))
    open_train(page)
    page.locator("#choose-files").set_input_files(packed)
    expect(page.locator("#report")).to_contain_text("41")
    expect(page.locator("#report")).to_contain_text("discs")
