from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from studio.data.marks import lettered, stamped
from studio.data.vitals import Vitals, measured, unpacked


def vitals_of(image: Image.Image) -> Vitals:
    return unpacked(*measured(image, image.width, image.height))


def textured(seed: int) -> Image.Image:
    """Strokes everywhere, other ones in each picture."""
    pixels = np.random.default_rng(seed).integers(60, 200, (64, 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC)


def half_busy(seed: int) -> Image.Image:
    """Strokes in some places and none in others."""
    smooth = np.random.default_rng(1000 + seed).integers(60, 200, (9, 9, 3), dtype=np.uint8)
    picture = Image.fromarray(smooth).resize((256, 256), Image.Resampling.BICUBIC)
    busy = textured(seed)
    for place in np.random.default_rng(2000 + seed).integers(0, 4, (6, 2)) * 64:
        across, down = (int(start) for start in place)
        picture.paste(busy.crop((across, down, across + 64, down + 64)), (across, down))
    return picture


def signed(image: Image.Image, words: str, place: tuple[int, int], size: int = 24) -> Image.Image:
    picture = image.copy()
    ImageDraw.Draw(picture).text(place, words, fill="white", font=ImageFont.load_default(size))
    return picture


def test_the_same_mark_on_busy_pictures_is_found_and_on_no_other() -> None:
    pictures = [half_busy(seed) for seed in range(24)]
    assert stamped([vitals_of(one) for one in pictures]) == ()
    marked = [signed(one, "© atelier", (130, 215)) if seed < 8 else one for seed, one in enumerate(pictures)]
    found = stamped([vitals_of(one) for one in marked])
    assert len(found) >= 6 and set(found) <= set(range(8))


def test_captions_that_differ_are_found_by_their_strip(noise) -> None:
    pictures = [noise(seed, 240, 240) for seed in range(20)]
    assert lettered([vitals_of(one) for one in pictures]) == ()
    said = [signed(one, f"plate number {seed * 7919}", (12, 205), 18) if seed < 6 else one
            for seed, one in enumerate(pictures)]  # fmt: skip
    found = lettered([vitals_of(one) for one in said])
    assert len(found) >= 5 and set(found) <= set(range(6))


def leaf(seed: int) -> Image.Image:
    """A leaf with its stem and veins, as someone draws many of: other shapes and colours, always at one place."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (256, 256), tuple(int(shade) for shade in rng.integers(225, 250, 3)))
    draw = ImageDraw.Draw(picture)
    wide, high = int(rng.integers(30, 70)), int(rng.integers(60, 90))
    across = 128 + int(rng.integers(-4, 5))
    colour = tuple(int(shade) for shade in rng.integers(40, 160, 3))
    dark = tuple(shade // 2 for shade in colour)
    draw.ellipse((across - wide, 110 - high, across + wide, 110 + high), fill=colour)
    draw.line((across, 110 - high, across, 240), fill=dark, width=4)
    for down in range(130 - high, 110 + high, 16):
        for way in (-1, 1):
            draw.line((across, down, across + way * int(rng.integers(10, wide)), down - 12), fill=dark, width=3)
    return picture


def test_stems_and_veins_at_one_place_are_no_writing() -> None:
    leaves = [vitals_of(leaf(seed)) for seed in range(30)]
    assert stamped(leaves) == () and lettered(leaves) == ()


def test_two_are_too_few_to_tell(noise) -> None:
    said = [signed(noise(seed, 240, 240), "a caption of words", (12, 205), 18) for seed in range(2)]
    assert lettered([vitals_of(one) for one in said]) == () and stamped([vitals_of(one) for one in said]) == ()


def test_a_horizon_or_the_same_thing_in_all_is_no_mark(noise) -> None:
    landscapes = []
    for seed in range(20):
        sky = noise(seed, 256, 256)
        sky.paste(textured(seed).crop((0, 150, 256, 256)), (0, 150))
        landscapes.append(vitals_of(sky))
    assert stamped(landscapes) == () and lettered(landscapes) == ()
    things = []
    for seed in range(20):
        plain = Image.new("RGB", (256, 256), "white")
        ImageDraw.Draw(plain).ellipse((40 + seed, 50, 200, 210 - seed), fill=(seed * 10, 80, 120))
        things.append(vitals_of(plain))
    assert stamped(things) == () and lettered(things) == ()
