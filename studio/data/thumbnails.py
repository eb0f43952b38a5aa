"""Overviews of an upload that is not prepared yet. Its pictures are opened in the glovebox."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.data.archive import ArchiveLimits
from studio.data.glovebox import Glovebox
from studio.data.progress import Cancel, never
from studio.data.scan import Picture, ScanReport
from studio.data.sheets import CELL_PX, SHEET_PICTURES, cell, contact_sheet, spread
from studio.data.sources import Reader
from studio.data.squares import Square
from studio.errors import BadInput
from studio.options import to_json

_PAIRS = 20


def upload_sheet(report: ScanReport, cancelled: Cancel = never, limits: ArchiveLimits | None = None) -> bytes:
    """Up to 60 pictures of the upload, ordered by class, as WebP."""
    ordered = sorted(report.pictures, key=lambda picture: (picture.folder, picture.place.label))
    return _sheet([ordered[position] for position in spread(len(ordered), SHEET_PICTURES)], cancelled, limits)


def duplicate_pairs(report: ScanReport) -> tuple[tuple[str, str], ...]:
    """The first two names of up to twenty groups of equal or nearly equal pictures, as `duplicate_sheet` shows them."""
    groups = (*report.duplicates, *report.near_duplicates)
    return tuple((group[0], group[1]) for group in groups[:_PAIRS])


def duplicate_sheet(report: ScanReport, cancelled: Cancel = never, limits: ArchiveLimits | None = None) -> bytes:
    """`duplicate_pairs`, five pairs in a row, as WebP."""
    named = {picture.place.label: picture for picture in report.pictures}
    return _sheet([named[label] for pair in duplicate_pairs(report) for label in pair], cancelled, limits)


def _sheet(pictures: Sequence[Picture], cancelled: Cancel, limits: ArchiveLimits | None) -> bytes:
    blank = np.full((CELL_PX, CELL_PX, 3), 240, dtype=np.uint8)
    cells = []
    with Reader(limits) as reader, Glovebox() as glovebox:
        requests = (reader.request(picture.place, _task(picture)) for picture in pictures)
        for answer in glovebox.map(requests, cancelled):
            pixels = blank if isinstance(answer, BadInput) else np.frombuffer(answer[1], dtype=np.uint8)
            cells.append(cell(pixels.reshape(CELL_PX, CELL_PX, 3)))
    return contact_sheet(cells)


def _task(picture: Picture) -> dict[str, object]:
    small = max(picture.width, picture.height) * 2 <= CELL_PX
    return {"task": "square", "square": to_json(Square(resolution=CELL_PX, sharp_pixels=small))}
