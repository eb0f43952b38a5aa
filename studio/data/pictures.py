"""Open one picture that nobody vouches for.

Only the formats in `FORMATS` are ever tried, whatever the file is called: Pillow would start Ghostscript for EPS.
What is *not* protected here is time and memory inside the decoders; `glovebox` runs this module in a child process
with limits, and everything that comes from outside goes through it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image

from studio.data.modes import DECODER_ERRORS, to_plain
from studio.data.sniff import SNIFFED_BYTES, what_it_is
from studio.errors import BadInput

KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF and, where it is installed, HEIC"
MAX_PIXELS = 64_000_000
MAX_PICTURE_BYTES = 512_000_000
MIN_SIDE_PX = 8
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")

_PLUGINS = ("Png", "Jpeg", "Mpo", "WebP", "Gif", "Bmp", "Tiff", "Avif")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A picture in memory, upright, in mode L, RGB or RGBA, and its size before any reduction.

    Attributes:
        image: RGBA only where some pixel is not opaque; sRGB where the file said which colours it means.
        width, height: of the upright picture in the file, in pixels.
        kind: the format by content, such as "PNG".
    """

    image: Image.Image
    width: int
    height: int
    kind: str


def open_picture(source: Path | bytes) -> Image.Image:
    """The whole picture, upright, in mode L, RGB or RGBA.

    Raises:
        BadInput: a sentence that says what the file is instead, or what is wrong with it.
    """
    return read_picture(source).image


def read_picture(source: Path | bytes, *, at_least_px: int | None = None) -> Opened:
    """Open a picture; with `at_least_px` a large one is reduced early, its short side staying above that.

    The reduction is by a whole factor (a box filter, or the JPEG decoder's own), which saves memory and time.

    Raises:
        BadInput: a sentence that says what the file is instead, or what is wrong with it.
    """
    with _stream(source) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        start = stream.read(SNIFFED_BYTES)
        if not start:
            raise BadInput("This file is empty.", "Copy it again from where it came.")
        stream.seek(0)
        try:
            return _decode(stream, at_least_px)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _too_large() from None
        except MemoryError:
            raise BadInput("This picture needs more memory than there is.", "Make it smaller first.") from None
        except DECODER_ERRORS:
            raise what_it_is(start) or _broken() from None


@functools.cache
def register_formats() -> tuple[str, ...]:
    """Load the readers of `FORMATS`, and no others; the formats that can be read here."""
    for name in _PLUGINS:
        importlib.import_module(f"PIL.{name}ImagePlugin")
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _stream(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        if source.stat().st_size > MAX_PICTURE_BYTES:
            raise BadInput(f"This file is larger than {MAX_PICTURE_BYTES // 1_000_000} MB.", "Make it smaller first.")
        return open(source, "rb")
    except OSError as error:
        raise BadInput("This file cannot be read.", error.strerror or "") from error


def _decode(stream: BinaryIO, at_least_px: int | None) -> Opened:
    with Image.open(stream, formats=register_formats()) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(image.size)
        if min(image.size) < MIN_SIDE_PX:
            raise BadInput(f"This picture is tiny ({image.width} x {image.height} pixels).",
                           f"Pictures need {MIN_SIDE_PX} pixels on each side.")  # fmt: skip
        full, kind = image.size, image.format or ""
        if (factor := _factor(image, at_least_px)) > 1:
            image.draft(None, (full[0] // factor, full[1] // factor))
        try:
            image.load()
        except DECODER_ERRORS as error:
            raise _broken() from error
        turn = _orientation(image)
        turned_by_pillow = image.size != full and image.size == full[::-1]
        upright = _turned(to_plain(image, _factor(image, at_least_px)), turn)
    width, height = full[::-1] if turn >= 5 or turned_by_pillow else full
    return Opened(image=upright, width=width, height=height, kind=kind)


def _factor(image: Image.Image, at_least_px: int | None) -> int:
    return 1 if at_least_px is None else max(1, min(image.size) // at_least_px)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it is nonsense. (Pillow turns TIFF by itself.)"""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _too_large(size: tuple[int, int] | None = None) -> BadInput:
    shown = f" ({size[0]} x {size[1]} pixels)" if size else ""
    most = f"{MAX_PIXELS // 10**6} megapixels at most"
    return BadInput(f"This picture is too large{shown}.", f"Make it smaller first: {most}.")


def _broken() -> BadInput:
    return BadInput("This picture is damaged or was cut short.", "Copy it again from where it came, or save it anew.")
