"""Say what a file is that is not a picture, so that a refusal helps."""

from __future__ import annotations

import re

from studio.errors import BadInput

_SIGNATURES: tuple[tuple[bytes, int, str, str], ...] = (
    (b"%!PS", 0, "a PostScript (EPS) drawing", "Export it as PNG."),
    (b"\xc5\xd0\xd3\xc6", 0, "a PostScript (EPS) drawing", "Export it as PNG."),
    (b"%PDF", 0, "a PDF document", "Export its pages as PNG."),
    (b"8BPS", 0, "a Photoshop document", "Export it as PNG."),
    (b"gimp xcf", 0, "a GIMP document", "Export it as PNG."),
    (b"PK\x03\x04", 0, "a zip archive", "Unpack it, or upload it by itself."),
    (b"PK\x05\x06", 0, "an empty zip archive", "Pack the pictures again."),
    (b"Rar!", 0, "a RAR archive", "Unpack it, or pack the pictures as zip."),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", "Unpack it, or pack the pictures as zip."),
    (b"\x1f\x8b", 0, "a gzip archive", "Unpack it, or pack the pictures as zip."),
    (b"ftypheic", 4, "a HEIC photograph, which cannot be read here", "Save it as JPEG first."),
    (b"ftypheix", 4, "a HEIC photograph, which cannot be read here", "Save it as JPEG first."),
    (b"ftypmif1", 4, "a HEIC photograph, which cannot be read here", "Save it as JPEG first."),
    (b"ftyp", 4, "a video", "Save single pictures out of it as PNG."),
    (b"\x1aE\xdf\xa3", 0, "a video", "Save single pictures out of it as PNG."),
    (b"AVI ", 8, "a video", "Save single pictures out of it as PNG."),
    (b"ID3", 0, "a sound file", "Leave it out."),
    (b"WAVE", 8, "a sound file", "Leave it out."),
    (b"\x00\x00\x01\x00", 0, "an icon file", "Save it as PNG."),
    (b"\x00\x00\x00\x0cjP", 0, "a JPEG 2000 picture, which cannot be read here", "Save it as PNG."),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 picture, which cannot be read here", "Save it as PNG."),
    (b"\xff\x0a", 0, "a JPEG XL picture, which cannot be read here", "Save it as PNG."),
    (b"version https://git-lfs", 0, "a pointer to a picture that was not downloaded", "Fetch it with git lfs pull."),
    (b"MZ", 0, "a program", "Leave it out."),
    (b"\x7fELF", 0, "a program", "Leave it out."),
)
SNIFFED_BYTES = 1024
_PICTURE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_PAGE = re.compile(rb"<(!doctype html|html|head|body)[\s>]", re.IGNORECASE)


def what_it_is(content: bytes) -> BadInput | None:
    """The refusal of a file that is no picture, by its first bytes; None if it starts like a picture that we read."""
    start = content[:SNIFFED_BYTES]
    if start.startswith(_PICTURE_STARTS) or start[8:12] == b"WEBP" or start[4:12] in (b"ftypavif", b"ftypavis"):
        return None
    for signature, offset, name, hint in _SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return BadInput(f"This is {name}.", hint)
    if _SVG.search(start):
        return BadInput("This is an SVG drawing, which has no pixels yet.", "Export it as PNG.")
    if _PAGE.search(start):
        return BadInput(
            "This is a web page that was saved under the name of a picture.", "Download the picture itself."
        )
    if _is_text(start):
        return BadInput("This is a text file, not a picture.", "Leave it out.")
    return BadInput("This is not a picture that can be read.", "Save it as PNG or JPEG.")


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8", errors="strict" if len(start) < SNIFFED_BYTES else "ignore")
    except UnicodeDecodeError:
        return False
    return "\x00" not in text and sum(c.isprintable() or c.isspace() for c in text) >= 0.97 * len(text)
