"""Text and watermarks, guessed: strokes at the same place in several pictures, or a dense strip of them.

The guess knows no letters. It is said with "may" and never acts by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from studio.data.vitals import STROKES_PX, Vitals

_WINDOW_PX = 32
_LEAST_STROKES = 30
_LEAST_IN_A_LINE = 3.5
"""Letters cross a line of pixels 5 to 6 times in a window; the veins of a leaf, drawn alike in many pictures, 1 to 3 times."""
_SAME_INSIDE = 0.55
_OTHER_OUTSIDE = 0.25
_LEAST_PICTURES = 3
_MOST_COMPARED = 1000
_COARSE_PX = STROKES_PX // 2
_STRIP_HIGH = range(2, 9)
_STRIP_WIDE = 14
_STRIP_FILLED = 0.4
_ELSEWHERE = 0.1


def stamped(vitals: Sequence[Vitals]) -> tuple[int, ...]:
    """Positions of pictures that share a pattern of strokes at one place and differ elsewhere, as watermarks make them.

    Of more than 1,000 pictures the first 1,000 are compared.
    """
    strokes = np.stack([one.strokes for one in vitals[:_MOST_COMPARED]])
    fine = _fine(strokes.astype(np.float32))
    found = np.zeros(len(fine), dtype=np.bool_)
    for down in range(0, STROKES_PX, _WINDOW_PX // 2):
        for across in range(0, STROKES_PX, _WINDOW_PX // 2):
            inside, outside = _window(down, across, 0), ~_window(down, across, _WINDOW_PX)
            written = _in_a_line(strokes[:, down : down + _WINDOW_PX, across : across + _WINDOW_PX]) >= _LEAST_IN_A_LINE
            found |= _share_only(fine, inside, outside, written)
    return tuple(int(position) for position in np.flatnonzero(found))


def _window(down: int, across: int, wider: int) -> NDArray[np.bool_]:
    """bool [128, 128]: a square from (down, across) on, with `wider` more at each edge."""
    window = np.zeros((STROKES_PX, STROKES_PX), dtype=np.bool_)
    rows = slice(max(0, down - wider), down + _WINDOW_PX + wider)
    window[rows, max(0, across - wider) : across + _WINDOW_PX + wider] = True
    return window


def _in_a_line(strokes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Maps [n, h, w] -> how many strokes a row that has any crosses on average, or a column if those cross more; [n]."""

    def crossed(maps: NDArray[np.bool_]) -> NDArray[np.float64]:
        begins = maps & ~np.pad(maps, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
        return np.asarray(begins.sum(axis=(1, 2)) / np.maximum(maps.any(axis=2).sum(axis=1), 1), dtype=np.float64)

    return np.maximum(crossed(strokes), crossed(strokes.transpose(0, 2, 1)))


def _share_only(
    fine: NDArray[np.float32], window: NDArray[np.bool_], outside: NDArray[np.bool_], written: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """bool [n]: which pictures have the same strokes in the window as two others, and not the same well outside.

    Only those are looked at in which there are many in a line (`written`, [n])."""
    found = np.zeros(len(fine), dtype=np.bool_)
    inside = fine[:, window]
    busy = np.flatnonzero(written & ((inside > 0).sum(axis=1) >= _LEAST_STROKES))
    if len(busy) < _LEAST_PICTURES:
        return found
    same = _alike(inside[busy]) >= _SAME_INSIDE
    busy, same = busy[same.any(axis=1)], same[np.ix_(same.any(axis=1), same.any(axis=1))]
    if len(busy) >= _LEAST_PICTURES:
        other = _alike(fine[busy][:, outside]) <= _OTHER_OUTSIDE
        found[busy] = (same & other).sum(axis=1) >= _LEAST_PICTURES - 1
    return found


def _fine(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The maps [n, 128, 128] without what is the same in a neighbourhood of 7 x 7: a meadow under a sky is no mark."""
    padded = np.pad(maps, ((0, 0), (3, 3), (3, 3)), mode="edge")
    sums = np.pad(padded.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    around = sums[:, 7:, 7:] - sums[:, :-7, 7:] - sums[:, 7:, :-7] + sums[:, :-7, :-7]
    return np.asarray(maps - around / 49, dtype=np.float32)


def _alike(bits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlation of each row with each other, [n, n]; 0 where a row is constant."""
    centred = bits - bits.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.maximum(lengths, 1e-6)
    correlation: NDArray[np.float32] = unit @ unit.T
    np.fill_diagonal(correlation, 0)
    return correlation


def lettered(vitals: Sequence[Vitals]) -> tuple[int, ...]:
    """Positions of three pictures or more with a dense strip of strokes at the same height and calm around it, as captions."""
    heights = [(position, height) for position, one in enumerate(vitals) if (height := _strip(one.strokes)) is not None]
    return tuple(
        position
        for position, height in heights
        if sum(abs(other - height) <= 2 for _, other in heights) >= _LEAST_PICTURES
    )


def _strip(strokes: NDArray[np.bool_]) -> float | None:
    """The height at which a line of text seems to be: a low, wide, filled strip in a calm picture; None without one."""
    fine, strokes = strokes, np.asarray(strokes.reshape(_COARSE_PX, 2, _COARSE_PX, 2).any(axis=(1, 3)), dtype=np.bool_)
    rows = strokes.sum(axis=1)
    top = int(np.argmax(rows))
    if rows[top] < _STRIP_WIDE / 2:
        return None
    low, high = top, top + 1
    while low > 0 and rows[low - 1] >= rows[top] / 3:
        low -= 1
    while high < _COARSE_PX and rows[high] >= rows[top] / 3:
        high += 1
    if (tall := high - low) not in _STRIP_HIGH:
        return None
    columns = np.flatnonzero(strokes[low:high].any(axis=0))
    wide = int(columns[-1] - columns[0] + 1)
    filled = strokes[low:high, columns[0] : columns[-1] + 1].mean()
    elsewhere = (strokes.sum() - rows[low:high].sum()) / (_COARSE_PX * (_COARSE_PX - tall))
    letters = _in_a_line(fine[np.newaxis, 2 * low : 2 * high])[0]
    text = letters >= _LEAST_IN_A_LINE and wide >= max(_STRIP_WIDE, 3 * tall) and filled >= _STRIP_FILLED
    return (low + high) / 2 if text and elsewhere <= _ELSEWHERE else None
