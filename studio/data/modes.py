"""Any of Pillow's modes as L, RGB or RGBA in sRGB, and smaller by a whole factor where that is wanted."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image, ImageCms

from studio.errors import BadInput

DECODER_ERRORS = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, AttributeError,
                  RuntimeError, OverflowError, ZeroDivisionError, struct.error, zlib.error)  # fmt: skip
"""What Pillow's readers raise for damaged files, by experience."""

_MAX_PROFILE_BYTES = 4_000_000
_STRIP_PIXELS = 4_000_000


def to_plain(image: Image.Image, factor: int = 1) -> Image.Image:
    """A loaded picture as L, RGB or (only if some pixel is not opaque) RGBA, reduced by a box filter of `factor`.

    Large pictures are converted strip by strip, so that the whole is never in memory twice.

    Raises:
        BadInput: its numbers are no brightness.
    """
    profile = image.info.get("icc_profile")
    bounds = _brightness(image) if image.mode.startswith(("I", "F")) else (0.0, 255.0)
    if factor == 1 or image.width * image.height <= _STRIP_PIXELS:
        plain = _reduced(_eight_bit(image, bounds), factor)
    else:
        plain = _by_strips(image, bounds, factor)
    if plain.mode == "L":
        return plain
    plain = _in_srgb(plain, profile)
    if plain.mode == "RGBA" and plain.getchannel("A").getextrema() == (255, 255):
        return plain.convert("RGB")
    return plain if plain.mode == "RGBA" else plain.convert("RGB")


def _by_strips(image: Image.Image, bounds: tuple[float, float], factor: int) -> Image.Image:
    rows = max(1, _STRIP_PIXELS // (image.width * factor)) * factor
    whole: Image.Image | None = None
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        small = _reduced(_eight_bit(strip, bounds), factor)
        if whole is None:
            whole = Image.new(small.mode, (small.width, -(-image.height // factor)))
        whole.paste(small, (0, top // factor))
    assert whole is not None
    return whole


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def _eight_bit(image: Image.Image, bounds: tuple[float, float]) -> Image.Image:
    """As L, RGB, RGBA or CMYK, by its mode alone; `bounds` of 16-bit and 32-bit grey become 0 and 255."""
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        low, high = bounds
        scale = 255.0 / (high - low)
        offset = 0.5 - low * scale
        return _numbers(image).convert("F").point(lambda value: value * scale + offset).convert("L")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode in ("RGB", "CMYK") else image.convert("RGB")


def _numbers(image: Image.Image) -> Image.Image:
    return image if image.mode in ("I", "F") else image.convert("I")


def _brightness(image: Image.Image) -> tuple[float, float]:
    """What is black and what is white: 0 and 65535 for 16 bits; else 0 and 1, or the least and greatest number."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    extrema = image.getextrema()
    least, greatest = float(str(extrema[0])), float(str(extrema[1]))
    if not (least <= greatest and max(abs(least), abs(greatest)) < 1e30):
        raise BadInput("This picture holds numbers that are no brightness.", "Save it again as PNG.")
    if image.mode == "F" and least >= 0 and greatest <= 1:
        return 0.0, 1.0
    if image.mode == "I" and least >= 0 and 255 < greatest <= 65535:
        return 0.0, 65535.0
    return least, greatest if greatest > least else least + 1.0


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Colours as sRGB where the file embeds a profile of another kind; a profile that cannot be used is ignored."""
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _MAX_PROFILE_BYTES or b"sRGB" in profile[:1024]:
        return image
    if profile[16:20] != (b"CMYK" if image.mode == "CMYK" else b"RGB "):
        return image
    colours = image.convert("RGB") if image.mode == "RGBA" else image
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, *DECODER_ERRORS):
        return image
    if converted is None:
        return image
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted
