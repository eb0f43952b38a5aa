"""Zip files of which every header can lie, and torch files in them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.weights.hostile.assembler import pickled, storage, tensor_of

LYING_COUNT = 0xFFFF
GIGANTIC = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry. What is None is told truly.

    Attributes:
        method: 0 stored, 8 deflated, 12 bzip2, 14 LZMA.
        flags: bit 0 says encrypted, bit 3 that sizes follow the content.
        size, packed_size: as both headers tell them.
        local_name, local_size: as the header before the content tells them, where the two should differ.
        offset: where the directory says that the entry begins.
    """

    name: bytes
    content: bytes = b""
    method: int = 0
    flags: int = 0
    size: int | None = None
    packed_size: int | None = None
    local_name: bytes | None = None
    local_size: int | None = None
    crc: int | None = None
    offset: int | None = None
    extra: bytes = b""
    attributes: int = 0


def zipped(
    entries: Sequence[Entry], *, prefix: bytes = b"", count: int | None = None, shift: int = 0, comment: bytes = b""
) -> bytes:
    """A zip file. `count` and `shift` make the end record lie about its entries and where their directory is."""
    body, directory = bytearray(prefix), bytearray()
    for entry in entries:
        begin = len(body) if entry.offset is None else entry.offset
        packed = _packed(entry)
        size = len(entry.content) if entry.size is None else entry.size
        shared = struct.pack(
            "<HHHHHII", 45, entry.flags, entry.method, 0, 0x21,
            zlib.crc32(entry.content) if entry.crc is None else entry.crc,
            len(packed) if entry.packed_size is None else entry.packed_size,
        )  # fmt: skip
        local_name = entry.name if entry.local_name is None else entry.local_name
        local_size = size if entry.local_size is None else entry.local_size
        body += b"PK\3\4" + shared + struct.pack("<IHH", local_size, len(local_name), 0) + local_name + packed
        names = struct.pack("<IHHHHHII", size, len(entry.name), len(entry.extra), 0, 0, 0, entry.attributes, begin)
        directory += b"PK\1\2" + struct.pack("<H", 0x0314) + shared + names + entry.name + entry.extra
    told = len(entries) if count is None else count
    end = struct.pack("<HHHHIIH", 0, 0, told, told, len(directory), (len(body) + shift) & GIGANTIC, len(comment))
    return bytes(body + directory + b"PK\5\6" + end + comment)


def _packed(entry: Entry) -> bytes:
    if entry.method != 8:
        return entry.content
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(entry.content) + packer.flush()


def torch_entries(tree: object, records: Mapping[str, bytes] | None = None, root: str = "archive") -> list[Entry]:
    """The entries of a torch file: `records` are its storages by key."""
    held = {"data.pkl": pickled(tree), "byteorder": b"little"}
    held |= {f"data/{key}": content for key, content in (records or {}).items()}
    held["version"] = b"3\n"
    return [Entry(name=f"{root}/{name}".encode(), content=content) for name, content in held.items()]


def torch_zip(tree: object, records: Mapping[str, bytes] | None = None, root: str = "archive") -> bytes:
    """A torch file as torch writes it since version 1.6."""
    return zipped(torch_entries(tree, records, root))


def torch_state(arrays: Mapping[str, np.ndarray]) -> tuple[dict[object, object], dict[str, bytes]]:
    """A state dict and its storages, for `torch_zip`."""
    tree: dict[object, object] = {}
    records = {}
    for place, (name, array) in enumerate(arrays.items()):
        tree[name] = tensor_of(array, storage(array, str(place)))
        records[str(place)] = array.tobytes()
    return tree, records
