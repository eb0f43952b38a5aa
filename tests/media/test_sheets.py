"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest

from studio.media.sheets import grid
from studio.media.stills import Array


def plain(value: int, channels: int = 3, size: int = 4) -> Array:
    return np.full((size, size, channels), value, np.uint8)


def test_reading_order_gaps_and_background() -> None:
    sheet = grid([plain(value) for value in (10, 20, 30)], columns=2, gap=1, background=(1, 2, 3))
    assert sheet.shape == (9, 9, 3)
    assert (sheet[:4, :4] == 10).all() and (sheet[:4, 5:] == 20).all() and (sheet[5:, :4] == 30).all()
    assert (sheet[4] == (1, 2, 3)).all() and (sheet[5:, 5:] == (1, 2, 3)).all()


def test_about_square_unless_told() -> None:
    assert grid([plain(0)] * 9).shape == (12, 12, 3)
    assert grid([plain(0)] * 5).shape == (8, 12, 3)
    assert grid([plain(0)] * 5, columns=5).shape == (4, 20, 3)


def test_other_sizes_and_channels_are_brought_together() -> None:
    sheet = grid([plain(9, 1), plain(50, 4, size=2), plain(7, 3)], columns=3, background=(1, 2, 3))
    assert sheet.shape == (4, 12, 4)
    assert (sheet[:, :4] == (9, 9, 9, 255)).all()
    assert (sheet[1:3, 5:7] == 50).all() and (sheet[0, 4:8] == (1, 2, 3, 255)).all()
    assert (sheet[:, 8:] == (7, 7, 7, 255)).all()
    assert (grid([plain(5, 1)] * 3, columns=2, background=(30, 60, 90))[4:, 4:] == 60).all()


def test_no_pictures_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        grid([])
