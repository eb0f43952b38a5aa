"""The closed table: the few names that a file may use to make plain data, each done again here with its sizes checked.

What the named functions do in other programs is never called. Tensors become read-only numpy views of the file's bytes.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Record

Pair = tuple[str, str]
"""Module and qualified name, as the file says them."""

MAX_OPERATIONS = 1_000_000
MAX_TEXT_BYTES = 64_000_000
_MAX_AXES = 16
_MAX_SIZE = 1 << 31
_DTYPE_CODE = re.compile(r"[|<>=]?([biuf])([1248])")


def refuse(why: str) -> NoReturn:
    """Raise the refusal of a file that no honest program writes."""
    raise BadInput(
        f"This file cannot be read safely: {why}.", "Do not open it elsewhere; ask its author for safetensors."
    )


def is_text(value: object, *texts: str) -> bool:
    """Whether a value is one of some texts. (`==` would compare arrays number by number.)"""
    return isinstance(value, str) and value in texts


@dataclass(frozen=True, kw_only=True, eq=False)
class Global(Record):
    """A name that the file mentions: a class or a function elsewhere, never looked up."""

    pair: Pair = ("", "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Storage(Record):
    """The numbers that tensors are views of. `memory` is None while a file is only measured."""

    kind: str
    memory: memoryview | None


class Attributes(dict[Any, Any]):
    """An object that is nothing but its attributes (Namespace, EasyDict), as a dict."""


class Reading:
    """What one file may cost, counted over all pickles inside it, and what was made of it already."""

    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._operations = 0
        self._text_bytes = 0
        self._tensor_bytes = 0
        self._arrays: dict[tuple[object, ...], np.ndarray] = {}
        self._checksums: dict[str, str] = {}
        self._names: dict[Pair, object] = {}

    def spend(self, operations: int = 1) -> None:
        """Count steps of the interpreter, or things that one step copies."""
        self._operations += operations
        if self._operations > MAX_OPERATIONS:
            refuse("it holds far more objects than a model")

    def spend_text(self, count: int) -> None:
        """Count bytes of text, which is copied where tensors are not."""
        self._text_bytes += count
        if self._text_bytes > MAX_TEXT_BYTES:
            refuse("it holds far more text than a model")

    def checksum(self, text: str) -> str:
        """The sha256 of a text, taken once."""
        if text not in self._checksums:
            self._checksums[text] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return self._checksums[text]

    def named(self, module: str, name: str) -> object:
        """What stands for a global; see `named`."""
        pair = (module, name)
        if pair not in self._names:
            self._names[pair] = named(module, name)
        return self._names[pair]

    def array(
        self, memory: memoryview, kind: str, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
    ) -> np.ndarray:
        """A read-only view of `memory`; shape, strides and offset in elements, already known to lie inside it.

        Equal views are made once. The bytes of all that differ must not be more than the file has.
        """
        dtype = np.dtype("<u2" if kind == "bfloat16" else kind)
        start = offset * dtype.itemsize
        address = np.frombuffer(memory, np.uint8).ctypes.data + start if len(memory) else 0
        key = (address, kind, shape, strides)
        if key not in self._arrays:
            if math.prod(size or 1 for size in shape) > _MAX_SIZE:
                refuse("a tensor has impossible sizes or strides")
            self._tensor_bytes += math.prod(shape) * dtype.itemsize
            if self._tensor_bytes > self._file_bytes:
                refuse("its tensors claim more bytes than the file has")
            steps = tuple(step * dtype.itemsize for step in strides)
            view = np.ndarray(shape, dtype, memory, start, steps) if math.prod(shape) else np.zeros(shape, dtype)
            self._arrays[key] = _widened(view) if kind == "bfloat16" else view
            self._arrays[key].flags.writeable = False
        return self._arrays[key]


def _widened(view: np.ndarray) -> np.ndarray:
    """bfloat16, given as its 16 bits, as the float32 of which it is the upper half."""
    return (view.astype(np.uint32) << 16).view(np.float32)


STORAGE_KINDS: Mapping[Pair, str] = {
    ("torch", f"{name}Storage"): kind
    for name, kind in (
        ("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("BFloat16", "bfloat16"), ("Long", "<i8"), ("Int", "<i4"),
        ("Short", "<i2"), ("Char", "<i1"), ("Byte", "<u1"), ("Bool", "|b1"),
        ("ComplexFloat", "<c8"), ("ComplexDouble", "<c16"),
    )
} | {("torch.storage", "UntypedStorage"): "<u1", ("torch", "UntypedStorage"): "<u1"}  # fmt: skip

TENSOR_KINDS: Mapping[str, str] = {
    "float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "bfloat16", "int64": "<i8", "int32": "<i4",
    "int16": "<i2", "int8": "<i1", "uint8": "<u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "bool": "|b1",
    "complex64": "<c8", "complex128": "<c16", "double": "<f8", "float": "<f4", "half": "<f2", "long": "<i8",
    "int": "<i4", "short": "<i2",
}  # fmt: skip


def item_bytes(kind: str) -> int:
    """Bytes of one number of a kind."""
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize


# ── tensors ──


def _whole_numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > _MAX_AXES:
        refuse("a tensor has no sound shape")
    if not all(type(value) is int and 0 <= value < _MAX_SIZE for value in values):
        refuse("a tensor has impossible sizes or strides")
    return tuple(values)


def _tensor_of(storage: object, kind: str, offset: object, size: object, stride: object, reading: Reading) -> object:
    if not isinstance(storage, Storage):
        refuse("a tensor has no storage")
    if storage.memory is None:
        return np.zeros(0, np.float32)
    shape, strides = _whole_numbers(size), _whole_numbers(stride)
    if type(offset) is not int or offset < 0 or len(shape) != len(strides):
        refuse("a tensor has impossible sizes or strides")
    numbers = len(storage.memory) // item_bytes(kind)
    last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= numbers:
        refuse("a tensor reaches beyond its storage")
    return reading.array(storage.memory, kind, shape, strides, offset if math.prod(shape) else 0)


def _rebuild_tensor(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """(storage, offset, size, stride, …): what follows (gradients, hooks) is not read."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        refuse("a tensor lacks its storage or its shape")
    storage, offset, size, stride = arguments[:4]
    return _tensor_of(storage, storage.kind, offset, size, stride, reading)


