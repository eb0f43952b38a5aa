"""torch files, both kinds: the zip of today and the row of pickles before 1.6. Storages are views of the file, never copied.

Python objects within them are read by `records`, which cannot run anything; `zips` sees to it that no two readers can see
different things in one zip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from studio.errors import BadInput
from studio.weights.foreign.rebuild import STORAGE_KINDS, Global, Reading, Storage, is_text, item_bytes, refuse
from studio.weights.foreign.records import Persistent, cut_short, interpret
from studio.weights.foreign.sniff import other_zip
from studio.weights.foreign.trees import settle
from studio.weights.foreign.zips import directory, records

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DEEPEST_FILE = 3


def read_pickle(data: memoryview) -> object:
    """The tree of a bare pickle, which must fill the file. Raises BadInput or Damaged."""
    reading = Reading(len(data))
    tree, end = interpret(data, 0, reading, nested=lambda inner: _legacy(inner, reading, 1))
    if end != len(data):
        refuse("something follows after its end")
    return settle(tree)


def read_legacy(data: memoryview) -> object:
    """The tree of a torch file as it was before torch 1.6. Raises BadInput or Damaged."""
    return settle(_legacy(data, Reading(len(data)), 0))


def read_zip(data: memoryview) -> object:
    """The tree of a torch zip. Raises BadInput or Damaged."""
    records = torch_records(data)
    if bytes(records.get("byteorder", memoryview(b"little"))[:10]) != b"little":
        raise _other_byte_order()
    reading = Reading(len(data))
    pickle = records["data.pkl"]
    persistent = _zip_storages(records)
    tree, end = interpret(pickle, 0, reading, persistent=persistent, nested=lambda inner: _legacy(inner, reading, 1))
    if end != len(pickle):
        refuse("something follows after its end")
    return settle(tree)


def _other_byte_order() -> BadInput:
    return BadInput(
        "This file was written on a machine that orders bytes the other way.", "Ask its author for safetensors."
    )


# ── persistent ids ──


@dataclass(frozen=True, kw_only=True)
class _StorageId:
    """What a torch file says of a storage: its kind of numbers, its key, how many numbers it has."""

    kind: str
    key: str
    count: int


def _storage_id(value: object) -> _StorageId:
    """("storage", class, key, place, count[, None])."""
    if not isinstance(value, tuple) or len(value) not in (5, 6) or not is_text(value[0], "storage"):
        refuse("a storage in it is not described as torch does")
    kind, key, count = value[1], value[2], value[4]
    if not isinstance(kind, Global) or kind.pair not in STORAGE_KINDS:
        refuse("a storage has a kind of numbers that the studio does not read")
    if not isinstance(key, str) or type(count) is not int or count < 0:
        refuse("a storage in it is not described as torch does")
    if len(value) == 6 and value[5] is not None:
        raise BadInput(
            "This file was written by a very old torch, in a way that the studio does not read.",
            "Load and save it once with a torch of today.",
        )
    return _StorageId(kind=STORAGE_KINDS[kind.pair], key=key, count=count)


def _zip_storages(records: Mapping[str, memoryview]) -> Persistent:
    def storage(value: object) -> Storage:
        found = _storage_id(value)
        memory = records.get(f"data/{found.key}")
        if memory is None:
            raise cut_short()
        if len(memory) != found.count * item_bytes(found.kind):
            refuse("a storage is not as large as it says")
        return Storage(name="torch.Storage", kind=found.kind, memory=memory)

    return storage


# ── legacy files ──


def _legacy(data: memoryview, reading: Reading, depth: int) -> object:
    """Magic number, protocol, system, object, list of keys, then each storage: its count and its numbers.

    The object is read twice: first to learn the kinds of its storages, then with the storages found behind it.
    """
    if depth > _DEEPEST_FILE:
        refuse("it holds files within files within files")
    magic, end = interpret(data, 0, reading)
    protocol, end = interpret(data, end, reading)
    system, start = interpret(data, end, reading)
    known = isinstance(magic, int) and magic == MAGIC_NUMBER and isinstance(protocol, int) and protocol == _PROTOCOL
    if not known or not isinstance(system, dict):
        refuse("it is not written as torch does")
    if system.get("little_endian") is False:
        raise _other_byte_order()
    wanted: dict[str, _StorageId] = {}
    _, end = interpret(data, start, reading, persistent=_noting(wanted), nested=lambda inner: _NO_STORAGE)
    keys, end = interpret(data, end, reading)
    memories = _legacy_memories(data, end, keys, wanted)

    tree, _ = interpret(
        data,
        start,
        reading,
        persistent=_legacy_storages(memories),
        nested=lambda inner: _legacy(inner, reading, depth + 1),
    )
    return tree


_NO_STORAGE = Storage(name="torch.Storage", kind="<f4", memory=None)


def _noting(wanted: dict[str, _StorageId]) -> Persistent:
    """Write down what storages the object names; answer with empty ones."""

    def storage(value: object) -> object:
        if _is_class(value):
            return value[1]
        found = _storage_id(value)
        if wanted.setdefault(found.key, found) != found:
            refuse("it describes one storage in two ways")
        return Storage(name="torch.Storage", kind=found.kind, memory=None)

    return storage


def _legacy_storages(memories: Mapping[str, memoryview]) -> Persistent:
    def storage(value: object) -> object:
        if _is_class(value):
            return value[1]
        found = _storage_id(value)
        return Storage(name="torch.Storage", kind=found.kind, memory=memories[found.key])

    return storage


def _is_class(value: object) -> TypeGuard[tuple[str, Global, str, str]]:
    """("module", class, path, source): a class together with its source text, which is not looked at."""
    if not isinstance(value, tuple) or len(value) != 4:
        return False
    return is_text(value[0], "module") and isinstance(value[1], Global)


def _legacy_memories(
    data: memoryview, position: int, keys: object, wanted: Mapping[str, _StorageId]
) -> dict[str, memoryview]:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(wanted):
        refuse("its list of storages is not that of its tensors")
    if len(set(keys)) != len(keys):
        refuse("it lists a storage twice")
    memories: dict[str, memoryview] = {}
    for key in keys:
        size = wanted[key].count * item_bytes(wanted[key].kind)
        if position + 8 + size > len(data):
            raise cut_short()
        if int.from_bytes(data[position : position + 8], "little", signed=True) != wanted[key].count:
            refuse("a storage is not as large as it says")
        memories[key] = data[position + 8 : position + 8 + size]
        position += 8 + size
    if position != len(data):
        refuse("something follows after its end")
    return memories


# ── zips ──


def torch_records(data: memoryview) -> dict[str, memoryview]:
    """The records of a torch zip by their name below the one root folder. Raises BadInput or Damaged."""
    lines = directory(data)
    names = [line.text for line in lines]
    inner = {name.partition("/")[2] for name in names}
    if "data.pkl" not in inner:
        raise other_zip(names)
    if inner & {"constants.pkl", "bytecode.pkl"} or any(
        name.startswith("code/") or name.endswith(".py") for name in inner
    ):
        raise BadInput(
            "This is a TorchScript program: a network together with code to run, which the studio never runs.",
            "Ask for the plain weights (a state dict) instead.",
        )
    if len({name.partition("/")[0] for name in names}) != 1:
        refuse("it holds several models in one")
    return {name.partition("/")[2]: memory for name, memory in records(data, lines).items()}
