"""The overview of an upload: some of its pictures as they would be learned from. They are opened in the glovebox."""

from __future__ import annotations

import numpy as np

from studio.data.archive import ArchiveLimits
from studio.data.choices import Choices
from studio.data.glovebox import Glovebox
from studio.data.prepare import PrepareSettings, pieces
from studio.data.progress import Cancel, never
from studio.data.scan import ScanReport
from studio.data.sheets import cell, contact_sheet, spread
from studio.data.sources import Reader
from studio.errors import BadInput
from studio.options import to_json

MOST_SHOWN = 40
_GREY = 240


def upload_sheet(
    report: ScanReport,
    settings: PrepareSettings,
    choices: Choices | None = None,
    *,
    cancelled: Cancel = never,
    limits: ArchiveLimits | None = None,
) -> tuple[bytes, int]:
    """Up to 40 of the squares that `prepare` would make, evenly spread, as WebP; and how many they are.

    A picture that cannot be opened any more is grey. Raises Cancelled.
    """
    found = pieces(report, settings, choices)
    shown = [found[place] for place in spread(len(found), MOST_SHOWN)]
    square = settings.square
    shape = (square.resolution, square.resolution, square.channels)
    blank = np.full(shape, _GREY, dtype=np.uint8).tobytes()
    with Reader(limits) as reader, Glovebox() as glovebox:
        task = {"task": "square", "square": to_json(square)}
        requests = (reader.request(picture.place, {**task, "cut": to_json(cut)}) for picture, cut in shown)
        answers = [blank if isinstance(one, BadInput) else one[1] for one in glovebox.map(requests, cancelled)]
    cells = [cell(np.frombuffer(pixels, dtype=np.uint8).reshape(shape)) for pixels in answers]
    return contact_sheet(cells), len(cells)
