"""Each planted problem is found, by the pictures it was planted in; a set without problems shows none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.data.choices import Choices
from studio.data.dataset import open_dataset
from studio.data.doctor import TOPICS, Finding, examine, mended, topics_named
from studio.data.prepare import PrepareSettings, count_squares, prepare
from studio.data.scan import Scanned, scan
from studio.errors import BadInput
from studio.options import from_json, to_json

SETS = Path(__file__).resolve().parents[3] / "shared" / "data" / "samples"


@pytest.fixture
def healthy(tmp_path: Path, noise, encoded) -> Path:
    """Thirty views that fill their pictures."""
    (tmp_path / "views").mkdir()
    for seed in range(30):
        (tmp_path / "views" / f"{seed:02}.png").write_bytes(encoded(noise(seed, 140, 128)))
    return tmp_path / "views"


def found_in(folder: Path, features: bool = False) -> tuple[Scanned, dict[str, Finding]]:
    scanned = scan(folder)
    vectors = np.stack([one.mini[::8, ::8].astype(np.float32).ravel() for one in scanned.vitals]) if features else None
    return scanned, {finding.topic: finding for finding in examine(scanned, vectors)}


def labels(scanned: Scanned, ids: tuple[str, ...]) -> set[str]:
    named = {picture.id: picture.place.label for picture in scanned.report.pictures}
    return {named[id] for id in ids}


def test_a_healthy_set_has_nothing_to_mend(healthy: Path) -> None:
    assert found_in(healthy)[1] == {}
    assert found_in(healthy, features=True)[1] == {}


PLANTED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blank": lambda view: Image.new("RGB", view.size, (90, 91, 90)),
    "dark": lambda view: view.point(lambda value: value // 6),
    "bright": lambda view: view.point(lambda value: 205 + value // 6),
    "small": lambda view: view.resize((44, 40)),
    "shape": lambda view: view.resize((640, 128)),
    "grey": lambda view: view.convert("L"),
}


@pytest.mark.parametrize("topic", PLANTED)
def test_what_is_planted_is_found_and_would_be_left_out(topic: str, healthy: Path, noise) -> None:
    PLANTED[topic](noise(99, 140, 128)).save(healthy / "planted.png")
    scanned, found = found_in(healthy)
    assert set(found) == {topic} <= set(TOPICS)
    assert labels(scanned, found[topic].leave_out) == {"planted.png"}
    assert found[topic].sentence.startswith("1 picture ") and found[topic].remedy == "Leave it out"
    assert from_json(Finding, to_json(found[topic])) == found[topic]


def test_mending_by_name_is_what_the_clicks_do() -> None:
    blank = Finding(topic="blank", sentence="", remedy="", pictures=("a", "b"), leave_out=("a", "b"))
    framed = Finding(topic="borders", sentence="", remedy="", pictures=("c",), settings={"trim_borders": True})
    for topics, ids, changes in ((["blank"], ("a", "b"), {}), (topics_named(["ALL"]), ("a", "b"), framed.settings)):
        choices, settings = mended([blank, framed], topics)
        assert choices.left_out == ids and settings == changes
        assert blank.is_mended(PrepareSettings(), choices)
        assert framed.is_mended(PrepareSettings(**settings), choices) == bool(changes)
    with pytest.raises(BadInput, match=r"'dust'.*blank, copies, alike"):
        topics_named(["blank", "dust"])


def test_copies_and_near_copies(healthy: Path, noise, encoded) -> None:
    (healthy / "copy.bmp").write_bytes(encoded(noise(3, 140, 128), "BMP"))
    (healthy / "again.jpg").write_bytes(encoded(noise(4, 140, 128), "JPEG", quality=85))
    scanned, found = found_in(healthy)
    assert labels(scanned, found["copies"].pictures) == {"03.png", "copy.bmp"}
    assert found["copies"].settings == {"drop_duplicates": True}
    (kept, copy), *others = found["copies"].same
    assert not others and labels(scanned, [kept]) == {"03.png"} and labels(scanned, [copy]) == {"copy.bmp"}
    apart = PrepareSettings(drop_duplicates=False)
    assert not found["copies"].is_mended(apart, Choices()) and found["copies"].is_mended(PrepareSettings(), Choices())
    assert all(found["copies"].is_mended(apart, Choices(left_out=(one,))) for one in (kept, copy))
    assert labels(scanned, found["alike"].pictures) == {"04.png", "again.jpg"} and len(found["alike"].leave_out) == 1


def test_what_was_mirrored_is_found_without_features_and_beside_an_exact_copy(healthy: Path, noise) -> None:
    noise(5, 140, 128).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(healthy / "mirrored.png")
    noise(5, 140, 128).save(healthy / "copy.bmp")
    scanned, found = found_in(healthy)
    assert labels(scanned, found["alike"].pictures) >= {"05.png", "mirrored.png"}
    assert labels(scanned, found["copies"].pictures) == {"05.png", "copy.bmp"}


def test_features_find_what_was_mirrored_and_a_closer_look_keeps_what_is_not_the_same(healthy: Path, noise) -> None:
    noise(5, 140, 128).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(healthy / "mirrored.png")
    scanned = scan(healthy)
    place = {picture.place.label: position for position, picture in enumerate(scanned.report.pictures)}
    vectors = np.random.default_rng(0).normal(size=(31, 24)).astype(np.float32)
    vectors[place["mirrored.png"]] = vectors[place["05.png"]] * 1.01
    vectors[place["06.png"]] = vectors[place["07.png"]] * 1.01
    found = {finding.topic: finding for finding in examine(scanned, vectors)}
    assert labels(scanned, found["alike"].pictures) == {"05.png", "mirrored.png"}


def test_frames_are_found_and_trimmed_by_the_setting(healthy: Path, tmp_path: Path, noise) -> None:
    for seed in (50, 51, 52):
        framed = Image.new("RGB", (180, 168), "black")
        framed.paste(noise(seed, 140, 128), (20, 20))
        framed.save(healthy / f"framed {seed}.png")
    scanned, found = found_in(healthy)
    assert set(found) == {"borders"} and len(found["borders"].pictures) == 3
    settings = PrepareSettings(resolution=64, **found["borders"].settings)
    prepare(scanned.report, settings, tmp_path / "set")
    trimmed = open_dataset(tmp_path / "set").batch([30, 31, 32])[0].float()
    assert trimmed[:, :, 0].amax(dim=(1, 2)).min() > 40


def test_things_on_plain_ground_are_not_called_framed_or_pale(tmp_path: Path) -> None:
    for seed in range(24):
        drawn = Image.new("RGB", (96, 96), "white")
        shape = ImageDraw.Draw(drawn)
        box = (20 + seed % 7, 14 + seed % 5, 70 + seed % 11, 80 - seed % 6)
        (shape.rectangle if seed % 6 == 0 else shape.ellipse)(
            box, fill=(seed * 9, (seed * 53) % 255, (seed * 91) % 200)
        )
        drawn.save(tmp_path / f"{seed}.png")
    assert set(found_in(tmp_path)[1]) <= {"alike"}


def test_wild_light_is_evened_by_the_setting(tmp_path: Path, noise) -> None:
    for seed in range(24):
        shift = (seed % 2) * 2 - 1
        noise(seed, 96, 96).point(lambda value, s=shift: 60 + value // 3 if s < 0 else 150 + value // 3).save(
            tmp_path / f"{seed:02}.png"
        )
        if seed % 2 == 0:
            noise(seed, 96, 96).point(lambda value: value // 3).save(tmp_path / f"{seed:02}.png")
    scanned, found = found_in(tmp_path)
    assert found["light"].settings == {"even_light": True}
    means = []
    for name, settings in (
        ("as", PrepareSettings(resolution=32)),
        ("even", PrepareSettings(resolution=32, even_light=True)),
    ):
        prepare(scanned.report, settings, tmp_path / "sets" / name)
        means.append(open_dataset(tmp_path / "sets" / name).batch(range(24))[0].float().mean(dim=(1, 2, 3)).std())
    assert means[1] < 0.75 * means[0]


def test_one_unlike_all_others_stands_out(healthy: Path) -> None:
    scanned = scan(healthy)
    vectors = np.random.default_rng(1).normal(size=(30, 16)).astype(np.float32)
    assert "outliers" not in {finding.topic for finding in examine(scanned, vectors)}
    vectors[17] += 14
    found = {finding.topic: finding for finding in examine(scanned, vectors)}
    assert labels(scanned, found["outliers"].leave_out) == {"17.png"}


def test_a_blank_picture_is_no_outlier_besides(healthy: Path) -> None:
    Image.new("RGB", (140, 128), (90, 91, 90)).save(healthy / "17.png")
    scanned = scan(healthy)
    vectors = np.random.default_rng(1).normal(size=(30, 16)).astype(np.float32)
    vectors[17] += 14
    found = {finding.topic: finding for finding in examine(scanned, vectors)}
    assert labels(scanned, found["blank"].leave_out) == {"17.png"} and "outliers" not in found


def test_what_is_left_out_or_cut_by_hand_is_so_in_the_dataset(healthy: Path, tmp_path: Path) -> None:
    report = scan(healthy).report
    ids = [picture.id for picture in report.pictures]
    choices = Choices().without(ids[:10]).cropped(ids[10], (0.0, 0.0, 0.5, 0.5))
    settings = PrepareSettings(resolution=32)
    info = prepare(report, settings, tmp_path / "set", choices=choices)
    assert info.count == count_squares(report, settings, choices) == 20
    whole = prepare(report, settings, tmp_path / "whole")
    first, other = (open_dataset(tmp_path / name).batch([place])[0] for name, place in (("set", 0), ("whole", 10)))
    assert whole.count == 30 and not bool((first == other).all())
    again = open_dataset(tmp_path / "set").batch([1])[0] == open_dataset(tmp_path / "whole").batch([11])[0]
    assert bool(again.all())
    with pytest.raises(BadInput, match="Only 4"):
        prepare(report, settings, tmp_path / "few", choices=Choices().without(ids[4:]))


def test_tiles_make_more_pictures_and_are_counted(healthy: Path, tmp_path: Path) -> None:
    report = scan(healthy).report
    settings = PrepareSettings(resolution=64, fit="tile", tiles=2)
    expected = count_squares(report, settings)
    assert expected == 30 * 6
    info = prepare(report, settings, tmp_path / "set")
    assert info.count == expected and len(open_dataset(tmp_path / "set")) == expected


@pytest.mark.skipif(not SETS.is_dir(), reason="the sample sets are not here")
def test_real_sets_show_few_findings() -> None:
    for folder in sorted(SETS.iterdir()):
        if folder.is_dir():
            _, found = found_in(folder)
            concerned = {id for finding in found.values() for id in finding.pictures}
            assert len(concerned) <= 0.1 * len(list(folder.rglob("*.*"))), (folder.name, set(found))
