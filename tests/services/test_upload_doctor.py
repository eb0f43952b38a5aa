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
    monkeypatch.setattr(doctor, "_MOST_LOOKED_AT", 2)
    assert doctor.features_of([None] * 3) is None  # type: ignore[list-item]
