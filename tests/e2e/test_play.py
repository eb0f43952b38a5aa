"""Points 2 to 5: the shelf, the player, the strip, saving and coming back, in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.looking import PICTURE, around_an_end, load_anew, settle

expect = pytest.importorskip("playwright.sync_api").expect

LAST_BITS = 24
STATE = "() => JSON.stringify(window.latentStudioPlayer.point())"


def open_model(page, model: str) -> None:
    page.locator(f"#model-{model} .button.primary").click()
    await_picture(page)


def await_picture(page) -> None:
    expect(page.locator("#live-canvas")).to_be_visible()
    expect(page.locator("#canvas-waiting")).to_be_hidden()
    expect(page.locator("#direction-0")).to_be_visible()
    choose_group(page, "Whole picture")
    settle(page)


def choose_group(page, title: str) -> None:
    """Once all are found: named ones come a moment later."""
    expect(page.locator("#direction-group option", has_text="What you see")).to_have_count(1)
    page.locator("#direction-group").select_option(label=title)


def drawn(url: str) -> Image.Image:
    """The picture in a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def difference(picture: str, other: str) -> int:
    """The greatest between two data URLs, of 255. A faster form of the same network may change the last bits,
    and colours that cannot be seen do not count."""
    first, second = (np.asarray(drawn(url).convert("RGBA"), np.int16) for url in (picture, other))
    if first.shape != second.shape:
        return 255
    return int(np.abs(first[..., :3] * (first[..., 3:] / 255) - second[..., :3] * (second[..., 3:] / 255)).max())


def test_the_shelf_shows_every_model_with_what_it_is(page) -> None:
    card = page.locator("#model-tiny-classes")
    expect(card).to_contain_text("Tiny classes")
    for fact in ("16 px", "StyleGAN2", "3 classes", "transparent", "CC0-1.0"):
        expect(card).to_contain_text(fact)
    card.get_by_role("button", name="About").click()
    expect(page.get_by_role("dialog")).to_contain_text("nothing: random weights")
    page.keyboard.press("Escape")


@pytest.mark.parametrize("model", ["tiny-style", "tiny-classes", "tiny-dcgan"])
def test_the_picture_follows_every_control(page, model: str) -> None:
    open_model(page, model)
    seen = {settle(page)}

    def changed() -> None:
        picture = settle(page)
        assert picture not in seen
        seen.add(picture)

    box = page.locator("#live-canvas").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 160, steps=12)
    page.mouse.up()
    changed()
    page.locator("#truncation").fill("0.5")
    changed()
    assert page.locator("#directions input[type=range]").count() >= 8
    page.locator("#direction-2").fill("3")
    changed()
    page.locator("#seed-map").focus()
    page.keyboard.press("ArrowRight")
    changed()
    page.keyboard.press("r")
    changed()
    if model != "tiny-dcgan":
        page.locator("#mix-toggle").click()
        changed()
        page.locator("#noise-none").click()
        changed()
    if model == "tiny-classes":
        page.locator("#class-2").click()
        changed()


def test_every_class_shows_the_place_that_is_played(page) -> None:
    open_model(page, "tiny-classes")
    faces = "[...document.querySelectorAll('#classes .chips img')].map((image) => image.src)"
    drawn = f"{faces}.length === 3 && {faces}.every((address) => address.startsWith('data:image/png'))"
    page.wait_for_function(drawn)
    before = page.evaluate(faces)
    assert len(set(before)) == 3
    page.keyboard.press("r")
    page.wait_for_function(f"(before) => {faces}.every((address, place) => address !== before[place])", arg=before)
    page.locator("#class-2").click()
    expect(page.locator("#classes .on")).to_have_count(1)
    expect(page.locator("#class-2")).to_have_class(re.compile(r"\bon\b"))
    page.locator("#class-any").click()
    expect(page.locator("#class-any")).to_have_class(re.compile(r"\bon\b"))
    page.keyboard.press("z")
    page.keyboard.press("z")
    expect(page.locator("#class-own")).to_have_class(re.compile(r"\bon\b"))


