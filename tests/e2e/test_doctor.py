"""The dataset doctor: it shows what it found, a click mends and another undoes, single pictures can be left out and cut."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.looking import load_anew

expect = pytest.importorskip("playwright.sync_api").expect

SLOW_MS = 120_000


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve views; a copy, a blank one and three with a frame."""
    folder = tmp_path_factory.mktemp("doctor") / "views"
    folder.mkdir()
    for seed in range(12):
        low = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        view = Image.fromarray(low).resize((90, 70), Image.Resampling.BICUBIC)
        if seed >= 9:
            framed = Image.new("RGB", (110, 90), "black")
            framed.paste(view, (10, 10))
            view = framed
        view.save(folder / f"{seed:02}.png")
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())
    Image.new("RGB", (80, 80), "grey").save(folder / "blank.png")
    return folder


@pytest.fixture
def card(page, studio_server, views: Path):
    expect.set_options(timeout=SLOW_MS)
    page.set_default_timeout(SLOW_MS)
    page.locator("#train-room-button").click()
    page.locator("#choose-folder").set_input_files(views)
    expect(page.locator("#doctor-words")).to_contain_text("2 things could be mended by a click; 1 is mended.")
    expect(page.locator("#train-plan")).to_contain_text("13 pictures")
    return page.locator("#doctor")


OVERVIEW = "document.querySelector('#overview canvas').toDataURL()"


def overview(page) -> str:
    """The pictures as the model will see them, once they are drawn."""
    page.wait_for_function("document.querySelector('#overview')?.ariaBusy !== 'true'")
    return page.evaluate(OVERVIEW)


def test_findings_are_shown_mended_and_undone(page, card) -> None:
    blank, frames = card.locator('[data-topic="blank"]'), card.locator('[data-topic="borders"]')
    expect(blank.locator("img")).to_have_js_property("complete", True)
    assert blank.locator("img").evaluate("image => image.naturalWidth") > 0
    expect(card.locator('[data-topic="copies"] .mend')).to_have_attribute("aria-pressed", "true")

    expect(card.locator('[data-topic="copies"] .finding-thumbs .thumb.out')).to_have_count(1)

    before = overview(page)
    blank.locator(".mend").focus()
    page.keyboard.press("Enter")
    expect(blank.locator(".mend")).to_have_text("Undo")
    page.wait_for_function(f"(before) => {OVERVIEW} !== before", arg=before)
    expect(card.locator("#doctor-summary")).to_have_text("1 picture left out, 1 exact copy not used")
    expect(card.locator("#doctor-words")).to_contain_text("1 thing could be mended by a click; 2 are mended.")
    expect(page.locator("#train-plan")).to_contain_text("12 pictures")
    blank.locator(".mend").click()
    expect(card.locator("#doctor-summary")).to_have_text("1 exact copy not used")
    expect(page.locator("#train-plan")).to_contain_text("13 pictures")

    copies = card.locator('[data-topic="copies"]')
    copies.locator(".mend").click()
    expect(copies.locator(".mend")).to_have_text("Keep one of each")
    copies.get_by_role("button", name="Look at all 2").click()
    copies.get_by_role("button", name="used, leave it out").first.click()
    expect(copies.locator(".mend")).to_be_hidden()  # one by one they are left out where that was done
    expect(page.locator("#train-plan")).to_contain_text("13 pictures")
    copies.get_by_role("button", name="left out, take it back").click()
    copies.locator(".mend").click()

    frames.locator(".mend").click()
    expect(frames.locator(".mend")).to_have_text("Undo")
    page.locator("#prepare-step").get_by_text("More").click()
    expect(page.locator("#prepare-trim_borders input")).to_be_checked()
    page.locator("#prepare-trim_borders input").uncheck()
    expect(frames.locator(".mend")).to_have_text("Trim them")


