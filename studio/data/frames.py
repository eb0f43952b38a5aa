"""Frames out of one film, inside the glovebox: few containers, few codecs, one thread, and never another file.

What the file says of itself chooses nothing: the container is known by its first bytes, and FFmpeg reads from an open
file and not from an address, so a playlist or a reference to another place leads nowhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, ImageSequence

from studio.data.alike import Signature, are_near
from studio.data.modes import DECODER_ERRORS
from studio.data.pictures import MAX_PIXELS, MIN_SIDE_PX, register_formats
from studio.errors import BadInput
from studio.options import Checked, option

if TYPE_CHECKING:
    from av.video.stream import VideoStream

MAX_FILM_BYTES = 2_000_000_000
MAX_MINUTES = 180
_MAX_FRAME_PIXELS = 36_000_000
_KEY_FRAMES_AFTER_SECONDS = 240.0
_KEY_FRAMES_APART_SECONDS = 5.0
_KEPT_PX = 1024
_MAX_TAKEN_BYTES = 500_000_000
_QUALITY = 93
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mpeg2video", "mjpeg", "prores", "png"})
_ISO_STARTS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_FILM_ENDINGS = (".mp4", ".m4v", ".mov", ".webm", ".mkv")
_ANIMATED_ENDINGS = (".gif", ".webp")
_RESAVE = "Save it as MP4 (H.264), or save single pictures out of it as PNG."


@dataclass(frozen=True, kw_only=True)
class Film(Checked):
    """How films are taken apart; the same fields as in `PrepareSettings`."""

    video_frames: int = option(200, help="At most so many frames of each video.", low=1, high=600)
    video_seconds: float = option(0.0, help="One frame every so many seconds; 0 spreads them evenly.", low=0, high=3600)
    animations: bool = option(False, help="Take animated pictures apart, too.")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One frame: when it is shown, in seconds, and the frame as JPEG."""

    seconds: float
    jpeg: bytes