def test_a_class_of_ones_own_model_is_named_and_the_name_undone(page) -> None:
    open_model(page, "tiny-classes")
    expect(page.locator("#class-name")).to_be_hidden()
    page.locator("#class-1").click()
    before = page.locator("#class-1").inner_text()
    expect(page.locator("#class-name")).to_have_value(before)
    page.locator("#class-name").fill("wild roses")
    page.keyboard.press("Enter")
    expect(page.locator("#class-1")).to_have_text("wild roses")
    page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(page.locator("#class-1")).to_have_text(before)
    expect(page.locator("#class-name")).to_have_value(before)
    page.locator("#class-name").fill(page.locator("#class-0").inner_text())
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("Another class is called")
    expect(page.locator("#class-name")).to_have_value(before)


def test_every_step_can_be_undone_and_done_again(page) -> None:
    open_model(page, "tiny-style")
    steps = [(settle(page), page.evaluate(STATE))]
    for key in ("r", "ArrowDown", "r"):
        page.keyboard.press(key)
        steps.append((settle(page), page.evaluate(STATE)))
    for step in reversed(steps[:-1]):
        page.keyboard.press("z")
        assert difference(settle(page), step[0]) <= LAST_BITS and page.evaluate(STATE) == step[1]
    for step in steps[1:]:
        page.keyboard.press("Shift+Z")
        assert difference(settle(page), step[0]) <= LAST_BITS and page.evaluate(STATE) == step[1]


def test_controls_reset_and_snap(page) -> None:
    open_model(page, "tiny-style")
    page.locator("#direction-0").fill("0.1")
    assert page.locator("#direction-0").input_value() == "0"
    page.locator("#direction-0").fill("2")
    page.get_by_role("button", name="Reset all directions").click()
    assert page.locator("#direction-0").input_value() == "0"
    page.locator("#truncation").fill("0.69")
    assert page.locator("#truncation").input_value() == "0.7"


def test_a_direction_that_is_pointed_at_shows_pictures_all_along_it(page) -> None:
    open_model(page, "tiny-style")
    pictures = page.locator(".way img")
    expect(pictures).to_have_count(0)
    page.locator("#direction-1").hover()
    expect(pictures).to_have_count(5)
    assert len(set(pictures.evaluate_all("(all) => all.map((one) => one.src)"))) == 5
    page.locator("#seed-map").hover()
    expect(pictures).to_have_count(0)
    page.locator("#direction-1").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".direction:has(#direction-1) .way img")).to_have_count(5)
    page.locator("#direction-11").scroll_into_view_if_needed()
    page.locator("#direction-11").hover()
    box = page.locator(".direction:has(#direction-11) .way").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


def test_the_map_stays_faintly_until_it_is_drawn_anew(page) -> None:
    open_model(page, "tiny-style")
    page.wait_for_function("window.latentStudioPlayer.map.tiles.size >= 9")
    page.evaluate("() => { const { map } = window.latentStudioPlayer; map.usual = map.atOnce; map.atOnce = () => 0; }")
    page.locator("#truncation").fill("0.6")
    page.wait_for_function("window.latentStudioPlayer.map.tiles.size === 0")
    beside = """() => { const { canvas, context } = window.latentStudioPlayer.map;
        const [x, y] = [canvas.width / 2 + 76 * devicePixelRatio, canvas.height / 2];
        return [...context.getImageData(x - 16, y - 16, 32, 32).data]; }"""
    faint = np.array(page.evaluate(beside)).reshape(-1, 4)
    assert faint.std(axis=0)[:3].max() > 2, "a picture, no empty square"
    page.evaluate("() => { const { map } = window.latentStudioPlayer; map.atOnce = map.usual; map.draw(); }")
    page.wait_for_function("window.latentStudioPlayer.map.tiles.size >= 9")
    fresh = np.array(page.evaluate(beside)).reshape(-1, 4)
    assert fresh[:, 3].mean() > 2 * faint[:, 3].mean()
    page.locator("#model-picker").select_option("tiny-dcgan")
    page.wait_for_function("window.latentStudioPlayer.map.shownModel === 'tiny-dcgan'")
    assert page.evaluate("window.latentStudioPlayer.map.before.size") == 0


