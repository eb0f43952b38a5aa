"""The monitor: pictures that grow, curves with marks, originality, alarms, the best stage, a film, two runs beside each other."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.paths import Home
from tests.e2e.looking import load_anew
from tests.making_runs import make_dataset, make_run, write_wanted

expect = pytest.importorskip("playwright.sync_api").expect
av = pytest.importorskip("av")

AT_ONCE_MS = 8_000
"""Less than a notice stays by itself."""

TITLE = 'Moths <img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def player_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with four runs that nobody trained; no model stands on the shelf but the shipped ones."""
    home = Home(tmp_path_factory.mktemp("monitor") / "home").create()
    make_dataset(home)
    make_run(home, "moths", title=TITLE, stages=9)
    make_run(home, "other", title="Other moths", stages=6, shift=2, batch=32)
    make_run(home, "paused", title="Paused", stages=3)
    write_wanted(home.runs / "paused")
    make_run(home, "old", title="Older", stages=2, scored=False)
    shutil.rmtree(home.root / "drawn")
    return home.root


def visit(page, address: str, title: str) -> None:
    page.locator("#train-room-button").click()
    expect(page.locator("#run-title")).to_be_visible()
    page.evaluate("(address) => { location.hash = address; }", address)
    expect(page.locator("#run-title")).to_have_text(title)
    expect(page.locator("#preview")).to_have_js_property("complete", True)


def reload(page) -> None:
    load_anew(page)
    expect(page.locator("#run-title")).to_be_visible()


def shown(page) -> bytes:
    page.wait_for_timeout(400)
    picture: bytes = page.locator("#runs .growth-frame").first.screenshot()
    return picture


