from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from studio.data.alike import Signature, equal_groups, near_groups
from studio.data.archive import ArchiveLimits
from studio.data.labels import class_folders, clean_label, passed_over, unique_labels
from studio.data.progress import Cancelled
from studio.data.scan import ScanReport, scan
from studio.data.sources import Named
from studio.errors import BadInput, NotFound
from studio.options import from_json, to_json


def test_a_mixed_folder(folder: Path, noise, encoded) -> None:
    (folder / "cats" / "note.jpg").write_text("<html><body>not found</body></html>")
    (folder / "cats" / "empty.png").write_bytes(b"")
    (folder / "cats" / "cut.jpg").write_bytes(encoded(noise(50), "JPEG")[:300])
    (folder / "drawing.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    (folder / ".DS_Store").write_bytes(b"junk")
    (folder / "dogs" / "deep").mkdir()
    (folder / "dogs" / "deep" / "0.png").write_bytes(encoded(noise(60, 30, 60)))
    (folder / "dogs" / "same.bmp").write_bytes(encoded(noise(5), "BMP"))
    seen: list[tuple[int, int]] = []
    scanned = scan(folder, progress=lambda done, total: seen.append((done, total)))
    report = scanned.report
    assert (
        len(report.pictures) == len(scanned.vitals) == 10
        and report.classes == ("cats", "dogs")
        and report.counts == (5, 5)
    )
    reasons = {refusal.file: refusal.reason for refusal in report.refused}
    assert set(reasons) == {"cats/note.jpg", "cats/empty.png", "cats/cut.jpg", "drawing.png"}
    assert "web page" in reasons["cats/note.jpg"] and "PostScript" in reasons["drawing.png"]
    assert report.passed_over == 1
    assert report.duplicates == (("dogs/5.png", "dogs/same.bmp"),)
    assert (report.smallest, report.median, report.largest) == (30, 40, 40)
    assert (report.portrait, report.square, report.landscape) == (1, 9, 0)
    assert seen[0] == (0, 14) and seen[-1] == (14, 14)
    assert any("few" in warning for warning in report.warnings)
    assert from_json(ScanReport, to_json(report)) == report


def test_a_zip_with_a_wrapping_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"wrap/inner/{file.relative_to(folder)}")
        archive.writestr("__MACOSX/._wrap", "junk")
        archive.writestr("wrap/more.zip", (tmp_path / "album.zip").read_bytes()[:200])
    report = scan(tmp_path / "album.zip").report
    assert report.classes == ("cats", "dogs") and report.source == "album"
    assert [refusal.file for refusal in report.refused] == ["wrap/more.zip"]
    assert "zip" in report.refused[0].reason


def test_files_with_names_and_a_zip_among_them(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as archive:
        for file in (folder / "dogs").iterdir():
            archive.write(file, f"nested/{file.name}")
    files = sorted((folder / "cats").iterdir())
    named = [Named(path=file, label=f"cats/{file.name}") for file in files]
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK\x03\x04 and nothing else")
    report = scan(
        [*named, Named(path=tmp_path / "birds.zip", label="birds.zip"), Named(path=bad, label="bad.zip")]
    ).report
    assert report.classes == ("birds", "cats") and report.counts == (3, 5)
    assert [refusal.file for refusal in report.refused] == ["bad.zip"]


def test_the_same_base_name_in_two_folders_and_odd_names(tmp_path: Path, noise, encoded) -> None:
    for seed, name in enumerate(["a/1.png", "b/1.png", "b/ä漢字🙂.png", "b/" + "x" * 240 + ".png", "a/new\nline.png"]):
        place = tmp_path / "in" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(noise(seed)))
    report = scan(tmp_path / "in").report
    assert len({picture.place.label for picture in report.pictures}) == 5 and report.counts == (2, 3)
    assert not any("\n" in picture.place.label for picture in report.pictures)


def test_too_few_and_none(tmp_path: Path, noise, encoded) -> None:
    with pytest.raises(BadInput, match="no pictures here"):
        scan(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(BadInput, match="PNG, JPEG"):
        scan(tmp_path)
    for seed in range(4):
        (tmp_path / f"{seed}.png").write_bytes(encoded(noise(seed)))
    with pytest.raises(BadInput, match=r"only 4 pictures.*at least 5"):
        scan(tmp_path)
    with pytest.raises(NotFound):
        scan(tmp_path / "missing")
    with pytest.raises(BadInput, match="neither a folder"):
        scan(tmp_path / "a.txt")


def test_links_and_pipes_are_not_opened(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "cats" / "0.png")
    os.mkfifo(folder / "pipe.png")
    report = scan(folder).report
    assert {refusal.file for refusal in report.refused} == {"link.png", "pipe.png"} and len(report.pictures) == 8


def test_stops_when_told(folder: Path) -> None:
    with pytest.raises(Cancelled):
        scan(folder, cancelled=lambda: True)


def test_archive_limits_travel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"x")
        archive.writestr("b.png", b"x")
    with pytest.raises(BadInput, match="2 entries"):
        scan(tmp_path / "a.zip", limits=ArchiveLimits(entries=1))


def test_nearly_equal_pictures_are_grouped(tmp_path: Path, noise, encoded) -> None:
    for seed in range(12):
        (tmp_path / f"{seed:02}.png").write_bytes(encoded(noise(seed, 200, 200)))
    (tmp_path / "again.jpg").write_bytes(encoded(noise(3, 200, 200), "JPEG", quality=85))
    (tmp_path / "small.png").write_bytes(encoded(noise(7, 200, 200).resize((120, 120))))
    report = scan(tmp_path).report
    assert report.duplicates == ()
    assert set(report.near_duplicates) == {("03.png", "again.jpg"), ("07.png", "small.png")}


def test_groups() -> None:
    assert equal_groups("abcab") == ((0, 3), (1, 4))
    black, white = bytes(192), b"\xff" * 192
    near = [(0, black), (7, black), (15 << 32, black), (1, white)]
    assert near_groups([Signature(difference_hash=bits, tiny=tiny) for bits, tiny in near]) == ((0, 1),)


def test_labels() -> None:
    assert clean_label("../a/./b\\c.png") == "a/b/c.png"
    assert clean_label("..") == clean_label("") == "unnamed"
    assert clean_label("a\u202eb\x00.png") == "ab.png"
    assert unique_labels(["a", "a", "b", "a"]) == ["a", "a (2)", "b", "a (3)"]
    assert class_folders(["w/a/1", "w/b/x/2", "w/3"]) == ["a", "b", ""]
    assert class_folders(["w/a/1", "w/a/2"]) == ["", ""]
    assert passed_over("x/.git/a.png") and passed_over("__MACOSX/a.png") and not passed_over("a/b.png")