def test_named_directions_come_first_and_do_what_they_say(page) -> None:
    page.locator("#model-tiny-style .button.primary").click()
    expect(page.locator("#direction-group option").first).to_have_text("What you see")
    expect(page.locator("#direction-group")).to_have_value("trait")
    light = page.get_by_label("Light", exact=True)
    shades = []
    for amount in ("-4", "4"):
        light.fill(amount)
        shades.append(np.asarray(drawn(settle(page)).convert("L")).mean())
    assert shades[1] > shades[0] + 5
    page.locator("#direction-group").select_option(label="Whole picture")
    expect(page.get_by_label("Strongest 1", exact=True)).to_be_visible()


def test_a_blend_of_neighbours_keeps_its_spread(page) -> None:
    open_model(page, "tiny-style")
    page.evaluate("() => window.latentStudioPlayer.moveTo(0.5, 0.5, true)")
    weights = [seed["weight"] for seed in json.loads(page.evaluate(STATE))["seeds"]]
    assert weights == [0.25] * 4


def test_a_walk_is_played_and_exported(page, tmp_path: Path) -> None:
    import av

    open_model(page, "tiny-style")
    for _ in range(3):
        page.keyboard.press("a")
        page.keyboard.press("r")
    expect(page.locator("#strip .key img")).to_have_count(3)
    page.locator("#walk-speed").fill("4")
    still = settle(page)
    page.locator("#walk-play").click()
    page.wait_for_function(f"(before) => ({PICTURE})() !== before", arg=still)
    page.locator("#walk-play").click()
    for path in ("lerp", "spline", "slerp"):
        page.locator("#walk-path").select_option(path)
    for kind, frames in (("mp4", 36), ("webp", 36)):
        page.locator("#walk-export").click()
        page.locator("#film-format").select_option(kind)
        page.locator("#film-fps").select_option("24")
        page.locator("#film-size").select_option("256")
        page.locator("#film-begin").click()
        with page.expect_download() as download:
            page.locator("#film-download").click()
        film = tmp_path / f"walk.{kind}"
        download.value.save_as(film)
        if kind == "mp4":
            with av.open(str(film)) as opened:
                assert sum(1 for _ in opened.decode(video=0)) == frames
        else:
            with Image.open(film) as picture:
                assert picture.n_frames > frames // 2


def test_the_strip_survives_a_reload_and_clears_with_undo(page) -> None:
    open_model(page, "tiny-dcgan")
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("a")
    load_anew(page)
    await_picture(page)
    expect(page.locator("#strip .key")).to_have_count(2)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#strip .key")).to_have_count(0)
    page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(page.locator("#strip .key")).to_have_count(2)


def test_a_reload_comes_back_to_the_place_and_so_does_the_next_tab(page, studio_server) -> None:
    open_model(page, "tiny-classes")
    page.locator("#direction-1").fill("2.5")
    page.locator("#direction-1").dispatch_event("change")
    page.locator("#class-1").click()
    picture, state = settle(page), page.evaluate(STATE)
    load_anew(page)
    await_picture(page)
    assert json.loads(page.evaluate(STATE)) == json.loads(state)
    assert difference(settle(page), picture) <= LAST_BITS
    other = page.context.new_page()
    other.goto(studio_server.url)
    other.locator("#play-room-button").click()
    await_picture(other)
    assert json.loads(other.evaluate(STATE)) == json.loads(state)
    other.close()


def test_a_place_of_a_model_that_is_gone_opens_another_one(page) -> None:
    open_model(page, "tiny-style")
    page.evaluate(
        "() => { const p = JSON.parse(sessionStorage['latent-studio-place']); p.model = 'gone@3';"
        " sessionStorage['latent-studio-place'] = JSON.stringify(p); }"
    )
    load_anew(page)
    await_picture(page)
    assert page.evaluate("window.latentStudioPlayer.state.model") in {"tiny-style", "tiny-classes", "tiny-dcgan"}


def test_two_tabs_show_the_same_strip(page, studio_server) -> None:
    open_model(page, "tiny-dcgan")
    page.evaluate("() => localStorage.removeItem('latent-studio-strip-tiny-dcgan')")
    load_anew(page)
    await_picture(page)
    page.keyboard.press("a")
    other = page.context.new_page()
    other.goto(studio_server.url)
    open_model(other, "tiny-dcgan")
    expect(other.locator("#strip .key")).to_have_count(1)
    other.keyboard.press("a")
    expect(page.locator("#strip .key")).to_have_count(2)
    page.keyboard.press("a")
    expect(other.locator("#strip .key")).to_have_count(3)
    # each undoes its own last change, and nothing of the other's
    for pressed, count in ((other, 3), (page, 2), (page, 2)):
        pressed.keyboard.press("z")
        expect(page.locator("#strip .key")).to_have_count(count)
        expect(other.locator("#strip .key")).to_have_count(count)
    other.close()


def test_a_model_that_comes_to_the_shelf_leaves_an_open_film_panel_alone(page) -> None:
    open_model(page, "tiny-style")
    for _ in range(2):
        page.keyboard.press("r")
        page.keyboard.press("a")
    page.locator("#walk-export").click()
    with page.expect_response(lambda response: "call" in (response.request.post_data or "")):
        page.evaluate("() => import('./gradio_api/studio/assets/studio.js').then(({ emit }) => emit('shelf-changed'))")
    page.wait_for_timeout(500)
    expect(page.locator("#film-begin")).to_be_visible()
    page.get_by_role("button", name="Clear").click()


def test_a_saved_picture_brings_its_place_back_after_a_restart(page, studio_server, tmp_path: Path) -> None:
    from studio.media.stills import read_recipe

    open_model(page, "tiny-classes")
    page.locator("#direction-1").fill("2.5")
    page.locator("#class-1").click()
    page.locator("#mix-toggle").click()
    picture, state = settle(page), page.evaluate(STATE)
    with page.expect_download() as download:
        page.keyboard.press("s")
        page.locator("#notices").get_by_role("button", name="Download").click()
    saved = tmp_path / "saved.png"
    download.value.save_as(saved)
    recipe = read_recipe(saved.read_bytes())
    assert recipe is not None and recipe["scene"]["model"] == "tiny-classes" and len(recipe["model_sha256"]) == 64

    around_an_end(page, studio_server.url, studio_server.restart)
    page.locator("#gallery-room-button").click()
    expect(page.locator("#gallery .saved")).to_have_count(1)
    drop(page, saved)
    expect(page.locator("#live-canvas")).to_be_visible()
    expect(page.locator("#direction-0")).to_be_visible()
    assert difference(settle(page), picture) <= LAST_BITS
    assert json.loads(page.evaluate(STATE)) == json.loads(state)


def test_a_picture_saved_on_a_walk_is_the_one_that_was_seen(page) -> None:
    open_model(page, "tiny-style")
    for seed in ("11", "12"):
        page.locator("#seed").fill(seed)
        page.keyboard.press("Enter")
        settle(page)
        page.keyboard.press("a")
    page.locator("#walk-scrub").fill("0.2")
    page.wait_for_function("() => window.latentStudioPlayer.canvas.last.time !== undefined")
    seen = settle(page)
    page.keyboard.press("s")
    expect(page.locator("#notices")).to_contain_text("Saved to the gallery")
    page.keyboard.press("a")
    expect(page.locator("#notices")).to_contain_text("lies between two points")
    page.keyboard.press("r")
    assert difference(settle(page), seen) > LAST_BITS
    page.locator("#gallery-room-button").click()
    page.locator("#gallery .saved button").first.click()
    expect(page.locator("#live-canvas")).to_be_visible()
    page.wait_for_function("() => window.latentStudioPlayer.canvas.last.scene !== undefined")
    assert difference(settle(page), seen) <= LAST_BITS


def test_edits_of_the_strip_are_undone_like_everything_else(page) -> None:
    open_model(page, "tiny-style")
    page.evaluate("() => localStorage.clear()")
    load_anew(page)
    await_picture(page)
    for _ in range(2):
        page.keyboard.press("a")
        page.keyboard.press("r")
    keys = page.locator("#strip .key")
    expect(keys).to_have_count(2)
    for count in (2, 1, 1, 0):
        page.keyboard.press("z")
        expect(keys).to_have_count(count)
    page.keyboard.press("Shift+Z")
    expect(keys).to_have_count(1)


def test_a_cancelled_film_leaves_nothing(page, studio_server) -> None:
    open_model(page, "tiny-style")
    for _ in range(2):
        page.keyboard.press("r")
        page.keyboard.press("a")
    page.locator("#strip input[type=number]").first.fill("60")
    page.keyboard.press("Tab")
    page.locator("#walk-export").click()
    page.locator("#film-fps").select_option("60")
    page.locator("#film-begin").click()
    page.locator("#film-cancel").click()
    expect(page.locator("#notices")).to_contain_text("The film was cancelled")
    assert not [path for path in (studio_server.home / "exports").iterdir() if path.name.startswith(".tmp")]
    page.get_by_role("button", name="Clear").click()


