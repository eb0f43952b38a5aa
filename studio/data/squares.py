"""One picture as a square of raw pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from studio.data.cuts import WHOLE, Box, Cut
from studio.data.pictures import read_picture
from studio.data.saliency import salient_square
from studio.options import Checked, option

_MODES = {"rgb": "RGB", "grey": "L", "rgba": "RGBA"}


@dataclass(frozen=True, kw_only=True)
class Square(Checked):
    """How a picture becomes a square; the same fields as in `PrepareSettings`."""

    resolution: int = option(128, help="Width and height.", low=8, high=1024, unit="px")
    fit: str = option(
        "crop", help="Cut off what is too long, or fill up what is too short.", choices=("crop", "focus", "pad")
    )
    background: str = option("#ffffff", help="What lies behind transparent pixels and beside padded pictures.")
    colour: str = option("rgb", help="What the numbers of a pixel mean.", choices=("rgb", "grey", "rgba"))
    sharp_pixels: bool = option(False, help="Enlarge by whole factors, without smoothing.")

    @property
    def channels(self) -> int:
        return len(_MODES[self.colour])

    @property
    def bytes(self) -> int:
        """Size of one square in bytes."""
        return self.resolution * self.resolution * self.channels


def squared(source: Path | bytes, square: Square, cut: Cut | None = None) -> bytes:
    """The pixels of one picture, uint8 [resolution, resolution, channels], row by row.

    Raises:
        BadInput: not a picture, or damaged.
    """
    cut = cut or Cut()
    share = max(0.01, min(cut.box[2] - cut.box[0], cut.box[3] - cut.box[1]))
    image = read_picture(source, at_least_px=round(2 * square.resolution / share)).image
    return square_image(image, square, cut).tobytes()


def square_image(image: Image.Image, square: Square, cut: Cut | None = None) -> Image.Image:
    """The part `cut` of an upright L, RGB or RGBA picture as a square in the colours of `square`."""
    cut = cut or Cut()
    working = _part(image if image.mode == "RGBA" else image.convert("RGB"), cut.box)
    if cut.gamma != 1:
        working = _lit(working, cut.gamma)
    side = square.resolution
    if square.sharp_pixels and max(working.size) <= side:
        factor = side // max(working.size)
        small = working.resize((working.width * factor, working.height * factor), Image.Resampling.NEAREST)
    elif square.fit == "pad":
        scale = side / max(working.size)
        size = (max(1, round(working.width * scale)), max(1, round(working.height * scale)))
        small = working.resize(size, Image.Resampling.LANCZOS)
    else:
        small = working.resize((side, side), Image.Resampling.LANCZOS, box=_square_of(working, square))
    return _finished(small, square)


def _part(image: Image.Image, box: Box) -> Image.Image:
    """The part `box` of a picture, in whole pixels, at least one."""
    if box == WHOLE:
        return image
    left, top = round(box[0] * image.width), round(box[1] * image.height)
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    right, bottom = round(box[2] * image.width), round(box[3] * image.height)
    return image.crop((left, top, max(left + 1, right), max(top + 1, bottom)))


def _lit(image: Image.Image, gamma: float) -> Image.Image:
    """Brighter (below 1) or darker (above); transparency stays."""
    curve = [round(255 * (value / 255) ** gamma) for value in range(256)]
    return image.point(curve * 3 + (list(range(256)) if image.mode == "RGBA" else []))


def _square_of(image: Image.Image, square: Square) -> tuple[float, float, float, float]:
    """The square to keep of a picture, in pixels: where most is to be seen, or the middle."""
    if square.fit == "focus" and image.width != image.height:
        return salient_square(image)
    return _centre(image.size)


def _centre(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred square of a picture, as (left, top, right, bottom)."""
    width, height = size
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def _finished(small: Image.Image, square: Square) -> Image.Image:
    """Laid on the background, alone or over it, in the wanted mode. Clear pixels take the background's colour."""
    side = square.resolution
    clear = square.colour == "rgba"
    canvas = Image.new("RGBA", (side, side), square.background + ("00" if clear else "ff"))
    place = ((side - small.width) // 2, (side - small.height) // 2)
    if small.mode != "RGBA":
        canvas.paste(small, place)
    elif clear:
        canvas.paste(small, place, small.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    else:
        canvas.alpha_composite(small, place)
    return canvas.convert(_MODES[square.colour])
