from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from studio.errors import BadInput, Damaged, StudioError
from studio.weights.foreign.contents import Contents, Record
from studio.weights.foreign.sniff import container, other_kind, other_zip, unknown

ARRAY = np.zeros(2, np.float32)


def sentence(content: bytes) -> str:
    with pytest.raises(StudioError) as caught:
        container(memoryview(content))
    assert caught.value.hint and caught.value.message.endswith(".")
    return caught.value.message


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    return buffer.getvalue()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as target:
        target.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return buffer.getvalue()


def test_containers_are_told_by_their_content() -> None:
    modern, legacy = io.BytesIO(), io.BytesIO()
    torch.save([1], modern)
    torch.save([1], legacy, _use_new_zipfile_serialization=False)
    assert container(memoryview(modern.getvalue())) == "zip"
    assert container(memoryview(legacy.getvalue())) == "legacy"
    for protocol in (2, 3, 4, 5):
        assert container(memoryview(pickle.dumps([1], protocol))) == "pickle"
    assert container(memoryview((2).to_bytes(8, "little") + b"{}")) == "safetensors"


@pytest.mark.parametrize(
    "content, said",
    [
        (b"<!DOCTYPE html><html><body>Not found", "web page"),
        (b"\n\n <html lang='en'>", "web page"),
        (b"<?xml version='1.0'?>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "Keras"),
        (b"GGUF" + bytes(40), "GGUF"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(40), "ONNX"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(9), "7-Zip"),
        (b"Rar!\x1a\x07" + bytes(9), "RAR"),
        (tar(), "tar"),
        (picture("PNG"), "picture"),
        (picture("JPEG"), "picture"),
        (picture("WEBP"), "picture"),
        (b'{"resolution": 256}', "JSON"),
        (b"These are my notes.\nStep one.\n", "text file"),
        (b"(dp0\nS'a'\np1\nI1\ns.", "kind that no model uses"),
        (b"cos\nsystem\n(S'true'\ntR.", "kind that no model uses"),
        (b"\x80\x01K\x01.", "very old Python"),
        (b"\x01\x02\x03\x04" * 9, "not a file of weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_model_is_named(content: bytes, said: str) -> None:
    assert said in sentence(content)


@pytest.mark.parametrize("content", [b"", bytes(4096)])
def test_downloads_that_failed_are_damaged(content: bytes) -> None:
    with pytest.raises(Damaged):
        container(memoryview(content))


@pytest.mark.parametrize(
    "names, said",
    [
        (["a.png", "b.JPG", "notes.txt"], "pictures"),
        (["model/network.pkl"], "Unpack"),
        (["config.json", "model.weights.h5"], "Keras"),
        (["w.npy", "b.npy"], "numpy"),
        (["a.docx"], "holds no model"),
        ([], "nothing"),
    ],
)
def test_other_zips_are_named(names: list[str], said: str) -> None:
    assert said in str(other_zip(names))


@pytest.mark.parametrize(
    "tree, said",
    [
        ({"state": {0: {"exp_avg": ARRAY}}, "param_groups": [{"lr": 0.1}]}, "optimizer only"),
        ({}, "no tensors"),
        ({"args": 1}, "no tensors"),
        (Record(name="models.MyGenerator", state={"_parameters": {"w": ARRAY}}), "models.MyGenerator"),
        (Record(name="dill._dill._load_type"), "dill"),
        ({"encoder.weight": ARRAY, "other": [ARRAY]}, "2 tensors, beginning with encoder.weight, other.0"),
    ],
)
def test_what_no_adapter_knows_is_described(tree: Any, said: str) -> None:
    refusal = unknown(Contents(tree=tree, container="torch"))
    assert isinstance(refusal, BadInput) and said in refusal.message and refusal.hint


@pytest.mark.parametrize(
    "tree, said",
    [
        ({"lora_unet_a.lora_up.weight": ARRAY}, "LoRA"),
        ({"model.diffusion_model.input_blocks.0.weight": ARRAY}, "diffusion"),
        ({"state_dict": {"down_blocks.0.attentions.0.norm.weight": ARRAY}}, "diffusion"),
        ({"model.10.conv_block.1.weight": ARRAY}, "image-to-image"),
        ({"down1.model.0.weight": ARRAY}, "image-to-image"),
    ],
)
def test_other_kinds_of_models_are_named_before_any_adapter_is_asked(tree: Any, said: str) -> None:
    refusal = other_kind(Contents(tree=tree, container="torch"))
    assert refusal is not None and said in refusal.message and refusal.hint


def test_generators_are_no_other_kind() -> None:
    names = ("main.0.weight", "conv_blocks.2.weight", "synthesis.b4.conv1.affine.weight", "net.conv_block.1.weight")
    assert other_kind(Contents(tree=dict.fromkeys(names, ARRAY), container="torch")) is None


def test_a_huge_unknown_tree_is_described_quickly() -> None:
    shared: Any = ARRAY
    for _ in range(18):
        shared = [shared, shared]
    assert "20000 tensors" in unknown(Contents(tree=shared, container="torch")).message


def test_a_module_s_own_names_are_shown() -> None:
    tree = {
        "net": Record(name="a.B", state={"_modules": {"fc": Record(name="a.C", state={"_parameters": {"w": ARRAY}})}})
    }
    assert "net.fc.w" in unknown(Contents(tree=tree, container="torch")).message


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_of_torch_itself_is_named() -> None:
    from studio.weights.foreign.torchfiles import read_zip

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)), buffer)
    with pytest.raises(BadInput, match="TorchScript"):
        read_zip(memoryview(buffer.getvalue()))


def test_keras_and_picture_zips_by_content() -> None:
    from studio.weights.foreign.torchfiles import read_zip

    with pytest.raises(BadInput, match="pictures"):
        read_zip(memoryview(archive(**{"a.png": b"x", "b.png": b"y"})))
    with pytest.raises(Damaged, match="too soon"):
        read_zip(memoryview(archive(**{"a.png": b"x" * 100})[:60]))


@pytest.mark.parametrize("length", [0x80, 0x180, 0x280, 0x480, 0x580])
def test_safetensors_whose_length_begins_like_a_pickle(length: int) -> None:
    header = b'{"__metadata__": {}}'.ljust(length)
    assert container(memoryview(length.to_bytes(8, "little") + header)) == "safetensors"


@pytest.mark.parametrize("header", [b"{".ljust(0x280), b"[]".ljust(0x280), b'{"a": 1}'])
def test_pickles_are_safetensors_only_with_a_whole_header(header: bytes) -> None:
    assert container(memoryview((0x280).to_bytes(8, "little") + header)) == "pickle"
