"""Files appear whole or not at all, names stay inside their folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
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


def test_what_a_crash_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    home = paths.Home(tmp_path).create()
    code = "import os; print(os.getpid())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    half = home.models / f".tmp-{dead}-01234567-model"
    half.mkdir()
    (half / "weights").write_text("half")
    ours, old = paths.temporary_beside(home.models / "model"), paths.temporary_beside(home.models / "other")
    ours.mkdir()
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    home.create()
    assert list(home.models.iterdir()) == [ours]


OPENER = """
import pathlib, sys
from studio.paths import Home
sys.stdin.readline()
for _ in range(40):
    Home(pathlib.Path(sys.argv[1])).create()
"""


def test_many_processes_open_one_home_at_the_same_moment(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENER, str(tmp_path / "home")]
    opened = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in opened:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[1] for process in opened]
    assert [process.returncode for process in opened] == [0] * 4, said
    assert not list((tmp_path / "home" / "cache").iterdir())
