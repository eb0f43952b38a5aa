"""Tensors and arrays that lie about their size, in models that are genuine apart from one weight."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.weights.hostile.assembler import (
    Built,
    Call,
    Global,
    Opcodes,
    array_of,
    call,
    legacy,
    pickled,
    section,
    storage,
    tensor_of,
    text,
)
from tests.weights.hostile.genuine import dcgan_arrays, nvlabs_tree, random, tensorflow_tree
from tests.weights.hostile.hostile import Hostile, Trap
from tests.weights.hostile.zips import torch_state, torch_zip

KIND = "shapes"
LIED = "main.0.weight"
SMALL = random(4, 4)
FLOAT = Built(call("numpy", "dtype", "f4", False, True), (3, "<", None, None, None, -1, -1, 0))


def attacks(trap: Trap) -> Iterator[Hostile]:
    for label, lie in _views().items():
        yield Hostile(kind=KIND, name=f"view-{label}.pth", content=_lying_zip(**lie))
    for label in ("eight-gigabytes", "stride-zero", "negative-stride", "offset-overflow"):
        lie = _views()[label]
        tree = {"G_ema": nvlabs_tree(extra={"w": tensor_of(SMALL, **lie)})["G_ema"]}
        yield Hostile(kind=KIND, name=f"nvlabs-{label}.pkl", content=pickled(tree, 4))
        yield Hostile(kind=KIND, name=f"legacy-{label}.pth", content=_lying_legacy(**lie))
    for label, lie in _storages().items():
        yield Hostile(
            kind=KIND,
            name=f"storage-{label}.pth",
            content=_lying_zip(tensor_of(SMALL, storage(SMALL, **{"key": "0", **lie}))),
        )
    for label, node in _rebuilds().items():
        yield Hostile(kind=KIND, name=f"rebuild-{label}.pth", content=_lying_zip(node))
    for label, node in _arrays().items():
        content = pickled(tensorflow_tree(variables=[("dlatent_avg", node)]), 4)
        yield Hostile(kind=KIND, name=f"array-{label}.pkl", content=content, acceptable=label in NEVER_READ)
    for label, node in _dtypes().items():
        content = pickled(tensorflow_tree(variables=[("dlatent_avg", array_of(random(8), dtype=node))]), 4)
        yield Hostile(kind=KIND, name=f"dtype-{label}.pkl", content=content, acceptable=label in TRUE_DTYPES)
    for label, node in _scalars().items():
        content = pickled(nvlabs_tree(extra={"conv_clamp": node}, img_resolution=node), 4)
        yield Hostile(
            kind=KIND, name=f"scalar-{label}.pkl", content=content, acceptable=label in ("infinite", "enormous")
        )
    yield from _many()


NEVER_READ = frozenset(
    {
        "content-text",
        "version-odd",
        "version-text",
        "fortran-odd",
        "fortran-of-a-vector",
        "no-state",
        "reconstruct-enormous",
    }
    | {
        "reconstruct-object",
        "reconstruct-dtype-node",
        "ndarray-called",
        "ndarray-over-a-buffer",
        "masked",
        "record-array",
    }
)
"""What stays an inert record, or lies about what nobody needs."""
TRUE_DTYPES = frozenset(
    {"by-text-big-endian", "by-state-endian", "by-state-endian-odd", "by-state-size", "by-state-short"}
)


def _lying_zip(node: Call | None = None, **lie: object) -> bytes:
    tree, records = torch_state(dcgan_arrays())
    array = dcgan_arrays()[LIED]
    tree[LIED] = tensor_of(array, storage(array, "0"), **lie) if node is None else node
    return torch_zip(tree, records)


def _lying_legacy(**lie: object) -> bytes:
    held = storage(SMALL, "0", view=None)
    return legacy({LIED: tensor_of(SMALL, held, **lie)}, {"0": section(SMALL)})


def _views() -> dict[str, dict[str, object]]:
    return {
        "eight-gigabytes": {"size": (2**31,), "stride": (1,)},
        "stride-zero": {"size": (10**6, 10**6), "stride": (0, 0)},
        "stride-zero-one-axis": {"size": (6, 8, 4, 400_000), "stride": (128, 16, 4, 0)},
        "negative-stride": {"offset": 15, "size": (4, 4), "stride": (-4, -1)},
        "negative-size": {"size": (-4, -4), "stride": (4, 1)},
        "negative-offset": {"offset": -8},
        "offset-past-the-end": {"offset": 10**6},
        "offset-overflow": {"offset": 2**63 - 1},
        "offset-wraps": {"offset": 2**64 - 4},
        "offset-beyond-integers": {"offset": 2**200},
        "size-product-wraps": {"size": (2**32, 2**32), "stride": (1, 1)},
        "size-product-zero": {"size": (0, 2**62, 2**62), "stride": (1, 1, 1)},
        "stride-wraps": {"size": (2, 2), "stride": (2**63, 1)},
        "stride-times-size-wraps": {"size": (2**33, 2), "stride": (2**31, 1)},
        "more-strides": {"size": (4, 4), "stride": (4, 1, 1)},
        "no-strides": {"size": (4, 4), "stride": ()},
        "hundred-axes": {"size": (1,) * 100, "stride": (1,) * 100},
        "million-axes": {"size": (1,) * 300_000, "stride": (1,) * 300_000},
        "size-zero-times-enormous": {"size": (0, *[2**31 - 1] * 7), "stride": (1,) * 8},
        "size-of-text": {"size": ("4", "4"), "stride": (4, 1)},
        "size-of-floats": {"size": (4.0, 4.0), "stride": (4, 1)},
        "size-of-booleans": {"size": (True, True), "stride": (4, 1)},
        "size-nested": {"size": ((4, 4),), "stride": (1,)},
        "size-a-number": {"size": 16, "stride": (1,)},
        "size-a-tensor": {"size": tensor_of(SMALL, storage(SMALL, "0")), "stride": (4, 1)},
        "size-by-call": {"size": call("torch", "Size", [2**40]), "stride": (1,)},
        "stride-none": {"stride": None},
        "offset-none": {"offset": None},
        "offset-float": {"offset": float("nan")},
        "one-past-the-end": {"size": (7, 8, 4, 4), "stride": (128, 16, 4, 1)},
    }


def _storages() -> dict[str, dict[str, object]]:
    return {
        "count-enormous": {"count": 2**60},
        "count-wraps": {"count": 2**62 + 16},
        "count-negative": {"count": -1},
        "count-text": {"count": "16"},
        "count-float": {"count": float("inf")},
        "count-too-large": {"count": 10**6},
        "kind-a-function": {"kind": Global("os", "system")},
        "kind-unknown": {"kind": Global("torch", "OddStorage")},
        "kind-text": {"kind": "FloatStorage"},
        "kind-none": {"kind": None},
        "kind-quantised": {"kind": Global("torch", "QInt8Storage")},
        "kind-complex": {"kind": Global("torch", "ComplexFloatStorage")},
        "kind-of-cuda": {"kind": Global("torch.cuda", "FloatStorage")},
        "kind-untyped": {"kind": Global("torch.storage", "UntypedStorage")},
        "kind-double": {"kind": Global("torch", "DoubleStorage")},
        "key-missing": {"key": "999"},
        "key-a-path": {"key": "../../../etc/passwd"},
        "key-absolute": {"key": "/etc/passwd"},
        "key-a-number": {"key": 0},
        "key-a-list": {"key": []},
        "key-the-pickle": {"key": "../data.pkl"},
        "key-with-nul": {"key": "0\0"},
        "key-a-megabyte": {"key": "0" * 1_000_000},
        "word-module": {"word": "module"},
        "word-none": {"word": None},
        "place-meta": {"place": "meta"},
        "place-a-path": {"place": "/dev/nvidia0"},
        "place-a-megabyte": {"place": "cuda:" + "9" * 1_000_000},
        "more-members": {"extra": Global("os", "system")},
    }


def _rebuilds() -> dict[str, Call]:
    held = storage(SMALL, "0")
    hooks = call("collections", "OrderedDict")
    return {
        "no-arguments": call("torch._utils", "_rebuild_tensor_v2"),
        "too-many-arguments": call("torch._utils", "_rebuild_tensor_v2", *range(100)),
        "storage-a-number": call("torch._utils", "_rebuild_tensor_v2", 2**40, 0, (4,), (1,), False, hooks),
        "storage-a-tensor": call("torch._utils", "_rebuild_tensor_v2", tensor_of(SMALL, held), 0, (4, 4), (4, 1), False, hooks),
        "storage-a-class": call("torch._utils", "_rebuild_tensor_v2", Global("torch", "FloatStorage"), 0, (4,), (1,),
            False, hooks),
        "version-3": call("torch._utils", "_rebuild_tensor_v3", held, 0, (2**40,), (1,), False, hooks,
            Global("torch", "uint16"), {}),
        "meta": call("torch._utils", "_rebuild_meta_tensor_no_storage", Global("torch", "float32"), (2**40,), (1,), False),
        "nested": call("torch._utils", "_rebuild_nested_tensor", *[tensor_of(SMALL, held)] * 4),
        "bytes-storage": tensor_of(SMALL, b"\0" * 64),
        "load-from-bytes-list": tensor_of(SMALL, call("torch.storage", "_load_from_bytes", [1, 2])),
        "load-from-bytes-empty": tensor_of(SMALL, call("torch.storage", "_load_from_bytes", b"")),
        "parameter-of-text": call("torch._utils", "_rebuild_parameter", "x" * 1000, True, hooks),
        "parameter-of-itself": Call(Global("torch._utils", "_rebuild_parameter"), (Opcodes(b"]q\x07h\x07a"), True, None)),
        "infinite": tensor_of(np.full((6, 8, 4, 4), np.inf, np.float32)),
        "not-a-number": tensor_of(np.full((6, 8, 4, 4), np.nan, np.float32)),
        "past-half": tensor_of(np.full((6, 8, 4, 4), 3e38, np.float64) * 1e10),
        "integers": tensor_of(np.ones((6, 8, 4, 4), np.int64)),
        "empty": tensor_of(np.zeros((0, 8, 4, 4), np.float32)),
        "scalar": tensor_of(np.float32([1.0]).reshape(())),
    }  # fmt: skip


def _arrays() -> dict[str, object]:
    """numpy arrays by `_reconstruct` and a state that lies."""
    eight = random(8)
    reconstruct = lambda *given: Call(Global("numpy.core.multiarray", "_reconstruct"), given)  # noqa: E731
    ndarray = Global("numpy", "ndarray")
    return {
        "enormous": array_of(eight, shape=(2**40,)),
        "shape-wraps": array_of(eight, shape=(2**62, 4, 2)),
        "shape-zero-times-enormous": array_of(eight, shape=(0, 2**62)),
        "shape-negative": array_of(eight, shape=(-8,)),
        "shape-text": array_of(eight, shape="8"),
        "shape-floats": array_of(eight, shape=(8.0,)),
        "shape-hundred-axes": array_of(eight, shape=(1,) * 99 + (8,)),
        "content-short": array_of(eight, content=b"abc"),
        "content-long": array_of(eight, content=b"\0" * 1_000_000),
        "content-text": array_of(eight, content="\0" * 32),
        "content-none": array_of(eight, content=None),
        "content-list-of-functions": array_of(eight, content=[Global("os", "system")] * 8),
        "version-odd": array_of(eight, version=10**9),
        "version-text": array_of(eight, version="1"),
        "fortran-odd": array_of(eight, fortran="yes"),
        "fortran-of-a-vector": array_of(eight, fortran=True),
        "state-short": Built(reconstruct(ndarray, (0,), b"b"), (1, (8,))),
        "state-none": Built(reconstruct(ndarray, (0,), b"b"), None),
        "state-dictionary": Built(reconstruct(ndarray, (0,), b"b"), {"shape": (8,)}),
        "state-twice": Built(array_of(eight), (1, (2**40,), FLOAT, False, eight.tobytes())),
        "no-state": reconstruct(ndarray, (0,), b"b"),
        "reconstruct-enormous": reconstruct(ndarray, (2**40,), b"b"),
        "reconstruct-object": reconstruct(ndarray, (2**30,), "O"),
        "reconstruct-dtype-node": reconstruct(ndarray, (0,), call("numpy", "dtype", "O")),
        "ndarray-called": Call(ndarray, ((2**40,), "f4")),
        "ndarray-over-a-buffer": Call(ndarray, ((2**40,), "f4", b"x", 0, (0,))),
        "buffer": call("numpy.core.numeric", "_frombuffer", b"x" * 8, "f4", (2**40,), "C"),
        "newer-numpy": call("numpy._core.numeric", "_frombuffer", bytearray(0).__class__(8).hex(), "f4", (1,), "C"),
        "masked": call("numpy.ma.core", "_mareconstruct", Global("numpy.ma.core", "MaskedArray"), ndarray, (0,), "b"),
        "record-array": call("numpy.core.records", "recarray", (2**40,)),
    }


def _dtypes() -> dict[str, object]:
    plain = {
        "object": "O", "object-bar": "|O8", "void": "V8", "void-enormous": "V2147483647", "text-enormous": "S2147483647",
        "unicode": "U100", "subarray": "(1000000000,)f4", "fields": "f4,O", "dates": "M8[ns]", "half-a-name": "f",
            "nonsense": "zzz",
        "long-double": "f16", "complex": "c16", "empty": "", "nul": "f4\0", "a-megabyte": "f4," * 300_000,
            "source": "__import__('os')",
        "big-endian": ">f4",
    }  # fmt: skip
    nodes = {f"by-text-{label}": call("numpy", "dtype", text, False, True) for label, text in plain.items()}
    named = call("numpy", "dtype", "V8", False, True)
    return nodes | {
        "by-state-fields": Built(named, (3, "|", None, ("a",), {"a": (call("numpy", "dtype", "O"), 0)}, 8, 1, 0)),
        "by-state-subarray": Built(named, (3, "|", (FLOAT, (2**40,)), None, None, 8, 1, 0)),
        "by-state-endian": Built(call("numpy", "dtype", "f4"), (3, ">", None, None, None, -1, -1, 0)),
        "by-state-endian-odd": Built(call("numpy", "dtype", "f4"), (3, "x" * 100, None, None, None, -1, -1, 0)),
        "by-state-size": Built(call("numpy", "dtype", "f4"), (3, "<", None, None, None, 2**31 - 1, 1, 0)),
        "by-state-hooks": Built(call("numpy", "dtype", "O"), (3, "|", None, None, None, -1, -1, 63)),
        "by-state-short": Built(call("numpy", "dtype", "f4"), (3,)),
        "by-dictionary": call("numpy", "dtype", {"names": ["a"], "formats": ["O"], "offsets": [2**40], "itemsize": 4}),
        "by-list": call("numpy", "dtype", [("a", "O")] * 100_000),
        "by-nested-list": call("numpy", "dtype", _nested_fields()),
        "by-global": call("numpy", "dtype", Global("builtins", "object")),
        "a-global": Global("numpy", "dtype"),
        "a-text": "f4",
        "none": None,
        "a-call": call("numpy.dtypes", "ObjectDType"),
    }


def _nested_fields() -> Opcodes:
    """[("a", [("a", …)])], four hundred deep."""
    return Opcodes((b"]" + text("a")) * 400 + text("f4") + b"\x86a" * 400)


def _scalars() -> dict[str, object]:
    scalar = lambda *given: Call(Global("numpy.core.multiarray", "scalar"), given)  # noqa: E731
    return {
        "object": scalar(call("numpy", "dtype", "O"), pickled(call("os", "system", "true"))),
        "object-node": scalar(call("numpy", "dtype", "O"), call("os", "system", "true")),
        "short": scalar(FLOAT, b"x"),
        "long": scalar(FLOAT, b"x" * 1_000_000),
        "void": scalar(call("numpy", "dtype", "V100000000"), b"x"),
        "no-content": scalar(FLOAT),
        "dtype-text": scalar("f4", b"\0\0\0\0"),
        "dtype-none": scalar(None, b"\0\0\0\0"),
        "infinite": scalar(FLOAT, np.float32("inf").tobytes()),
        "enormous": scalar(call("numpy", "dtype", "f8"), np.float64(1e300).tobytes()),
        "newer-name": Call(Global("numpy._core.multiarray", "scalar"), (call("numpy", "dtype", "O"), "x")),
    }


def _many() -> Iterator[Hostile]:
    """Little on disk, much in memory: one storage that is used very often."""
    big = np.zeros((256, 1024, 4), np.float32)
    one = tensor_of(big, storage(big, "0"))
    tree = {f"main.{place}.weight": one for place in range(3000)}
    yield Hostile(kind=KIND, name="many-names-for-one-storage.pth", content=torch_zip(tree, {"0": big.tobytes()}))
    shared = Opcodes(b"}(" + b"".join(b"X\5\0\0\0%05dh\x09" % place for place in range(50_000)) + b"u")
    first = Opcodes(b"(" + pickled(one)[2:-1] + b"q\x09" + shared.code + b"t")
    yield Hostile(kind=KIND, name="many-names-for-one-tensor.pth", content=torch_zip(first, {"0": big.tobytes()}))
    wide = tensor_of(SMALL, storage(SMALL, "0"), size=(4, 1), stride=(4, 1))
    yield Hostile(
        kind=KIND,
        name="many-tensors.pth",
        content=torch_zip({str(i): wide for i in range(60_000)}, {"0": SMALL.tobytes()}),
    )
    variables = [
        (f"{i}x{i}/Conv/weight", Opcodes(pickled(array_of(big), 4)[2:-1] if not i else b"h\x09")) for i in range(2)
    ]
    code = pickled(tensorflow_tree(variables=variables), 4)
    yield Hostile(kind=KIND, name="many-from-an-empty-memo.pkl", content=code)
