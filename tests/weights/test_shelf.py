"""The shelf lists whatever lies there and never lets the shipped models be changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from studio.errors import BadInput, Forbidden, NotFound
from studio.paths import purge
from studio.weights.card import CONFIG_FILE, WEIGHTS_FILE, ModelCard, read_card, write_card
from studio.weights.shelf import Shelf


def put(place: Path, name: str, title: str = "", resolution: int = 8, created: str = "") -> Path:
    folder = place / name
    folder.mkdir(parents=True)
    about = {"family": "mlp", "settings": {}, "resolution": resolution, "created": created}
    write_card(folder, ModelCard(id=name, title=title or name, **about))
    (folder / WEIGHTS_FILE).write_bytes(b"")
    return folder


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    put(tmp_path / "bundled", "shipped", "Shipped")
    put(tmp_path / "own", "mine", "Mine")
    return Shelf(tmp_path / "bundled", tmp_path / "own")


def test_the_newest_of_ones_own_come_first_then_the_largest_that_ship(shelf: Shelf, tmp_path: Path) -> None:
    put(tmp_path / "bundled", "a", resolution=16)
    put(tmp_path / "bundled", "z", resolution=32)
    put(tmp_path / "own", "old", created="2025-01-01T00:00:00Z")
    put(tmp_path / "own", "new", created="2026-01-01T00:00:00Z")
    assert [(entry.id, entry.shipped, entry.problem) for entry in shelf.list()] == [
        *((name, False, "") for name in ("new", "old", "mine")), *((name, True, "") for name in ("z", "a", "shipped")),
    ]  # fmt: skip


def test_an_empty_shelf_is_empty(tmp_path: Path) -> None:
    assert Shelf(tmp_path / "a", tmp_path / "b").list() == ()


def test_broken_folders_are_listed_with_their_problem(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "own" / "bare").mkdir()
    (put(tmp_path / "own", "garbled") / CONFIG_FILE).write_text("{")
    (put(tmp_path / "own", "empty") / WEIGHTS_FILE).unlink()
    put(tmp_path / "own", "moved").rename(tmp_path / "own" / "an odd name!")
    put(tmp_path / "own", "shipped")
    (tmp_path / "own" / ".tmp-1-x").mkdir()
    problems = {entry.id: entry.problem for entry in shelf.list() if not entry.shipped}
    assert sorted(problems) == ["an odd name!", "bare", "empty", "garbled", "mine", "shipped"]
    assert [name for name, problem in problems.items() if not problem] == ["mine"]


def test_the_list_follows_the_disk(shelf: Shelf, tmp_path: Path) -> None:
    first = shelf.list()
    assert shelf.list()[0].card is first[0].card
    write_card(
        tmp_path / "own" / "mine", ModelCard(id="mine", title="Longer title", family="mlp", settings={}, resolution=8)
    )
    put(tmp_path / "own", "new")
    assert [entry.title for entry in shelf.list()] == ["Longer title", "new", "Shipped"]


def test_a_copied_folder_gets_its_own_id(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "own" / "mine").rename(tmp_path / "own" / "copy")
    entry = shelf.list()[0]
    assert entry.card is not None and entry.card.id == entry.id == "copy"


@pytest.mark.parametrize("name", ["../own/mine", "/etc", "..", "", ".deleted-x"])
def test_ids_name_nothing_outside(shelf: Shelf, name: str) -> None:
    with pytest.raises(BadInput):
        shelf.folder(name)


def test_a_deleted_model_can_come_back(shelf: Shelf) -> None:
    folder = shelf.folder("mine")
    shelf.delete("mine")
    assert [entry.id for entry in shelf.list()] == ["shipped"]
    with pytest.raises(NotFound):
        shelf.folder("mine")
    shelf.restore("mine")
    assert shelf.folder("mine").is_dir()
    shelf.delete("mine")
    purge(folder.parent, older_than_days=0)
    with pytest.raises(NotFound):
        shelf.restore("mine")


def test_only_own_models_change(shelf: Shelf) -> None:
    assert shelf.rename("mine", "  New\nname ").title == "New name"
    assert shelf.entry("mine").title == "New name"
    for change in (
        lambda: shelf.delete("shipped"), lambda: shelf.rename("shipped", "x"), lambda: shelf.name_class("shipped", 0, "x"),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            change()
    with pytest.raises(BadInput):
        shelf.rename("mine", " ")


def test_classes_of_own_models_are_named(shelf: Shelf) -> None:
    folder = shelf.folder("mine")
    write_card(folder, dataclasses.replace(read_card(folder), classes=("kind 1", "kind 2", "kind 3")))
    assert shelf.name_class("mine", 1, " wild  roses ").classes == ("kind 1", "wild roses", "kind 3")
    assert shelf.name_class("mine", 1, "wild roses").classes[1] == "wild roses"
    assert shelf.entry("mine").card.classes == ("kind 1", "wild roses", "kind 3")
    for place, name in ((3, "x"), (-1, "x"), (0, "wild roses"), (0, " "), (0, "x" * 61)):
        with pytest.raises(BadInput):
            shelf.name_class("mine", place, name)
