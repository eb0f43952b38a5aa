"""Films from an iterator of frames, written beside their place and put there when complete.

A caller can watch (`progress`) and stop (`cancelled`) between any two frames; a film that was stopped leaves nothing.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from studio.errors import BadInput, NoSpace
from studio.media.provenance import Mark, film_tags, xmp_packet
from studio.media.stills import Array, Colour, enlarge, opaque, picture
from studio.paths import explain_disk, put_in_place, temporary_beside, write_file

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_BT709 = 1
_XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
"""The box that ISO 16684-3 sets aside for XMP in MP4."""

_MOST_WEBP_BYTES = 600_000_000
"""Pillow takes the frames of an animated WebP all at once."""


class _Cancelled(Exception):
    """Nobody wants the film any more."""


def _nothing(_: int) -> None:
    return None


def _never() -> bool:
    return False


def write_mp4(
    frames: Iterable[Array],
    path: Path,
    fps: float,
    *,
    size_px: int = 512,
    mark: Mark | None = None,
    background: Colour = (0, 0, 0),
    progress: Callable[[int], None] = _nothing,
    cancelled: Callable[[], bool] = _never,
) -> bool:
    """An H.264 film (yuv420p, BT.709, index in front) that every browser plays.

    Args:
        frames: uint8 [h, w, c], all of one size; drawn one at a time.
        path: where the film shall be; an older one stays until the new one is complete.
        fps: frames a second.
        size_px: smaller pictures are enlarged by the largest whole factor that keeps within it.
        mark: title, model and recipe; what says that a machine made it is always written.
        background: RGB behind transparent pictures.
        progress: called with the number of frames written so far.
        cancelled: asked before each frame; True stops.

    Returns:
        True if the film is in place, False if it was cancelled.

    Raises:
        BadInput: no frames.
        NoSpace: the disk is full.
    """
    mark = mark or Mark()
    wanted = _until(cancelled, _enlarged(frames, size_px))
    temporary = temporary_beside(path)
    try:
        _encode((_even(frame, background) for frame in wanted), temporary, fps, mark, progress)
        _append_xmp(temporary, mark)
        put_in_place(temporary, path)
        return True
    except _Cancelled:
        return False
    except (OSError, av.FFmpegError) as error:
        raise _explain(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_webp(
    frames: Iterable[Array],
    path: Path,
    fps: float,
    *,
    size_px: int = 256,
    quality: int = 80,
    mark: Mark | None = None,
    progress: Callable[[int], None] = _nothing,
    cancelled: Callable[[], bool] = _never,
) -> bool:
    """An animated WebP that loops for ever and keeps transparency; for short films. Arguments as in `write_mp4`.

    Raises:
        BadInput: no frames, or more than memory should hold.
        NoSpace: the disk is full.
    """
    try:
        pictures = _collect(_until(cancelled, _enlarged(frames, size_px)), progress)
    except _Cancelled:
        return False
    ticks = [round(index * 1000 / fps) for index in range(len(pictures) + 1)]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=[after - before for before, after in pairwise(ticks)],
        loop=0,
        quality=quality,
        method=2,
        xmp=xmp_packet(mark or Mark()),
    )
    data = buffer.getvalue()
    write_file(path, _with_alpha_flag(data) if pictures[0].mode == "RGBA" else data)
    return True


def _with_alpha_flag(data: bytes) -> bytes:
    """Set "has transparency" in the extended header (chunk VP8X, first of its flags). The encoder forgets it when it
    cuts every frame down to an opaque part of the canvas, and readers then show black where nothing is."""
    if data[12:16] != b"VP8X":
        return data
    return data[:20] + bytes([data[20] | 0x10]) + data[21:]


def _enlarged(frames: Iterable[Array], size_px: int) -> Iterator[Array]:
    """Each frame by a whole factor, hard or smooth as `enlarge` decides."""
    for frame in frames:
        longer = max(frame.shape[:2])
        yield enlarge(frame, longer * max(size_px // longer, 1))


def _until(cancelled: Callable[[], bool], frames: Iterable[Array]) -> Iterator[Array]:
    """The frames, each after a look at `cancelled`, and one more look at the end."""
    for frame in frames:
        if cancelled():
            raise _Cancelled
        yield frame
    if cancelled():
        raise _Cancelled


def _even(frame: Array, background: Colour) -> Array:
    """RGB with even sides, as yuv420p halves the colour planes: odd sides repeat their last row or column."""
    colours = np.asarray(opaque(frame, background).convert("RGB"))
    height, width = colours.shape[:2]
    return np.pad(colours, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _collect(frames: Iterable[Array], progress: Callable[[int], None]) -> list[Image.Image]:
    """All frames as pictures, while they fit into memory."""
    pictures: list[Image.Image] = []
    size_bytes = 0
    for count, frame in enumerate(frames, start=1):
        pictures.append(picture(frame))
        size_bytes += frame.nbytes
        if size_bytes > _MOST_WEBP_BYTES:
            raise BadInput("This film is too long for an animated WebP.", "Save it as MP4, or make it smaller.")
        progress(count)
    if not pictures:
        raise _no_frames()
    return pictures


def _encode(frames: Iterator[Array], path: Path, fps: float, mark: Mark, progress: Callable[[int], None]) -> None:
    first = next(frames, None)
    if first is None:
        raise _no_frames()
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        film.metadata.update(film_tags(mark))
        stream = _video_stream(film, fps, first)
        for count, frame in enumerate(chain([first], frames), start=1):
            film.mux(stream.encode(_yuv(frame, first.shape)))
            progress(count)
        film.mux(stream.encode(None))


def _video_stream(film: OutputContainer, fps: float, first: Array) -> VideoStream:
    options = {"crf": "17", "preset": "fast"}
    stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
    stream.height, stream.width = first.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace = _BT709
    stream.codec_context.color_primaries = _BT709
    stream.codec_context.color_trc = _BT709
    stream.codec_context.color_range = ColorRange.MPEG
    return stream


def _yuv(frame: Array, shape: tuple[int, ...]) -> av.VideoFrame:
    if frame.shape != shape:
        raise ValueError(f"a frame of {frame.shape} in a film of {shape}")
    return av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _append_xmp(path: Path, mark: Mark) -> None:
    """A box after all others; players skip what they do not know. The file is then safe on the disk."""
    content = _XMP_BOX.bytes + xmp_packet(mark)
    with open(path, "ab") as file:
        file.write((8 + len(content)).to_bytes(4, "big") + b"uuid" + content)
        file.flush()
        os.fsync(file.fileno())


def _explain(error: OSError | av.FFmpegError, path: Path) -> Exception:
    """The plain sentence for a full disk, whichever library met it; any other error as it is."""
    met = explain_disk(error if isinstance(error, OSError) else OSError(error.errno, str(error)), path)
    return met if isinstance(met, NoSpace) else error


def _no_frames() -> BadInput:
    return BadInput("This film has no frames.", "Give it at least one keyframe and a length above zero.")
