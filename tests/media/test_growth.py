"""The film of a training: counts, order, melting, chosen cells, sheets that are broken or of another size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput
from studio.media.growth import Sheets, dissolve


def sheet(path: Path, left: int, right: int, side_px: int = 16) -> Path:
    """Two cells beside each other, each of one grey."""
    cells = np.zeros((side_px, 2 * side_px, 3), np.uint8)
    cells[:, :side_px], cells[:, side_px:] = left, right
    Image.fromarray(cells).save(path, "WEBP", lossless=True)
    return path


def sheets(folder: Path, shades: list[int], cells: tuple[int, ...] = ()) -> Sheets:
    files = tuple(sheet(folder / f"{place}.webp", shade, 255 - shade) for place, shade in enumerate(shades))
    return Sheets(files=files, rows=1, columns=2, cells=cells)


def test_the_film_begins_with_the_first_sheet_melts_and_rests_on_the_last(tmp_path: Path) -> None:
    frames = list(dissolve(sheets(tmp_path, [10, 110, 210]), 50, rest=10, size_px=64))
    greys = [int(frame[0, 0, 0]) for frame in frames]
    assert len(frames) == 50 and {frame.shape for frame in frames} == {(32, 64, 3)}
    assert greys[0] == 10 and set(greys[40:]) == {210} and greys[20] == 110
    assert greys == sorted(greys) and max(np.diff(greys)) < 12, "it must melt, not jump"
    assert frames[0].dtype == np.uint8 and int(frames[0][0, -1, 0]) == 245


def test_only_the_chosen_pictures_are_shown(tmp_path: Path) -> None:
    frames = list(dissolve(sheets(tmp_path, [10, 110], cells=(1,)), 12, rest=2, size_px=16))
    assert frames[0].shape == (16, 16, 3) and set(np.unique(frames[0])) == {245} and set(np.unique(frames[-1])) == {145}
    with pytest.raises(BadInput, match="not on the sheet"):
        list(dissolve(sheets(tmp_path, [10], cells=(2,)), 12, rest=2, size_px=16))


def test_very_many_sheets_become_as_many_as_the_film_can_show(tmp_path: Path) -> None:
    many = sheets(tmp_path, list(range(0, 200, 2)))
    greys = [int(frame[0, 0, 0]) for frame in dissolve(many, 30, rest=5, size_px=32)]
    assert greys[0] == 0 and greys[-1] == 198 and greys == sorted(greys)


def test_a_broken_sheet_is_passed_over_and_another_size_is_fitted(tmp_path: Path) -> None:
    many = sheets(tmp_path, [10, 60, 110, 210])
    many.files[1].write_bytes(b"RIFF torn")
    sheet(many.files[2], 110, 0, side_px=24)
    frames = list(dissolve(many, 40, rest=5, size_px=32))
    assert len(frames) == 40 and {frame.shape for frame in frames} == {(16, 32, 3)}
    assert int(frames[0][0, 0, 0]) == 10 and int(frames[-1][0, 0, 0]) == 210


def test_one_sheet_stands_still_and_none_is_said_plainly(tmp_path: Path) -> None:
    assert len({frame.tobytes() for frame in dissolve(sheets(tmp_path, [77]), 20, rest=5, size_px=32)}) == 1
    for files in ((), (tmp_path / "gone.webp",)):
        with pytest.raises(BadInput, match="no pictures"):
            list(dissolve(Sheets(files=files, rows=1, columns=2), 20, rest=5, size_px=32))


def test_small_pictures_keep_hard_edges_and_large_sheets_are_made_smaller(tmp_path: Path) -> None:
    frame = next(dissolve(sheets(tmp_path, [10]), 5, rest=1, size_px=100))
    assert frame.shape == (48, 96, 3) and set(np.unique(frame)) == {10, 245}
    assert next(dissolve(sheets(tmp_path, [10]), 5, rest=1, size_px=20)).shape == (10, 20, 3)