def test_single_pictures_are_left_out_and_cut_by_keyboard_on_a_phone(page, card) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    frames = card.locator('[data-topic="borders"]')
    frames.get_by_role("button", name="Look at all 3").click()
    frames.get_by_role("button", name="09.png: used, leave it out").click()
    expect(card.locator("#doctor-summary")).to_have_text("1 picture left out, 1 exact copy not used")
    frames.get_by_role("button", name="09.png: left out, take it back").click()
    expect(card.locator("#doctor-summary")).to_have_text("1 exact copy not used")

    card.get_by_text("Choose and crop single pictures").click()
    card.locator("#all-pictures").get_by_role("button", name="03.png: choose the square by hand").click()
    square = page.locator("#crop-dialog .crop-square")
    expect(square).to_be_focused()
    for key in ("-", "-", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Use this square").click()
    expect(card.locator("#doctor-summary")).to_have_text("1 exact copy not used, 1 square drawn by hand")
    expect(card.locator("#all-pictures .thumb.cut")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_overview_is_enlarged_and_on_a_phone_some_of_it_stays_beside_the_settings(page, card) -> None:
    expect(page.locator("#overview figcaption")).to_have_text("13 pictures, as the model will see them.")
    expect(page.locator("#proof")).to_be_hidden()
    page.get_by_role("button", name="Enlarge the overview").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#enlarged-overview")).to_contain_text("13 pictures, as the model will see them.")
    page.keyboard.press("Escape")
    expect(page.locator("#enlarged-overview")).to_have_count(0)

    page.set_viewport_size({"width": 390, "height": 844})
    proof = "document.querySelector('#proof canvas').toDataURL()"
    before = page.evaluate(proof)
    page.locator("#prepare-drop_duplicates").scroll_into_view_if_needed()
    expect(page.locator("#proof")).to_be_in_viewport()
    page.locator("#prepare-colour").get_by_text("Grey", exact=True).click()
    page.wait_for_function(f"(before) => {proof} !== before", arg=before)


def test_pictures_are_sorted_into_kinds_and_back(page, card) -> None:
    caption = page.locator("#overview figcaption")
    before = overview(page)
    page.locator("#prepare-kinds input").fill("3")
    expect(caption).to_contain_text("in 3 kinds, as the model will see them.")
    assert overview(page) != before
    page.locator("#prepare-kinds input").fill("0")
    expect(caption).to_have_text("13 pictures, as the model will see them.")


def test_a_reload_keeps_the_pictures_and_what_was_mended(page, card) -> None:
    card.locator('[data-topic="blank"] .mend').click()
    card.locator('[data-topic="borders"] .mend').click()
    page.locator("#prepare-resolution").get_by_text("32", exact=True).click()
    page.locator("#train-title :is(input, textarea)").fill("Views")
    page.locator("#train-minutes").get_by_text("Other").click()
    page.locator("#other-minutes input").fill("7")
    for _ in range(2):
        expect(card.locator("#doctor-words")).to_have_text("All that was found is mended.")
        expect(card.locator("#doctor-summary")).to_have_text("1 picture left out, 1 exact copy not used")
        expect(page.locator("#report")).to_contain_text("14 pictures")
        expect(page.locator("#train-plan")).to_contain_text("You have 12 pictures")
        expect(page.locator("#train-plan")).to_contain_text("In 7 minutes")
        expect(page.locator("#train-plan")).to_contain_text("32 × 32 px")
        expect(page.locator("#train-title :is(input, textarea)")).to_have_value("Views")
        load_anew(page)
    page.wait_for_function("() => [...document.querySelectorAll('.finding-thumbs img')].every((i) => i.naturalWidth)")
    page.locator("#start-over").click()
    expect(page.locator("#dropzone")).to_be_visible()
    load_anew(page)
    expect(page.locator("#dropzone")).to_be_visible()
    expect(page.locator("#doctor-words")).to_have_count(0)


def test_a_set_without_problems_has_nothing_to_mend(page, studio_server, tmp_path: Path) -> None:
    for seed in range(8):
        low = np.random.default_rng(50 + seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(low).resize((70, 70), Image.Resampling.BICUBIC).save(tmp_path / f"{seed}.png")
    page.locator("#train-room-button").click()
    page.locator("#choose-folder").set_input_files(tmp_path)
    expect(page.locator("#doctor-words")).to_have_text("Nothing to mend.")
    expect(page.locator("#film-frames")).to_have_count(0)


def make_film(path: Path, scenes: int, frames_a_second: int) -> Path:
    """A film that shows another view in every frame."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=Fraction(frames_a_second))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for seed in range(scenes):
            low = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            view = Image.fromarray(low).resize((96, 64), Image.Resampling.BICUBIC)
            film.mux(stream.encode(av.VideoFrame.from_image(view)))
        film.mux(stream.encode(None))
    return path


def test_how_many_frames_of_a_film_are_taken_can_be_chosen(page, studio_server, tmp_path: Path) -> None:
    film = make_film(tmp_path / "walk.mp4", scenes=72, frames_a_second=4)
    page.locator("#train-room-button").click()
    page.locator("#choose-files").set_input_files(film)
    frames, count = page.get_by_label("Frames of walk.mp4"), page.locator("#report .report-count")
    expect(frames).to_have_value("Up to 200, evenly spread")
    expect(count).to_have_text("72 pictures")
    frames.select_option("Up to 50, evenly spread")
    expect(count).to_have_text("50 pictures")
    expect(frames).to_have_value("Up to 50, evenly spread")
    frames.select_option("One every second")
    expect(count).to_have_text("18 pictures")
    expect(page.locator("#train-plan")).to_contain_text("18 pictures")

    frames.select_option("One every 10 seconds")
    expect(page.locator("#notices")).to_contain_text("only 2 pictures")
    expect(count).to_have_text("18 pictures")
    expect(frames).to_have_value("One every second")
