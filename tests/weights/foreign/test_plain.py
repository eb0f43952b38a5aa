from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from studio.errors import BadInput, Damaged
from studio.weights.foreign.plain import read_safetensors, side_config


def file(header: Any, body: bytes) -> memoryview:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return memoryview(len(text).to_bytes(8, "little") + text + body)


def entry(kind: str, shape: list[Any], begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def test_what_safetensors_writes_is_read() -> None:
    wanted = {
        "a": torch.randn(2, 3), "half": torch.randn(4).half(), "brain": torch.randn(2, 2).bfloat16(), "n": torch.tensor(7),
        "none": torch.zeros(0, 3), "mask": torch.tensor([True, False]),
    }  # fmt: skip
    content = safetensors.torch.save(wanted, metadata={"format": "pt"})
    found = read_safetensors(memoryview(content))
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        like = tensor.float() if name == "brain" else tensor
        assert np.array_equal(found[name], like.numpy()) and not found[name].flags.writeable
        assert found[name].dtype == like.numpy().dtype and found[name].shape == tuple(tensor.shape)


@pytest.mark.parametrize(
    "header, body",
    [
        (b"{", b""),
        (b"[]", b""),
        (b"[" * 100_000, b""),
        (b'{"a": {}, "a": {}}', b""),
        ({"a": 1}, b""),
        ({"a": entry("F32", [1], 0, 4) | {"more": 1}}, bytes(4)),
        ({"a": entry("F32", [2], 0, 4)}, bytes(4)),
        ({"a": entry("F32", [-1], 0, 4)}, bytes(4)),
        ({"a": entry("F32", [1.0], 0, 4)}, bytes(4)),
        ({"a": entry("F32", [True], 0, 4)}, bytes(4)),
        ({"a": entry("F32", [1] * 40, 0, 4)}, bytes(4)),
        ({"a": entry("F32", [2**62, 2**62], 0, 4)}, bytes(4)),
        ({"a": entry("F32", [1], -4, 0)}, bytes(4)),
        ({"a": entry("F32", [1], 4, 0)}, bytes(4)),
        ({"a": entry("Q4", [1], 0, 4)}, bytes(4)),
        ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, bytes(4)),
        ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 2, 6)}, bytes(6)),
        ({"a": entry("F32", [1], 4, 8)}, bytes(8)),
        ({"a": entry("F32", [1], 0, 4)}, bytes(8)),
        ({str(number): entry("F32", [0], 0, 0) for number in range(20_001)}, b""),
        ({"x" * 600: entry("F32", [1], 0, 4)}, bytes(4)),
        (b'{"a": ' + b"9" * 10_000 + b"}", b""),
    ],
)
def test_headers_that_lie_are_refused(header: Any, body: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        read_safetensors(file(header, body))
    assert caught.value.hint


def test_half_a_file_is_damaged() -> None:
    content = bytes(file({"a": entry("F32", [4], 0, 16)}, bytes(16)))
    for size in range(len(content)):
        with pytest.raises((Damaged, BadInput)):
            read_safetensors(memoryview(content[:size]))
    with pytest.raises(Damaged):
        read_safetensors(memoryview(content[:-1]))
    with pytest.raises(BadInput, match="far too long"):
        read_safetensors(memoryview((2**40).to_bytes(8, "little") + b"{}"))


def test_settings_beside_a_file(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    assert side_config(source) == {}
    (tmp_path / "config.json").write_text('{"latent_dim": 100}')
    assert side_config(source) == {"latent_dim": 100}
    (tmp_path / ".config.json").write_text('{"image_size": 64}')
    assert side_config(source) == {"image_size": 64}


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a": "' + b"x" * 1_000_001 + b'"}']
)
def test_settings_that_cannot_be_read_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert side_config(tmp_path / "model.pt") == {}
