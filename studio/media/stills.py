"""One picture into bytes, with its recipe inside, and the recipe back out of a stranger's file.

Pictures are numpy arrays, uint8 [h, w, c] with c = 1 grey, 3 RGB or 4 RGBA (straight alpha); [h, w] is grey too.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.media.provenance import SOFTWARE, Mark, damaged_recipe, parse_recipe, recipe_in_xmp, recipe_text, xmp_packet

Array = NDArray[np.uint8]
Colour = tuple[int, int, int]

CHECKERBOARD_PX = 8
RECIPE_KEYWORD = "latent-studio"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 20_000
_JPEG_XMP_BYTES = 65_000
"""An XMP packet in JPEG must fit into one segment."""


def picture(array: Array) -> Image.Image:
    """The Pillow picture of an array: L, RGB or RGBA.

    Raises:
        ValueError: another shape or type.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"not a picture: {array.dtype} {array.shape}")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise ValueError(f"a picture of {array.shape[2]} channels")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(array))


def opaque(array: Array, background: Colour | None = None) -> Image.Image:
    """The picture without transparency: on `background`, or None for the checkerboard that means "nothing here"."""
    image = picture(array)
    if image.mode != "RGBA":
        return image
    below = _checkerboard(*image.size).copy() if background is None else Image.new("RGB", image.size, background)
    below.paste(image, mask=image)
    return below


@lru_cache(maxsize=8)
def _checkerboard(width: int, height: int) -> Image.Image:
    rows, columns = np.arange(height) // CHECKERBOARD_PX, np.arange(width) // CHECKERBOARD_PX
    light = (rows[:, None] + columns) % 2 == 0
    return Image.fromarray(np.where(light, np.uint8(255), np.uint8(204))).convert("RGB")


def to_jpeg(array: Array, quality: int = 85, *, background: Colour | None = None, mark: Mark | None = None) -> bytes:
    """JPEG bytes, quick enough for every frame of the canvas. Without `mark` there is no metadata."""
    buffer = io.BytesIO()
    extra = {} if mark is None else {"xmp": xmp_packet(mark, most_bytes=_JPEG_XMP_BYTES), "comment": mark.description}
    opaque(array, background).save(buffer, "JPEG", quality=quality, **extra)
    return buffer.getvalue()


def to_webp(array: Array, quality: int = 85, *, mark: Mark | None = None) -> bytes:
    """WebP bytes; transparency is kept. Without `mark` there is no metadata."""
    buffer = io.BytesIO()
    extra = {} if mark is None else {"xmp": xmp_packet(mark)}
    picture(array).save(buffer, "WEBP", quality=quality, method=2, **extra)
    return buffer.getvalue()


def to_png(array: Array, recipe: Mapping[str, Any] | None, title: str = "", model: str = "") -> bytes:
    """PNG bytes, every pixel as it is, marked as made by a machine.

    The recipe goes as JSON into an iTXt chunk of its own, which `read_recipe` reads back.
    """
    mark = Mark(title=title, model=model)
    chunks = PngInfo()
    chunks.add_text("Software", SOFTWARE)
    chunks.add_itxt("Description", mark.description)
    if mark.title:
        chunks.add_itxt("Title", mark.title)
    if recipe is not None:
        chunks.add_itxt(RECIPE_KEYWORD, recipe_text(recipe))
    chunks.add_itxt("XML:com.adobe.xmp", xmp_packet(mark).decode())
    buffer = io.BytesIO()
    picture(array).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def read_recipe(data: bytes) -> dict[str, Any] | None:
    """The recipe inside a picture or film of ours; None if there is none.

    Safe on any bytes: no pixel is decoded, nothing is unpacked, and only JSON of bounded length is read.

    Raises:
        BadInput: there is a recipe, and it is damaged or too long.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return recipe_in_xmp(data)
    view, place = memoryview(data), len(_PNG_SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if place + 8 > len(view):
            break
        length, kind = struct.unpack_from(">I4s", view, place)
        if kind == b"iTXt" and bytes(view[place + 8 : place + 9 + len(RECIPE_KEYWORD)]) == _KEY:
            return _recipe_chunk(view[place + 4 : place + 12 + length], length)
        place += 12 + length
    return None


_KEY = RECIPE_KEYWORD.encode() + b"\0"


def _recipe_chunk(chunk: memoryview, length: int) -> dict[str, Any]:
    """The recipe from one iTXt chunk: kind, keyword, compression, language, translated keyword, text, checksum."""
    content = bytes(chunk[: 4 + length])
    complete = len(chunk) == length + 8 and zlib.crc32(content) == int.from_bytes(chunk[-4:], "big")
    fields = content[4 + len(_KEY) :]
    parts = fields[2:].split(b"\0", 2)
    if not complete or fields[:2] != b"\0\0" or len(parts) != 3:
        raise damaged_recipe()
    return parse_recipe(parts[2])


def enlarge(array: Array, size_px: int, *, crisp: bool | None = None) -> Array:
    """Scale a picture so that its longer side is `size_px`.

    Args:
        array: uint8 [h, w, c].
        size_px: pixels of the longer side.
        crisp: hard pixels as in pixel art; smooth (Lanczos) if False. None: hard for pictures under 64 px.

    Returns:
        uint8 [h', w', c]; `array` itself if it has that size.
    """
    height, width = array.shape[:2]
    longer = max(height, width)
    if longer == size_px:
        return array
    hard = longer < 64 if crisp is None else crisp
    size = (max(round(width * size_px / longer), 1), max(round(height * size_px / longer), 1))
    scaled = picture(array).resize(size, Image.Resampling.NEAREST if hard else Image.Resampling.LANCZOS)
    return np.asarray(scaled).reshape(size[1], size[0], *array.shape[2:])