def drop(page, path: Path) -> None:
    """Drop a file on the middle of the page."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/png" }));
            return transfer;
        }""",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def test_a_picture_without_a_recipe_is_refused_plainly(page, tmp_path: Path) -> None:

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    (tmp_path / "plain.png").write_bytes(buffer.getvalue())
    expect(page.locator("#shelf")).to_be_visible()
    drop(page, tmp_path / "plain.png")
    expect(page.locator("#notices")).to_contain_text("carries no recipe")
    page.complaints[:] = [text for text in page.complaints if "status of 400" not in text]


def test_a_newer_word_about_the_same_takes_the_place_of_a_refusal(page, tmp_path: Path) -> None:
    open_model(page, "tiny-style")
    with page.expect_download() as download:
        page.keyboard.press("s")
        page.locator("#notices").get_by_role("button", name="Download").click()
    good, plain = tmp_path / "good.png", tmp_path / "plain.png"
    download.value.save_as(good)
    Image.new("RGB", (8, 8), "red").save(plain)
    drop(page, plain)
    expect(page.locator("#notices")).to_contain_text("carries no recipe")
    drop(page, good)
    expect(page.locator("#notices .notice")).to_have_text(["Opened the place this picture came from."])
    page.complaints[:] = [text for text in page.complaints if "status of 400" not in text]


def test_an_undo_of_the_strip_goes_when_the_strip_has_changed_since(page) -> None:
    open_model(page, "tiny-style")
    page.keyboard.press("a")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#notices")).to_contain_text("The strip was cleared.")
    page.keyboard.press("a")
    expect(page.locator("#notices")).not_to_contain_text("The strip was cleared.", timeout=1000)


@pytest.mark.parametrize("field", ["#seed", "#mix-seed"])
def test_what_is_no_seed_is_refused_and_changes_nothing(page, field: str) -> None:
    open_model(page, "tiny-style")
    page.locator("#mix-toggle").click()
    seed = page.locator(field)
    before = (seed.input_value(), page.evaluate(STATE))
    for text in ("5000000000", "-1", "1.5"):
        seed.fill(text)
        seed.press("Enter")
        expect(page.locator("#notices .notice")).to_have_text(
            ["A seed is a whole number from 0 to 4,294,967,295.The picture stays as it is."]
        )
        assert (seed.input_value(), page.evaluate(STATE)) == before
    seed.fill("4294967295")
    seed.press("Enter")
    expect(page.locator("#notices .notice")).to_have_count(0, timeout=1000)
    assert "4294967295" in page.evaluate(STATE)


def test_deleting_a_saved_picture_can_be_undone(page) -> None:
    open_model(page, "tiny-style")
    page.keyboard.press("s")
    expect(page.locator("#notices")).to_contain_text("Saved to the gallery")
    page.locator("#gallery-room-button").click()
    pictures = page.locator("#gallery .saved")
    expect(pictures.first).to_be_visible()
    count = pictures.count()
    pictures.first.get_by_role("button", name="Delete").click()
    expect(pictures).to_have_count(count - 1)
    page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(pictures).to_have_count(count)


def test_on_a_phone_nothing_is_wider_than_the_page(browser, studio_server) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(studio_server.url)
    open_model(page, "tiny-style")
    for room in ("shelf", "play", "train", "gallery"):
        page.locator(f"#{room}-room-button").click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, room
    context.close()


@pytest.mark.parametrize("size", [(1400, 800), (390, 844), (320, 640)])
def test_the_picture_stays_in_view_beside_every_slider(page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    open_model(page, "tiny-style")
    page.locator("#mix-toggle").scroll_into_view_if_needed()
    box = page.locator("#live-canvas").bounding_box()
    assert box["y"] >= -0.3 * box["height"] and box["y"] + box["height"] <= size[1]
    parts = ".player :is(.card, .button, select, .direction img)"
    widest = "(parts) => Math.max(...[...document.querySelectorAll(parts)].map((e) => e.getBoundingClientRect().right))"
    assert page.evaluate(widest, parts) <= size[0]
