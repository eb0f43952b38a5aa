"""What a model inherits: worked out once, kept with it, and handed on to its own descendants."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from studio.errors import NotFound
from studio.latent.point import Edit, Point, Scene, Seed
from studio.options import to_json
from studio.paths import Home
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.ui import play
from studio.ui.calls import Visitor
from studio.weights.card import INHERITED_FILE, Ancestor
from studio.weights.store import load_card, load_generator, save_model
from tests.making import make_model

ME = Visitor(token="token", owner="me")


def child_of(base: Path, name: str) -> Path:
    """A model that was trained from `base`, a moment only."""
    generator, card = load_generator(base)
    next(generator.parameters()).data.add_(0.01)
    lineage = (Ancestor(id=base.name, title=card.title, sha256=card.sha256), *card.lineage)
    save_model(base.parent / name, generator, dataclasses.replace(card, id=name, title=name.title(), lineage=lineage))
    return base.parent / name


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    home = tmp_path / "home"
    base = make_model(home / "models" / "base", title="Base", classes=2)
    child_of(child_of(base, "child"), "grandchild")
    built = Studio(Home(home), Policy())
    yield built
    built.jobs.stop()
    built.engine.close()


def settled(studio: Studio, model_id: str) -> dict[str, str]:
    """Names of inherited directions with their marks, once they are worked out."""
    status = studio.jobs.wait(play.inherit(studio, ME, model_id), 120)
    assert status["state"] == "done", status
    return {told["name"]: told["mark"] for told in play.directions(studio, ME, model_id) if told["mark"]}


def test_a_child_of_a_child_inherits_from_both(studio: Studio) -> None:
    base, child = (load_card(studio.home.models / name).sha256[:8] for name in ("base", "child"))
    found = settled(studio, "grandchild")
    assert {f"sefa-1@{base}", f"styles-1@{base}", f"sefa-1@{child}"} <= set(found)
    assert list(found.values()).count("kept") > len(found) / 2
    groups = {told["group"] for told in play.directions(studio, ME, "grandchild")}
    assert {"sefa", "From Base", "From Child"} <= groups
    assert (studio.home.models / "child" / INHERITED_FILE).is_file()
    assert play.inherit(studio, ME, "grandchild") == play.inherit(studio, ME, "child") == ""


def test_what_was_inherited_stays_when_the_base_goes(studio: Studio) -> None:
    found = settled(studio, "child")
    studio.shelf.delete("base")
    studio.engine.forget("child")
    assert {told["name"] for told in play.directions(studio, ME, "child") if told["mark"]} == set(found)
    with pytest.raises(NotFound, match="is gone"):
        play.inherit_points(studio, ME, "child", [])


def test_nothing_is_inherited_from_another_model_of_the_same_name(studio: Studio) -> None:
    studio.shelf.delete("base")
    make_model(studio.home.models / "base", title="Base", seed=5)
    assert play.inherit(studio, ME, "child") == "" and play.inherit(studio, ME, "base") == ""


def test_a_damaged_file_costs_nothing_but_what_was_in_it(studio: Studio) -> None:
    (studio.home.models / "child" / INHERITED_FILE).write_bytes(b"odd")
    told = play.directions(studio, ME, "child")
    assert told and not any(direction["mark"] for direction in told)


def test_a_model_has_the_codes_that_it_was_taught_and_hands_them_on(studio: Studio) -> None:
    child_of(make_model(studio.home.models / "taught", title="Taught", codes=2), "heir")
    told = play.directions(studio, ME, "taught")
    assert [(one["name"], one["title"], one["group"]) for one in told[:2]] == [
        ("code-1", "Code 1", "code"), ("code-2", "Code 2", "code"),
    ]  # fmt: skip
    assert not any(one["group"] == "code" for one in play.directions(studio, ME, "base"))
    ends = [Point(seeds=(Seed(seed=1),), edits=(Edit(direction="code-2", amount=amount),)) for amount in (-3, 3)]
    low, high = studio.engine.submit(studio.engine.frames, "taught", ends).result()
    assert (low != high).any()
    sha = load_card(studio.home.models / "taught").sha256[:8]
    assert settled(studio, "heir")[f"code-2@{sha}"] == "kept"


def test_visitors_change_no_folder(studio: Studio) -> None:
    studio.policy = Policy(public=True)
    assert play.inherit(studio, ME, "child") == ""


def test_points_and_favourites_come_along_and_can_be_drawn(studio: Studio) -> None:
    settled(studio, "child")
    sha = load_card(studio.home.models / "base").sha256[:8]
    point = Point(seeds=(Seed(seed=7),), label=1, edits=(Edit(direction="sefa-1", amount=2.0),))
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    for seed, loved in ((8, True), (9, False)):
        recipe = to_json(Scene(model="base", point=Point(seeds=(Seed(seed=seed),))))
        saved = studio.gallery.save("me", picture.getvalue(), model="base", recipe=recipe)
        studio.gallery.favourite("me", saved.id, loved)
    points = play.inherit_points(studio, ME, "child", [to_json(point)])
    assert [one["seeds"][0]["seed"] for one in points] == [7, 8]
    assert points[0]["edits"][0]["direction"] == f"sefa-1@{sha}" and points[0]["label"] == 1
    assert play.thumbnails(studio, ME, "child", points, 16)["sheet"].startswith("data:image/png")
