"""safetensors with checks of our own, and the JSON that lies beside a file.

A safetensors file is the length of its header (unsigned 64-bit, little-endian), a JSON header, and the tensors without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.rebuild import Reading, item_bytes
from studio.weights.foreign.records import cut_short

_HEADER_BYTES = 8_000_000
_MAX_TENSORS = 20_000
_MAX_AXES = 16
_CONFIG_BYTES = 1_000_000
_CONFIG_NAMES = (".config.json", "config.json")
_KINDS: Mapping[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "<i1", "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "|b1",
}  # fmt: skip


def read_safetensors(data: memoryview) -> dict[str, np.ndarray]:
    """The tensors by name: read-only views, bfloat16 as float32. Raises BadInput or Damaged."""
    length = int.from_bytes(data[:8], "little")
    if length > _HEADER_BYTES:
        _refuse("its header is far too long")
    if len(data) < 8 + length:
        raise cut_short()
    header = _json(bytes(data[8 : 8 + length]))
    header.pop("__metadata__", None)
    if len(header) > _MAX_TENSORS:
        _refuse("it holds far more tensors than a model")
    body = data[8 + length :]
    reading = Reading(len(data))
    found: dict[str, np.ndarray] = {}
    places: list[tuple[int, int]] = []
    for name, entry in header.items():
        kind, shape, begin, end = _entry(name, entry)
        if end > len(body):
            raise cut_short()
        places.append((begin, end))
        steps = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        found[name] = reading.array(body[begin:end], kind, shape, steps)
    _check_places(places, len(body))
    return found


def _check_places(places: list[tuple[int, int]], size: int) -> None:
    """The tensors fill the file, one behind the other."""
    position = 0
    for begin, end in sorted(places):
        if begin != position:
            _refuse("its tensors overlap or leave gaps")
        position = end
    if position != size:
        _refuse("something follows behind its tensors")


def _json(content: bytes) -> dict[str, Any]:
    try:
        header = json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        _refuse("its header is garbled")
    if not isinstance(header, dict):
        _refuse("its header is garbled")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        _refuse("its header names something twice")
    return made


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...], int, int]:
    """Kind, shape and place of one tensor, which agree with each other."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"} or len(name) > 500:
        _refuse("its header is garbled")
    shape, place = entry["shape"], entry["data_offsets"]
    if not _whole(shape) or not _whole(place) or len(place) != 2 or len(shape) > _MAX_AXES:
        _refuse("a tensor has no sound shape or place")
    kind = _KINDS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if kind is None:
        _refuse(f"{name[:60]!r} has a kind of numbers that the studio does not read")
    if math.prod(shape) * item_bytes(kind) != place[1] - place[0]:
        _refuse("a tensor is not as large as its shape says")
    return kind, tuple(shape), place[0], place[1]


def _whole(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 40 for value in values)


def _refuse(why: str) -> NoReturn:
    raise BadInput(f"This safetensors file cannot be used: {why}.", "Download it again, or ask its author.")


def side_config(source: Path) -> dict[str, object]:
    """The settings that lie beside a weights file as JSON; empty if there are none that can be read."""
    for name in _CONFIG_NAMES:
        found = _table(source.with_name(name))
        if found is not None:
            return found
    return {}


def _table(path: Path) -> dict[str, object] | None:
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            content = file.read(_CONFIG_BYTES + 1)
        found = json.loads(content) if len(content) <= _CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
