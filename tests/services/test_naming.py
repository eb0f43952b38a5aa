"""Named directions: looked for once, in the background, kept for the next start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.errors import Forbidden, NotFound
from studio.latent.point import Edit, Point, Seed
from studio.paths import Home
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.ui import play
from studio.ui.calls import Visitor
from tests.making import make_model

ME = Visitor(token="token", owner="me")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    make_model(tmp_path / "home" / "models" / "moths", title="Moths")
    built = Studio(Home(tmp_path / "home"), Policy(public=True))
    yield built
    built.jobs.stop()
    built.engine.close()


def named(studio: Studio) -> list[str]:
    return [one["name"] for one in play.directions(studio, ME, "moths") if one["group"] == "trait"]


def test_they_are_found_once_and_come_first(studio: Studio) -> None:
    assert named(studio) == []
    job = play.find_traits(studio, ME, "moths")
    assert play.find_traits(studio, ME, "moths") in (job, "")
    assert studio.jobs.wait(job, 120)["state"] == "done"
    assert play.find_traits(studio, ME, "moths") == ""
    found = named(studio)
    assert found and play.directions(studio, ME, "moths")[0]["group"] == "trait"
    ends = [Point(seeds=(Seed(seed=1),), edits=(Edit(direction=found[0], amount=amount),)) for amount in (-3, 3)]
    low, high = studio.engine.submit(studio.engine.frames, "moths", ends).result()
    assert (low != high).any()


def test_a_damaged_file_is_as_good_as_none_and_made_again(studio: Studio) -> None:
    studio.jobs.wait(play.find_traits(studio, ME, "moths"), 120)
    studio.engine.traits_file("moths").write_bytes(b"odd")
    studio.engine.submit(studio.engine.forget_directions, "moths").result()
    assert named(studio) == [] and play.directions(studio, ME, "moths")
    assert studio.jobs.wait(play.find_traits(studio, ME, "moths"), 120)["state"] == "done"
    assert named(studio)


def test_a_model_that_only_pictures_tell_of_is_looked_at_in_the_background(studio: Studio) -> None:
    make_model(studio.home.models / "plain", "dcgan", "Plain")
    assert play.directions(studio, ME, "plain") == []
    assert studio.jobs.wait(play.find_traits(studio, ME, "plain"), 120)["state"] == "done"
    groups = {one["group"] for one in play.directions(studio, ME, "plain")}
    assert "pictures" in groups
    assert play.find_traits(studio, ME, "plain") == ""


def test_a_recipe_that_names_a_direction_does_not_wait_for_that(studio: Studio) -> None:
    make_model(studio.home.models / "plain", "dcgan", "Plain")
    ends = [Point(seeds=(Seed(seed=1),), edits=(Edit(direction="pictures-1", amount=amount),)) for amount in (-3, 3)]
    low, high = studio.engine.submit(studio.engine.frames, "plain", ends).result()
    assert (low != high).any()


def test_what_is_not_there_or_not_for_visitors_is_refused(studio: Studio) -> None:
    with pytest.raises(Forbidden):
        play.find_traits(studio, ME, "run@000001")
    with pytest.raises(NotFound):
        play.find_traits(studio, ME, "no-such")
