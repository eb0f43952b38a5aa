"""Findings and choices are kept with an upload, belong to it, and reach the plan and the dataset."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.data.prepare import PrepareSettings
from studio.errors import BadInput, NotFound
from studio.paths import Home
from studio.services import doctor
from studio.services.datasets import Datasets


def view(seed: int) -> bytes:
    low = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(low).resize((80, 64), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Home(tmp_path / "home"))


@pytest.fixture
def upload(datasets: Datasets) -> str:
    upload = datasets.begin()
    for seed in range(8):
        datasets.add(upload, f"{seed}.png", view(seed))
    datasets.add(upload, "blank.png", _blank())
    datasets.scan(upload)
    return upload


def _blank() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_scan_leaves_findings_and_thumbnails_and_a_restart_keeps_them(datasets: Datasets, upload: str) -> None:
    (finding,) = datasets.examine(upload)
    assert finding.topic == "blank"
    assert datasets.thumb(upload, finding.pictures[0]).is_file()
    large = datasets.thumb(upload, datasets.pictures(upload)[0].id, large=True)
    assert Image.open(large).size == (80, 64)
    datasets.leave_out(upload, finding.leave_out)
    again = Datasets(datasets.home)
    assert again.examine(upload) == (finding,) and again.choices(upload).left_out == finding.leave_out


def test_leaving_out_and_taking_back_change_count_and_dataset(datasets: Datasets, upload: str) -> None:
    settings = PrepareSettings(resolution=32)
    (finding,) = datasets.examine(upload)
    assert datasets.count(upload, settings) == 9
    datasets.leave_out(upload, finding.leave_out)
    assert datasets.count(upload, settings) == datasets.prepare(upload, settings).count == 8
    assert datasets.take_back(upload, finding.leave_out).left_out == ()
    assert datasets.count(upload, settings) == 9


def test_a_square_by_hand_is_kept_and_given_back(datasets: Datasets, upload: str) -> None:
    id = datasets.pictures(upload)[2].id
    assert datasets.crop(upload, id, (0.0, 0.0, 0.5, 0.625)).squares == {id: (0.0, 0.0, 0.5, 0.625)}
    with pytest.raises(BadInput):
        datasets.crop(upload, id, (0.5, 0.5, 2.0, 2.0))
    assert datasets.crop(upload, id, None).squares == {}


@pytest.mark.parametrize("id", ["0" * 16, "../report", ""])
def test_other_pictures_are_not_there(datasets: Datasets, upload: str, id: str) -> None:
    for attempt in (
        lambda: datasets.leave_out(upload, [id]),
        lambda: datasets.crop(upload, id, None),
        lambda: datasets.thumb(upload, id),
        lambda: datasets.thumb(upload, id, large=True),
    ):
        with pytest.raises((NotFound, BadInput)):
            attempt()


def test_before_a_scan_there_is_nothing_to_choose(datasets: Datasets) -> None:
    upload = datasets.begin()
    assert datasets.examine(upload) == ()
    with pytest.raises(NotFound):
        datasets.leave_out(upload, ["a"])


def test_the_command_line_hears_of_findings_and_of_films(datasets: Datasets, tmp_path: Path) -> None:
    for seed in range(8):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{seed}.png").write_bytes(view(seed))
    (tmp_path / "in" / "copy.png").write_bytes(view(0))
    heard: list[str] = []
    _, settings, _ = datasets.look(tmp_path / "in", {"video_frames": 9, "fit": "focus"}, tell=heard.append)
    place = heard.index("copies: 1 picture is an exact copy of another. Mended: keep one of each.")
    assert heard[place + 1] == "  0.png, copy.png"
    assert settings.film.video_frames == 9 and settings.fit == "focus"


def test_features_stop_when_told_and_for_very_many(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MOST_SORTED", 2)
    assert doctor.features_of([None] * 3) is None  # type: ignore[list-item]


def plain(colour: str, number: int) -> bytes:
    """A picture of nearly one colour, unlike all others."""
    image = Image.new("RGB", (64, 64), colour)
    image.paste("white" if number % 2 else "black", (4 * number, 8, 4 * number + 6, 56))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def mixed(datasets: Datasets) -> str:
    """Twelve red pictures and twelve blue ones, in folders that say nothing of it."""
    upload = datasets.begin()
    for number in range(12):
        for colour in ("#c01818", "#2040d0"):
            datasets.add(upload, f"{number % 2}/{colour[1:]}-{number}.png", plain(colour, number))
    datasets.scan(upload)
    return upload


def test_pictures_are_sorted_into_kinds_by_their_looks_instead_of_folders(datasets: Datasets, mixed: str) -> None:
    info = datasets.prepare(mixed, PrepareSettings(resolution=32, kinds=2))
    assert info.labels == ("kind 1", "kind 2") and info.counts == (12, 12)
    folder = datasets.folder(info.id)
    labels, pixels = np.load(folder / "labels.npy"), np.load(folder / "pixels.npy")
    reds = pixels[..., 0].mean(axis=(1, 2)) > pixels[..., 2].mean(axis=(1, 2))
    assert len(set(zip(labels.tolist(), reds.tolist(), strict=True))) == 2
    assert datasets.prepare(mixed, PrepareSettings(resolution=32)).labels == ("0", "1")


def test_the_overview_shows_some_of_each_kind_and_says_how_many_there_are(datasets: Datasets, mixed: str) -> None:
    drawn = datasets.draw_sheet(mixed, PrepareSettings(resolution=32, kinds=2))
    assert drawn.shown == 10 and drawn.words == "10 of 24 pictures in 2 kinds, as the model will see them."
    few = datasets.draw_sheet(mixed, PrepareSettings(resolution=32, kinds=24))
    assert "in 6 kinds" in few.words, "at least four pictures make a kind"


def test_too_few_pictures_for_kinds_have_no_classes(datasets: Datasets) -> None:
    upload = datasets.begin()
    for number in range(7):
        datasets.add(upload, f"{number % 2}/{number}.png", plain("#c01818", number))
    datasets.scan(upload)
    settings = PrepareSettings(resolution=32, kinds=3)
    assert datasets.draw_sheet(upload, settings).words == "7 pictures, as the model will see them."
    assert datasets.prepare(upload, settings).labels == ()


def test_what_was_not_looked_at_cannot_be_sorted(datasets: Datasets, mixed: str) -> None:
    (datasets.home.uploads / mixed / "looks.npy").unlink()
    with pytest.raises(BadInput, match="cannot be sorted") as caught:
        datasets.prepare(mixed, PrepareSettings(resolution=32, kinds=2))
    assert "anew" in caught.value.hint


def test_the_command_line_sorts_into_kinds(datasets: Datasets, tmp_path: Path) -> None:
    for number in range(8):
        for colour in ("#c01818", "#2040d0"):
            (tmp_path / f"{colour[1:]}-{number}.png").write_bytes(plain(colour, number))
    heard: list[str] = []
    info = datasets.prepare_here(tmp_path, {"resolution": 32, "kinds": 2}, tell=heard.append)
    assert info.counts == (8, 8) and heard[-1] == "Prepared 16 pictures in 2 classes at 32 px."