@pytest.fixture(params=[(1440, 900), (390, 844)], ids=["desk", "phone"])
def sized(page, request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    width, height = request.param
    page.set_viewport_size({"width": width, "height": height})
    return width, height


def test_nothing_overflows_and_no_title_becomes_markup(page, studio_server, sized: tuple[int, int]) -> None:
    visit(page, "run=moths&with=other", TITLE)
    expect(page.locator("#differences")).to_contain_text("Batch")
    expect(page.locator("#chart-kid canvas")).to_be_visible()
    expect(page.locator("#chart-codes canvas")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= sized[0]
    outside = page.evaluate(
        """(width) => [...document.querySelectorAll("#monitor-mount .run *")].filter((one) => {
             const box = one.getBoundingClientRect();
             return box.width && box.right > width + 1 && !one.closest("#run-cards, .differences-scroll");
           }).map((one) => one.outerHTML.slice(0, 120))""",
        sized[0],
    )
    assert not outside
    assert page.title() != "1" and page.locator("#monitor-mount img[src=x]").count() == 0


def test_the_bar_moves_through_the_run_by_keys_and_a_reload_keeps_the_place(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    expect(page.locator("#scrub-label")).to_have_text("at the end")
    end = shown(page)
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    expect(page.locator("#scrub-label")).to_have_text("at 1,000 pictures")
    first = shown(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#play-snapshot")).to_have_text("Play the stage at 1,000 pictures")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#scrub-label")).to_have_text("at 3,000 pictures")
    third = shown(page)
    assert len({first, third, end}) == 3
    expect(page).to_have_url(re.compile("run=moths&at=300$"))
    reload(page)
    expect(page.locator("#scrub-label")).to_have_text("at 3,000 pictures")
    expect(page.locator("#play-snapshot")).to_have_text("Play this stage")
    page.locator("#play-snapshot").click()
    expect(page.locator("#model-picker")).to_have_value("moths@300")


def test_the_growth_plays_as_a_film_to_its_end(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    page.locator("#play-film").click()
    expect(page.locator("#scrub-label")).to_have_text(re.compile("^at [1-4]"))
    seen = {shown(page) for _ in range(3)}
    assert len(seen) == 3
    expect(page.locator("#scrub-label")).to_have_text("at the end")
    expect(page.locator("#play-film")).to_have_attribute("aria-pressed", "false")
    page.locator("#scrub").focus()
    page.keyboard.press("Space")
    expect(page.locator("#play-film")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    expect(page.locator("#play-film")).to_have_attribute("aria-pressed", "false")


def test_originality_is_told_in_words_beside_your_pictures_and_follows_the_bar(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    expect(page.locator("#originality-word")).to_have_text("Copies")
    expect(page.locator("#run-warnings")).to_contain_text("begun to copy")
    pairs = page.locator("#originality-pairs figure")
    expect(pairs).to_have_count(6)
    loaded = "(pictures) => pictures.every((one) => one.complete && one.naturalWidth === 32)"
    page.locator("#originality").scroll_into_view_if_needed()
    page.wait_for_function(f"({loaded})([...document.querySelectorAll('#originality-pairs img')])")
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    expect(page.locator("#originality-word")).to_have_text("Original")
    expect(page.locator("#originality-gauge")).to_have_attribute("aria-valuetext", "Original")


def test_a_run_that_hardly_began_is_not_praised(page, studio_server) -> None:
    folder = studio_server.home / "runs" / "short"
    shutil.copytree(studio_server.home / "runs" / "moths", folder)
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    begun = [line | {"kimg": line["kimg"] / 100} if "kimg" in line else line for line in lines]
    repeated = [line for line in begun if line["event"] == "scored"][-1] | {"best": True}
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in [*begun, repeated, repeated]))
    visit(page, "run=short", TITLE)
    expect(page.locator("#originality-word")).to_have_text("Too early to say")
    expect(page.locator("#originality-pairs figure")).to_have_count(6)
    expect(page.locator("#originality-pairs figcaption")).to_have_count(0)
    expect(page.locator("#best-stage .banner")).to_have_count(0)
    page.get_by_text("What happened").click()
    expect(page.locator("#happened li.best").last).to_contain_text("90 pictures")
    expect(page.locator("#happened li.best", has_text="90 pictures,")).to_have_count(1)


def test_an_alarm_offers_its_remedy_once_and_stays_closed(page, studio_server) -> None:
    visit(page, "run=paused", "Paused")
    alarm = page.locator("[data-topic=divergence]")
    expect(alarm).to_contain_text("The critic wins <i>by far</i>.")
    alarm.get_by_role("button", name="Halve the learning rates").click()
    expect(alarm.get_by_role("button", name="It is being done")).to_be_disabled()
    page.wait_for_timeout(500)
    assert "divergence" in (studio_server.home / "runs" / "paused" / "heal").read_text()
    visit(page, "run=moths", TITLE)
    expect(page.locator("[data-topic=rollback]")).to_contain_text("The run went back to step 300.")
    assert page.locator("[data-topic=divergence] .remedy").count() == 0, "a run that is over cannot be mended"
    page.locator("[data-topic=rollback]").get_by_role("button", name="Close").click()
    reload(page)
    expect(page.locator("[data-topic=divergence]")).to_be_visible()
    expect(page.locator("[data-topic=rollback]")).to_have_count(0)


def test_the_best_stage_is_put_on_the_shelf_and_taken_back(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    expect(page.locator("#best-stage")).to_contain_text("The best stage measured was at 5,000 pictures.")
    page.locator("#keep-best").click()
    notices = page.locator("#notices")
    expect(notices).to_contain_text("is on the shelf")
    assert len(list((studio_server.home / "models").iterdir())) == 1
    notices.get_by_role("button", name="Undo").click()
    expect(notices.locator(".notice")).to_have_count(0, timeout=AT_ONCE_MS)
    page.wait_for_timeout(500)
    assert not [path for path in (studio_server.home / "models").iterdir() if not path.name.startswith(".")]
    page.locator("#play-best").click()
    expect(page.locator("#model-picker")).to_have_value("moths@500")


def test_a_notice_goes_when_its_model_or_its_room_does(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    page.locator("#keep-stage").click()
    expect(page.locator("#notices")).to_contain_text("is on the shelf")
    page.wait_for_timeout(600)
    page.locator("#shelf-room-button").click()
    expect(page.locator("#notices .notice")).to_have_count(0, timeout=AT_ONCE_MS)
    card = page.locator(".model-card", has_text="Moths")
    page.evaluate(
        """(about) => import(new URL("gradio_api/studio/assets/studio.js", document.baseURI).href).then((studio) =>
             studio.notice("It is on the shelf.", { action: "Undo", about, seconds: 90 }))""",
        card.get_attribute("id"),
    )
    expect(page.locator("#notices")).to_contain_text("It is on the shelf.")
    card.get_by_role("button", name="About").click()
    page.get_by_role("dialog").get_by_role("button", name="Take off the shelf").click()
    expect(card).to_have_count(0)
    expect(page.locator("#notices")).to_contain_text("was taken off the shelf")
    expect(page.locator("#notices")).not_to_contain_text("It is on the shelf.", timeout=AT_ONCE_MS)


def test_the_training_becomes_a_film_of_chosen_pictures(page, studio_server, tmp_path: Path) -> None:
    visit(page, "run=moths", TITLE)
    page.locator("#growth-film").click()
    page.locator("#growth-film-which").select_option("some")
    expect(page.locator("#growth-film-begin")).to_be_disabled()
    page.locator("#monitor-mount .cell").nth(1).click()
    page.locator("#monitor-mount .cell").nth(4).click()
    expect(page.locator("#growth-film-hint")).to_have_text("2 chosen.")
    page.locator("#growth-film-seconds").select_option("5")
    page.locator("#growth-film-size").select_option("720")
    page.locator("#growth-film-begin").click()
    with page.expect_download() as download:
        page.locator("#growth-film-download").click()
    download.value.save_as(tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height, sum(1 for _ in film.decode(video=0))) == (704, 352, 150)


def test_a_film_can_be_cancelled(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    page.locator("#growth-film").click()
    page.locator("#growth-film-seconds").select_option("30")
    page.locator("#growth-film-size").select_option("2160")
    page.locator("#growth-film-begin").click()
    page.locator("#growth-film-cancel").click()
    expect(page.locator("#notices")).to_contain_text("The film was cancelled")
    expect(page.locator("#growth-film-begin")).to_be_visible()


def test_two_runs_stand_side_by_side_at_the_same_time(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    page.locator("#compare-with").select_option("other")
    expect(page.locator("#other-label")).to_have_text("after 60 s, at 6,000 pictures")
    expect(page.locator("#differences")).to_contain_text("Batch (pictures)")
    expect(page.locator("#differences tbody tr")).to_have_count(1)
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    expect(page.locator("#other-label")).to_have_text("after 10 s, at 1,000 pictures")
    expect(page.locator(".chart-key")).to_contain_text("Other moths")
    page.locator("#chart-axis").select_option("seconds")
    expect(page.locator("#chart-losses .chart-place")).to_have_attribute("aria-label", re.compile("time trained"))
    expect(page).to_have_url(re.compile("run=moths&with=other&at=100$"))
    reload(page)
    expect(page.locator("#other-label")).to_have_text("after 10 s, at 1,000 pictures")
    page.locator("#compare-like").select_option("share")
    page.locator("#scrub").press("End")
    expect(page.locator("#other-label")).to_have_text("after 60 s, at 6,000 pictures")
    page.locator("#compare-with").select_option("")
    expect(page.locator("#beside")).to_be_hidden()
    expect(page.locator("#compare-like")).to_be_hidden()


def test_a_run_of_before_has_no_scores_and_says_so(page, studio_server) -> None:
    visit(page, "run=old", "Older")
    expect(page.locator("#originality-empty")).to_contain_text("did not measure")
    expect(page.locator("#no-scores")).to_have_text("This run was not scored.")
    expect(page.locator("#chart-kid")).to_be_hidden()
    expect(page.locator("#chart-codes")).to_be_hidden()
    expect(page.locator("#chart-speed canvas")).to_be_visible()
    expect(page.locator("#best-stage .banner")).to_have_count(0)


def test_what_happened_can_be_read_in_a_list(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    page.get_by_text("What happened").click()
    expect(page.locator("#happened li.rollback")).to_contain_text("A number was not finite.")
    expect(page.locator("#happened li.best").last).to_contain_text("5,000 pictures")
    expect(page.locator("#happened li.pause").last).to_contain_text("Finished")


def test_a_finished_run_can_go_on_for_any_number_of_minutes(page, studio_server) -> None:
    visit(page, "run=moths", TITLE)
    other = page.locator("#more-minutes-other")
    expect(other).to_be_hidden()
    page.locator("#more-minutes").select_option(label="minutes…")
    expect(other).to_be_focused()
    problem = page.locator("#more-problem")
    for wrong, words in (("", "Write a number of minutes"), ("-3", "Minutes is -3")):
        other.fill(wrong)
        expect(problem).to_be_empty()
        page.locator("#continue-run").click()
        expect(problem).to_contain_text(words)
