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
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageCms

from studio.data.sniff import what_it_is
from studio.errors import BadInput

KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF and, where it is installed, HEIC"
MAX_PIXELS = 64_000_000
MAX_PICTURE_BYTES = 512_000_000
MIN_SIDE_PX = 8
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")

_PLUGINS = ("Png", "Jpeg", "Mpo", "WebP", "Gif", "Bmp", "Tiff", "Avif")
_MAX_PROFILE_BYTES = 4_000_000
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, AttributeError,
                   RuntimeError, OverflowError, ZeroDivisionError, struct.error, zlib.error)  # fmt: skip
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
    content = _content(source)
    if not content:
        raise BadInput("This file is empty.", "Copy it again from where it came.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _decode(content, at_least_px)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _too_large() from None
        except MemoryError:
            raise BadInput("This picture needs more memory than there is.", "Make it smaller first.") from None
        except _DECODER_ERRORS:
            raise what_it_is(content) or _broken() from None


@functools.cache
def register_formats() -> tuple[str, ...]:
    """Load the readers of `FORMATS`, and no others; the formats that can be read here."""
    for name in _PLUGINS:
        importlib.import_module(f"PIL.{name}ImagePlugin")
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        if source.stat().st_size > MAX_PICTURE_BYTES:
            raise BadInput(f"This file is larger than {MAX_PICTURE_BYTES // 1_000_000} MB.", "Make it smaller first.")
        return source.read_bytes()
    except OSError as error:
        raise BadInput("This file cannot be read.", error.strerror or "") from error


def _decode(content: bytes, at_least_px: int | None) -> Opened:
    with Image.open(io.BytesIO(content), formats=register_formats()) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(image.size)
        if min(image.size) < MIN_SIDE_PX:
            raise BadInput(f"This picture is tiny ({image.width} x {image.height} pixels).",
                           f"Pictures need {MIN_SIDE_PX} pixels on each side.")  # fmt: skip
        full, kind = image.size, image.format or ""
        if at_least_px is not None and (factor := min(full) // at_least_px) > 1:
            image.draft(None, (full[0] // factor, full[1] // factor))
        try:
            image.load()
        except _DECODER_ERRORS as error:
            raise _broken() from error
        turn = _orientation(image)
        upright = _turned(_reduced(_plain(image, at_least_px), at_least_px), turn)
        swapped = turn >= 5 or (image.size != full and image.size == full[::-1])
    width, height = full[::-1] if swapped else full
    return Opened(image=upright, width=width, height=height, kind=kind)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it is nonsense. (Pillow turns TIFF by itself.)"""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _reduced(image: Image.Image, at_least_px: int | None) -> Image.Image:
    factor = 1 if at_least_px is None else min(image.size) // at_least_px
    return image.reduce(factor) if factor > 1 else image


def _plain(image: Image.Image, at_least_px: int | None) -> Image.Image:
    """Any of Pillow's modes as L, RGB or RGBA; 16 and 32 bits are scaled to 8, never clipped."""
    profile = image.info.get("icc_profile")
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        return _without_needless_alpha(_in_srgb(_reduced(_with_alpha(image), at_least_px), profile))
    if image.mode not in ("RGB", "CMYK"):
        image = image.convert("RGB")
    return _in_srgb(_reduced(image, at_least_px), profile).convert("RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGBA" else image.convert("RGBA")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit and 32-bit grey as L: 65535 becomes 255; other ranges are stretched from their least to their greatest."""
    low, high = 0.0, 65535.0
    whole = image if image.mode in ("I", "F") else image.convert("I")
    if not image.mode.startswith("I;16"):
        least, greatest = _extrema(whole)
        if image.mode == "F" and least >= 0 and greatest <= 1:
            high = 1.0
        elif not (least >= 0 and 255 < greatest <= 65535 and image.mode == "I"):
            low, high = least, max(greatest, least + 1e-12)
    scale = 255.0 / (high - low)
    return whole.convert("F").point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def _extrema(image: Image.Image) -> tuple[float, float]:
    least, greatest = image.getextrema()
    if not isinstance(least, (int, float)) or not isinstance(greatest, (int, float)):
        raise ValueError("one band was expected")
    if not (least <= greatest and abs(least) < 1e30 and abs(greatest) < 1e30):
        raise BadInput("This picture holds numbers that are no brightness.", "Save it again as PNG.")
    return float(least), float(greatest)


def _without_needless_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGB") if image.getchannel("A").getextrema() == (255, 255) else image


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Colours as sRGB where the file embeds a profile of another kind; a profile that cannot be used is ignored."""
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _MAX_PROFILE_BYTES or b"sRGB" in profile[:1024]:
        return image
    if profile[16:20] != {"CMYK": b"CMYK"}.get(image.mode, b"RGB "):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        if mode == "RGBA":
            colours = ImageCms.profileToProfile(image.convert("RGB"), source, ImageCms.createProfile("sRGB"))
            if colours is not None:
                colours.putalpha(image.getchannel("A"))
        else:
            colours = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, *_DECODER_ERRORS):
        return image
    return image if colours is None else colours


def _too_large(size: tuple[int, int] | None = None) -> BadInput:
    shown = f" ({size[0]} x {size[1]} pixels)" if size else ""
    most = f"{MAX_PIXELS // 10**6} megapixels at most"
    return BadInput(f"This picture is too large{shown}.", f"Make it smaller first: {most}.")


def _broken() -> BadInput:
    return BadInput("This picture is damaged or was cut short.", "Copy it again from where it came, or save it anew.")
