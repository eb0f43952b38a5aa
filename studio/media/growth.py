"""The film of a training: sheets of the same seeds in the order of their making, each melting into the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from studio.errors import BadInput
from studio.media.sheets import grid
from studio.media.stills import Array, enlarge, opaque

_FRAMES_APART = 5
"""At least so many frames from one sheet to the next, or the eye sees flicker instead of growth."""

_CRISP_PX = 64
"""Smaller pictures are enlarged with hard edges, as the page shows them."""


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """Sheets of fixed seeds on the disk.

    Attributes:
        files: the sheets, oldest first; one that cannot be read is passed over.
        rows, columns: how the pictures lie on each of them.
        cells: places of the pictures to show, in reading order from 0; empty shows the whole sheet.
    """

    files: tuple[Path, ...]
    rows: int
    columns: int
    cells: tuple[int, ...] = ()


def dissolve(sheets: Sheets, count: int, *, rest: int, size_px: int) -> Iterator[Array]:
    """The frames of a film in which the sheets melt into each other.

    Args:
        sheets: what is shown; of very many, evenly chosen ones.
        count: frames of the film, the rest included.
        rest: frames for which the last sheet stands still at the end.
        size_px: pixels of the longer side; pictures under 64 px keep hard edges.

    Returns:
        `count` frames, uint8 [h, w, 3], all of one size; each sheet is read when its turn comes.

    Raises:
        BadInput: no sheet can be read, or a cell that is not on the sheet.
    """
    moving = max(1, count - rest)
    read = _readable(_spread(sheets.files, moving // _FRAMES_APART + 1), sheets, size_px)
    if (first := next(read, None)) is None:
        raise BadInput("This run has no pictures to make a film of.", "Wait until its first pictures are drawn.")
    yield from _melt(
        first, read, steps=max(1, min(len(sheets.files) - 1, moving // _FRAMES_APART)), count=count, moving=moving
    )


def _melt(first: Array, others: Iterator[Array], *, steps: int, count: int, moving: int) -> Iterator[Array]:
    """`count` frames that reach one sheet after the other within `moving` frames and rest on the last."""
    before, after, passed = first, next(others, first), 0
    for frame in range(count):
        way = min(frame / moving, 1.0) * steps
        while passed < int(way):
            before, after, passed = after, next(others, after), passed + 1
        yield _between(before, after, way - passed)


def _between(before: Array, after: Array, share: float) -> Array:
    """`share` of the way from one picture to the other (0 to 1), slow at both ends."""
    if before is after or share <= 0.0:
        return before
    eased = share * share * (3 - 2 * share)
    return np.rint(before + (after.astype(np.float32) - before) * np.float32(eased)).astype(np.uint8)


def _spread(files: Sequence[Path], wanted: int) -> list[Path]:
    """At most `wanted` files (2 or more), evenly chosen, the first and the last among them."""
    wanted = max(2, wanted)
    if len(files) <= wanted:
        return list(files)
    return [files[round(place * (len(files) - 1) / (wanted - 1))] for place in range(wanted)]


def _readable(files: Sequence[Path], sheets: Sheets, size_px: int) -> Iterator[Array]:
    """The sheets that can be read, each cut to its cells and as large as the first."""
    shape: tuple[int, ...] = ()
    for file in files:
        try:
            with Image.open(file) as image:
                picture = np.asarray(image.convert("RGBA" if "A" in image.getbands() else "RGB"))
        except (OSError, ValueError):
            continue
        cut = _sized(_cut(np.asarray(opaque(picture, (0, 0, 0))), sheets), picture.shape[1] // sheets.columns, size_px)
        shape = shape or cut.shape
        yield cut if cut.shape == shape else np.asarray(Image.fromarray(cut).resize((shape[1], shape[0])))


def _cut(sheet: Array, sheets: Sheets) -> Array:
    """Only the chosen cells of a sheet, laid out anew."""
    if not sheets.cells:
        return sheet
    height, width = sheet.shape[0] // sheets.rows, sheet.shape[1] // sheets.columns
    if not all(0 <= cell < sheets.rows * sheets.columns for cell in sheets.cells):
        raise BadInput("One of these pictures is not on the sheet.", "Choose pictures of this run.")
    corners = [(cell // sheets.columns * height, cell % sheets.columns * width) for cell in sheets.cells]
    return grid([sheet[top : top + height, left : left + width] for top, left in corners])


def _sized(sheet: Array, cell_px: int, size_px: int) -> Array:
    """As near to `size_px` as a whole factor comes; a larger sheet is made smaller."""
    longer = max(sheet.shape[:2])
    wanted = size_px if longer > size_px else longer * (size_px // longer)
    return enlarge(sheet, wanted, crisp=cell_px < _CRISP_PX and wanted > longer)
