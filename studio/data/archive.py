"""Read the files of a zip that nobody vouches for, one at a time and in memory. Nothing is ever extracted to a path.

Every claim of the archive is checked against `ArchiveLimits` before and while its bytes come out; links, encryption and
overlapping entries (which give 2 GB out of 30 KB) are refused.
"""

from __future__ import annotations

import io
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from studio.data.labels import clean_label, passed_over
from studio.errors import BadInput

_CHUNK_BYTES = 1 << 20
_MAX_DIRECTORY_BYTES = 24_000_000
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, IndexError, KeyError, struct.error,
               NotImplementedError, RuntimeError, OverflowError)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What one zip may hold. Sizes are of what comes out, in bytes.

    Attributes:
        entries: files and folders.
        total_bytes, entry_bytes: of all files together, and of each.
        ratio: how many times its packed size a file may become (small files are free to, see `ratio_free_bytes`).
    """

    entries: int = 100_000
    total_bytes: int = 4_000_000_000
    entry_bytes: int = 64_000_000
    ratio: int = 200
    ratio_free_bytes: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of an archive: its place in the directory, its cleaned name, and the sizes that the archive claims."""

    index: int
    label: str
    packed_bytes: int
    bytes: int


class _Reluctant(io.BufferedReader):
    """A file that will not be read in one piece larger than a zip's directory may be."""

    def read(self, size: int | None = -1, /) -> bytes:
        allowed = _MAX_DIRECTORY_BYTES + 1 if size is None or size < 0 else size
        content = super().read(min(allowed, _MAX_DIRECTORY_BYTES + 1))
        if len(content) > _MAX_DIRECTORY_BYTES:
            raise BadInput("The directory of this zip is far too large.", "Pack the pictures again.")
        return content


class Archive:
    """An open zip. `entries` lists its files in order; `refused` names those that cannot be used, and why.

    `read` may be called from several threads.

    Raises:
        BadInput: not a zip, damaged, encrypted, overlapping, or beyond the limits.
    """

    def __init__(self, file: Path, limits: ArchiveLimits | None = None) -> None:
        self.limits = limits or ArchiveLimits()
        self._lock = threading.Lock()
        self._read_bytes = 0
        self._raw = _open_file(file)
        try:
            self._zip = _open_zip(self._raw)
            infos = self._zip.infolist()
            self._check_whole(infos)
            _refuse_overlaps(self._raw, infos)
            self.entries, self.refused = self._judge(infos)
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._raw.close()

    def read(self, entry: Entry) -> bytes:
        """The bytes of one file, counted while they come out: never more than the limits, whatever the zip claims.

        Raises:
            BadInput: damaged, or more than it claimed or may be.
        """
        return b"".join(self.stream(entry))

    def stream(self, entry: Entry) -> Iterator[bytes]:
        """The same in pieces, for files that are too large to hold. Raises as `read` does."""
        info = self._zip.infolist()[entry.index]
        allowed = min(self.limits.entry_bytes, entry.bytes)
        size = 0
        try:
            with self._zip.open(info) as packed:
                while chunk := packed.read(_CHUNK_BYTES):
                    size += len(chunk)
                    self._count(len(chunk))
                    if size > allowed:
                        raise BadInput("This file is larger than its zip says.", "Pack the pictures again.")
                    yield chunk
        except _ZIP_ERRORS as error:
            raise BadInput("This file is damaged inside its zip.", "Pack the pictures again.") from error

    def _count(self, size: int) -> None:
        with self._lock:
            self._read_bytes += size
            if self._read_bytes > self.limits.total_bytes:
                raise _too_big(self.limits)

    def _check_whole(self, infos: list[zipfile.ZipInfo]) -> None:
        if len(infos) > self.limits.entries:
            raise BadInput(f"This zip holds {len(infos):,} entries.", f"{self.limits.entries:,} are read at most.")
        if sum(info.file_size for info in infos) > self.limits.total_bytes:
            raise _too_big(self.limits)
        if (
            infos
            and all(info.flag_bits & _ENCRYPTED_FLAG for info in infos if not info.is_dir())
            and any(not info.is_dir() for info in infos)
        ):
            raise BadInput("This zip is locked with a password.", "Pack the pictures again without one.")

    def _judge(self, infos: list[zipfile.ZipInfo]) -> tuple[tuple[Entry, ...], tuple[tuple[str, str], ...]]:
        entries: list[Entry] = []
        refused: list[tuple[str, str]] = []
        for index, info in enumerate(infos):
            label = clean_label(_name(info))
            if info.is_dir() or passed_over(label):
                continue
            if reason := self._why_not(info):
                refused.append((label, reason))
            else:
                entries.append(Entry(index=index, label=label, packed_bytes=info.compress_size, bytes=info.file_size))
        return tuple(entries), tuple(refused)

    def _why_not(self, info: zipfile.ZipInfo) -> str:
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            return "This is a link or a device, not a file."
        if info.flag_bits & _ENCRYPTED_FLAG:
            return "This file is locked with a password."
        if info.compress_type not in _METHODS:
            return "This file is packed in a way that is not read here; pack it as an ordinary zip."
        if info.file_size > self.limits.entry_bytes:
            return f"This file is larger than {self.limits.entry_bytes // 10**6} MB."
        if info.file_size > max(self.limits.ratio_free_bytes, self.limits.ratio * info.compress_size):
            return f"This file grows more than {self.limits.ratio} times when it is unpacked, as no picture does."
        return ""


def is_zip(file: Path) -> bool:
    """True if a file starts as zips do (by content, whatever it is called)."""
    with open(file, "rb") as raw:
        return raw.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _open_file(file: Path) -> _Reluctant:
    try:
        return _Reluctant(open(file, "rb", buffering=0))
    except OSError as error:
        raise BadInput("This zip cannot be read.", error.strerror or "") from error


def _open_zip(raw: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except _ZIP_ERRORS as error:
        raise BadInput("This zip is damaged or was cut short.", "Pack the pictures again, or copy it anew.") from error


def _refuse_overlaps(raw: BinaryIO, infos: list[zipfile.ZipInfo]) -> None:
    """Each file must lie wholly behind the one before: header, name, extra field, then its packed bytes."""
    end = 0
    for info in sorted(infos, key=lambda one: one.header_offset):
        if info.header_offset < end:
            raise BadInput("Files overlap inside this zip, as only trick archives do.", "Pack the pictures again.")
        raw.seek(info.header_offset)
        header = raw.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise BadInput("This zip is damaged: it points to files that are not there.", "Pack the pictures again.")
        name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)[-2:]
        end = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes + info.compress_size
    if end > raw.seek(0, io.SEEK_END):
        raise BadInput("This zip was cut short.", "Copy it again from where it came.")


def _name(info: zipfile.ZipInfo) -> str:
    """The name as its author wrote it: many tools store UTF-8 without saying so, and zipfile then reads cp437."""
    if info.flag_bits & _UTF8_FLAG:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.orig_filename


def _too_big(limits: ArchiveLimits) -> BadInput:
    return BadInput(
        f"This zip unpacks to more than {limits.total_bytes / 1e9:g} GB.", "Split it, or make the pictures smaller."
    )
