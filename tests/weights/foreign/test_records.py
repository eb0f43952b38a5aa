from __future__ import annotations

import argparse
import collections
import contextlib
import io
import pickle
import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from studio.errors import BadInput, Damaged
from studio.weights.foreign.contents import Record, module_tensors
from studio.weights.foreign.rebuild import MAX_OPERATIONS, Reading
from studio.weights.foreign.torchfiles import read_pickle

PROTOCOL = b"\x80\x04"


def read(content: bytes) -> Any:
    return read_pickle(memoryview(content))


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def named(module: str, name: str) -> bytes:
    return short(module) + short(name) + b"\x93"


def refused(content: bytes, because: str = "") -> None:
    with pytest.raises(BadInput) as caught:
        read(content)
    assert because in caught.value.message
    assert caught.value.hint


def body(value: object) -> bytes:
    """The instructions that make a value, without head, frame and stop."""
    content = pickle.dumps(value, 4)
    return content[11 if content[2] == 0x95 else 2 : -1]


class Marker:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_comes_back(protocol: int) -> None:
    data = {
        "text": "Grüße 🎨", "empty": "", "bytes": b"\x00\xff" * 5, "none": None, "yes": True, "no": False,
        "numbers": [0, 255, 256, 65_536, -1, -(2**31), 2**31, -(2**40), 2**62], "real": 0.1, "tuple": (1, (2,), ()),
        "nested": {"a": [{}, [], ()]}, "set": {"a", "b"}, 7: "seven", b"key": 1, "long": "x" * 300, "many": list(range(3000)),
    }  # fmt: skip
    assert read(pickle.dumps(data, protocol)) == data


def test_a_shared_object_stays_one() -> None:
    shared = [1]
    tree = read(pickle.dumps({"a": shared, "b": shared}))
    assert tree["a"] is tree["b"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["<f4", "<f8", "<f2", "<i8", "|u1", "|b1", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_come_back(protocol: int, kind: str, order: Any) -> None:
    array = np.asarray(np.arange(6).reshape(2, 3) % 2, kind, order=order)
    tree = read(pickle.dumps({"first": array, "again": array, "copy": array.copy()}, protocol))
    for found in tree.values():
        assert found.shape == (2, 3) and np.array_equal(found, array) and not found.flags.writeable


def test_large_arrays_are_views_of_the_file() -> None:
    content = pickle.dumps({"a": np.arange(10_000.0)})
    found = read(content)["a"]
    start = np.frombuffer(content, np.uint8).ctypes.data
    assert start <= found.ctypes.data < start + len(content)


def test_numpy_numbers_become_numbers() -> None:
    tree = read(pickle.dumps([np.float32(1.5), np.int64(-3), np.bool_(True), np.float64(0.1)]))
    assert tree == [1.5, -3, True, 0.1] and [type(value) for value in tree] == [float, int, bool, float]


def test_containers_of_other_programs_become_dicts() -> None:
    ordered = collections.OrderedDict(a=1)
    ordered._metadata = {"version": 1}  # type: ignore[attr-defined]  # as torch's state dicts carry
    tree = read(pickle.dumps([ordered, collections.defaultdict(list, b=2), argparse.Namespace(c=3)]))
    assert tree == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_easydict_is_a_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("dnnlib.util")
    module.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dnnlib", types.ModuleType("dnnlib"))
    monkeypatch.setitem(sys.modules, "dnnlib.util", module)
    assert read(pickle.dumps(module.EasyDict(a=1))) == {"a": 1}


@pytest.mark.parametrize("protocol", [2, 4])
def test_modules_become_records_with_their_tensors(protocol: int) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).half()
    record = read(pickle.dumps(network, protocol))
    assert isinstance(record, Record) and record.name == "torch.nn.modules.container.Sequential"
    found, wanted = module_tensors(record), network.state_dict()
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert np.array_equal(found[name], tensor.numpy()) and found[name].dtype == tensor.numpy().dtype


def test_bfloat16_becomes_float32_exactly() -> None:
    tensor = torch.randn(50).to(torch.bfloat16)
    found = read(pickle.dumps(tensor))
    assert found.dtype == np.float32 and np.array_equal(found, tensor.float().numpy())


def test_torch_words_become_data() -> None:
    found = read(pickle.dumps([torch.float16, torch.Size([2, 3]), torch.device("cuda", 1), torch.device("cpu")]))
    assert found == ["torch.float16", (2, 3), "cuda:1", "cpu"]


def test_persistent_objects_lose_their_source() -> None:
    source = "import os\nos.system('echo hello')\n"
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Generator", "state": {"z_dim": 4}}
    call = named("torch_utils.persistence", "_reconstruct_persistent_obj")
    record = read(PROTOCOL + call + body(meta) + b"\x85R.")
    assert (record.name, record.state, record.persistent) == ("Generator", {"z_dim": 4}, True)
    assert len(record.source_sha256) == 64 and source not in repr(record)


def test_nothing_is_executed(tmp_path: Path) -> None:
    content = pickle.dumps({"weights": 1, "bait": Marker(tmp_path / "executed")})
    pickle.loads(content)
    assert (tmp_path / "executed").exists(), "the bait itself works"
    (tmp_path / "executed").unlink()
    with contextlib.suppress(BadInput):
        read(content)
    assert not (tmp_path / "executed").exists()


def test_an_unknown_class_is_an_inert_name() -> None:
    record = read(PROTOCOL + named("training.networks", "Generator") + b")\x81}" + short("a") + b"K\x01sb.")
    assert record.name == "training.networks.Generator" and record.state == {"a": 1}
    call = read(PROTOCOL + named("some.module", "function") + b"K\x01\x85R.")
    assert call.name == "some.module.function" and call.arguments == (1,)


@pytest.mark.parametrize(
    "module, name", [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "getattr"),
                     ("subprocess", "Popen"), ("importlib", "import_module"), ("runpy", "run_path")],
)  # fmt: skip
def test_names_that_run_programs_are_called_by_name(module: str, name: str) -> None:
    refused(PROTOCOL + named(module, name) + short("x") + b"\x85R.", f"{module}.{name}")