def _rebuild_tensor_v3(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """(untyped storage, offset, size, stride, gradient, hooks, dtype, …)."""
    if len(arguments) < 7:
        refuse("a tensor lacks its kind of numbers")
    named_kind = arguments[6]
    kind = TENSOR_KINDS.get(named_kind.removeprefix("torch.")) if isinstance(named_kind, str) else None
    if kind is None:
        refuse("a tensor has a kind of numbers that the studio does not read")
    return _tensor_of(arguments[0], kind, arguments[1], arguments[2], arguments[3], reading)


def _rebuild_parameter(reading: Reading, arguments: tuple[Any, ...]) -> object:
    if not arguments or not isinstance(arguments[0], np.ndarray):
        refuse("a parameter has no tensor")
    return arguments[0]


def _rebuild_from_type(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """(function, type, its arguments, attributes): a tensor with attributes of its own, which are not read."""
    if len(arguments) < 3 or not isinstance(arguments[0], Global) or not isinstance(arguments[2], tuple):
        refuse("a tensor lacks what it is made of")
    make = _TENSOR_MAKERS.get(arguments[0].pair)
    if make is None:
        refuse("a tensor is made by a function of the file's own")
    return make(reading, arguments[2])


_TENSOR_MAKERS: Mapping[Pair, Callable[[Reading, tuple[Any, ...]], object]] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}


# ── numpy ──


def _numpy_kind(dtype: object) -> str:
    """The kind of numbers of a `numpy.dtype` record: its code, with the byte order that BUILD gave it."""
    if not isinstance(dtype, Record) or dtype.name != "numpy.dtype" or not dtype.arguments:
        refuse("a numpy array has no kind of numbers")
    code = dtype.arguments[0]
    match = _DTYPE_CODE.fullmatch(code) if isinstance(code, str) else None
    if match is None or (match[1] == "b" and match[2] != "1") or (match[1] == "f" and match[2] == "1"):
        refuse("a numpy array holds something else than numbers")
    order = "<"
    if isinstance(dtype.state, tuple) and len(dtype.state) > 1 and is_text(dtype.state[1], ">"):
        order = ">"
    return order + match[1] + match[2]


def _raw(content: object) -> memoryview:
    """Bytes, however the pickle's protocol keeps them."""
    if isinstance(content, str):
        content = content.encode("latin1", "replace")
    if not isinstance(content, (bytes, memoryview)):
        refuse("a numpy array has no bytes")
    return memoryview(content)


def _numpy_view(reading: Reading, shape: object, kind: str, fortran: object, content: object) -> np.ndarray:
    sizes = _whole_numbers(shape)
    memory = _raw(content)
    if math.prod(sizes) * item_bytes(kind) != len(memory):
        refuse("a numpy array's size is not that of its bytes")
    steps: list[int] = []
    for axis in range(len(sizes)):
        steps.append(math.prod(sizes[:axis] if fortran else sizes[axis + 1 :]))
    return reading.array(memory, kind, sizes, tuple(steps))


def numpy_array(reading: Reading, state: object) -> np.ndarray:
    """The array of which `state` is what BUILD gives: (version, shape, dtype, fortran order, bytes)."""
    if not isinstance(state, tuple) or len(state) != 5:
        refuse("a numpy array lacks its shape or its bytes")
    return _numpy_view(reading, state[1], _numpy_kind(state[2]), state[3] is True, state[4])


def _numpy_scalar(reading: Reading, arguments: tuple[Any, ...]) -> object:
    if len(arguments) != 2:
        refuse("a number lacks its bytes")
    return _numpy_view(reading, (), _numpy_kind(arguments[0]), False, arguments[1]).item()


def _numpy_frombuffer(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """(bytes, dtype, shape, order): arrays of pickle protocol 5."""
    if len(arguments) != 4:
        refuse("a numpy array lacks its shape or its bytes")
    content, dtype, shape, order = arguments
    return _numpy_view(reading, shape, _numpy_kind(dtype), is_text(order, "F"), content)


# ── other plain data ──


def _dictionary(reading: Reading, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """OrderedDict and its like: empty, from another dict, or from pairs."""
    given = arguments[0] if arguments else ()
    if isinstance(given, dict):
        reading.spend(len(given))
        return dict(given)
    if not isinstance(given, (list, tuple)):
        refuse("a dictionary is made of something else than pairs")
    reading.spend(len(given))
    made: dict[Any, Any] = {}
    for pair in given:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            refuse("a dictionary is made of something else than pairs")
        made[key_of(pair[0])] = pair[1]
    return made


def key_of(value: object) -> str | int | bytes:
    """`value` as a key: text, a number below 2**53 or bytes, whose hashes nobody can make collide."""
    if isinstance(value, (str, bytes)) or (isinstance(value, int) and abs(value) < 1 << 53):
        return value
    refuse("a dictionary has keys that are neither text nor numbers")


def _empty(reading: Reading, arguments: tuple[Any, ...]) -> object:
    return {}


def _attributes(reading: Reading, arguments: tuple[Any, ...]) -> object:
    return Attributes(_dictionary(reading, arguments))


def _set(reading: Reading, arguments: tuple[Any, ...]) -> object:
    given = arguments[0] if arguments else ()
    if not isinstance(given, (list, tuple, set, frozenset)):
        refuse("a set is made of something else than a list")
    reading.spend(len(given))
    return {key_of(item) for item in given}


def _encode(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """Bytes in protocols that had none: text of which each character is one byte."""
    text, encoding = arguments if len(arguments) == 2 else (None, None)
    if not isinstance(text, str) or not is_text(encoding, "latin1", "latin-1"):
        refuse("bytes are not written as bytes")
    reading.spend_text(len(text))
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        refuse("bytes are not written as bytes")


def _bytes(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """`bytes()`: how protocols before 3 write no bytes at all."""
    if arguments:
        refuse("bytes are not written as bytes")
    return b""


def _size(reading: Reading, arguments: tuple[Any, ...]) -> object:
    return _whole_numbers(arguments[0] if arguments else ())


def _device(reading: Reading, arguments: tuple[Any, ...]) -> object:
    if not all(isinstance(part, (str, int)) for part in arguments) or len(arguments) > 2:
        refuse("a device is not a name and a number")
    return ":".join(str(part)[:40] for part in arguments)


def _persistent(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """NVIDIA's persistent object: its state is kept, its source text is not looked at, only its checksum taken."""
    meta = arguments[0] if len(arguments) == 1 else None
    if not isinstance(meta, dict) or not is_text(meta.get("type"), "class"):
        refuse("a persistent object is not described as NVIDIA's programs do")
    if not isinstance(meta.get("class_name"), str):
        refuse("a persistent object is not described as NVIDIA's programs do")
    source = meta.get("module_src")
    return Record(
        name=meta["class_name"][:200],
        state=meta.get("state"),
        persistent=True,
        source_sha256=reading.checksum(source) if isinstance(source, str) else "",
    )


def _reconstructed(reading: Reading, arguments: tuple[Any, ...]) -> object:
    """An object of a plain class, empty until BUILD fills it."""
    if not arguments or not isinstance(arguments[0], Global):
        refuse("an object has no class")
    return instance(reading, arguments[0], ())


def instance(reading: Reading, kind: Global, arguments: tuple[Any, ...]) -> object:
    """An object of a class: a dict for those that are dicts, a record for all others."""
    make = _CONTAINERS.get(kind.pair)
    return make(reading, arguments) if make else Record(name=kind.name, arguments=arguments)


_CONTAINERS: Mapping[Pair, Callable[[Reading, tuple[Any, ...]], object]] = {
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "defaultdict"): _empty,
    ("builtins", "dict"): _dictionary,
    ("__builtin__", "dict"): _dictionary,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    ("builtins", "frozenset"): _set,
    ("__builtin__", "frozenset"): _set,
    ("dnnlib.util", "EasyDict"): _attributes,
    ("dnnlib", "EasyDict"): _attributes,
    ("argparse", "Namespace"): _attributes,
    ("types", "SimpleNamespace"): _attributes,
    ("torch", "Size"): _size,
}

CALLS: Mapping[Pair, Callable[[Reading, tuple[Any, ...]], object]] = {
    **_CONTAINERS,
    **_TENSOR_MAKERS,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("torch", "device"): _device,
    ("copyreg", "_reconstructor"): _reconstructed,
    ("copy_reg", "_reconstructor"): _reconstructed,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _bytes,
    ("__builtin__", "bytes"): _bytes,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
    ("numpy.core.numeric", "_frombuffer"): _numpy_frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _numpy_frombuffer,
}
"""What a REDUCE of these names makes, from the reading and the arguments."""

LOAD_FROM_BYTES: Pair = ("torch.storage", "_load_from_bytes")
"""Holds a second torch file; the interpreter hands it to the reader of those."""

NUMPY_ARRAYS = frozenset({"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"})
"""Records that become arrays when BUILD fills them."""

_DANGEROUS_ROOMS = frozenset(
    {"os", "posix", "nt", "ntpath", "posixpath", "subprocess", "sys", "importlib", "runpy", "pty", "socket", "ctypes"}
    | {"shutil", "webbrowser", "code", "codeop", "commands", "pickle", "_pickle", "cPickle", "marshal", "pip", "pydoc"}
    | {"timeit", "cProfile", "profile", "pdb", "bdb", "trace", "asyncio", "multiprocessing", "urllib", "http", "imp"}
    | {"builtins", "__builtin__", "platform", "signal", "operator", "_operator", "linecache", "tempfile", "io", "_io"}
)
_HARMLESS_BUILTINS = frozenset(
    {"set", "frozenset", "dict", "list", "tuple", "object", "bytes", "bytearray", "int", "float", "str", "bool"}
    | {"complex", "slice", "range", "type", "NoneType", "unicode", "long", "Ellipsis", "NotImplemented"}
)


def named(module: str, name: str) -> object:
    """What stands for a global: a text for torch's kinds of numbers, else an inert name.

    Raises:
        BadInput: it is no name, or one that only serves to run programs. (A courtesy: it would be inert too.)
    """
    if not all(part.isidentifier() for text in (module, name) for part in text.replace("<locals>", "l").split(".")):
        refuse("it uses a name that is none")
    if len(module) + len(name) > 300:
        refuse("it uses a name that is far too long")
    if module == "torch" and name in TENSOR_KINDS:
        return f"torch.{name}"
    harmless = module in ("builtins", "__builtin__") and name in _HARMLESS_BUILTINS
    if module.split(".")[0] in _DANGEROUS_ROOMS and not harmless:
        refuse(f"it asks for {module}.{name}, which can run programs, and no model needs it")
    return Global(name=f"{module}.{name}", pair=(module, name))
