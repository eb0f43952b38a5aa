from __future__ import annotations

import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.data.prepare import PrepareSettings
from studio.data.scan import scan
from studio.data.thumbnails import overview
from studio.errors import BadInput, Busy, NoSpace, NotFound, StudioError
from studio.options import from_json
from studio.paths import Home
from studio.services.datasets import Datasets, UploadLimits
from studio.services.jobs import Job, Jobs


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Home(tmp_path / "home").create())


@pytest.fixture
def upload(datasets: Datasets) -> str:
    upload_id = datasets.begin()
    for seed in range(8):
        datasets.add(upload_id, f"pets/{'cats' if seed < 5 else 'dogs'}/{seed}.png", picture(seed))
    return upload_id


def test_an_upload_becomes_a_dataset(datasets: Datasets, upload: str) -> None:
    datasets.add(upload, "pets/dogs/again.png", io.BytesIO(picture(6)))
    datasets.add(upload, "pets/dogs/page.jpg", iter([b"<html>", b"</html>"]))
    datasets.add(upload, "pets/.DS_Store", b"junk")
    status = datasets.jobs.wait(datasets.start_scan(upload), 60)
    assert status["state"] == "done", status
    report = json.loads(json.dumps(status["result"]))
    assert report["count"] == 9 and report["refused_count"] == 1 and report["duplicates_count"] == 1
    assert report["classes"] == [{"name": "cats", "count": 5}, {"name": "dogs", "count": 4}]
    assert report["source"] == "pets" and str(datasets.home.root) not in json.dumps(report)
    assert Image.open(datasets.sheet(upload)).format == "WEBP"
    assert report["overview"] == {"shown": 8, "words": "8 pictures, as the model will see them."}
    settings = {**report["suggested"], "resolution": 32, "classes_from_folders": True}
    info = datasets.prepare(upload, from_json(PrepareSettings, settings), "My pets")
    assert info == datasets.info(info.id)
    assert (info.title, info.count, info.labels) == ("My pets", 8, ("cats", "dogs"))
    assert [one.id for one in datasets.list()] == [info.id]
    datasets.delete(info.id)
    assert datasets.list() == ()
    datasets.restore(info.id)
    assert [one.id for one in datasets.list()] == [info.id]
    assert len(list((datasets.home.uploads / upload / "files").iterdir())) == 10


def test_the_overview_shows_what_will_be_used(datasets: Datasets) -> None:
    upload = datasets.begin()
    for seed in range(6):
        buffer = io.BytesIO()
        Image.new("RGB", (192, 96), (40 * seed, 0, 255)).save(buffer, "PNG")
        datasets.add(upload, f"{seed}.png", buffer.getvalue())
    datasets.scan(upload)
    left_out = datasets.pictures(upload)[0].id

    def corner(**settings: object) -> tuple[int, ...]:
        count = datasets.draw_sheet(upload, PrepareSettings(resolution=64, **settings)).shown
        sheet = Image.open(datasets.sheet(upload)).convert("RGB")
        assert sheet.width == 100 * count - 4
        return sheet.getpixel((8, 8))

    assert corner(fit="crop")[2] > 240 > 20 > corner(fit="crop")[0]
    assert min(corner(fit="pad", background="#ffffff")) > 240
    assert len(set(corner(fit="crop", colour="grey"))) == 1
    datasets.leave_out(upload, [left_out])
    assert corner(fit="crop")[0] == pytest.approx(40, abs=8)


@pytest.mark.parametrize(
    ("resolution", "count", "words"),
    [
        (32, 1, "15 squares of 5 pictures, as the model will see them."),
        (32, 3, "40 of 105 squares of 5 pictures, as the model will see them."),
        (32, 5, "40 of 105 squares of 5 pictures, as the model will see them. More squares along the shorter side change"
                " nothing: they would be smaller than 32 px."),
    ],
)  # fmt: skip
def test_the_overview_says_of_how_many_squares_it_shows_some(
    tmp_path: Path, resolution: int, count: int, words: str
) -> None:
    for seed in range(5):
        Image.new("RGB", (192, 96), (40 * seed, 0, 255)).save(tmp_path / f"{seed}.png")
    settings = PrepareSettings(resolution=resolution, fit="tile", tiles=count)
    assert overview(scan(tmp_path).report, settings).words == words


def test_names_from_outside_never_become_paths(datasets: Datasets) -> None:
    upload_id = datasets.begin()
    for name in ("../../../evil.png", "/etc/evil.png", "C:\\evil.png", "a\x00b.png", "x" * 5000, "."):
        datasets.add(upload_id, name, b"content")
    inside = datasets.home.uploads / upload_id / "files"
    everything = [file for file in datasets.home.root.rglob("*") if file.is_file()]
    assert sorted(file for file in everything if file.name != "manifest.jsonl") == sorted(inside.iterdir())
    assert len(list(inside.iterdir())) == 6
    for bad in ("../x", "", "a/b", ".tmp-1"):
        with pytest.raises(StudioError):
            datasets.add(bad, "a.png", b"x")
        with pytest.raises(StudioError):
            datasets.folder(bad)


def test_a_restart_forgets_nothing(datasets: Datasets, upload: str) -> None:
    manifest = datasets.home.uploads / upload / "manifest.jsonl"
    with open(manifest, "a") as file:
        file.write('{"file": "cut sho')
    again = Datasets(datasets.home)
    assert again.scan(upload)["count"] == 8
    later = Datasets(datasets.home)
    assert later.prepare(upload, PrepareSettings(resolution=32)).count == 8


