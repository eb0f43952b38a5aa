"""The form of a new run, over pictures that are ready and a run that is paused; nothing is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.paths import Home
from tests.e2e.looking import forget_the_cut, load_anew
from tests.making_runs import make_dataset, make_run, write_wanted

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def player_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("form") / "home").create()
    make_dataset(home)
    make_run(home, "moths", stages=2)
    write_wanted(home.runs / "moths")
    shutil.rmtree(home.root / "drawn")
    return home.root


def choose_pictures(page) -> None:
    page.locator("#train-room-button").click()
    page.locator("#dataset-shapes").click()
    expect(page.locator("#train-plan")).to_contain_text("You have 12 pictures")


def test_a_page_that_is_still_sending_asks_before_it_closes(page, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"anything")
    page.locator("#train-room-button").click()
    page.route("**/upload/**", lambda route: None)  # the answer never comes
    page.locator("#choose-files").set_input_files(tmp_path / "one.png")
    expect(page.locator("#cancel-upload")).to_be_visible()
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    with page.expect_event("close"):
        asked.value.accept()
    forget_the_cut(page)


def test_the_dial_stands_where_it_stood_last(page) -> None:
    choose_pictures(page)
    expect(page.locator("#train-minutes").get_by_label("Half an hour")).to_be_checked()
    page.locator("#train-minutes").get_by_text("An evening").click()
    expect(page.locator("#train-plan")).to_contain_text("In 3 hours")
    load_anew(page)
    choose_pictures(page)
    expect(page.locator("#train-minutes").get_by_label("An evening")).to_be_checked()
    expect(page.locator("#train-plan")).to_contain_text("In 3 hours")


def test_any_number_of_minutes_and_a_wrong_one_is_said_at_once(page) -> None:
    choose_pictures(page)
    expect(page.locator("#other-minutes")).to_have_count(0)
    page.locator("#train-minutes").get_by_text("Other").click()
    page.locator("#other-minutes input").fill("12")
    expect(page.locator("#train-plan")).to_contain_text("In 12 minutes")
    page.locator("#other-minutes input").fill("-1")
    expect(page.locator("#train-plan .problem")).to_be_visible()
    expect(page.locator("#train-plan")).to_contain_text("Minutes")
    expect(page.locator("#start-training")).to_be_disabled()
    page.locator("#train-minutes").get_by_text("5 minutes").click()
    expect(page.locator("#train-plan")).to_contain_text("In 5 minutes")


def test_a_setting_that_no_run_can_have_is_refused_while_it_is_written(page) -> None:
    choose_pictures(page)
    page.locator("#train-advanced").get_by_text("Advanced").click()
    batch, beta = page.locator("#advanced-batch"), page.locator("#advanced-beta1")
    batch.locator("input").fill("5000")
    beta.locator("input").fill("7")
    for field, sentence in ((batch, "Batch is 5,000"), (beta, "Beta1 is 7")):
        expect(page.locator("#train-problem")).to_contain_text(sentence)
        expect(field.locator(".field-problem")).to_contain_text(sentence)
    batch.locator("input").fill("16")
    expect(page.locator("#train-problem")).not_to_contain_text("Batch")
    expect(batch.locator(".field-problem")).to_have_count(0)
    expect(beta.locator("input")).to_have_attribute("aria-invalid", "true")


def test_the_chip_says_that_a_run_is_paused_and_leads_to_it(page) -> None:
    expect(page.locator("#status-chip")).to_have_text("A run is paused")
    page.locator("#status-chip").click()
    expect(page.locator("#run-state")).to_have_text("Paused. Everything is saved.")


def test_a_refusal_is_forgotten_when_the_form_changes(page) -> None:
    choose_pictures(page)
    page.locator("#train-advanced").get_by_text("Advanced").click()
    batch = page.locator("#advanced-batch input")
    for mend in (lambda: batch.fill("16"), lambda: page.locator("#train-minutes").get_by_text("5 minutes").click()):
        batch.fill("5000")
        expect(page.locator("#train-problem")).to_contain_text("Batch")
        expect(page.locator("#start-training")).to_be_disabled()
        mend()
        expect(page.locator("#train-problem")).not_to_contain_text("Batch")
        expect(page.locator("#start-training")).to_be_enabled()


def test_a_plan_leaves_alone_what_the_artist_has_changed(page) -> None:
    choose_pictures(page)
    page.locator("#train-advanced").get_by_text("Advanced").click()
    seed, average = page.locator("#advanced-seed input").last, page.locator("#advanced-ema_kimg input").last
    expect(seed).to_have_value("0")
    planned = average.input_value()
    page.locator("#train-minutes").get_by_text("5 minutes").click()
    seed.fill("7")  # while the new plan is still under way
    expect(page.locator("#train-plan")).to_contain_text("In 5 minutes")
    expect(average).not_to_have_value(planned)
    expect(seed).to_have_value("7")
    page.locator("#as-planned").click()
    expect(seed).to_have_value("0")


@pytest.mark.parametrize("width", [1400, 1000, 390])
def test_no_word_of_the_advanced_settings_runs_under_an_arrow(page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    choose_pictures(page)
    page.locator("#train-advanced").get_by_text("Advanced").click()
    for name in ("#train-family", "#advanced-objective", "#advanced-device"):
        field = page.locator(f"{name} input")
        expect(field).not_to_have_value("")
        assert field.evaluate("(input) => input.scrollWidth <= input.clientWidth"), name
        text_ends = field.evaluate(
            "(i) => i.getBoundingClientRect().right - parseFloat(getComputedStyle(i).paddingRight)"
        )
        assert text_ends <= page.locator(f"{name} .dropdown-arrow").bounding_box()["x"], name
    assert page.evaluate("document.documentElement.scrollWidth") <= width
