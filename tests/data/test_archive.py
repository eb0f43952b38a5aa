from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from studio.data.archive import Archive, ArchiveLimits, is_zip
from studio.errors import BadInput


def pack(path: Path, files: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def overlapping(path: Path, copies: int = 50) -> Path:
    """Many names in the directory for the same bytes: the heart of an overlap bomb."""
    pack(path, [("a.bin", bytes(5000))])
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    record = content[start:end]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, copies, copies, len(record) * copies, start, 0)
    path.write_bytes(content[:start] + record * copies + tail)
    return path


def test_names_are_cleaned_and_nothing_is_written(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "/root/x.png", "C:\\Windows\\y.png", "a/../../b.png", "ok/ünï.png", "n" * 400 + ".png"]
    file = pack(tmp_path / "slip.zip", [(name, b"x") for name in names])
    with Archive(file) as archive:
        labels = [entry.label for entry in archive.entries]
        assert [archive.read(entry) for entry in archive.entries] == [b"x"] * 6
    assert labels[:5] == ["etc/passwd", "root/x.png", "Windows/y.png", "a/b.png", "ok/ünï.png"]
    assert len(labels[5]) <= 120 and labels[5].endswith(".png")
    assert list(tmp_path.iterdir()) == [file]


def test_bomb_by_ratio_is_refused_and_the_rest_is_kept(tmp_path: Path) -> None:
    file = pack(tmp_path / "bomb.zip", [("bomb.png", bytes(30_000_000)), ("good.png", b"good")])
    with Archive(file) as archive:
        assert [entry.label for entry in archive.entries] == ["good.png"]
        assert "grows" in archive.refused[0][1]


def test_a_size_that_lies_is_noticed_while_reading(tmp_path: Path) -> None:
    file = pack(tmp_path / "liar.zip", [("a.png", bytes(900_000))])
    content = file.read_bytes().replace(struct.pack("<I", 900_000), struct.pack("<I", 1000))
    file.write_bytes(content)
    with Archive(file) as archive, pytest.raises(BadInput):
        archive.read(archive.entries[0])


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="overlap"):
        Archive(overlapping(tmp_path / "overlap.zip"))


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with Archive(tmp_path / "link.zip") as opened:
        assert opened.entries == () and "link" in opened.refused[0][1]


def test_encrypted_is_refused(tmp_path: Path) -> None:
    file = pack(tmp_path / "locked.zip", [("a.png", b"abc"), ("b.png", b"abc")])
    content = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + offset] |= 1
    file.write_bytes(content)
    with pytest.raises(BadInput, match="password"):
        Archive(file)


def test_limits(tmp_path: Path) -> None:
    file = pack(tmp_path / "many.zip", [(f"{i}.png", b"12345678") for i in range(20)])
    with pytest.raises(BadInput, match="20 entries"):
        Archive(file, ArchiveLimits(entries=19))
    with pytest.raises(BadInput, match="unpacks to more"):
        Archive(file, ArchiveLimits(total_bytes=100))
    with Archive(file, ArchiveLimits(entry_bytes=7)) as archive:
        assert archive.entries == () and len(archive.refused) == 20


def test_junk_is_passed_over(tmp_path: Path) -> None:
    names = ["__MACOSX/._a.png", ".DS_Store", "x/Thumbs.db", "x/.hidden/a.png", "x/a.png"]
    with Archive(pack(tmp_path / "mac.zip", [(name, b"x") for name in names])) as archive:
        assert [entry.label for entry in archive.entries] == ["x/a.png"] and archive.refused == ()


@pytest.mark.parametrize("cut", [10, 100, -1, -10])
def test_a_zip_cut_short(tmp_path: Path, cut: int) -> None:
    file = pack(tmp_path / "cut.zip", [("a.png", b"x" * 300)], zipfile.ZIP_STORED)
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(BadInput):
        Archive(file)


def test_damaged_content_is_refused_by_its_checksum(tmp_path: Path) -> None:
    file = pack(tmp_path / "bad.zip", [("a.png", b"x" * 300)], zipfile.ZIP_STORED)
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)
    with Archive(file) as archive, pytest.raises(BadInput, match="damaged"):
        archive.read(archive.entries[0])


def test_unusual_packing_is_refused(tmp_path: Path) -> None:
    with Archive(pack(tmp_path / "lzma.zip", [("a.png", b"x" * 300)], zipfile.ZIP_LZMA)) as archive:
        assert archive.entries == () and "packed" in archive.refused[0][1]


def test_a_huge_directory_is_refused(tmp_path: Path) -> None:
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 30_000_000, 0, 0)
    (tmp_path / "wide.zip").write_bytes(bytes(30_000_000) + tail)
    with pytest.raises(BadInput, match="directory"):
        Archive(tmp_path / "wide.zip")


def test_same_names_are_two_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", b"1")
        with pytest.warns(UserWarning):
            archive.writestr("a.png", b"2")
    (tmp_path / "twice.zip").write_bytes(buffer.getvalue())
    with Archive(tmp_path / "twice.zip") as opened:
        assert [opened.read(entry) for entry in opened.entries] == [b"1", b"2"]


def test_sniffs_by_content(tmp_path: Path) -> None:
    pack(tmp_path / "zip.png", [("a", b"")])
    (tmp_path / "no.zip").write_text("hello")
    assert is_zip(tmp_path / "zip.png") and not is_zip(tmp_path / "no.zip")
