"""Crossed models are played by their name, and kept on the shelf with credit to both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.errors import BadInput, Forbidden
from studio.latent.point import Edit, Point, Scene, Seed
from studio.paths import Home
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.ui import play
from studio.weights.store import load_card
from tests.making import make_model
from tests.services.test_lineage_service import ME, child_of


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    home = tmp_path / "home"
    child_of(make_model(home / "models" / "base", title="Base", classes=2), "child")
    make_model(home / "models" / "stranger", title="Stranger", classes=2, seed=5)
    built = Studio(Home(home), Policy())
    yield built
    built.jobs.stop()
    built.engine.close()


def drawn(studio: Studio, model: str, **changes: object) -> np.ndarray:
    point = Point(seeds=(Seed(seed=3),), **changes)  # type: ignore[arg-type]
    return studio.engine.submit(studio.engine.still, Scene(model=model, point=point)).result().astype(int)


def test_relatives_are_told_with_the_model(studio: Studio) -> None:
    assert play.model(studio, ME, "child")["relatives"] == {"base": "Base"}
    assert play.model(studio, ME, "base")["relatives"] == {"child": "Child"}
    assert play.model(studio, ME, "stranger")["relatives"] == {}


def test_a_crossed_model_lies_between_its_two_and_has_the_directions_of_the_first(studio: Studio) -> None:
    child, base, between = (drawn(studio, name) for name in ("child", "base", "child~base~50~50"))
    assert (between != child).any()
    assert np.abs(between - child).mean() <= np.abs(base - child).mean() + 1
    assert np.abs(drawn(studio, "child~base~100~100") - base).max() <= 1
    edit = Edit(direction="sefa-1", amount=3.0)
    assert (drawn(studio, "child~base~50~50", edits=(edit,)) != between).any()
    assert play.find_traits(studio, ME, "child~base~50~50") == play.inherit(studio, ME, "child~base~50~50") == ""


def test_two_visitors_do_not_throw_out_each_others_and_those_passed_by_go(studio: Studio) -> None:
    engine = studio.engine

    def loaded(name: str) -> object:
        drawn(studio, name)
        return engine.submit(engine.player, name).result()

    mine, theirs = loaded("child~base~10~0"), loaded("child~base~0~10")
    assert loaded("child~base~10~0") is mine and loaded("child~base~0~10") is theirs
    for step in range(20, 60, 10):
        loaded(f"child~base~0~{step}")
    assert loaded("child~base~10~0") is not mine


def test_strangers_cannot_be_crossed(studio: Studio) -> None:
    with pytest.raises(BadInput, match="cannot be crossed"):
        drawn(studio, "child~stranger~10~10")


def test_a_kept_one_draws_the_same_and_names_both(studio: Studio) -> None:
    kept = play.keep_cross(studio, ME, "child~base~20~80")
    assert kept["title"] == "Child × Base"
    card = load_card(studio.home.models / kept["model"])
    assert [one.id for one in card.lineage[:2]] == ["child", "base"] and "80 %" in card.summary
    assert np.abs(drawn(studio, kept["model"]) - drawn(studio, "child~base~20~80")).max() <= 2
    assert set(play.model(studio, ME, kept["model"])["relatives"]) == {"base", "child"}
    assert studio.shelf.entry(kept["model"]).preview is not None
    with pytest.raises(BadInput, match="not a crossed model"):
        play.keep_cross(studio, ME, "child")


def test_visitors_keep_none(studio: Studio) -> None:
    studio.policy = Policy(public=True)
    with pytest.raises(Forbidden):
        play.keep_cross(studio, ME, "child~base~20~80")
