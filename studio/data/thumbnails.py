"""The overview of an upload: some of its pictures as they would be learned from. They are opened in the glovebox."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from studio.data.archive import ArchiveLimits
from studio.data.choices import Choices
from studio.data.glovebox import Glovebox
from studio.data.prepare import PrepareSettings, count_squares, pieces
from studio.data.progress import Cancel, never
from studio.data.scan import ScanReport
from studio.data.sheets import cell, contact_sheet, spread
from studio.data.sources import Reader
from studio.errors import BadInput
from studio.options import to_json
from studio.words import counted

_MOST_SHOWN = 40
_GREY = 240


@dataclass(frozen=True, kw_only=True)
class Overview:
    """How many squares an overview shows, and in words of how many they are."""

    shown: int
    words: str


def overview(report: ScanReport, settings: PrepareSettings, choices: Choices | None = None) -> Overview:
    """What `upload_sheet` would show."""
    found = pieces(report, settings, choices)
    pictures = len({picture.id for picture, _ in found})
    shown = min(_MOST_SHOWN, len(found))
    of = "" if shown == len(found) else f"{shown} of "
    squares = "" if len(found) == pictures else f"{counted(len(found), 'square')} of "
    words = f"{of}{squares}{counted(pictures, 'picture')}, as the model will see them."
    return Overview(shown=shown, words=f"{words}{_too_many_tiles(report, settings, choices)}")


def _too_many_tiles(report: ScanReport, settings: PrepareSettings, choices: Choices | None) -> str:
    """Why so many tiles change nothing, if they do not."""
    if settings.fit != "tile":
        return ""
    counts = [count_squares(report, replace(settings, tiles=tiles), choices) for tiles in range(1, settings.tiles + 1)]
    enough = 1 + counts.index(counts[-1])
    if enough == settings.tiles:
        return ""
    return f" More squares along the shorter side change nothing: they would be smaller than {settings.resolution} px."


def upload_sheet(
    report: ScanReport,
    settings: PrepareSettings,
    choices: Choices | None = None,
    *,
    cancelled: Cancel = never,
    limits: ArchiveLimits | None = None,
) -> bytes:
    """Up to 40 of the squares that `prepare` would make, evenly spread, as WebP.

    A picture that cannot be opened any more is grey. Raises Cancelled.
    """
    found = pieces(report, settings, choices)
    shown = [found[place] for place in spread(len(found), _MOST_SHOWN)]
    square = settings.square
    shape = (square.resolution, square.resolution, square.channels)
    blank = np.full(shape, _GREY, dtype=np.uint8).tobytes()
    with Reader(limits) as reader, Glovebox() as glovebox:
        task = {"task": "square", "square": to_json(square)}
        requests = (reader.request(picture.place, {**task, "cut": to_json(cut)}) for picture, cut in shown)
        answers = [blank if isinstance(one, BadInput) else one[1] for one in glovebox.map(requests, cancelled)]
    cells = [cell(np.frombuffer(pixels, dtype=np.uint8).reshape(shape)) for pixels in answers]
    return contact_sheet(cells)
