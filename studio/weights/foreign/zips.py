"""Plain zips, read from their directory and checked against every record's own head. Nothing is unpacked.

What two readers could see differently is refused: compressed, encrypted, repeated, overlapping or hidden records, sizes that
lie, anything before the first or after the last. The layout is that of PKWARE's application note.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from studio.errors import BadInput, Damaged
from studio.weights.foreign.rebuild import refuse
from studio.weights.foreign.records import cut_short

_MAX_RECORDS = 100_000
_LONGEST_NAME = 300
_LARGEST_GAP = 24  # a data descriptor may follow a record
_UNREADABLE_FLAGS = 0x2041  # encrypted, strongly encrypted, hidden names
_FAR = 0xFFFFFFFF
_END = struct.Struct("<IHHHHIIH")
_FAR_END_LOCATOR = struct.Struct("<IIQI")
_FAR_END = struct.Struct("<IQHHIIQQQQ")
_LINE = struct.Struct("<IHHHHHHIIIHHHHHII")
_HEAD = struct.Struct("<IHHHHHIIIHH")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a zip's directory: what it says, nothing of it checked yet."""

    name: bytes
    flags: int
    method: int
    packed_bytes: int
    size: int
    head: int

    @property
    def text(self) -> str:
        return self.name[:_LONGEST_NAME].decode("utf-8", "replace")


def directory(data: memoryview) -> list[Line]:
    """The lines of a zip's directory. Raises BadInput or Damaged."""
    start, end, count = _place_of_directory(data)
    lines: list[Line] = []
    position = start
    for _ in range(count):
        line, position = _line(data, position)
        lines.append(line)
    if position != end:
        refuse("its directory is not as long as it says")
    return lines


def records(data: memoryview, lines: list[Line]) -> dict[str, memoryview]:
    """The records by name, after all checks. Raises BadInput."""
    _check_names(lines)
    directory_start = _place_of_directory(data)[0]
    found: dict[str, memoryview] = {}
    position = 0
    for line in sorted(lines, key=lambda line: line.head):
        if not 0 <= line.head - position <= (_LARGEST_GAP if found else 0):
            refuse("its records overlap, or something is hidden between them")
        start = _body(data, line)
        position = start + line.size
        if position > directory_start:
            refuse("a record reaches beyond the zip")
        found[line.text] = data[start:position]
    if directory_start - position > _LARGEST_GAP:
        refuse("something is hidden behind its records")
    return found


def _check_names(lines: list[Line]) -> None:
    """Every reader, also one that ignores case, must take each name for one and the same place inside the zip."""
    if len({line.name.lower() for line in lines}) != len(lines):
        refuse("it names a record twice")
    for line in lines:
        parts = line.text.removesuffix("/").split("/")
        if len(line.name) > _LONGEST_NAME or re.search(r"[\\\x00\ufffd]", line.text) or {"", ".", ".."} & set(parts):
            refuse("a record in it has a name that leads astray")


def _place_of_directory(data: memoryview) -> tuple[int, int, int]:
    """Start and end of the directory and its number of lines; it must end the file."""
    end = len(data) - _END.size
    if end < 0 or bytes(data[end : end + 4]) != b"PK\x05\x06":
        raise Damaged("This zip ends too soon: it is only a part of a file.", "Download or copy it again.")
    _, disk, first_disk, here, count, size, start, comment = _END.unpack(data[end:])
    locator = end - _FAR_END_LOCATOR.size
    if locator >= 0 and bytes(data[locator : locator + 4]) == b"PK\x06\x07":
        _, _, far_end, _ = _FAR_END_LOCATOR.unpack(data[locator:end])
        if far_end + _FAR_END.size != locator or bytes(data[far_end : far_end + 4]) != b"PK\x06\x06":
            refuse("its directory has no sound end")
        _, _, _, _, disk, first_disk, here, count, size, start = _FAR_END.unpack(data[far_end:locator])
        end = far_end
    if disk or first_disk or comment or here != count or start + size != end:
        refuse("its directory has no sound end")
    if count > _MAX_RECORDS:
        refuse("it holds far more records than a model")
    return start, end, count


def _line(data: memoryview, position: int) -> tuple[Line, int]:
    """One line of the directory and the position behind it."""
    if position + _LINE.size > len(data):
        raise cut_short()
    fields = _LINE.unpack(data[position : position + _LINE.size])
    name_bytes, extra_bytes, comment_bytes = fields[10:13]
    names = position + _LINE.size
    end = names + name_bytes + extra_bytes + comment_bytes
    if fields[0] != 0x02014B50 or end > len(data):
        refuse("its directory is garbled")
    name = bytes(data[names : names + name_bytes])
    extra = bytes(data[names + name_bytes : names + name_bytes + extra_bytes])
    size, packed, head = _far_values(extra, fields[9], fields[8], fields[16])
    return Line(name=name, flags=fields[3], method=fields[4], packed_bytes=packed, size=size, head=head), end


def _far_values(extra: bytes, *values: int) -> list[int]:
    """Values of 32 bits; for each that says "far" the one of 64 bits in the extra field."""
    far = _extra_field(extra, 1)
    found: list[int] = []
    for value in values:
        if value == _FAR:
            if len(far) < 8:
                refuse("its directory is garbled")
            value, far = int.from_bytes(far[:8], "little"), far[8:]
        found.append(value)
    return found


def _extra_field(extra: bytes, wanted: int) -> bytes:
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        position += 4 + size
        if kind == wanted:
            return extra[position - size : position]
    return b""


def _body(data: memoryview, line: Line) -> int:
    """Where a record's bytes start: behind its own head, which must agree with the directory."""
    if line.flags & _UNREADABLE_FLAGS:
        raise BadInput("This zip is encrypted.", "Unpack it, and drop the weights file itself.")
    if line.method or line.packed_bytes != line.size:
        raise BadInput(
            "The records of this zip are compressed, as torch never does.",
            "Unpack it and drop what is in it, or save the model anew with torch.save.",
        )
    names = line.head + _HEAD.size
    if names > len(data):
        refuse("a record reaches beyond the zip")
    mark, _, flags, method, _, _, _, packed, size, name_bytes, extra_bytes = _HEAD.unpack(data[line.head : names])
    told = all(value in (0, _FAR, line.size) for value in (packed, size))
    if mark != 0x04034B50 or method or flags & _UNREADABLE_FLAGS or not told:
        refuse("its directory and its records disagree")
    if bytes(data[names : names + name_bytes]) != line.name:
        refuse("its directory and its records disagree")
    return int(names + name_bytes + extra_bytes)
