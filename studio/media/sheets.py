"""Many pictures on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from studio.media.stills import Array, Colour


def grid(arrays: Sequence[Array], columns: int = 0, gap: int = 0, background: Colour = (24, 24, 24)) -> Array:
    """Lay pictures out in rows, in reading order, each in the middle of its cell.

    Args:
        arrays: at least one, uint8 [h, w, c]; sizes and channels may differ.
        columns: pictures in a row; 0 makes the sheet about square.
        gap: pixels between pictures.
        background: RGB of gaps and empty cells (opaque); on a grey sheet, its mean.

    Returns:
        uint8 [H, W, c], with as many channels as the richest picture has.

    Raises:
        ValueError: no pictures.
    """
    if not arrays:
        raise ValueError("a sheet of no pictures")
    columns = columns or math.ceil(math.sqrt(len(arrays)))
    rows = math.ceil(len(arrays) / columns)
    height, width = (max(array.shape[axis] for array in arrays) for axis in (0, 1))
    channels = max(array.shape[2] for array in arrays)
    sheet = np.empty((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.uint8)
    sheet[:] = (sum(background) // 3,) if channels == 1 else (*background, 255)[:channels]
    for index, array in enumerate(arrays):
        top = index // columns * (height + gap) + (height - array.shape[0]) // 2
        left = index % columns * (width + gap) + (width - array.shape[1]) // 2
        sheet[top : top + array.shape[0], left : left + array.shape[1]] = _with_channels(array, channels)
    return sheet


def _with_channels(array: Array, channels: int) -> Array:
    """Grey becomes RGB, and RGB opaque RGBA, up to `channels`."""
    if array.shape[2] == 1 and channels > 1:
        array = array.repeat(3, axis=2)
    if array.shape[2] < channels:
        array = np.concatenate([array, np.full_like(array[:, :, :1], 255)], axis=2)
    return array
