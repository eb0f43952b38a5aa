"""Which part of a picture becomes a square: all of it, what is inside its frame, one drawn by hand, or several tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the picture's width and height, 0 to 1."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_OVERLAP = 0.1
_GENTLE = 0.5
_STRONGEST_GAMMA = 1.6


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How one square is taken: of which part, and with which exponent its brightness is changed (1 leaves it)."""

    box: Box = WHOLE
    gamma: float = 1.0


def inside_border(width: int, height: int, border: tuple[int, int, int, int]) -> Box:
    """What is left of a picture without its border; the whole where hardly anything would be."""
    left, top, right, bottom = border
    if width - left - right < 8 or height - top - bottom < 8:
        return WHOLE
    return (left / width, top / height, 1 - right / width, 1 - bottom / height)


def tiles(width: int, height: int, box: Box, across: int, least_px: int) -> tuple[Box, ...]:
    """Squares that cover the part `box` of a picture, row by row, each overlapping the next by about a tenth.

    Args:
        width, height: of the picture, in pixels.
        across: how many lie along the shorter side, fewer where a tile would have less than `least_px`.
    """
    left, top, right, bottom = box
    wide, high = (right - left) * width, (bottom - top) * height
    short = min(wide, high)
    across = max(1, min(across, int(short // least_px)))
    side = short if across == 1 else short / (across - _OVERLAP * (across - 1))
    return tuple(
        ((left * width + x) / width, (top * height + y) / height,
         (left * width + x + side) / width, (top * height + y + side) / height)
        for y in _starts(high, side)
        for x in _starts(wide, side)
    )  # fmt: skip


def _starts(length: float, side: float) -> list[float]:
    """Where tiles begin so that they cover a length evenly, with a little overlap; one is enough for a little more."""
    if length < 1.15 * side:
        return [(length - side) / 2]
    count = max(2, math.ceil((length - _OVERLAP * side) / ((1 - _OVERLAP) * side) - 1e-6))
    return [(length - side) * place / (count - 1) for place in range(count)]


def gentle_gamma(mean: float, wanted: float) -> float:
    """The exponent that brings a mean brightness (0 to 255) half way to the wanted one, within 1/1.6 to 1.6."""
    now = min(max(mean, 8.0), 247.0) / 255
    goal = now + _GENTLE * (min(max(wanted, 8.0), 247.0) / 255 - now)
    gamma = math.log(goal) / math.log(now)
    return min(_STRONGEST_GAMMA, max(1 / _STRONGEST_GAMMA, gamma))