def container_of(start: bytes) -> str:
    """FFmpeg's name of the container that a file starts as ("mp4" or "matroska"), or "" for what is no film."""
    if start[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    return "mp4" if start[4:8] in _ISO_STARTS and start[8:12] not in _STILL_BRANDS else ""


def named_like_film(label: str, film: Film) -> bool:
    """Whether a name ends as films' do (or as animated pictures', where those are taken apart)."""
    return label.lower().endswith(_FILM_ENDINGS + (_ANIMATED_ENDINGS if film.animations else ()))


def take_frames(source: Path | bytes, film: Film) -> list[Taken]:
    """Frames of one film in their order, none nearly the same as the one before.

    Raises:
        BadInput: no film, one that cannot be decoded, or beyond the limits.
    """
    with open(source, "rb") if isinstance(source, Path) else io.BytesIO(source) as stream:
        start = stream.read(16)
        stream.seek(0)
        if container := container_of(start):
            return _chosen(_decoded(stream, container, film), film)
        if not start.startswith((b"GIF8", b"RIFF")):
            raise BadInput("This is called a film, but it is none that can be read.", _RESAVE)
        return _chosen(_animated(stream), film)


def _chosen(frames: Iterator[tuple[float, Image.Image]], film: Film) -> list[Taken]:
    """A frame every so many seconds; spread evenly, each n-th frame, where n doubles (and every other frame goes)
    whenever there are twice too many."""
    spread = film.video_seconds == 0
    every, due = 1, 0.0
    kept: list[Taken] = []
    last: Signature | None = None
    for place, (seconds, image) in enumerate(frames):
        if place % every or seconds < due:
            continue
        signature = _signature(image)
        if last is not None and are_near(last, signature):
            continue
        last, due = signature, seconds + film.video_seconds
        kept.append(Taken(seconds=seconds, jpeg=_jpeg(image)))
        if not spread and len(kept) == film.video_frames:
            break
        if spread and len(kept) >= 2 * film.video_frames:
            kept, every = kept[::2], 2 * every
        if sum(len(one.jpeg) for one in kept) > _MAX_TAKEN_BYTES:
            raise BadInput("The frames of this film are too large together.", "Take fewer frames, or make it smaller.")
    if not kept:
        raise BadInput("There is no picture in this film.", _RESAVE)
    places = [place * len(kept) // film.video_frames for place in range(min(film.video_frames, len(kept)))]
    return [kept[place] for place in places] if len(kept) > film.video_frames else kept


def _decoded(stream: BinaryIO, container: str, film: Film) -> Iterator[tuple[float, Image.Image]]:
    """The frames of a video with their times. Of long ones only key frames, unless they would lie too far apart."""
    import av

    try:
        with av.open(stream, mode="r", format=container, metadata_errors="ignore") as opened:
            videos = opened.streams.video
            if not videos:
                raise BadInput("There is no picture in this film.", _RESAVE)
            video = videos[0]
            seconds = opened.duration / 1_000_000 if opened.duration else 0.0
            _require_modest(video, seconds)
            video.thread_type = "NONE"
            video.codec_context.thread_count = 1
            close = 0 < film.video_seconds < _KEY_FRAMES_APART_SECONDS
            if seconds > _KEY_FRAMES_AFTER_SECONDS and not close:
                video.codec_context.skip_frame = "NONKEY"
            yield from _pictures(opened.decode(video))
    except (av.FFmpegError, *DECODER_ERRORS) as error:
        raise BadInput("This film is damaged, or of a kind that cannot be read here.", _RESAVE) from error


def _pictures(frames: Iterator[Any]) -> Iterator[tuple[float, Image.Image]]:
    for frame in frames:
        if frame.width * frame.height > _MAX_FRAME_PIXELS:
            raise BadInput("The frames of this film are too large.", "Make it smaller first.")
        scale = max(1, min(frame.width, frame.height) // _KEPT_PX)
        small = frame.reformat(width=frame.width // scale, height=frame.height // scale, format="rgb24")
        yield float(frame.time or 0.0), small.to_image().rotate(getattr(frame, "rotation", 0), expand=True)


def _require_modest(video: VideoStream, seconds: float) -> None:
    context = video.codec_context
    if context.name not in _CODECS:
        raise BadInput(f"This film is coded as {context.name[:20]}, which is not read here.", _RESAVE)
    if seconds > MAX_MINUTES * 60:
        raise BadInput(f"This film is longer than {MAX_MINUTES // 60} hours.", "Cut it shorter first.")
    if context.width * context.height > _MAX_FRAME_PIXELS:
        raise BadInput(
            f"The frames of this film are too large ({context.width} x {context.height}).", "Make it smaller first."
        )
    if min(context.width, context.height) < MIN_SIDE_PX:
        raise BadInput("The frames of this film are tiny.", f"Pictures need {MIN_SIDE_PX} pixels on each side.")


def _animated(stream: BinaryIO) -> Iterator[tuple[float, Image.Image]]:
    """The frames of an animated GIF or WebP, on white."""
    known = tuple(name for name in register_formats() if name in ("GIF", "WEBP"))
    milliseconds = 0.0
    try:
        with Image.open(stream, formats=known) as image:
            if image.width * image.height > MAX_PIXELS or min(image.size) < MIN_SIDE_PX:
                raise BadInput("This animation is too large, or tiny.", "Save single pictures out of it as PNG.")
            for frame in ImageSequence.Iterator(image):
                paper = Image.new("RGBA", frame.size, "white")
                yield milliseconds / 1000, Image.alpha_composite(paper, frame.convert("RGBA")).convert("RGB")
                milliseconds += float(frame.info.get("duration", 0) or 0)
    except (Image.DecompressionBombError, *DECODER_ERRORS) as error:
        raise BadInput("This is no animation that can be read.", "Save single pictures out of it as PNG.") from error


def _signature(image: Image.Image) -> Signature:
    small = image.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()
    bits = [small[9 * row + column] > small[9 * row + column + 1] for row in range(8) for column in range(8)]
    number = sum(bit << place for place, bit in enumerate(bits))
    return Signature(difference_hash=number, tiny=image.resize((8, 8), Image.Resampling.BOX).tobytes())


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
