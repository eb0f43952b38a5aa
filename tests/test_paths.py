"""Files appear whole or not at all, names stay inside their folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from studio import paths
from studio.errors import BadInput, NoSpace, NotFound


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "a\0b", "-x", ".hidden", "x" * 81, "ends."]
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        paths.safe_name(name)


def test_ids_made_from_any_title_are_safe() -> None:
    for title in ("Water lilies", "../..", "Ünïcödé", "", "x" * 500):
        assert paths.safe_name(paths.new_id(title))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    place = tmp_path / "file"
    paths.write_file(place, "old")
    paths.write_file(place, b"new")
    assert place.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "file"
    paths.write_file(place, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="disk is full"):
        paths.write_file(place, "new")
    assert place.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_too_little_space_is_said_before(tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match="MB are needed"):
        paths.require_space(tmp_path, 1 << 62)


def test_a_home_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BadInput, match="cannot use the folder"):
        paths.Home(tmp_path / "file").create()


def test_what_was_set_aside_comes_back_or_goes(tmp_path: Path) -> None:
    folder = tmp_path / "thing"
    folder.mkdir()
    (folder / "inside").write_text("kept")
    paths.set_aside(folder)
    assert not folder.exists()
    paths.purge(tmp_path)
    paths.bring_back(folder)
    assert (folder / "inside").read_text() == "kept"
    paths.set_aside(folder)
    folder.mkdir()
    with pytest.raises(BadInput, match="another"):
        paths.bring_back(folder)
    folder.rmdir()
    paths.purge(tmp_path, older_than_days=0)
    with pytest.raises(NotFound):
        paths.bring_back(folder)


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    home = paths.Home(tmp_path).create()
    half = paths.temporary_beside(home.models / "model")
    half.mkdir()
    (half / "weights").write_text("half")
    home.create()
    assert not half.exists()
