from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.data.vitals import Vitals, measured, unpacked


def vitals_of(image: Image.Image, scale: int = 1) -> Vitals:
    return unpacked(*measured(image.convert("RGB"), image.width * scale, image.height * scale))


def test_light_and_contrast(noise) -> None:
    flat = vitals_of(Image.new("RGB", (90, 60), (40, 40, 40)))
    assert (flat.mean, flat.dark, flat.bright, flat.contrast) == (40, 40, 40, 0)
    full = vitals_of(noise(1, 200, 160))
    assert full.contrast > 20 and full.dark < full.mean < full.bright
    assert full.mini.shape == (64, 64, 3) and full.strokes.shape == (128, 128)
    assert Image.open(__import__("io").BytesIO(full.thumb)).size == (144, 115)


@pytest.mark.parametrize("colour", ["black", "white", "#305070"])
def test_a_frame_is_measured_in_pixels_of_the_file(colour: str, noise) -> None:
    framed = Image.new("RGB", (240, 200), colour)
    framed.paste(noise(2, 180, 160), (40, 20))
    left, top, right, bottom = vitals_of(framed, scale=3).border
    assert 120 <= left <= 132 and 60 <= top <= 72 and 60 <= right <= 72 and 60 <= bottom <= 72


def test_letterboxes_are_found_through_jpeg(noise, encoded) -> None:
    import io

    film = Image.new("RGB", (320, 240), "black")
    film.paste(noise(3, 320, 160), (0, 40))
    again = Image.open(io.BytesIO(encoded(film, "JPEG", quality=70)))
    left, top, right, bottom = vitals_of(again).border
    assert left == right == 0 and 40 <= top <= 45 and 40 <= bottom <= 45


def test_a_thing_on_plain_ground_has_no_frame(noise) -> None:
    drawn = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(drawn).ellipse((40, 30, 160, 170), fill="red")
    seen = vitals_of(drawn)
    assert seen.border == (0, 0, 0, 0) and seen.plain
    view = vitals_of(noise(4, 200, 200))
    assert view.border == (0, 0, 0, 0) and not view.plain


def test_one_bar_alone_is_no_frame(noise) -> None:
    picture = noise(5, 200, 200)
    picture.paste("black", (0, 170, 200, 200))
    assert vitals_of(picture).border == (0, 0, 0, 0)


def test_letters_are_strokes_and_smooth_pictures_are_not(noise) -> None:
    picture = noise(6, 256, 256)
    assert vitals_of(picture).strokes.mean() < 0.01
    ImageDraw.Draw(picture).text((20, 200), "some words here", fill="white", stroke_width=1, stroke_fill="black")
    strokes = vitals_of(picture).strokes
    assert strokes[100:108, 10:60].mean() > 0.3 and strokes[:90].mean() < 0.01


def test_what_was_cut_short_is_refused(noise) -> None:
    facts, payload = measured(noise(7), 40, 40)
    with pytest.raises(ValueError):
        unpacked(facts, payload[:100])
    assert np.array_equal(unpacked(facts, payload).mini, np.asarray(noise(7).resize((64, 64), Image.Resampling.BOX)))
