"""Hostile files are read without anything in them running, and refused in plain words.

Here a part of the corpus; `python -m benchmarks.hostile` takes all of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from studio.errors import Damaged, NotFound
from studio.weights.foreign.opening import inspect
from studio.weights.store import load_generator
from tests.making import make_model
from tests.weights.hostile import calls, damage, driver
from tests.weights.hostile.corpus import TRAP, Case, make, make_genuine
from tests.weights.hostile.hostile import Trap
from tests.weights.hostile.judging import broken, unnoticed
from tests.weights.hostile.reader import Verdict

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the readers are measured by Linux's means"
)

EVERY = 4
"""Of so many files one is taken."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    return make(folder, EVERY)


@pytest.fixture(scope="module")
def confined(cases: list[Case]) -> Mapping[str, Verdict]:
    return driver.run("confined", cases)


def broken_promises(cases: list[Case], verdicts: Mapping[str, Verdict]) -> dict[str, list[str]]:
    return {f"{case.kind}/{case.name}": wrong for case in cases if (wrong := broken(case, verdicts[case.name]))}


def test_corpus_is_large_and_of_all_kinds(cases: list[Case]) -> None:
    assert len(cases) > 300
    assert len({case.kind for case in cases}) == 10
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("room", [calls, damage])
def test_corpus_is_the_same_every_time(room: object, tmp_path: Path) -> None:
    def digest() -> str:
        contents = [hostile.content for hostile in room.attacks(Trap(tmp_path))]  # type: ignore[attr-defined]
        return hashlib.sha256(b"".join(content for content in contents if isinstance(content, bytes))).hexdigest()

    assert digest() == digest()


def test_genuine_files_still_open(tmp_path: Path) -> None:
    genuine = [Case(kind="genuine", name=path.name, path=str(path)) for path in make_genuine(tmp_path)]
    verdicts = driver.run("built", genuine)
    assert {name: verdict.outcome for name, verdict in verdicts.items()} == {case.name: "opened" for case in genuine}


def test_unsafe_loaders_trip_the_hook(tmp_path: Path) -> None:
    """The control: hook and payloads work, so that silence elsewhere means something."""
    executable = make(tmp_path, 2, lambda hostile: bool(hostile.runs))
    verdicts = driver.run("unsafe", executable)
    assert len(executable) > 70
    assert unnoticed(verdicts.values(), tmp_path / TRAP) == []
    assert len(list((tmp_path / TRAP).iterdir())) > 50


def test_confined_reader_keeps_its_promises(cases: list[Case], confined: Mapping[str, Verdict], folder: Path) -> None:
    assert broken_promises(cases, confined) == {}
    assert list((folder / TRAP).iterdir()) == []


def test_nothing_runs_while_a_file_is_read(cases: list[Case], folder: Path) -> None:
    assert broken_promises(cases, driver.run("watched", cases)) == {}
    assert list((folder / TRAP).iterdir()) == []


def test_what_was_opened_can_be_built_or_is_refused(cases: list[Case], confined: Mapping[str, Verdict]) -> None:
    opened = [case for case in cases if confined[case.name].outcome == "opened"]
    assert opened
    assert broken_promises(opened, driver.run("built", opened)) == {}


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "a/" * 3000], ids=["long", "nul", "deep"])
def test_impossible_paths_are_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing at"):
        inspect(tmp_path / name, tmp_path / "into")


GIGANTIC = {
    "stylegan2": {"channel_base": 262_144, "channel_max": 4096, "z_dim": 4096, "w_dim": 4096, "mapping_layers": 16},
    "dcgan": {"z_dim": 4096, "width": 1024},
}


@pytest.mark.parametrize("family", GIGANTIC)
def test_network_far_larger_than_its_file_is_not_made(family: str, tmp_path: Path) -> None:
    """A few lines in the card of a model could ask for tens of gigabytes."""
    folder = make_model(tmp_path / "model", family)
    card = json.loads((folder / "config.json").read_text())
    card["settings"].update(GIGANTIC[family])
    (folder / "config.json").write_text(json.dumps(card))
    with pytest.raises(Damaged, match="far larger than its weights"):
        load_generator(folder)
