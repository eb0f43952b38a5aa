from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.data.dataset import open_dataset
from studio.data.info import read_info
from studio.data.prepare import PrepareSettings, prepare, suggest
from studio.data.progress import Cancelled
from studio.data.scan import scan
from studio.data.squares import Square, square_image, squared
from studio.errors import BadInput, Damaged, NoSpace, NotFound
from studio.options import from_json, to_json


def test_a_folder_becomes_a_dataset(folder: Path, tmp_path: Path, noise, encoded) -> None:
    exif = Image.Exif()
    exif[0x013B] = "the artist's secret name"
    (folder / "dogs" / "exif.png").write_bytes(encoded(noise(90), exif=exif))
    (folder / "dogs" / "same.png").write_bytes(encoded(noise(5)))
    report = scan(folder).report
    seen: list[tuple[int, int]] = []
    info = prepare(report, PrepareSettings(resolution=32, mirror=True), tmp_path / "sets" / "one", "Pets",
                   lambda done, total: seen.append((done, total)))  # fmt: skip
    made = tmp_path / "sets" / "one"
    assert [file.name for file in made.parent.iterdir()] == ["one"]
    assert {file.name for file in made.iterdir()} == {"dataset.json", "pixels.npy", "labels.npy", "sheet.webp"}
    assert read_info(made) == info and info.mirror and info.title == "Pets" and info.id == "one"
    assert (info.count, info.labels, info.counts) == (9, ("cats", "dogs"), (5, 4))
    assert not any(b"secret name" in file.read_bytes() for file in made.iterdir())
    assert seen[0] == (0, 9) and seen[-1] == (9, 9)
    dataset = open_dataset(made)
    pictures, classes = dataset.batch([0, 8, 0])
    assert tuple(pictures.shape) == (3, 3, 32, 32) and classes.tolist() == [0, 1, 0] and len(dataset) == 9
    expected = np.frombuffer(squared(folder / "cats" / "0.png", PrepareSettings(resolution=32).square), np.uint8)
    assert np.array_equal(pictures[0].permute(1, 2, 0).numpy().ravel(), expected)
    with pytest.raises(IndexError):
        dataset.batch([9])
    with pytest.raises(BadInput, match="already"):
        prepare(report, PrepareSettings(resolution=32), made)


def test_the_fingerprint_depends_on_pixels_and_meaning_only(folder: Path, tmp_path: Path) -> None:
    report = scan(folder).report
    base = PrepareSettings(resolution=32)
    variants = [base, replace(base, title="x"), replace(base, mirror=True), replace(base, colour="grey"),
                replace(base, classes_from_folders=False)]  # fmt: skip
    prints = [prepare(report, one, tmp_path / f"set{i}").fingerprint for i, one in enumerate(variants)]
    assert prints[0] == prints[1] and len(set(prints)) == 4
    assert open_dataset(tmp_path / "set4").batch([3])[1].tolist() == [0]


def test_stopping_or_failing_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = scan(folder).report
    with pytest.raises(Cancelled):
        prepare(report, PrepareSettings(), tmp_path / "sets" / "x", cancelled=lambda: True)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(NoSpace):
        prepare(report, PrepareSettings(), tmp_path / "sets" / "x")
    assert list((tmp_path / "sets").iterdir()) == []


def test_a_picture_that_vanished_is_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    report = scan(folder).report
    (folder / "cats" / "2.png").unlink()
    info = prepare(report, PrepareSettings(resolution=32), tmp_path / "set")
    assert info.count == 7 and info.counts == (4, 3) and info.refused[-1].file == "cats/2.png"
    assert len(open_dataset(tmp_path / "set").batch(range(7))[0]) == 7


def test_settings_are_checked_and_travel() -> None:
    settings = PrepareSettings(resolution=64, background="#102030")
    assert from_json(PrepareSettings, to_json(settings)) == settings
    for wrong in ({"resolution": 100}, {"fit": "stretch"}, {"background": "red"}, {"colour": "cmyk"}):
        with pytest.raises(BadInput):
            PrepareSettings(**wrong)


