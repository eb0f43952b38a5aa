"""What people drop by mistake, and places that are no files. Nothing of this is meant to harm; all of it must be named."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.weights.hostile.assembler import Built, Global, New, call, pickled
from tests.weights.hostile.genuine import dcgan_arrays, dcgan_zip, module_state, nvlabs, random
from tests.weights.hostile.hostile import Hostile, Trap
from tests.weights.hostile.zips import Entry, torch_entries, torch_state, torch_zip, zipped

KIND = "mistakes"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 12345\n"


def attacks(trap: Trap) -> Iterator[Hostile]:
    for name, content in {**_files(), **_state_dicts()}.items():
        yield Hostile(kind=KIND, name=name, content=content)
    for name, make in _places().items():
        yield Hostile(kind=KIND, name=name, content=make, acceptable=name in FINE)
    for label, encoded in _odd_names().items():
        yield Hostile(kind=KIND, name=f"named-{label}", content=_named(encoded), acceptable=True)


FINE = frozenset({"link-to-a-model.pth", "folder-with-a-model", "pipe-beside.pth", "endless-beside.pth"})


def _files() -> dict[str, bytes]:
    script = torch_entries(call("__torch__", "Generator"), root="net")
    script += [
        Entry(name=b"net/code/__torch__.py", content=b"class Generator: pass"),
        Entry(name=b"net/constants.pkl", content=pickled(())),
    ]
    return {
        "web-page.pkl": b"<!DOCTYPE html>\n<html><head><title>Google Drive - Virus scan warning</title></head></html>",
        "web-page-without-doctype.pth": b"\n\n  <html lang='en'>Sign in</html>",
        "xml-error.safetensors": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "git-lfs-pointer.pkl": POINTER,
        "json-error.pth": b'{"error": "Repository not found"}',
        "text.pt": b"Not Found",
        "empty.pkl": b"",
        "one-byte.pkl": b"\x80",
        "zeros.pkl": bytes(1_000_000),
        "keras.h5": b"\x89HDF\r\n\x1a\n" + bytes(2000),
        "keras.keras": zipped([Entry(name=b"config.json", content=b"{}"), Entry(name=b"model.weights.h5", content=b"\x89HDF")]),
        "onnx.onnx": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x80\x01" + bytes(300),
        "torchscript.pt": zipped(script),
        "picture.pth": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "film.pt": bytes(4) + b"ftypisom" + bytes(100),
        "program.pkl": b"MZ" + bytes(100),
        "library.pkl": b"\x7fELF" + bytes(100),
        "tar.tar": bytes(257) + b"ustar" + bytes(250),
        "gzip.pkl": b"\x1f\x8b\x08" + bytes(50),
        "seven-zip.pkl": b"7z\xbc\xaf\x27\x1c" + bytes(50),
        "gguf.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62),
        "numpy.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n",
        "half-a-download-zip.pth": dcgan_zip()[: len(dcgan_zip()) // 2],
        "half-a-download-pickle.pkl": nvlabs()[: len(nvlabs()) // 2],
        "download-with-zeros.pth": dcgan_zip()[:4000] + bytes(len(dcgan_zip()) - 4000),
        "whole-module.pkl": pickled(Built(New(Global("models", "Generator")), module_state({})), 2),
        "whole-module.pth": torch_zip(Built(New(Global("__main__", "Net")), module_state({}))),
        "sklearn.pkl": pickled(Built(call("sklearn.ensemble", "RandomForestClassifier"), {"n_estimators": 100}), 4),
        "number.pkl": pickled(42),
        "nothing.pkl": pickled(None),
        "text-in-a-pickle.pkl": pickled("hello", 4),
        "numpy-array.pkl": pickled(random(4, 4), 4),
        "history.pkl": pickled({"loss": [1.0, 2.0], "epoch": 3}, 4),
        "random-bytes.pkl": np.random.default_rng(7).bytes(100_000),
        "random-bytes-behind-a-pickle-mark.pkl": b"\x80\x04" + np.random.default_rng(8).bytes(100_000),
        "random-bytes-behind-a-zip-mark.pth": b"PK\3\4" + np.random.default_rng(9).bytes(100_000),
    }  # fmt: skip


def _state_dicts() -> dict[str, bytes]:
    """Networks that are none of ours."""
    weight = random(4, 4, 3, 3)
    networks: dict[str, dict[str, np.ndarray]] = {
        "image-to-image-cyclegan.pth": {
            f"model.{i}.conv_block.{j}.weight": weight for i in range(10, 19) for j in (1, 5)
        },
        "image-to-image-pix2pix.pth": {"model.model.0.weight": weight, "model.model.1.model.1.weight": weight},
        "diffusion.pth": {
            "model.diffusion_model.input_blocks.0.0.weight": weight,
            "first_stage_model.x.weight": weight,
        },
        "lora.pth": {"lora_unet_down.lora_up.weight": weight, "lora_unet_down.lora_down.weight": weight},
        "classifier.pth": {
            "layer1.0.conv1.weight": weight,
            "fc.weight": weight[:, :, 0, 0],
            "fc.bias": weight[0, 0, 0],
        },
        "discriminator-only.pth": {"main.0.weight": random(8, 3, 4, 4), "main.2.weight": random(16, 8, 4, 4)},
        "language-model.bin": {"lm_head.weight": weight[0, 0], "model.layers.0.self_attn.q_proj.weight": weight[0, 0]},
        "empty-state-dict.pth": {},
    }
    found = {name: torch_zip(*torch_state(arrays)) for name, arrays in networks.items()}
    tree, records = torch_state({str(i): array for i, array in enumerate(dcgan_arrays().values())})
    optimiser = {
        "state": {i: {"step": 1, "exp_avg": tensor} for i, tensor in enumerate(tree.values())},
        "param_groups": [{"lr": 0.1}],
    }
    swagan = {f"g_ema.{name}": weight for name in ("iwt.ll", "to_rgbs.0.iwt.ll", "dwt.ll", "convs.0.conv.weight")}
    return found | {
        "optimiser-only.pth": torch_zip(optimiser, records),
        "swagan.pt": torch_zip(*torch_state(swagan)),
    }


def _places() -> dict[str, Callable[[Path], None]]:
    return {
        "folder.pkl": lambda path: path.mkdir(),
        "folder-of-text": _folder_with("readme.txt", b"hello"),
        "folder-with-a-model": _folder_with("netG.pth", dcgan_zip()),
        "folder-with-a-pipe": _all(Path.mkdir, lambda path: os.mkfifo(path / "model.pkl")),
        "folder-with-a-circle": _all(Path.mkdir, lambda path: (path / "again").symlink_to(path)),
        "folder-of-ten-thousand": _crowd,
        "pipe.pkl": lambda path: os.mkfifo(path),
        "pipe-beside.pth": _all(_model, lambda path: os.mkfifo(path.with_name("config.json"))),
        "endless-beside.pth": _all(_model, lambda path: path.with_name("config.json").symlink_to("/dev/zero")),
        "socket.pkl": _socket,
        "link-to-zeros.pkl": lambda path: path.symlink_to("/dev/zero"),
        "link-to-nothing.pkl": lambda path: path.symlink_to("nothing"),
        "link-to-itself.pkl": lambda path: path.symlink_to(path),
        "link-to-passwords.pkl": lambda path: path.symlink_to("/etc/passwd"),
        "link-to-memory.pkl": lambda path: path.symlink_to("/proc/self/mem"),
        "link-to-a-model.pth": _all(lambda path: _model(path.with_name("real")), lambda path: path.symlink_to("real")),
        "sparse-three-gigabytes.pkl": _sparse(pickled({"a": 1})),
        "sparse-zip.pth": _sparse(dcgan_zip()),
        "sparse-header.safetensors": _sparse(struct.pack("<Q", 10**9) + b"{"),
        "sparse-forty-gigabytes.pkl": _sparse(b"\x80\x04", 40 * 10**9),
        "sparse-bytes.pkl": _sparse(b"\x80\x04\x8e" + struct.pack("<Q", 3 * 10**9)),
    }


def _all(*makers: Callable[[Path], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        for maker in makers:
            maker(path)

    return make


def _model(path: Path) -> None:
    path.write_bytes(dcgan_zip())


def _folder_with(name: str, content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        (path / name).write_bytes(content)

    return make


def _crowd(path: Path) -> None:
    path.mkdir()
    for place in range(10_500):
        (path / f"{place}.txt").touch()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        home = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{home}/{path.name}")
        finally:
            os.close(home)


def _sparse(head: bytes, size: int = 3_500_000_000) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with open(path, "wb") as file:
            file.write(head)
            file.truncate(size)

    return make


def _named(encoded: bytes) -> Callable[[Path], None]:
    """A folder in which the only file has an odd name."""

    def make(path: Path) -> None:
        path.mkdir()
        with open(os.path.join(os.fsencode(path), encoded), "wb") as file:
            file.write(dcgan_zip())

    return make


def _odd_names() -> dict[str, bytes]:
    return {
        "newline": b"a\nb.pth",
        "not-unicode": b"\xff\xfe.pth",
        "markup": b"<img src=x onerror=alert(1)>.pth",
        "quotes": b"a'b\"c`$(true).pth",
        "dash": b"--help.pth",
        "long": b"a" * 250 + b".pth",
        "terminal-escape": b"\x1b]0;owned\x07.pth",
        "number-of-many-digits": b"9" * 240 + b".pth",
        "arabic-digits": "netG_\u0661\u0662.pth".encode(),
        "superscript-digits": "netG_\u00b2\u00b3.pth".encode(),
    }
