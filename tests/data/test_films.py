"""Films become pictures: evenly spread frames, none nearly twice, in a child that never reads another file."""

from __future__ import annotations

import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.data.frames import Film, container_of, take_frames
from studio.data.scan import scan
from studio.errors import BadInput

av = pytest.importorskip("av")


def make_film(path: Path, noise, scenes: int = 10, frames_each: int = 5, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for scene in range(scenes):
            for _ in range(frames_each):
                pixels = np.asarray(noise(scene, 96, 64))
                film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.webm", "libvpx")])
def test_every_scene_once_and_in_order(name: str, codec: str, tmp_path: Path, noise) -> None:
    taken = take_frames(make_film(tmp_path / name, noise, codec=codec), Film())
    assert 9 <= len(taken) <= 12
    seconds = [frame.seconds for frame in taken]
    assert seconds == sorted(seconds) and seconds[0] < 0.2 and seconds[-1] > 1.5


def test_at_most_so_many_evenly_spread_or_every_so_many_seconds(tmp_path: Path, noise) -> None:
    film = make_film(tmp_path / "a.mp4", noise, scenes=30, frames_each=2)
    few = [frame.seconds for frame in take_frames(film, Film(video_frames=6))]
    assert 4 <= len(few) <= 6 and few[-1] > 1.4 and max(np.diff(few)) < 3 * min(np.diff(few))
    timed = [frame.seconds for frame in take_frames(film, Film(video_seconds=0.4))]
    assert len(timed) == 6 and min(np.diff(timed)) >= 0.4 and max(np.diff(timed)) < 0.6
    assert [frame.seconds for frame in take_frames(film, Film(video_frames=4, video_seconds=0.4))] == timed[:4]


def test_a_film_among_pictures_is_scanned_and_its_frames_are_kept(tmp_path: Path, folder: Path, noise) -> None:
    make_film(folder / "cats" / "walk.mp4", noise)
    before = scan(folder).report
    assert [refusal.file for refusal in before.refused] == ["cats/walk.mp4"] and "video" in before.refused[0].reason
    report = scan(folder, frames=tmp_path / "frames").report
    assert report.films == ("cats/walk.mp4",) and report.refused == ()
    frames = [picture for picture in report.pictures if "walk.mp4" in picture.place.label]
    assert len(frames) >= 9 and {picture.folder for picture in frames} == {"cats"}
    kept = list((tmp_path / "frames").iterdir())
    assert len(kept) == 1 and Path(frames[0].place.path) == kept[0]
    written = kept[0].stat().st_mtime_ns
    assert scan(folder, frames=tmp_path / "frames").report == report and kept[0].stat().st_mtime_ns == written


def test_a_film_alone_and_a_film_in_a_zip(tmp_path: Path, noise) -> None:
    film = make_film(tmp_path / "walk.mp4", noise)
    assert len(scan(film, frames=tmp_path / "frames").report.pictures) >= 9
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(film, "inner/walk.mp4")
    report = scan(tmp_path / "a.zip", frames=tmp_path / "frames").report
    assert len(report.pictures) >= 9 and report.films == ("inner/walk.mp4",)


def test_animations_are_films_only_if_wanted(tmp_path: Path, noise) -> None:
    for seed in range(5):
        pages = [noise(10 * seed + page) for page in range(4)]
        pages[0].save(tmp_path / f"{seed}.gif", save_all=True, append_images=pages[1:], duration=100)
    assert len(scan(tmp_path).report.pictures) == 5
    report = scan(tmp_path, film=Film(animations=True), frames=tmp_path.parent / "frames").report
    assert len(report.pictures) == 20 and len(report.films) == 5


@pytest.mark.parametrize("harm", ["cut", "empty box", "text", "playlist", "noise"])
def test_what_is_no_film_is_refused_with_a_sentence(harm: str, tmp_path: Path, folder: Path, noise) -> None:
    whole = make_film(tmp_path / "a.mp4", noise).read_bytes()
    content = {
        "cut": whole[:400],
        "empty box": b"\x00\x00\x00\x18ftypisom" + bytes(40),
        "text": b"\x1aE\xdf\xa3 and nothing else",
        "playlist": b"\x00\x00\x00\x18ftyp#EXTM3U\nfile:///etc/passwd\n",
        "noise": whole[:64] + np.random.default_rng(0).bytes(3000),
    }[harm]
    (folder / "bad.mp4").write_bytes(content)
    report = scan(folder, frames=tmp_path / "frames").report
    assert len(report.pictures) == 8 and [refusal.file for refusal in report.refused] == ["bad.mp4"]
    assert len(report.refused[0].reason) > 20 and "Error" not in report.refused[0].reason


def test_a_codec_that_nobody_needs_is_not_decoded(tmp_path: Path, noise) -> None:
    film = make_film(tmp_path / "a.mkv", noise, codec="ffv1")
    with pytest.raises(BadInput, match="ffv1"):
        take_frames(film, Film())


def test_containers_by_their_first_bytes(encoded) -> None:
    assert container_of(b"\x00\x00\x00\x18ftypisom") == "mp4" and container_of(b"\x1aE\xdf\xa3") == "matroska"
    assert container_of(b"\x00\x00\x00\x18ftypavif") == "" and container_of(encoded(Image.new("L", (8, 8)))[:16]) == ""