def test_suggestions(folder: Path, tmp_path: Path, noise, encoded) -> None:
    assert suggest(scan(folder).report).resolution == 32 and suggest(scan(folder).report).colour == "rgb"
    (tmp_path / "grey").mkdir()
    for seed in range(6):
        (tmp_path / "grey" / f"{seed}.png").write_bytes(encoded(noise(seed, 120, 260, channels=1)))
    grey = suggest(scan(tmp_path / "grey").report)
    assert (grey.colour, grey.resolution, grey.fit) == ("grey", 128, "pad")


@pytest.mark.parametrize(
    ("count", "folders", "kinds"), [(199, 1, 0), (200, 1, 2), (1193, 1, 10), (5000, 1, 16), (5001, 1, 0), (1000, 4, 0)]
)
def test_hundreds_of_pictures_are_sorted_into_kinds_unless_folders_do_so(
    folder: Path, count: int, folders: int, kinds: int
) -> None:
    report = scan(folder).report
    pictures = tuple(replace(report.pictures[0], folder=str(place % folders)) for place in range(count))
    classes = tuple(map(str, range(folders))) if folders > 1 else ()
    found = suggest(replace(report, pictures=pictures, classes=classes, counts=(1,) * len(classes)))
    assert found.kinds == kinds and found.classes_from_folders is (folders > 1)


def test_crop_keeps_the_middle_and_pad_keeps_all() -> None:
    image = Image.new("RGB", (96, 32), "red")
    image.paste("blue", (32, 0, 64, 32))
    cropped = np.asarray(square_image(image, Square(resolution=32)))
    assert (cropped[:, 2:-2] == (0, 0, 255)).all()
    padded = np.asarray(square_image(image, Square(resolution=96, fit="pad", background="#00ff00")))
    assert (padded[0] == (0, 255, 0)).all() and (padded[48, 5] == (255, 0, 0)).all()


def test_alpha_lies_on_the_background_or_stays() -> None:
    image = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 16, 32))
    flat = np.asarray(square_image(image, Square(resolution=32, background="#0000ff")))
    assert (flat[5, 5] == (255, 0, 0)).all() and (flat[5, 25] == (0, 0, 255)).all()
    clear = np.asarray(square_image(image, Square(resolution=32, background="#0000ff", colour="rgba")))
    assert (clear[5, 25] == (0, 0, 255, 0)).all() and (clear[5, 5] == (255, 0, 0, 255)).all()
    grey = square_image(image, Square(resolution=32, colour="grey", background="#ffffff"))
    assert grey.mode == "L" and grey.getpixel((25, 5)) == 255


def test_pixel_art_stays_sharp() -> None:
    random = np.random.default_rng(0).integers(0, 2, (16, 16, 3), dtype=np.uint8) * 255
    square = np.asarray(square_image(Image.fromarray(random), Square(resolution=64, sharp_pixels=True)))
    assert np.array_equal(square, random.repeat(4, 0).repeat(4, 1))
    odd = np.asarray(square_image(Image.fromarray(random), Square(resolution=40, sharp_pixels=True)))
    assert np.array_equal(odd[4:36, 4:36], random.repeat(2, 0).repeat(2, 1)) and (odd[0] == 255).all()


def test_downscaling_averages() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    square = np.asarray(square_image(Image.fromarray(stripes), Square(resolution=32)))
    assert np.abs(square[4:-4, 4:-4].astype(int) - 127).max() < 12


@pytest.mark.parametrize("harm", ["short", "json", "shape", "labels", "gone", "object"])
def test_damage_is_noticed(harm: str, folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "set"
    prepare(scan(folder).report, PrepareSettings(resolution=32), made)
    pixels, text = made / "pixels.npy", made / "dataset.json"
    if harm == "short":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif harm == "json":
        text.write_text(text.read_text()[:-20])
    elif harm == "shape":
        text.write_text(json.dumps({**json.loads(text.read_text()), "resolution": 64}))
    elif harm == "labels":
        np.save(made / "labels.npy", np.full(8, 7))
    elif harm == "gone":
        pixels.unlink()
    else:
        np.save(pixels, np.array([{}] * 8, dtype=object), allow_pickle=True)
    with pytest.raises(Damaged):
        open_dataset(made)
    with pytest.raises(NotFound):
        open_dataset(tmp_path / "other")


def test_only_dataset_imports_torch() -> None:
    code = ("import sys, studio.data.scan, studio.data.prepare, studio.data.thumbnails, studio.services.datasets;"
            "assert 'torch' not in sys.modules")  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
