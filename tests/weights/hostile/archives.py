"""Zip and tar files that lie, torch files with hostile pickles in them, and files that two readers read differently."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import replace

from tests.weights.hostile.assembler import (
    MAGIC,
    Global,
    call,
    legacy,
    legacy_storage,
    pickled,
    section,
    storage,
    tensor_of,
)
from tests.weights.hostile.genuine import (
    dcgan_arrays,
    dcgan_legacy,
    dcgan_safetensors,
    dcgan_zip,
    headed,
    nvlabs,
    random,
)
from tests.weights.hostile.hostile import Hostile, Trap
from tests.weights.hostile.zips import GIGANTIC, LYING_COUNT, Entry, torch_entries, torch_state, torch_zip, zipped

KIND = "archives"
SMALL = random(4, 4)


def attacks(trap: Trap) -> Iterator[Hostile]:
    for label, content in _zips().items():
        yield Hostile(kind=KIND, name=f"zip-{label}.pth", content=content)
    for label, content in _harmless_zips().items():
        yield Hostile(kind=KIND, name=f"zip-{label}.pth", content=content, acceptable=True)
    for label in _trees(trap, ""):
        name = f"zip-pickle-{label}.pth"
        content = torch_zip(_trees(trap, name)[label])
        yield Hostile(kind=KIND, name=name, content=content, runs="torch")
        name = f"legacy-pickle-{label}.pth"
        yield Hostile(kind=KIND, name=name, content=legacy(_trees(trap, name)[label]), runs="torch")
    for label, content in _legacies(trap).items():
        yield Hostile(kind=KIND, name=f"legacy-{label}.pth", content=content)
    for label, content in _tars(trap).items():
        yield Hostile(kind=KIND, name=f"tar-{label}.pth", content=content)
    for label, (content, acceptable) in _polyglots(trap).items():
        yield Hostile(kind=KIND, name=f"polyglot-{label}", content=content, acceptable=acceptable)


def _trees(trap: Trap, name: str) -> dict[str, object]:
    bomb = call("os", "system", trap.shell(name))
    return {
        "os-system": bomb,
        "beside-weights": {"main.0.weight": bomb, "epoch": 3},
        "optimiser": {"g_ema": {}, "g_optim": {"state": {0: bomb}}},
        "eval": call("builtins", "eval", trap.source(name)),
        "popen": call("subprocess", "Popen", ["touch", str(trap.mark(name))]),
        "rebuild-from-type": call("torch._tensor", "_rebuild_from_type_v2", Global("os", "system"), Global("torch", "Tensor"),
                                  (trap.shell(name),), {}),
    }  # fmt: skip


def _genuine() -> list[Entry]:
    return torch_entries(*torch_state(dcgan_arrays()))


def _zips() -> dict[str, bytes]:
    entries = _genuine()
    pickle, first = entries[0], entries[2]
    evil = pickled(call("os", "system", "true"))
    return {
        "duplicate-pickle": zipped([*entries, replace(pickle, content=evil)]),
        "duplicate-pickle-before": zipped([replace(pickle, content=evil), *entries]),
        "duplicate-record": zipped([*entries, first]),
        "duplicate-by-case": zipped([*entries, replace(pickle, name=b"archive/DATA.PKL", content=evil)]),
        "duplicate-by-slashes": zipped([*entries, replace(pickle, name=b"archive//data.pkl", content=evil)]),
        "duplicate-by-dot": zipped([*entries, replace(pickle, name=b"archive/./data.pkl", content=evil)]),
        "duplicate-by-backslash": zipped([*entries, replace(pickle, name=b"archive\\data.pkl", content=evil)]),
        "duplicate-by-nul": zipped([*entries, replace(pickle, name=b"archive/data.pkl\0.txt", content=evil)]),
        "two-roots": zipped([*entries, *torch_entries({}, root="another")]),
        "two-roots-first": zipped([*torch_entries(call("os", "system", "true"), root="a"), *entries]),
        "no-root": zipped([Entry(name=b"data.pkl", content=evil)]),
        "no-pickle": zipped(entries[1:]),
        "empty": zipped([]),
        "only-folders": zipped([Entry(name=b"archive/"), Entry(name=b"archive/data/")]),
        "pickle-empty": zipped([replace(pickle, content=b""), *entries[1:]]),
        "pickle-is-a-folder": zipped([Entry(name=b"archive/data.pkl/"), *entries[1:]]),
        "pickle-is-a-zip": zipped([replace(pickle, content=dcgan_zip()), *entries[1:]]),
        "deflated-pickle": zipped([replace(pickle, method=8), *entries[1:]]),
        "deflated-records": zipped([pickle, *(replace(entry, method=8) for entry in entries[1:])]),
        "deflated-bomb": zipped([pickle, *entries[1:], Entry(name=b"archive/data/99", content=b"\0" * 50_000_000, method=8)]),
        "bzip2": zipped([replace(pickle, method=12), *entries[1:]]),
        "lzma": zipped([replace(pickle, method=14), *entries[1:]]),
        "method-unknown": zipped([replace(pickle, method=99), *entries[1:]]),
        "encrypted-pickle": zipped([replace(pickle, flags=1), *entries[1:]]),
        "encrypted-record": zipped([*entries[:2], replace(first, flags=1), *entries[3:]]),
        "strong-encryption": zipped([replace(pickle, flags=0x41), *entries[1:]]),
        "size-larger": zipped([*entries[:2], replace(first, size=10**9, packed_size=10**9), *entries[3:]]),
        "size-smaller": zipped([*entries[:2], replace(first, size=8, packed_size=8), *entries[3:]]),
        "size-four-gigabytes": zipped([*entries[:2], replace(first, size=GIGANTIC - 1, packed_size=GIGANTIC - 1), *entries[3:]]),
        "sizes-differ": zipped([*entries[:2], replace(first, size=10**8), *entries[3:]]),
        "size-zero": zipped([*entries[:2], replace(first, size=0, packed_size=0), *entries[3:]]),
        "zip64-lies": zipped([*entries[:2], replace(first, size=GIGANTIC, packed_size=GIGANTIC,
                              extra=struct.pack("<HHQQ", 1, 16, 2**62, 2**62)), *entries[3:]]),
        "zip64-cut": zipped([*entries[:2], replace(first, size=GIGANTIC, packed_size=GIGANTIC,
                             extra=struct.pack("<HH", 1, 16)), *entries[3:]]),
        "zip64-missing": zipped([*entries[:2], replace(first, size=GIGANTIC, packed_size=GIGANTIC), *entries[3:]]),
        "local-name-differs": zipped([replace(pickle, local_name=b"archive/evil.pkl"), *entries[1:]]),
        "overlapping": zipped([*entries[:2], replace(first, offset=0), *entries[3:]]),
        "overlapping-all": zipped([pickle, *(replace(entry, offset=0) for entry in entries[1:])]),
        "offset-far": zipped([replace(pickle, offset=GIGANTIC - 1), *entries[1:]]),
        "offset-in-directory": zipped([replace(pickle, offset=11_000), *entries[1:]]),
        "name-absolute": zipped([*entries, Entry(name=b"/etc/cron.d/x", content=b"x")]),
        "name-parent": zipped([*entries, Entry(name=b"archive/../../../tmp/x", content=b"x")]),
        "name-drive": zipped([*entries, Entry(name=b"C:\\x", content=b"x")]),
        "name-empty": zipped([*entries, Entry(name=b"", content=b"x")]),
        "name-not-unicode": zipped([*entries, Entry(name=b"archive/\xff\xfe\x00", content=b"x", flags=0x800)]),
        "name-enormous": zipped([*entries, Entry(name=b"archive/" + b"a" * 60_000, content=b"x")]),
        "link": zipped([replace(pickle, attributes=0o120777 << 16, content=b"/etc/passwd"), *entries[1:]]),
        "record-short": zipped([*entries[:2], replace(first, content=b"abcd"), *entries[3:]]),
        "record-missing": zipped([*entries[:2], *entries[3:]]),
        "record-empty": zipped([*entries[:2], replace(first, content=b""), *entries[3:]]),
        "count-zero": zipped(entries, count=0),
        "count-one": zipped(entries, count=1),
        "count-enormous": zipped(entries, count=LYING_COUNT),
        "directory-shifted": zipped(entries, shift=7),
        "directory-far": zipped(entries, shift=10**9),
        "rubbish-before": zipped(entries, prefix=b"rubbish" * 100),
        "rubbish-before-shifted": b"rubbish" * 100 + zipped(entries),
        "second-archive-in-comment": zipped(entries, comment=torch_zip(call("os", "system", "true"))[:60_000]),
        "archive-appended": dcgan_zip() + torch_zip(call("os", "system", "true")),
        "many-extra-fields": zipped([Entry(name=b"archive/data/%d" % i, extra=b"AA\0\0" * 16_000) for i in range(200)] + entries),
        "many-empty-extra-fields": zipped([Entry(name=b"archive/data/%d" % i, size=GIGANTIC,
            extra=bytes(64_000)) for i in range(200)]),
        "many-entries": zipped([pickle, *(Entry(name=b"archive/data/%d" % place) for place in range(60_000))]),
        "script": zipped([*entries, Entry(name=b"archive/code/__torch__.py", content=b"import os"),
            Entry(name=b"archive/constants.pkl",
                          content=pickled(()))]),
        "script-mobile": zipped([*entries, Entry(name=b"archive/bytecode.pkl", content=pickled(()))]),
        "package": zipped([*entries, Entry(name=b"archive/.data/python_version", content=b"3.11"), Entry(name=b"archive/x.py",
                           content=b"import os")]),
        "exported": zipped([Entry(name=b"archive/archive_format", content=b"pt2"), Entry(name=b"archive/models/model.json",
                            content=b"{}")]),
        "big-endian": zipped([entries[0], replace(entries[1], content=b"big"), *entries[2:]]),
        "endian-odd": zipped([entries[0], replace(entries[1], content=b"middle" * 100_000), *entries[2:]]),
        "word-document": zipped([Entry(name=b"[Content_Types].xml", content=b"<x/>"), Entry(name=b"word/document.xml")]),
        "pictures": zipped([Entry(name=b"001.png", content=b"\x89PNG"), Entry(name=b"002.png", content=b"\x89PNG")]),
        "numpy": zipped([Entry(name=b"w.npy", content=b"\x93NUMPY\x01\x00")]),
        "keras": zipped([Entry(name=b"config.json", content=b"{}"), Entry(name=b"metadata.json"),
            Entry(name=b"model.weights.h5")]),
        "wheel-of-evil": zipped([Entry(name=b"__main__.py", content=b"import os"), *entries]),
    }  # fmt: skip


def _harmless_zips() -> dict[str, bytes]:
    entries = _genuine()
    return {
        "comment": zipped(entries, comment=b"PK\5\6" + bytes(18)),
        "trailing-rubbish": zipped(entries) + b"rubbish" * 10,
        "sizes-follow": zipped([replace(entries[0], flags=8), *entries[1:]]),
        "local-size-differs": zipped([replace(entries[0], local_size=1), *entries[1:]]),
        "unused-pickle": zipped(
            [*entries, Entry(name=b"archive/other.pkl", content=pickled(call("os", "system", "true")))]
        ),
        "without-version": zipped(entries[:-1]),
        "version-odd": zipped([*entries[:-1], replace(entries[-1], content=b"99999999999999999999")]),
        "version-enormous": zipped([*entries[:-1], replace(entries[-1], content=b"9" * 1_000_000)]),
        "crc-wrong": zipped([replace(entries[0], crc=1), *entries[1:]]),
        "patched-data": zipped([replace(entries[0], flags=0x20), *entries[1:]]),
    }


def _legacies(trap: Trap) -> dict[str, bytes]:
    evil = pickled(call("os", "system", trap.shell("legacy")))
    held = storage(SMALL, "0", view=None)
    tree, one = {"main.0.weight": tensor_of(SMALL, held)}, section(SMALL)
    lying = lambda count: struct.pack("<q", count) + SMALL.tobytes()  # noqa: E731
    return {
        "magic-only": pickled(MAGIC),
        "magic-twice": pickled(MAGIC) + dcgan_legacy(),
        "magic-odd": legacy(tree, {"0": one}, magic=pickled(MAGIC + 1)),
        "magic-by-text": legacy(tree, {"0": one}, magic=f"L{MAGIC}L\n.".encode()),
        "protocol-odd": legacy(tree, {"0": one}, protocol=pickled(9999)),
        "protocol-evil": legacy(tree, {"0": one}, protocol=evil),
        "system-evil": legacy(tree, {"0": one}, system=evil),
        "system-big-endian": legacy(tree, {"0": one}, system=pickled({"protocol_version": 1001, "little_endian": False})),
        "system-text": legacy(tree, {"0": one}, system=pickled("x")),
        "keys-evil": legacy(tree, {"0": one}, keys=evil),
        "keys-text": legacy(tree, {"0": one}, keys=pickled("0")),
        "keys-none": legacy(tree, {"0": one}, keys=pickled(None)),
        "keys-missing": legacy(tree, {"0": one}, keys=pickled([])),
        "keys-twice": legacy(tree, {"0": one}, keys=pickled(["0"] * 100_000)),
        "keys-of-lists": legacy(tree, {"0": one}, keys=pickled([["0"]])),
        "keys-unknown": legacy(tree, {"0": one}, keys=pickled(["0", "1"])),
        "count-enormous": legacy(tree, {"0": lying(2**60)}),
        "count-negative": legacy(tree, {"0": lying(-16)}),
        "count-larger": legacy(tree, {"0": lying(17)}),
        "count-smaller": legacy(tree, {"0": lying(1)}),
        "no-storages": legacy(tree),
        "storages-cut": legacy(tree, {"0": one})[:-8],
        "four-pickles-of-evil": evil * 5,
        "view-outside": legacy({"a": tensor_of(SMALL, storage(SMALL, "0", view=("1", 10**12, 10**12)))}, {"0": one}),
        "view-odd": legacy({"a": tensor_of(SMALL, storage(SMALL, "0", view=Global("os", "system")))}, {"0": one}),
        "identity-of-a-module": legacy({"a": storage(SMALL, word="module", kind=Global("os", "system"), key="x.py",
            place="import os")}),
        "inside-bytes-evil": pickled(_from_bytes(evil)),
        "inside-bytes-legacy-evil": pickled(_from_bytes(legacy(call("os", "system", trap.shell("bytes"))))),
        "inside-bytes-zip": pickled(_from_bytes(dcgan_zip())),
        "inside-bytes-zip-evil": pickled(_from_bytes(torch_zip(call("os", "system", trap.shell("bytes-zip"))))),
        "inside-bytes-zip-in-zip": torch_zip(_from_bytes(torch_zip(_from_bytes(dcgan_zip())))),
        "inside-bytes-a-tensor": pickled(_from_bytes(legacy(tensor_of(SMALL, held), {"0": one}))),
        "inside-bytes-dictionary": pickled(_from_bytes(legacy({"a": 1}))),
        "inside-bytes-count": pickled(_from_bytes(legacy_storage(SMALL).replace(struct.pack("<q", 16),
            struct.pack("<q", 2**60)))),
        "inside-bytes-deep": pickled(_nested(150), 4),
        "inside-bytes-many": pickled([_from_bytes(legacy_storage(SMALL))] * 20_000),
    }  # fmt: skip


def _from_bytes(content: bytes) -> dict[str, object]:
    return {"G_ema": tensor_of(SMALL, call("torch.storage", "_load_from_bytes", content))}


def _nested(depth: int) -> object:
    node: object = call("os", "system", "true")
    for _ in range(depth):
        node = call("torch.storage", "_load_from_bytes", legacy(None, tree=pickled(node, 4)))
    return node


def _tars(trap: Trap) -> dict[str, bytes]:
    evil = pickled(call("os", "system", trap.shell("tar")))
    members = {
        "sys_info": pickled({"protocol_version": 1000}),
        "pickle": evil,
        "storages": pickled(0),
        "tensors": pickled(0),
    }
    link = tarfile.TarInfo("pickle")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    outside = tarfile.TarInfo("../../../tmp/escaped")
    device = tarfile.TarInfo("storages")
    device.type = tarfile.CHRTYPE
    return {
        "legacy": _tar(members),
        "link": _tar({"sys_info": b""}, link),
        "outside": _tar(members, outside),
        "device": _tar({}, device),
        "size-lies": _tar(members)[:512] + b"\0" * 512,
        "nemo": _tar(
            {"model_config.yaml": b"!!python/object/apply:os.system ['true']", "model_weights.ckpt": dcgan_zip()}
        ),
    }


def _tar(members: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return target.getvalue()


def _polyglots(trap: Trap) -> dict[str, tuple[bytes, bool]]:
    """Name with ending -> content, and whether reading one side of it, harmlessly, is fine."""
    evil = pickled(call("os", "system", trap.shell("polyglot")))
    page = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
    header = b'{"__metadata__":{"a":"b"}}'
    return {
        "pickle-then-zip.pkl": (evil + dcgan_zip(), False),
        "model-then-zip.pkl": (nvlabs() + torch_zip(call("os", "system", "true")), True),
        "model-then-pickle.pkl": (nvlabs() + evil, True),
        "legacy-then-zip.pth": (dcgan_legacy() + dcgan_zip(), True),
        "zip-then-pickle.pth": (dcgan_zip() + evil, True),
        "zip-inside-a-string.pkl": (pickled({"a": dcgan_zip()}, 4), False),
        "safetensors-then-zip.safetensors": (dcgan_safetensors() + dcgan_zip(), False),
        "page-then-pickle.pkl": (page + evil, False),
        "page-then-zip.pth": (page + dcgan_zip(), False),
        "pickle-then-page.pkl": (evil + page, False),
        "picture-then-zip.pth": (b"\x89PNG\r\n\x1a\n" + bytes(100) + dcgan_zip(), False),
        "picture-then-pickle.pkl": (b"GIF89a" + evil, False),
        "shell-then-zip.pth": (b"#!/bin/sh\ntrue\n" + dcgan_zip(), False),
        "header-is-a-pickle.safetensors": (b"\x80\x02}.\0\0\0\0" + header, False),
        "pickle-named-safetensors.safetensors": (evil, False),
        "zip-named-safetensors.safetensors": (torch_zip(call("os", "system", "true")), False),
        "safetensors-named-pickle.pkl": (dcgan_safetensors(), True),
        "pickle-named-json.json": (evil, False),
        "protocol-zero-with-spaces.pkl": (b"   " + pickled(call("os", "system", "true"), 0), False),
        "header-length-is-a-pickle.pkl": (headed(b"{" + b" " * 0x2E7D + b"}", b"."), False),
        "byte-order-mark.pkl": (b"\xef\xbb\xbf" + evil, False),
        "gzip.pkl": (b"\x1f\x8b\x08\0" + evil, False),
        "zlib.pkl": (b"x\x9c" + evil, False),
        "brotli-of-nothing.pkl": (b"\xce\xb2\xcf\x81" + evil, False),
    }
