"""Films are decoded again: frames, counts, metadata; a stopped or failed one leaves nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput, NoSpace
from studio.media import video
from studio.media.provenance import DIGITAL_SOURCE_TYPE, Mark
from studio.media.stills import Array, read_recipe
from studio.media.video import write_mp4, write_webp

RECIPE = {"timeline": [{"seed": 1}, {"seed": 2}], "note": 'é "<&>'}
WRITERS = pytest.mark.parametrize("write", [write_mp4, write_webp])


def still(index: int, channels: int = 3, size: tuple[int, int] = (32, 32)) -> Array:
    """A plain colour that changes from frame to frame."""
    colour = (20 + 10 * index, 200 - 10 * index, 90, 255)[:channels]
    return np.broadcast_to(np.array(colour, np.uint8), (*size, channels)).copy()


def film(count: int, channels: int = 3, size: tuple[int, int] = (32, 32)) -> Iterator[Array]:
    return (still(index, channels, size) for index in range(count))


def decoded(path: Path) -> list[Array]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_mp4_comes_back_with_its_frames(tmp_path: Path) -> None:
    path, seen = tmp_path / "film.mp4", list[int]()
    assert write_mp4(film(12), path, 24, size_px=128, progress=seen.append)
    frames = decoded(path)
    assert len(frames) == 12 and seen == list(range(1, 13))
    for index, frame in enumerate(frames):
        assert frame.shape == (128, 128, 3)
        assert np.abs(frame.astype(int) - still(index, size=(128, 128))).max() < 9
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 24 and stream.codec_context.colorspace == 1
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index must come first"


def test_mp4_is_marked_and_holds_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_mp4(film(3), path, 30, mark=Mark(title="Slow sea", model="waves", recipe=RECIPE))
    with av.open(str(path)) as container:
        tags = container.metadata
    assert tags["title"] == "Slow sea"
    assert DIGITAL_SOURCE_TYPE in tags["comment"] and "machine" in tags["comment"] and "waves" in tags["comment"]
    data = path.read_bytes()
    assert b"xmpmeta" in data and read_recipe(data) == RECIPE
    write_mp4(film(3), path, 30)
    assert b"trainedAlgorithmicMedia" in path.read_bytes()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(15, 21), (70, 64)])
def test_mp4_takes_odd_sizes_and_all_channels(tmp_path: Path, channels: int, size: tuple[int, int]) -> None:
    path = tmp_path / "film.mp4"
    assert write_mp4(film(3, channels, size), path, 12.5, size_px=64)
    height, width = (side * max(64 // max(size), 1) for side in size)
    frames = decoded(path)
    assert [frame.shape for frame in frames] == [(height + height % 2, width + width % 2, 3)] * 3


def test_mp4_composites_transparency_on_the_background(tmp_path: Path) -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    write_mp4([clear, clear], tmp_path / "film.mp4", 10, background=(200, 100, 50))
    assert np.abs(decoded(tmp_path / "film.mp4")[1].astype(int) - (200, 100, 50)).max() < 8


def test_webp_comes_back_with_its_frames_and_times(tmp_path: Path) -> None:
    path = tmp_path / "film.webp"
    assert write_webp(film(10), path, 30, size_px=64, quality=95, mark=Mark(title="Sea", recipe=RECIPE))
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (10, (64, 64), 0)
        shown_ms = 0
        for index in range(10):
            image.seek(index)
            frame = np.asarray(image.convert("RGB")).astype(int)
            assert np.abs(frame - still(index, size=(64, 64))).max() < 9
            shown_ms += image.info["duration"]
        assert shown_ms == 333
        assert DIGITAL_SOURCE_TYPE.encode() in image.info["xmp"]
    assert read_recipe(path.read_bytes()) == RECIPE


def test_webp_keeps_transparency(tmp_path: Path) -> None:
    frames = list(film(3, channels=4))
    for frame in frames:
        frame[:, :16, 3] = 0
    write_webp(frames, tmp_path / "film.webp", 10)
    with Image.open(tmp_path / "film.webp") as image:
        alpha = np.asarray(image.convert("RGBA"))[:, :, 3]
    assert (alpha[:, :120] == 0).all() and (alpha[:, 136:] == 255).all()


def test_webp_beyond_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_MOST_WEBP_BYTES", 20_000)
    with pytest.raises(BadInput, match="too long"):
        write_webp(film(10), tmp_path / "film.webp", 10, size_px=32)
    assert list(tmp_path.iterdir()) == []


@WRITERS
def test_cancel_leaves_what_was_there(tmp_path: Path, write: Any) -> None:
    path, seen = tmp_path / "film", list[int]()
    path.write_bytes(b"the old film")
    assert not write(film(50), path, 24, progress=seen.append, cancelled=lambda: len(seen) >= 5)
    assert seen == [1, 2, 3, 4, 5]
    assert [file.name for file in tmp_path.iterdir()] == ["film"] and path.read_bytes() == b"the old film"


@WRITERS
@pytest.mark.parametrize("count", [1, 4])
def test_cancel_at_the_first_and_after_the_last_frame(tmp_path: Path, write: Any, count: int) -> None:
    assert not write(film(count), tmp_path / "film", 24, cancelled=lambda: True)
    seen = list[int]()
    assert not write(film(count), tmp_path / "film", 24, progress=seen.append, cancelled=lambda: len(seen) == count)
    assert list(tmp_path.iterdir()) == []


@WRITERS
def test_a_failing_painter_leaves_nothing_and_is_heard(tmp_path: Path, write: Any) -> None:
    def painter() -> Iterator[Array]:
        yield from film(3)
        raise RuntimeError("out of paint")

    with pytest.raises(RuntimeError, match="out of paint"):
        write(painter(), tmp_path / "film", 24)
    assert list(tmp_path.iterdir()) == []


@WRITERS
def test_no_frames_is_a_sentence(tmp_path: Path, write: Any) -> None:
    with pytest.raises(BadInput, match="no frames"):
        write([], tmp_path / "film", 24)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_are_our_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in a film of"):
        write_mp4([*film(2), *film(1, size=(32, 16))], tmp_path / "film.mp4", 24)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_whoever_meets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_encoder(*_: Any) -> None:
        raise av.error.OSError(errno.ENOSPC, "No space left on device")

    for name, failure in (("put_in_place", full), ("_append_xmp", full), ("_encode", full_encoder)):
        with monkeypatch.context() as patch:
            patch.setattr(video, name, failure)
            with pytest.raises(NoSpace, match="disk is full"):
                write_mp4(film(2), tmp_path / "film.mp4", 24)
        assert list(tmp_path.iterdir()) == []


@WRITERS
def test_a_missing_folder_is_not_taken_for_a_full_disk(tmp_path: Path, write: Any) -> None:
    with pytest.raises(FileNotFoundError):
        write(film(2), tmp_path / "nowhere" / "film", 24)
