"""What a run leaves on its way: the film, a stage on the shelf, training pictures, and two runs compared."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput, NotFound
from studio.media.provenance import DIGITAL_SOURCE_TYPE
from studio.media.stills import read_recipe
from studio.paths import Home
from studio.services.policy import Policy
from studio.services.stages import GrowthSettings
from studio.services.studio import Studio
from studio.training import events
from tests.making_runs import COLUMNS, ROWS, make_dataset, make_run

SHORT = GrowthSettings(seconds=5, fps=10, size_px=192)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    built = Studio(Home(tmp_path / "home"), Policy())
    make_dataset(built.home)
    make_run(built.home, "moths")
    return built


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def test_a_run_becomes_a_film_that_is_its_owners_and_says_what_made_it(studio: Studio) -> None:
    status = studio.jobs.wait(studio.stages.start_film("me", "moths", SHORT), 60)
    assert (status["state"], status["done"], status["total"]) == ("done", 50, 50)
    path = studio.exports.file("me", status["result"])
    frames = decoded(path)
    assert len(frames) == 50 and frames[0].shape == (128, 192, 3)
    first, last = (np.asarray(Image.open(studio.home.runs / f"moths/previews/{name}.webp").convert("RGB").resize((192, 128), 0))
                   for name in ("00000100", "00000500"))  # fmt: skip
    assert np.abs(frames[0].astype(int) - first).mean() < 6 and np.abs(frames[-1].astype(int) - last).mean() < 6
    data = path.read_bytes()
    assert DIGITAL_SOURCE_TYPE.encode() in data
    assert (read_recipe(data) or {})["run"] == "moths"
    with pytest.raises(NotFound):
        studio.exports.file("somebody", status["result"])


def test_a_film_of_chosen_seeds_and_of_ones_that_are_not_there(studio: Studio, tmp_path: Path) -> None:
    chosen = GrowthSettings(seconds=5, fps=10, size_px=128, seeds=(1,))
    studio.stages.write_film("moths", chosen, tmp_path / "film.mp4", report=lambda done, total: None)
    assert decoded(tmp_path / "film.mp4")[0].shape == (128, 128, 3)
    with pytest.raises(BadInput, match="seed 77"):
        studio.stages.start_film("me", "moths", GrowthSettings(seeds=(77,)))
    with pytest.raises(NotFound):
        studio.stages.start_film("me", "nothing", SHORT)
    with pytest.raises(BadInput, match="Length"):
        GrowthSettings(seconds=300)


def test_a_cancelled_film_leaves_nothing(studio: Studio) -> None:
    job = studio.stages.start_film("me", "moths", GrowthSettings(seconds=30, fps=60, size_px=2160))
    studio.jobs.cancel(job)
    assert studio.jobs.wait(job, 60)["state"] == "cancelled"
    assert not [path for path in studio.home.exports.iterdir() if path.suffix == ".mp4"]


def test_a_run_without_pictures_has_no_film(studio: Studio) -> None:
    make_run(studio.home, "young", stages=0 + 1)
    (studio.home.runs / "young" / "events.jsonl").write_bytes(b"")
    with pytest.raises(BadInput, match="no pictures yet"):
        studio.stages.start_film("me", "young", SHORT)


def test_what_a_rollback_undid_is_not_in_the_film(studio: Studio) -> None:
    log = studio.home.runs / "moths" / "events.jsonl"
    again = events.Preview(file="00000200.webp", seeds=tuple(range(6)), rows=ROWS, columns=COLUMNS, size_px=32,
                           step=200, kimg=2.0, seconds=60.0)  # fmt: skip
    log.write_bytes(log.read_bytes() + events.to_line(again, 1_700_002_000.0))
    assert [file.name for file in studio.stages._sheets("moths", ()).files] == ["00000100.webp", "00000200.webp"]


def test_a_name_in_the_log_leads_nowhere_else(studio: Studio, tmp_path: Path) -> None:
    log = studio.home.runs / "moths" / "events.jsonl"
    outside = tmp_path / "outside.webp"
    Image.new("RGB", (96, 64)).save(outside)
    bad = {"event": "preview", "file": f"../../../{outside.name}", "seeds": list(range(6)), "rows": ROWS,
           "columns": COLUMNS, "size_px": 32, "step": 900, "kimg": 9.0, "seconds": 90.0}  # fmt: skip
    log.write_bytes(log.read_bytes() + json.dumps(bad).encode() + b"\n")
    assert outside.resolve() not in [file.resolve() for file in studio.stages._sheets("moths", ()).files]


def test_a_stage_goes_to_the_shelf_and_back(studio: Studio) -> None:
    model = studio.stages.keep("moths", 300)
    entry = studio.shelf.entry(model)
    assert entry.card is not None and not entry.problem and not entry.shipped
    assert entry.card.id == model and entry.title.startswith("Moths")
    source = studio.runs.snapshot_folder("moths", 300)
    assert (entry.folder / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert studio.stages.keep("moths", 300, " A  name ") != model
    assert {"A name"} <= {one.title for one in studio.shelf.list()}
    studio.shelf.delete(model)
    assert model not in {one.id for one in studio.shelf.list()} and source.is_dir()
    with pytest.raises(NotFound):
        studio.stages.keep("moths", 301)
    assert not [path for path in studio.home.models.iterdir() if path.name.startswith(".tmp")]


def test_the_nearest_training_picture_is_shown_and_nothing_else(studio: Studio) -> None:
    picture = Image.open(io.BytesIO(studio.stages.training_picture("moths", 3)))
    pixels = np.load(studio.home.datasets / "shapes" / "pixels.npy")
    assert picture.size == (32, 32)
    assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - pixels[3]).mean() < 12
    assert Image.open(io.BytesIO(studio.stages.training_picture("moths", 3, 64))).size == (64, 64)
    for place in (-1, 12, 10**9):
        with pytest.raises(NotFound):
            studio.stages.training_picture("moths", place)
    with pytest.raises(NotFound):
        studio.stages.training_picture("nothing", 0)


def test_pictures_that_were_changed_since_are_not_taken_for_the_old_ones(studio: Studio) -> None:
    make_run(studio.home, "older", dataset_fingerprint="another")
    with pytest.raises(BadInput, match="changed"):
        studio.stages.training_picture("older", 0)


def test_two_runs_differ_in_words(studio: Studio) -> None:
    make_run(studio.home, "other", title="Other", batch=32, mirror=True)
    told = {one.label: (one.here, one.there) for one in studio.stages.differences("moths", "other")}
    assert told == {"Batch (pictures)": ("16", "32"), "Mirror": ("no", "yes")}
    assert studio.stages.differences("moths", "moths") == ()
    with pytest.raises(NotFound):
        studio.stages.differences("moths", "nothing")
