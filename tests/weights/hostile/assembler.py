"""Pickles written opcode by opcode, as an attacker writes them, and legacy torch files around them.

Nothing here imports torch or unpickles anything. `encode` turns plain values and the nodes below into opcodes that leave
one object on the stack; `pickled` makes a whole pickle of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NEWEST = 5
MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


@dataclass(frozen=True)
class Global:
    """Whatever an unpickler would look up under this name."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """REDUCE: the result of calling a function."""

    function: object
    arguments: tuple[object, ...] = ()


@dataclass(frozen=True)
class New:
    """NEWOBJ: an object of a class."""

    of: object
    arguments: tuple[object, ...] = ()


@dataclass(frozen=True)
class Built:
    """BUILD: an object that is given a state."""

    thing: object
    state: object


@dataclass(frozen=True)
class Persistent:
    """BINPERSID: what a loader finds elsewhere, such as a torch storage."""

    identity: object


@dataclass(frozen=True)
class Opcodes:
    """Opcodes as they are; they must leave one object on the stack."""

    code: bytes


@dataclass(frozen=True, eq=False)
class TensorOf:
    """A torch tensor as plain pickle writes it: its storage is a legacy torch file in bytes."""

    array: np.ndarray


def pickled(value: object, protocol: int = 2, frame: bool = False) -> bytes:
    """A whole pickle. With `frame`, the opcodes are framed as protocol 4 wants it."""
    body = encode(value, protocol) + b"."
    if frame:
        body = b"\x95" + struct.pack("<Q", len(body)) + body
    return (b"\x80" + bytes([protocol]) if protocol >= 2 else b"") + body


def call(module: str, name: str, *arguments: object) -> Call:
    return Call(Global(module, name), arguments)


def encode(value: object, protocol: int = 2) -> bytes:
    """Opcodes that leave `value` on the stack, in the words of `protocol`. Nothing is memoised."""
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return (b"\x88" if value else b"\x89") if protocol >= 2 else (b"I01\n" if value else b"I00\n")
    if isinstance(value, int):
        return _integer(value, protocol)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value) if protocol else f"F{value!r}\n".encode()
    if isinstance(value, str):
        return text(value) if protocol else b"V" + value.encode("raw_unicode_escape").replace(b"\n", b"\\u000a") + b"\n"
    if isinstance(value, bytes):
        return _bytes(value, protocol)
    if isinstance(value, (tuple, list, dict)):
        return _container(value, protocol)
    return _node(value, protocol)


def text(value: str) -> bytes:
    """BINUNICODE; lone surrogates pass."""
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def _integer(value: int, protocol: int) -> bytes:
    if not protocol:
        return f"I{value}\n".encode()
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(content) < 256:
        return b"\x8a" + bytes([len(content)]) + content
    return b"\x8b" + struct.pack("<i", len(content)) + content


def _bytes(value: bytes, protocol: int) -> bytes:
    if protocol >= 3:
        return b"B" + struct.pack("<I", len(value)) + value
    return encode(call("_codecs", "encode", value.decode("latin1"), "latin1"), protocol)


def _container(value: tuple[object, ...] | list[object] | dict[object, object], protocol: int) -> bytes:
    items: Iterable[object] = (part for pair in value.items() for part in pair) if isinstance(value, dict) else value
    inside = b"(" + b"".join(encode(item, protocol) for item in items)
    if isinstance(value, tuple):
        return inside + b"t"
    oldest, empty, fill = (b"d", b"}", b"u") if isinstance(value, dict) else (b"l", b"]", b"e")
    if not protocol:
        return inside + oldest
    return empty + inside + fill if value else empty


def _node(value: object, protocol: int) -> bytes:
    match value:
        case Global(module, name) if protocol >= 4:
            return text(module) + text(name) + b"\x93"
        case Global(module, name):
            return b"c" + f"{module}\n{name}\n".encode()
        case Call(function, arguments):
            return encode(function, protocol) + encode(arguments, protocol) + b"R"
        case New(kind, arguments):
            return encode(kind, protocol) + encode(arguments, protocol) + b"\x81"
        case Built(thing, state):
            return encode(thing, protocol) + encode(state, protocol) + b"b"
        case Persistent(identity):
            return encode(identity, protocol) + b"Q"
        case Opcodes(code):
            return code
        case TensorOf(array):
            return encode(tensor_of(array), protocol)
        case np.ndarray():
            return encode(array_of(value), protocol)
    raise TypeError(f"cannot pickle {value!r}")


def array_of(array: np.ndarray, **changed: object) -> Built:
    """A numpy array as numpy pickles it; `changed` replaces shape, dtype or content, as lies."""
    dtype = Built(call("numpy", "dtype", array.dtype.str[1:], False, True), (3, "<", None, None, None, -1, -1, 0))
    empty = call("numpy.core.multiarray", "_reconstruct", Global("numpy", "ndarray"), (0,), b"b")
    given = {
        "version": 1,
        "shape": array.shape,
        "dtype": dtype,
        "fortran": False,
        "content": array.tobytes(),
        **changed,
    }
    return Built(empty, tuple(given.values()))


def tensor_of(array: np.ndarray, storage: object = None, **changed: object) -> Call:
    """A torch tensor over `storage`; `changed` replaces offset, size or stride, as lies."""
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides) if array.ndim else ()
    held = call("torch.storage", "_load_from_bytes", legacy_storage(array)) if storage is None else storage
    given = {"storage": held, "offset": 0, "size": array.shape, "stride": strides, **changed}
    return call("torch._utils", "_rebuild_tensor_v2", *given.values(), False, call("collections", "OrderedDict"))


def legacy(tree: object, storages: dict[str, bytes] | None = None, /, **changed: bytes) -> bytes:
    """A torch file of before version 1.6. Storage sections are raw (length and elements); `changed` replaces parts."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = {
        "magic": pickled(MAGIC), "protocol": pickled(1001), "system": pickled(system), "tree": pickled(tree),
        "keys": pickled(list(storages or {})), "storages": b"".join((storages or {}).values()), **changed,
    }  # fmt: skip
    return b"".join(parts.values())


def section(array: np.ndarray) -> bytes:
    """One storage section of a legacy torch file."""
    return struct.pack("<q", array.size) + array.tobytes()


def storage(array: np.ndarray, key: object = "0", **changed: object) -> Persistent:
    """The persistent id of a torch storage, in zips; legacy files add a sixth member. `changed` are lies."""
    kind = Global("torch", STORAGES[array.dtype.name])
    given = {"word": "storage", "kind": kind, "key": key, "place": "cpu", "count": array.size, **changed}
    return Persistent(tuple(given.values()))


def legacy_storage(array: np.ndarray) -> bytes:
    """What `_load_from_bytes` is given: a legacy torch file that holds one storage."""
    return legacy(storage(array, "1", view=None), {"1": section(array)})