def test_dotted_names_are_not_the_table_s() -> None:
    content = PROTOCOL + named("torch", "_utils._rebuild_tensor_v2") + b"K\x01\x85R."
    assert isinstance(read(content), Record)
    refused(PROTOCOL + named("torch", "os.system\n") + b".", "a name that is none")
    refused(PROTOCOL + named("", "x") + b".", "a name that is none")


@pytest.mark.parametrize(
    "code", [b"N2\x86", b"(cos\nsystem\n(l.", b"(S'x'\nios\nsystem\n", b"(cos\nsystem\nS'x'\no", b"\x82\x01", b"\x83\x01\x00",
             b"\x84\x01\x00\x00\x00", b"Pabc\n", b"S'a'\n", b"Va\n", b"p0\n", b"g0\n", b"L1L\n", b"F1.0\n", b"\x97", b"\x98",
             b"\x8b\x01\x00\x00\x00\x01", b"\xff", b"N)}\x92"],
)  # fmt: skip
def test_instructions_that_genuine_files_do_not_use_are_refused(code: bytes) -> None:
    refused(PROTOCOL + code + b".")


def test_persistent_ids_are_refused_outside_torch_files() -> None:
    refused(PROTOCOL + short("x") + b"Q.", "outside itself")


@pytest.mark.parametrize(
    "code",
    [
        b"N}b",  # BUILD on None
        named("a", "B") + b"}b",  # on a class
        b"]}b",  # on a list
        b"}N\x85a",  # APPEND on a dict
        b"]K\x01K\x02s",  # SETITEM on a list
        named("a", "B") + b")\x81K\x01K\x02s",  # SETITEM on an object
        b"](K\x01\x90",  # ADDITEMS on a list
        b"K\x01)R",  # a call of a number
        named("a", "B") + b"]R",  # a call without a tuple
        named("a", "B") + b")\x81)R",  # a call of an object
        b"}K\x01\x85K\x01s",  # a tuple as key
        b"}G" + struct.pack(">d", 1.5) + b"Ns",  # a float as key
        b"}\x8a\x08" + (2**60).to_bytes(8, "little") + b"Ns",  # keys whose hashes could collide
        b"}(K\x01u",  # an odd number of entries
        b"h\x05",  # what was never remembered
        b"0", b"t", b"\x85", b"s", b"e", b"b", b"R", b"\x94",  # nothing there
        b"Nr\xf0\xff\xff\xff",  # a memo bomb
        b"NN", b"(N",  # something left behind
        b"\x80\x04N",  # PROTO twice
    ],
)  # fmt: skip
def test_misuse_is_refused(code: bytes) -> None:
    refused(PROTOCOL + code + b".")


