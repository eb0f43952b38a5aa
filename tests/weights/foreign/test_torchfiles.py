from __future__ import annotations

import argparse
import contextlib
import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from studio.errors import BadInput, Damaged
from studio.weights.foreign.contents import Record, module_tensors
from studio.weights.foreign.sniff import container
from studio.weights.foreign.torchfiles import read_legacy, read_zip


def saved(value: object, *, legacy: bool = False, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy, **options)
    return buffer.getvalue()


def read(content: bytes) -> Any:
    data = memoryview(content)
    return {"legacy": read_legacy, "zip": read_zip}[container(data)](data)


def refused(content: bytes, because: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(content)
    assert because in caught.value.message and caught.value.hint


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_checkpoints_come_back_bit_for_bit(legacy: bool, protocol: int) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2, 5, 5).repeat(2, 1, 1, 1)).sum().backward()
    optimizer.step()
    checkpoint = {
        "g_ema": network.state_dict(), "args": argparse.Namespace(size=8), "step": 7, "optimizer": optimizer.state_dict(),
        "numpy": np.arange(4.0),
    }  # fmt: skip
    tree = read(saved(checkpoint, legacy=legacy, pickle_protocol=protocol))
    assert list(tree["g_ema"]) == list(network.state_dict()) and tree["args"] == {"size": 8} and tree["step"] == 7
    for name, tensor in network.state_dict().items():
        found = tree["g_ema"][name]
        assert found.tobytes() == tensor.numpy().tobytes() and not found.flags.writeable
    momentum = optimizer.state_dict()["state"][0]["exp_avg"]
    assert np.array_equal(tree["optimizer"]["state"][0]["exp_avg"], momentum.numpy())
    assert np.array_equal(tree["numpy"], np.arange(4.0))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "kind",
    [torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool],
)
def test_every_kind_of_number(legacy: bool, kind: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(kind).t()
    assert np.array_equal(read(saved(tensor, legacy=legacy)), tensor.numpy())


@pytest.mark.parametrize("legacy", [False, True])
def test_bfloat16_becomes_float32(legacy: bool) -> None:
    tensor = torch.randn(3, 5).bfloat16()[:, 1:]
    found = read(saved(tensor, legacy=legacy))
    assert found.dtype == np.float32 and np.array_equal(found, tensor.float().numpy())


@pytest.mark.parametrize("legacy", [False, True])
def test_shared_storages_and_parameters(legacy: bool) -> None:
    base = torch.arange(12.0)
    tree = read(
        saved({"all": base, "part": base[3:9].view(2, 3), "again": base, "p": nn.Parameter(base)}, legacy=legacy)
    )
    assert tree["part"].tolist() == [[3, 4, 5], [6, 7, 8]] and tree["again"] is tree["all"] and tree["p"] is tree["all"]


def test_kinds_that_torch_stores_without_a_class_of_their_own() -> None:
    assert read(saved(torch.tensor([1, 65_535], dtype=torch.uint16))).tolist() == [1, 65_535]


def test_tensors_with_attributes() -> None:
    tensor = torch.ones(2)
    tensor.note = "kept elsewhere"  # type: ignore[attr-defined]
    assert read(saved({"a": tensor}))["a"].tolist() == [1, 1]


@pytest.mark.parametrize("legacy", [False, True])
def test_whole_modules_are_records(legacy: bool) -> None:
    network = nn.Sequential(nn.Linear(2, 3))
    record = read(saved(network, legacy=legacy))
    assert isinstance(record, Record) and list(module_tensors(record)) == ["0.weight", "0.bias"]


def test_storages_are_views_of_the_file() -> None:
    content = saved(torch.zeros(10_000))
    found = read(content)
    start = np.frombuffer(content, np.uint8).ctypes.data
    assert start <= found.ctypes.data < start + len(content)


# ------------------------------------------------------------------ zips that lie


def rezipped(content: bytes, change: Any = None, **options: Any) -> bytes:
    """The same records in a zip of Python's, changed by `change(name, data)`, which may answer several or none."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", **options) as target:
        for name in source.namelist():
            for new_name, data in (change or (lambda name, data: [(name, data)]))(name, source.read(name)):
                target.writestr(new_name, data)
    return buffer.getvalue()


def test_a_plainly_rezipped_file_is_read() -> None:
    assert read(rezipped(saved({"a": torch.ones(3)})))["a"].tolist() == [1, 1, 1]


def test_compressed_records_are_refused() -> None:
    refused(rezipped(saved(torch.zeros(999)), compression=zipfile.ZIP_DEFLATED), "compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_used_twice_are_refused() -> None:
    def twice(name: str, data: bytes) -> list[tuple[str, bytes]]:
        return [(name, data)] * (2 if name.endswith("data.pkl") else 1)

    refused(rezipped(saved(torch.zeros(9)), twice), "twice")


def test_several_roots_are_refused() -> None:
    def other(name: str, data: bytes) -> list[tuple[str, bytes]]:
        return [(name, data), ("other/" + name.partition("/")[2], data)]

    refused(rezipped(saved(torch.zeros(9)), other), "several")


def test_torchscript_is_refused_by_name() -> None:
    def script(name: str, data: bytes) -> list[tuple[str, bytes]]:
        more = [("archive/code/__torch__.py", b"")] if name.endswith("data.pkl") else []
        return [(name, data), *more]

    refused(rezipped(saved(torch.zeros(9)), script), "TorchScript")


def test_other_byte_orders_are_refused() -> None:
    def big(name: str, data: bytes) -> list[tuple[str, bytes]]:
        return [(name, b"big" if name.endswith("byteorder") else data)]

    refused(rezipped(saved(torch.zeros(9)), big), "orders bytes")


@pytest.mark.parametrize("size", [0, 4, 35, 37, 400])
def test_storages_of_another_size_are_refused(size: int) -> None:
    def other(name: str, data: bytes) -> list[tuple[str, bytes]]:
        return [(name, bytes(size) if name.endswith("data/0") else data)]

    refused(rezipped(saved(torch.zeros(9)), other), "not as large")


def test_missing_storages_are_cut_short() -> None:
    with pytest.raises(Damaged):
        read(rezipped(saved(torch.zeros(9)), lambda name, data: [] if name.endswith("data/0") else [(name, data)]))


def test_encrypted_records_are_refused() -> None:
    content = bytearray(rezipped(saved(torch.zeros(9))))
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    refused(bytes(content), "encrypted")


def line_of(content: bytes, name: bytes) -> int:
    """Where the directory's line of a record begins."""
    place = content.rindex(b"PK\x01\x02")
    while not content[place + 46 :].startswith(name):
        place = content.rindex(b"PK\x01\x02", 0, place)
    return place


def test_heads_that_differ_from_the_directory_are_refused() -> None:
    content = rezipped(saved(torch.zeros(9)))
    refused(content.replace(b"archive/data.pkl", b"archive/dota.pkl", 1), "disagree")
    place = content.index(b"PK\x03\x04", 10)
    for offset, fill in ((18, b"\x7f\0\0\0"), (22, b"\x7f\0\0\0"), (8, b"\x08\0")):
        changed = content[: place + offset] + fill + content[place + offset + len(fill) :]
        refused(changed, "disagree")


def test_overlapping_records_are_refused() -> None:
    content = bytearray(rezipped(saved({"a": torch.zeros(9), "b": torch.ones(9)})))
    first, second = line_of(bytes(content), b"archive/data/0"), line_of(bytes(content), b"archive/data/1")
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    refused(bytes(content), "overlap")


@pytest.mark.parametrize("size", [2**31, 0xFFFFFFFE])
def test_sizes_beyond_the_file_are_refused(size: int) -> None:
    content = bytearray(rezipped(saved(torch.zeros(9))))
    place = line_of(bytes(content), b"archive/data/0")
    content[place + 20 : place + 28] = struct.pack("<II", size, size)
    with pytest.raises((BadInput, Damaged)):
        read(bytes(content))


def test_nothing_may_hide_before_between_or_behind() -> None:
    content = rezipped(saved(torch.zeros(9)))
    with pytest.raises(Damaged):
        read(content + b"x")
    with pytest.raises(BadInput, match="no sound end"):
        read_zip(memoryview(b"x" * 40 + content))
    names: list[str] = []

    def hidden(name: str, data: bytes) -> list[tuple[str, bytes]]:
        names.append(name)
        return [(name, data), (f"archive/hidden{len(names)}", b"h" * 60)]

    crowded = bytearray(rezipped(saved(torch.zeros(9)), hidden))
    end = crowded.rindex(b"PK\x05\x06")
    place = line_of(bytes(crowded), b"archive/hidden2")
    size = 46 + len("archive/hidden2")
    del crowded[place : place + size]
    end -= size
    count, length = struct.unpack("<HI", crowded[end + 10 : end + 16])
    crowded[end + 8 : end + 16] = struct.pack("<HHI", count - 1, count - 1, length - size)
    refused(bytes(crowded), "hidden")


def test_every_beginning_is_refused() -> None:
    for content in (saved({"a": torch.ones(3)}), saved({"a": torch.ones(3)}, legacy=True)):
        for size in range(20, len(content)):
            with pytest.raises((BadInput, Damaged)):
                read(content[:size])


@pytest.mark.parametrize("legacy", [False, True])
def test_every_changed_byte_is_read_or_refused(legacy: bool) -> None:
    content = bytearray(saved({"a": torch.ones(3)}, legacy=legacy))
    for place in range(20, len(content)):
        kept = content[place]
        for change in (0x01, 0x80, 0xFF):
            content[place] = kept ^ change
            with contextlib.suppress(BadInput, Damaged):
                read(bytes(content))
        content[place] = kept


# ------------------------------------------------------------------ legacy files that lie


def test_legacy_counts_must_agree() -> None:
    content = saved(torch.zeros(3), legacy=True)
    place = len(content) - 12 - 8
    assert content[place : place + 8] == struct.pack("<q", 3)
    for count in (2, 4, -1, 2**62):
        refused(content[:place] + struct.pack("<q", count) + content[place + 8 :], "not as large")


def test_legacy_storages_have_one_description() -> None:
    content = saved(torch.zeros(3), legacy=True)
    refused(content + b"x", "after its end")
    refused(content.replace(b"little_endian", b"little_endiam").replace(b"\x03.\x80", b"\x04.\x80", 1), "as torch does")


def test_files_within_files_end_somewhere() -> None:
    def wrapped(content: bytes) -> bytes:
        load = b"ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(content)) + content + b"\x85R."
        return saved(None, legacy=True).replace(b"\x80\x02N.", b"\x80\x03" + load)

    content = saved(torch.zeros(2), legacy=True)
    assert isinstance(read(wrapped(content)), np.ndarray)
    for _ in range(5):
        content = wrapped(content)
    refused(content, "files within files")
