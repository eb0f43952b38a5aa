"""A model that was trained from another one has its directions and its points, in a real browser."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from studio.weights.card import Ancestor
from studio.weights.store import load_generator, save_model
from tests.e2e.looking import load_anew, settle
from tests.making import make_model

expect = pytest.importorskip("playwright.sync_api").expect

RESTS_MS = 400
"""After so long a picture that rests has been enlarged smoothly."""


@pytest.fixture
def child(studio_server) -> Path:
    """On the shelf of the running studio: a copy of the tiny model, a little further."""
    models = studio_server.home / "models"
    generator, card = load_generator(models / "tiny-style")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in generator.parameters():
            parameter.data.add_(0.03 * torch.randn_like(parameter))
    lineage = (Ancestor(id="tiny-style", title=card.title, sha256=card.sha256),)
    save_model(
        models / "tiny-child", generator, dataclasses.replace(card, id="tiny-child", title="Child", lineage=lineage)
    )
    return models / "tiny-child"


def open_model(page, model: str) -> None:
    page.locator(f"#model-{model} .button.primary").click()
    expect(page.locator("#canvas-waiting")).to_be_hidden()
    expect(page.locator("#direction-0")).to_be_visible()


def test_codes_that_a_model_was_taught_come_first(page, studio_server) -> None:
    make_model(studio_server.home / "models" / "tiny-taught", "stylegan2", "Tiny taught", codes=3)
    load_anew(page)
    open_model(page, "tiny-taught")
    expect(page.locator("#direction-group option").first).to_have_text("Learned codes")
    expect(page.locator(".direction label")).to_have_text(["Code 1", "Code 2", "Code 3"])
    expect(page.locator(".direction img").last).to_have_attribute("src", re.compile("^(data:image/png|blob:)"))
    ends = page.locator(".direction img").evaluate_all("(images) => images.map((image) => image.src)")
    assert len(ends) == 6 == len(set(ends))
    picture = "() => document.querySelector('#live-canvas').toDataURL()"
    before = page.evaluate(picture)
    page.locator("#direction-1").fill("3")
    page.wait_for_function(f"(before) => ({picture})() !== before", arg=before)


def test_directions_and_points_come_along(page, child) -> None:
    load_anew(page)
    open_model(page, "tiny-style")
    expect(page.locator("#bring-points")).to_have_count(0)
    expect(page.locator("#direction-group option", has_text="What you see")).to_have_count(1)
    page.locator("#direction-group").select_option("sefa")
    page.locator("#direction-0").fill("2")
    page.locator("#direction-0").dispatch_event("change")
    page.locator("#do-add").click()
    page.locator("#model-picker").select_option("tiny-child")
    group = page.locator("#direction-group")
    expect(group.locator("option", has_text="From Tiny style")).to_have_count(1)
    group.select_option("From Tiny style")
    expect(page.locator(".direction .mark.kept").first).to_have_text("kept")
    expect(page.locator(".direction img").first).to_have_attribute("src", re.compile("^(data:image/png|blob:)"))
    page.locator("#bring-points").click()
    expect(page.locator("#strip .key")).to_have_count(1)
    page.locator("#strip .key .shot").click()
    edits = "window.latentStudioPlayer.point().edits"
    page.wait_for_function(f"() => {edits}.some((edit) => edit.direction.startsWith('sefa-1@') && edit.amount === 2)")
    page.locator("#do-undo").click()


def test_a_model_is_crossed_with_its_base_and_kept(page, child) -> None:
    load_anew(page)
    open_model(page, "tiny-child")
    expect(page.locator("#keep-cross")).to_be_hidden()
    page.wait_for_timeout(RESTS_MS)
    before = settle(page)
    page.locator("#cross-surfaces").fill("100")
    page.locator("#cross-surfaces").dispatch_event("change")
    page.wait_for_timeout(RESTS_MS)
    assert settle(page) != before
    assert page.evaluate("window.latentStudioPlayer.scene().model") == "tiny-child~tiny-style~0~100"
    page.locator("#keep-cross").click()
    expect(page.locator("#notices")).to_contain_text("Child × Tiny style is on the shelf")
    page.locator("#do-undo").click()
    expect(page.locator("#cross-surfaces")).to_have_value("0")
    assert page.evaluate("window.latentStudioPlayer.scene().model") == "tiny-child"
    page.locator("#shelf-room-button").click()
    expect(page.locator(".model-card", has_text="Child × Tiny style")).to_have_count(1)
