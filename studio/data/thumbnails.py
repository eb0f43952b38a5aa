"""The overview of an upload: some of its pictures as they would be learned from. They are opened in the glovebox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from studio.data.archive import ArchiveLimits
from studio.data.choices import Choices
from studio.data.glovebox import Glovebox
from studio.data.prepare import Piece, PrepareSettings, count_squares, pieces
from studio.data.progress import Cancel, never
from studio.data.scan import ScanReport
from studio.data.sheets import cell, contact_sheet, spread
from studio.data.sources import Reader
from studio.errors import BadInput
from studio.options import to_json
from studio.words import counted

_MOST_SHOWN = 40
_SHOWN_OF_A_KIND = 5
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
    shown = len(_shown(found, settings))
    of = "" if shown == len(found) else f"{shown} of "
    squares = "" if len(found) == pictures else f"{counted(len(found), 'square')} of "
    kinds = f" in {counted(len(report.classes), 'kind')}" if settings.kinds and report.classes else ""
    words = f"{of}{squares}{counted(pictures, 'picture')}{kinds}, as the model will see them."
    return Overview(shown=shown, words=f"{words}{_too_many_tiles(report, settings, choices)}")


def _shown(found: Sequence[Piece], settings: PrepareSettings) -> list[Piece]:
    """Some of the squares, evenly chosen; where they are sorted into kinds, as many of each."""
    if not settings.kinds:
        return [found[place] for place in spread(len(found), _MOST_SHOWN)]
    kinds = [list(kind) for _, kind in groupby(found, key=lambda piece: piece[0].folder)]
    return [kind[place] for kind in kinds for place in spread(len(kind), _SHOWN_OF_A_KIND)]


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
    """Up to 40 of the squares that `prepare` would make, evenly spread, or five of each kind, as WebP.

    A picture that cannot be opened any more is grey. Raises Cancelled.
    """
    shown = _shown(pieces(report, settings, choices), settings)
    square = settings.square
    shape = (square.resolution, square.resolution, square.channels)
    blank = np.full(shape, _GREY, dtype=np.uint8).tobytes()
    with Reader(limits) as reader, Glovebox() as glovebox:
        task = {"task": "square", "square": to_json(square)}
        requests = (reader.request(picture.place, {**task, "cut": to_json(cut)}) for picture, cut in shown)
        answers = [blank if isinstance(one, BadInput) else one[1] for one in glovebox.map(requests, cancelled)]
    cells = [cell(np.frombuffer(pixels, dtype=np.uint8).reshape(shape)) for pixels in answers]
    return contact_sheet(cells)
