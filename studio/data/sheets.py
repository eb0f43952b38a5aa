"""Small overviews of many pictures, for the page."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHEET_PICTURES = 60
CELL_PX = 96
_COLUMNS = 10
_GAP_PX = 4
_PAPER = (255, 255, 255)


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` positions out of `count`, evenly spread, the first among them."""
    shown = min(count, wanted)
    return [position * count // shown for position in range(shown)]


def contact_sheet(cells: Sequence[Image.Image], *, columns: int = _COLUMNS) -> bytes:
    """Pictures side by side in rows on white, as WebP."""
    across = max(1, min(columns, len(cells)))
    down = max(1, -(-len(cells) // across))
    step = CELL_PX + _GAP_PX
    sheet = Image.new("RGB", (across * step - _GAP_PX, down * step - _GAP_PX), _PAPER)
    for position, cell in enumerate(cells):
        sheet.paste(cell, (position % across * step, position // across * step))
    return to_webp(sheet)


def cell(pixels: NDArray[np.uint8], side: int = CELL_PX) -> Image.Image:
    """uint8 [h, w, c] with 1, 3 or 4 channels as an RGB thumbnail; small pictures are enlarged without smoothing."""
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    if image.mode == "RGBA":
        paper = Image.new("RGBA", image.size, (*_PAPER, 255))
        image = Image.alpha_composite(paper, image)
    filter_ = Image.Resampling.NEAREST if image.width < side else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((side, side), filter_)


def to_webp(image: Image.Image) -> bytes:
    """One picture as WebP, without any metadata."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=2)
    return buffer.getvalue()
