"""One picture as a square of raw pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from studio.data.pictures import read_picture
from studio.options import Checked, option

_MODES = {"rgb": "RGB", "grey": "L", "rgba": "RGBA"}


@dataclass(frozen=True, kw_only=True)
class Square(Checked):
    """How a picture becomes a square; the same fields as in `PrepareSettings`."""

    resolution: int = option(128, help="Width and height.", low=8, high=1024, unit="px")
    fit: str = option("crop", help="Cut off what is too long, or fill up what is too short.", choices=("crop", "pad"))
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


def squared(source: Path | bytes, square: Square) -> bytes:
    """The pixels of one picture, uint8 [resolution, resolution, channels], row by row.

    Raises:
        BadInput: not a picture, or damaged.
    """
    image = read_picture(source, at_least_px=2 * square.resolution).image
    return square_image(image, square).tobytes()


def square_image(image: Image.Image, square: Square) -> Image.Image:
    """An upright L, RGB or RGBA picture as a square in the colours of `square`."""
    working = image if image.mode == "RGBA" else image.convert("RGB")
    side = square.resolution
    if square.sharp_pixels and max(working.size) <= side:
        factor = side // max(working.size)
        small = working.resize((working.width * factor, working.height * factor), Image.Resampling.NEAREST)
    elif square.fit == "pad":
        scale = side / max(working.size)
        size = (max(1, round(working.width * scale)), max(1, round(working.height * scale)))
        small = working.resize(size, Image.Resampling.LANCZOS)
    else:
        small = working.resize((side, side), Image.Resampling.LANCZOS, box=_centre(working.size))
    return _finished(small, square)


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
