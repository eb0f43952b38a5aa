"""What runs inside the glovebox: a child process that opens pictures and answers with plain facts and pixels.

It is started by `glovebox` with an empty environment, reads requests from its standard input and answers on its
standard output. A frame is the lengths of a JSON header and a payload (unsigned 32-bit, big-endian), then both.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageChops

from studio.confine import limit_memory, processor_budget
from studio.data.cuts import Cut
from studio.data.frames import Film, take_frames
from studio.data.pictures import Opened, read_picture, register_formats
from studio.data.squares import Square, squared
from studio.data.vitals import measured
from studio.errors import BadInput
from studio.options import from_json

LENGTHS = struct.Struct(">II")
_MAX_FRAME_BYTES = 600_000_000
_MEMORY_BYTES = 2_500_000_000
_PROCESSOR_SECONDS = 4.5
_FILM_PROCESSOR_SECONDS = 150.0
_JUDGED_PX = 1024
_ALIKE_PX = 8
_FEW_COLOURS = 64

Reply = tuple[dict[str, Any], bytes]


def send(stream: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Write one frame."""
    text = json.dumps(header).encode()
    stream.write(LENGTHS.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO) -> Reply:
    """Read one frame. Raises EOFError where the other side is gone."""
    header_bytes, payload_bytes = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
    if header_bytes + payload_bytes > _MAX_FRAME_BYTES:
        raise EOFError
    header = json.loads(_exactly(stream, header_bytes))
    return header, _exactly(stream, payload_bytes)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def judge(source: Path | bytes) -> Reply:
    """The facts of one picture, as `scan.Picture` names them, with its vitals (see `vitals.unpacked`).

    Hashes are taken of pictures reduced to about 1024 px: what is equal there is equal to a network of 512 px.
    """
    opened = read_picture(source, at_least_px=_JUDGED_PX)
    vitals, payload = measured(_over_grey(opened.image), opened.width, opened.height)
    return {
        "vitals": vitals,
        "width": opened.width, "height": opened.height, "kind": opened.kind,
        "alpha": opened.image.mode == "RGBA", "grey": _is_grey(opened.image),
        "few_colours": opened.image.getcolors(_FEW_COLOURS) is not None,
        "pixel_hash": _pixel_hash(opened), "difference_hash": _difference_hash(opened.image),
        "tiny": _over_grey(opened.image).resize((_ALIKE_PX, _ALIKE_PX), Image.Resampling.BOX).tobytes().hex(),
    }, payload  # fmt: skip


def film(source: Path | bytes, settings: Film) -> Reply:
    """The frames of a film: their times and sizes, and all of them one after the other as JPEG."""
    frames = take_frames(source, settings)
    header = {"seconds": [frame.seconds for frame in frames], "bytes": [len(frame.jpeg) for frame in frames]}
    return header, b"".join(frame.jpeg for frame in frames)


def shown(source: Path | bytes, side_px: int) -> Reply:
    """A picture of at most `side_px`, as WebP, for the page."""
    image = _over_grey(read_picture(source, at_least_px=side_px).image)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, method=1)
    return {}, buffer.getvalue()


def _pixel_hash(opened: Opened) -> str:
    image = opened.image if opened.image.mode == "RGBA" else opened.image.convert("RGB")
    digest = hashlib.sha256(f"{opened.width} {opened.height} {image.mode} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def _difference_hash(image: Image.Image) -> str:
    """dHash: 64 bits, each "brighter than its right neighbour" on a 9 x 8 grey miniature; as 16 hexadecimal digits."""
    small = _over_grey(image).convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            bits = bits << 1 | (small[9 * row + column] > small[9 * row + column + 1])
    return f"{bits:016x}"


def _over_grey(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    below = Image.new("RGBA", image.size, (128, 128, 128, 255))
    return Image.alpha_composite(below, image).convert("RGB")


def _is_grey(image: Image.Image) -> bool:
    """True where the three colours never differ by more than 8 of 255."""
    if image.mode == "L":
        return True
    red, green, blue = _over_grey(image).split()
    differences = (ImageChops.difference(red, green), ImageChops.difference(green, blue))
    return all(int(str(difference.getextrema()[1])) <= 8 for difference in differences)


def _answer(request: dict[str, Any], payload: bytes) -> Reply:
    source = Path(request["path"]) if "path" in request else payload
    if request["task"] == "judge":
        return judge(source)
    if request["task"] == "film":
        return film(source, from_json(Film, request["film"]))
    if request["task"] == "show":
        return shown(source, int(request["side_px"]))
    return {}, squared(source, from_json(Square, request["square"]), from_json(Cut, request.get("cut", {})))


def _work(requests: BinaryIO, answers: BinaryIO) -> None:
    send(answers, {"ready": True})
    while True:
        try:
            request, payload = receive(requests)
        except EOFError:
            return
        processor_budget(_FILM_PROCESSOR_SECONDS if request["task"] == "film" else _PROCESSOR_SECONDS)
        try:
            header, pixels = _answer(request, payload)
        except BadInput as refusal:
            header, pixels = {"refused": str(refusal)}, b""
        except MemoryError:
            header, pixels = {"refused": "This file needs more memory than there is."}, b""
        processor_budget(0)
        send(answers, header, pixels)


def main() -> None:
    """Serve until the standard input closes."""
    register_formats()
    limit_memory(_MEMORY_BYTES)
    _work(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
