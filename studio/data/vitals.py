"""What the dataset doctor measures of one picture, inside the glovebox: light, contrast, borders, strokes and a miniature."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MINI_PX = 64
STROKES_PX = 128
_THUMB_PX = 144
_MEASURED_PX = 256
_STROKE_AT_LEAST_PX = 96
_STROKE_STEP = 28
_STROKE_WIDTH_PX = 6
_SAME_SHADE = 14
_OTHER_SHADE = 28
_MOST_BORDER = 0.42
_LEAST_BORDER = 0.015
_MINI_BYTES = MINI_PX * MINI_PX * 3
_STROKE_BYTES = STROKES_PX * STROKES_PX // 8

Border = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """The measures of one picture.

    Attributes:
        mean, dark, bright: mean, 1st and 99th percentile of its brightness, 0 to 255.
        contrast: the largest standard deviation of its three colours; 0 is one flat colour.
        border: pixels of frame at the left, top, right and bottom.
        plain: whether one flat colour lies at two opposite sides, as behind a thing that was cut out or drawn.
        mini: uint8 [64, 64, 3], the whole picture squeezed into a square.
        strokes: bool [128, 128], where thin strokes of high contrast are (in that square).
        thumb: WebP of at most 144 px, for the page.
    """

    mean: float
    dark: float
    bright: float
    contrast: float
    border: Border
    plain: bool
    mini: NDArray[np.uint8]
    strokes: NDArray[np.bool_]
    thumb: bytes


def measured(image: Image.Image, width: int, height: int) -> tuple[dict[str, Any], bytes]:
    """Measure an RGB picture; the facts for a JSON header, and mini, strokes and thumbnail as one payload.

    Args:
        image: the picture, perhaps reduced.
        width, height: of the picture in its file, in pixels: borders are counted in those.
    """
    small = image.copy()
    small.thumbnail((_MEASURED_PX, _MEASURED_PX), Image.Resampling.BOX)
    pixels = np.asarray(small).astype(np.int16)
    grey = np.asarray(small.convert("L"))
    dark, bright = np.percentile(grey, (1, 99))
    border, plain = _border(pixels, width, height)
    facts = {
        "mean": float(grey.mean()), "dark": float(dark), "bright": float(bright),
        "contrast": float(pixels.reshape(-1, 3).std(axis=0).max()), "border": list(border), "plain": plain,
    }  # fmt: skip
    mini = image.resize((MINI_PX, MINI_PX), Image.Resampling.BOX).tobytes()
    strokes = (
        _strokes(image)
        if min(width, height) >= _STROKE_AT_LEAST_PX
        else np.zeros((STROKES_PX, STROKES_PX), dtype=np.bool_)
    )
    return facts, mini + np.packbits(strokes).tobytes() + _thumb(image)


def unpacked(facts: dict[str, Any], payload: bytes) -> Vitals:
    """The vitals that a child answered. Raises ValueError where they are no such thing."""
    if len(payload) < _MINI_BYTES + _STROKE_BYTES:
        raise ValueError("the measures of a picture were cut short")
    mini = np.frombuffer(payload, np.uint8, _MINI_BYTES).reshape(MINI_PX, MINI_PX, 3)
    bits = np.frombuffer(payload, np.uint8, _STROKE_BYTES, offset=_MINI_BYTES)
    left, top, right, bottom = (int(side) for side in facts["border"])
    return Vitals(
        mean=float(facts["mean"]), dark=float(facts["dark"]), bright=float(facts["bright"]),
        contrast=float(facts["contrast"]), border=(left, top, right, bottom), plain=bool(facts["plain"]), mini=mini,
        strokes=np.unpackbits(bits).reshape(STROKES_PX, STROKES_PX).astype(np.bool_),
        thumb=payload[_MINI_BYTES + _STROKE_BYTES :],
    )  # fmt: skip


def _thumb(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((_THUMB_PX, _THUMB_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80, method=1)
    return buffer.getvalue()


# ── borders ──


def _border(pixels: NDArray[np.int16], width: int, height: int) -> tuple[Border, bool]:
    """The frame around a picture [h, w, 3], in pixels of the file, and whether two opposite sides are plain at all.

    It is no frame but a mere background unless two opposite sides of it end along straight lines.
    """
    columns = pixels.transpose(1, 0, 2)
    sides = (columns, pixels, columns[::-1], pixels[::-1])
    left, top, right, bottom = deep = [_flat_lines(side) for side in sides]
    inner_rows, inner_columns = slice(top, len(pixels) - bottom), slice(left, len(columns) - right)
    extents = (inner_rows, inner_columns, inner_rows, inner_columns)
    found = [0, 0, 0, 0]
    plain = False
    for first in (0, 1):
        pair = (first, first + 2)
        thick = all(deep[side] >= max(2, _LEAST_BORDER * len(sides[side])) for side in pair)
        plain = plain or thick
        if thick and all(_ends_straight(sides[side], deep[side], extents[side]) for side in pair):
            scale = (width, height)[first] / len(sides[first])
            for side in pair:
                found[side] = int((deep[side] + 0.5) * scale) + 1
    return (found[0], found[1], found[2], found[3]), plain


def _flat_lines(lines: NDArray[np.int16]) -> int:
    """How many lines [n, length, 3] from the first on have one and the same colour (with what JPEG adds)."""
    most = int(len(lines) * _MOST_BORDER)
    colour = np.median(lines[0], axis=0)
    same = (np.abs(lines[: most + 1] - colour).max(axis=2) <= _SAME_SHADE).mean(axis=1) >= 0.97
    return 0 if same.all() else int(np.argmin(same))


def _ends_straight(lines: NDArray[np.int16], depth: int, extent: slice) -> bool:
    """Whether a frame ends here: most of the line behind it has other colours. Behind a mere background few have."""
    behind = lines[min(depth + 1, len(lines) - 1), extent]
    if not len(behind):
        return False
    differs = np.abs(behind - np.median(lines[0], axis=0)).max(axis=1) > _OTHER_SHADE
    return bool(differs.mean() >= 0.6)


# ── strokes ──


def _strokes(image: Image.Image) -> NDArray[np.bool_]:
    """bool [128, 128]: where brightness rises and falls again (or the other way) within a few pixels, as in letters."""
    grey = np.asarray(image.convert("L").resize((256, 256), Image.Resampling.BOX)).astype(np.int16)
    step = np.diff(grey, axis=1, append=grey[:, -1:])
    rises, falls = step > _STROKE_STEP, step < -_STROKE_STEP
    strokes = (rises & _soon(falls)) | (falls & _soon(rises))
    blocks = strokes.reshape(STROKES_PX, 2, STROKES_PX, 2)
    return np.asarray(blocks.any(axis=(1, 3)), dtype=np.bool_)


def _soon(there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where `there` is true within the next few columns."""
    soon = np.zeros_like(there)
    for ahead in range(1, _STROKE_WIDTH_PX + 1):
        soon[:, :-ahead] |= there[:, ahead:]
    return soon
