from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from studio.data.saliency import saliency, salient_square
from studio.data.squares import Square, square_image


@pytest.mark.parametrize("place", [20, 150, 300])
def test_the_square_holds_the_thing(place: int) -> None:
    wide = Image.new("RGB", (400, 100), (120, 150, 180))
    wide.paste((200, 40, 30), (place, 30, place + 40, 70))
    left, top, right, bottom = salient_square(wide)
    assert right - left == bottom - top == 100
    assert left <= place and place + 40 <= right
    tall = wide.transpose(Image.Transpose.ROTATE_270)
    left, top, right, bottom = salient_square(tall)
    assert top <= place and place + 40 <= bottom and left == 0


def test_where_nothing_stands_out_it_is_the_middle() -> None:
    assert salient_square(Image.new("RGB", (300, 100), "grey")) == (100, 0, 200, 100)
    assert (saliency(Image.new("RGB", (30, 30), "grey")) == 1).all()


def test_focus_is_a_way_to_fit() -> None:
    wide = Image.new("RGB", (400, 100), (120, 150, 180))
    wide.paste((255, 0, 0), (320, 30, 360, 70))
    kept = np.asarray(square_image(wide, Square(resolution=32, fit="focus"))).astype(int)
    cropped = np.asarray(square_image(wide, Square(resolution=32, fit="crop"))).astype(int)
    assert (kept[..., 0] > 220).sum() > 100 and (cropped[..., 0] > 220).sum() == 0