def test_adding_after_a_line_that_was_cut_short(datasets: Datasets, upload: str) -> None:
    with open(datasets.home.uploads / upload / "manifest.jsonl", "a") as file:
        file.write('{"file": "cut sho')
    again = Datasets(datasets.home)
    assert again.add(upload, "late.png", picture(77))["files"] == 9
    assert Datasets(datasets.home).scan(upload)["count"] == 9


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = Datasets(Home(tmp_path).create(), UploadLimits(files=2, bytes=100))
    upload_id = datasets.begin()
    with pytest.raises(BadInput, match="more than"):
        datasets.add(upload_id, "big.png", io.BytesIO(bytes(101)))
    assert datasets.add(upload_id, "a.png", b"a") == {"files": 1, "bytes": 1}
    datasets.add(upload_id, "b.png", b"b")
    with pytest.raises(BadInput, match="2 files"):
        datasets.add(upload_id, "c.png", b"c")
    assert len(list((tmp_path / "uploads" / upload_id / "files").iterdir())) == 2
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(NoSpace):
        datasets.begin()


def test_many_batches_at_once(datasets: Datasets) -> None:
    upload_id = datasets.begin()

    def send(batch: int) -> None:
        for number in range(20):
            datasets.add(upload_id, f"{batch}/{number}.png", b"x" * batch)

    threads = [threading.Thread(target=send, args=(batch,)) for batch in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert datasets.add(upload_id, ".hidden", b"") == {"files": 100, "bytes": 20 * 15}


def test_a_zip_is_looked_into(datasets: Datasets) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for seed in range(6):
            archive.writestr(f"album/{'a' if seed < 3 else 'b'}/{seed}.png", picture(seed))
    upload_id = datasets.begin()
    datasets.add(upload_id, "album.zip", buffer.getvalue())
    report = datasets.scan(upload_id)
    assert [one["name"] for one in report["classes"]] == ["a", "b"] and report["source"] == "album"
    assert datasets.prepare(upload_id, PrepareSettings(resolution=32)).counts == (3, 3)


def test_two_works_at_once_on_an_upload_are_refused(datasets: Datasets, upload: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold(done: int, total: int) -> None:
        inside.set()
        leave.wait(20)

    thread = threading.Thread(target=datasets.scan, args=(upload, hold))
    thread.start()
    inside.wait(20)
    with pytest.raises(Busy):
        datasets.scan(upload)
    with pytest.raises(Busy):
        datasets.forget_upload(upload)
    leave.set()
    thread.join()
    datasets.forget_upload(upload)
    with pytest.raises(NotFound):
        datasets.scan(upload)


def test_prepare_needs_a_scan(datasets: Datasets, upload: str) -> None:
    with pytest.raises(NotFound, match="not looked at"):
        datasets.prepare(upload, PrepareSettings())


def test_sweeping_keeps_what_is_no_dataset_yet(datasets: Datasets, upload: str) -> None:
    def grow_old(upload_id: str) -> None:
        long_ago = time.time() - 30 * 86_400
        os.utime(datasets.home.uploads / upload_id, (long_ago, long_ago))

    empty = datasets.begin()
    for upload_id in (empty, upload):
        grow_old(upload_id)
    assert datasets.sweep_uploads() == (empty,)
    datasets.scan(upload)
    datasets.prepare(upload, PrepareSettings(resolution=32))
    assert datasets.sweep_uploads() == ()
    grow_old(upload)
    assert datasets.sweep_uploads() == (upload,)


def test_a_job_tells_its_stages_and_result() -> None:
    jobs = Jobs()
    go = threading.Event()

    def work(job: Job) -> dict[str, int]:
        job.stage("one", "Working", total=2)
        job.progress(1, 2)
        go.wait(10)
        return {"answer": 42}

    job_id = jobs.start(work)
    while (status := jobs.status(job_id))["done"] == 0:
        time.sleep(0.001)
    assert (status["state"], status["stage"], status["message"], status["total"]) == ("running", "one", "Working", 2)
    go.set()
    after = jobs.wait(job_id, 10)
    assert after["state"] == "done" and after["result"] == {"answer": 42} and after["version"] > status["version"]


def test_a_job_explains_errors_calmly(caplog: pytest.LogCaptureFixture) -> None:
    jobs = Jobs()

    def refuse(job: Job) -> None:
        raise BadInput("It is wrong.", "Do it right.")

    def crash(job: Job) -> None:
        raise KeyError("/secret/path")

    refused = jobs.wait(jobs.start(refuse), 10)
    assert (refused["state"], refused["error"], refused["hint"]) == ("failed", "It is wrong.", "Do it right.")
    crashed = jobs.wait(jobs.start(crash), 10)
    assert crashed["state"] == "failed" and "secret" not in json.dumps(crashed) and "KeyError" in caplog.text


def test_a_job_can_be_stopped(datasets: Datasets, upload: str) -> None:
    def work(job: Job) -> None:
        while True:
            job.stop_if_cancelled()
            time.sleep(0.001)

    job_id = datasets.jobs.start(work)
    datasets.jobs.cancel(job_id)
    assert datasets.jobs.wait(job_id, 10)["state"] == "cancelled"
    with pytest.raises(NotFound):
        datasets.jobs.status("unknown")
    datasets.jobs.stop()


def test_jobs_that_do_not_stop_are_waited_for_all_together_no_longer_than_said() -> None:
    jobs, end = Jobs(), threading.Event()
    for _ in range(20):
        jobs.start(lambda job: end.wait(60))
    begun = time.monotonic()
    jobs.stop(timeout_seconds=0.5)
    end.set()
    assert 0.5 <= time.monotonic() - begun < 5