@pytest.mark.parametrize(
    "code",
    [b"", b"\x8c", b"\x8c\x05abc", b"B\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"\x95" + b"\xff" * 8, b"G\x00", b"N"],
)
def test_what_ends_too_soon_is_called_cut_short(code: bytes) -> None:
    with pytest.raises(Damaged, match="too soon"):
        read(PROTOCOL + code)


def test_every_beginning_of_a_genuine_file_is_refused() -> None:
    content = pickle.dumps({"G": nn.Linear(1, 1), "n": np.arange(3)})
    for size in range(2, len(content)):
        with pytest.raises((Damaged, BadInput)):
            read(content[:size])


def test_every_changed_byte_of_a_genuine_file_is_read_or_refused() -> None:
    content = bytearray(pickle.dumps({"G": nn.Linear(1, 1), "n": np.arange(3)}))
    for place in range(len(content)):
        kept = content[place]
        for change in (0x01, 0x80, 0xFF):
            content[place] = kept ^ change
            with contextlib.suppress(BadInput, Damaged):
                read(bytes(content))
        content[place] = kept


def test_trailing_bytes_are_refused() -> None:
    refused(pickle.dumps([1]) + b"x", "after its end")


def test_too_many_things_are_refused() -> None:
    refused(PROTOCOL + b"(" + b"N" * MAX_OPERATIONS + b"t.", "far more objects")
    text = "a" * 1_000_000
    call = named("_codecs", "encode") + b"\x94\x8d" + struct.pack("<Q", len(text)) + text.encode() + short("latin1")
    refused(PROTOCOL + call + b"\x86\x94(" + b"h\x00h\x01R" * 100 + b"t.", "far more text")


def test_copies_of_copies_count() -> None:
    large = body(dict.fromkeys(range(20_000)))  # remembered as 0
    namespace = named("argparse", "Namespace") + b")\x81"
    refused(PROTOCOL + large + b"0(" + (namespace + b"h\x00b") * 100 + b"t.", "far more objects")
    ordered = named("collections", "OrderedDict") + b"h\x00\x85R"
    refused(PROTOCOL + large + b"0(" + ordered * 100 + b"t.", "far more objects")


def test_billion_laughs_and_deep_nests_are_refused() -> None:
    laughs = b"]\x94" + b"".join(b"0(h" + bytes([n]) + b"h" + bytes([n]) + b"l\x94" for n in range(60))
    refused(PROTOCOL + laughs + b".", "endlessly")
    refused(PROTOCOL + b"N" + b"\x85" * 100_000 + b".", "deeper")


def test_what_refers_to_itself_is_cut() -> None:
    knot: list[Any] = [1]
    knot.append(knot)
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = {"back": loop}
    assert read(pickle.dumps(knot)) == [1, None]
    assert read(pickle.dumps(loop)) == {"a": 1, "self": {"back": None}}


# ------------------------------------------------------------------ numbers that lie


def tensor(size: Any, stride: Any, offset: Any = 0, count: int = 16) -> bytes:
    """A pickle of one tensor with a sound storage of `count` floats and any shape at all."""
    inner = io.BytesIO()
    torch.save(torch.arange(float(count)), inner, _use_new_zipfile_serialization=False)
    file = inner.getvalue()
    start = file.index(b"ctorch._utils")  # the pickle of the tensor becomes that of its storage
    storage = file[file.index(b"((X\x07\x00\x00\x00storage") + 1 : file.index(b"Q", start) + 1]
    file = file[: start - (file[start - 1] == ord("."))] + storage + b"." + file[file.index(b".\x80\x02]", start) + 1 :]
    call = named("torch._utils", "_rebuild_tensor_v2") + b"("
    load = named("torch.storage", "_load_from_bytes") + body(file) + b"\x85R"
    return PROTOCOL + call + load + body(offset) + body(size) + body(stride) + b"\x89}tR."


def test_a_tensor_made_by_hand_is_read() -> None:
    assert np.array_equal(read(tensor((4, 4), (1, 4))), np.arange(16.0).reshape(4, 4).T)
    assert read(tensor((2,), (1,), 14)).tolist() == [14, 15]
    assert read(tensor((0, 5), (5, 1))).shape == (0, 5)
    assert read(tensor((), (), 3)).item() == 3


@pytest.mark.parametrize(
    "size, stride, offset",
    [
        ((17,), (1,), 0), ((16,), (1,), 1), ((4, 4), (5, 1), 0), ((2**30,), (1,), 0), ((10**6, 10**6), (0, 0), 0),
        ((4,), (-1,), 4), ((-4,), (1,), 0), ((4,), (1,), -1), ((4,), (1, 1), 0), ((4.0,), (1,), 0), ((True,), (1,), 0),
        (4, 1, 0), ((4,), (1,), 2**62), ((2,), (2**40,), 0), ((1,) * 40, (1,) * 40, 0), ((1,), (1,), None), ("4", "1", 0),
    ],
)  # fmt: skip
def test_sizes_and_strides_stay_in_the_storage(size: Any, stride: Any, offset: Any) -> None:
    refused(tensor(size, stride, offset), "tensor")


def array(shape: tuple[int, ...], code: str, content: bytes) -> bytes:
    """A pickle of one numpy array with any shape and kind at all."""
    empty = named("numpy.core.multiarray", "_reconstruct") + b"(" + named("numpy", "ndarray") + body((0,)) + b"C\x01btR"
    dtype = (
        named("numpy", "dtype") + body((code, False, True)) + b"R" + body((3, "<", None, None, None, -1, -1, 0)) + b"b"
    )
    return PROTOCOL + empty + b"(K\x01" + body(shape) + dtype + b"\x89" + body(content) + b"tb."


def test_an_array_made_by_hand_is_read() -> None:
    assert read(array((2,), "f4", struct.pack("<2f", 1, 2))).tolist() == [1, 2]


@pytest.mark.parametrize(
    "shape, code, content",
    [((3,), "f4", b"12345678"), ((10**9, 10**9), "f4", b"1234"), ((1,), "O8", b"12345678"), ((1,), "V8", b"12345678"),
     ((-1,), "f4", b"1234"), ((1,), "U1", b"1234"), ((1,), "M8", b"12345678"), ((1,), "f4, f4", b"12345678")],
)  # fmt: skip
def test_numpy_arrays_that_lie_are_refused(shape: tuple[int, ...], code: str, content: bytes) -> None:
    refused(array(shape, code, content))


def test_equal_views_are_made_once_and_others_are_counted() -> None:
    reading = Reading(64)
    memory = memoryview(bytes(64))
    first = reading.array(memory, "<f4", (16,), (1,))
    assert reading.array(memory, "<f4", (16,), (1,)) is first
    with pytest.raises(BadInput, match="more bytes than the file"):
        reading.array(memory, "<f4", (4, 4), (4, 1))
