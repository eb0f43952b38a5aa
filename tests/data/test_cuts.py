from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from studio.data.choices import Choices
from studio.data.cuts import WHOLE, Cut, gentle_gamma, inside_border, tiles
from studio.data.squares import Square, square_image, squared
from studio.errors import BadInput
from studio.options import from_json, to_json


@pytest.mark.parametrize(
    ("width", "height", "across"), [(1000, 1000, 2), (1600, 900, 3), (500, 2100, 1), (999, 640, 8)]
)
def test_tiles_are_squares_that_cover_all_and_overlap_a_little(width: int, height: int, across: int) -> None:
    boxes = tiles(width, height, WHOLE, across, 64)
    pixels = np.array(boxes) * (width, height, width, height)
    sides = np.concatenate([pixels[:, 2] - pixels[:, 0], pixels[:, 3] - pixels[:, 1]])
    assert np.ptp(sides) < 1e-6 and sides[0] >= 64
    assert pixels.min() > -1e-6 and pixels[:, 2].max() < width + 1e-6 and pixels[:, 3].max() < height + 1e-6
    covered = np.zeros((height, width), dtype=int)
    for left, top, right, bottom in np.round(pixels).astype(int):
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1 and covered.mean() < 1.6


def test_a_small_picture_is_one_tile_and_tiles_stay_inside_a_frame() -> None:
    assert len(tiles(100, 90, WHOLE, 4, 64)) == 1
    inside = np.array(tiles(400, 400, (0.25, 0.25, 0.75, 0.75), 2, 32))
    assert len(inside) == 4 and inside.min() >= 0.25 - 1e-9 and inside.max() <= 0.75 + 1e-9


def test_a_border_is_taken_off_unless_nothing_would_be_left() -> None:
    assert inside_border(200, 100, (20, 10, 20, 10)) == (0.1, 0.1, 0.9, 0.9)
    assert inside_border(200, 100, (100, 0, 95, 0)) == WHOLE


def test_light_is_evened_gently() -> None:
    assert gentle_gamma(128, 128) == pytest.approx(1)
    assert 1 / 1.6 <= gentle_gamma(40, 128) < 0.9 and 1.1 < gentle_gamma(220, 128) <= 1.6
    lit = np.asarray(square_image(Image.new("RGB", (32, 32), (60,) * 3), Square(resolution=32), Cut(gamma=0.7)))
    assert 60 < lit[0, 0, 0] < 110


def test_a_cut_keeps_its_part_and_reads_large_pictures_finely(encoded) -> None:
    large = Image.new("RGB", (2000, 1000), "white")
    large.paste("red", (1500, 500, 1700, 700))
    content = encoded(large)
    cut = Cut(box=(0.75, 0.5, 0.85, 0.7))
    pixels = np.frombuffer(squared(content, Square(resolution=64), cut), np.uint8).reshape(64, 64, 3)
    assert (pixels[2:-2, 2:-2] == (255, 0, 0)).all()


def test_choices_are_made_undone_and_travel() -> None:
    choices = Choices().without(["b", "a"]).without(["a"]).cropped("c", (0.1, 0.0, 0.6, 0.5))
    assert choices.left_out == ("a", "b") and choices.squares == {"c": (0.1, 0.0, 0.6, 0.5)}
    assert from_json(Choices, to_json(choices)) == choices
    assert choices.again_with(["a", "b"]).cropped("c", None) == Choices()
    for wrong in ((0.5, 0.5, 1.5, 1.0), (0.2, 0.2, 0.2, 0.9), (-0.1, 0, 0.5, 0.5)):
        with pytest.raises(BadInput):
            choices.cropped("d", wrong)
