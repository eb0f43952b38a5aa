"""safetensors whose headers lie."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from tests.weights.hostile.genuine import dcgan_arrays, headed, safetensors
from tests.weights.hostile.hostile import Hostile, Trap

KIND = "tables"
BODY = bytes(64)


def attacks(trap: Trap) -> Iterator[Hostile]:
    for label, content in {**_raw(), **_entries(), **_values()}.items():
        yield Hostile(kind=KIND, name=f"{label}.safetensors", content=content)
    for label, metadata in _metadata().items():
        yield Hostile(kind=KIND, name=f"metadata-{label}.safetensors", content=metadata, acceptable=True)


def _tensor(**changed: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64], **changed}


def _one(**changed: object) -> bytes:
    return headed(json.dumps({"main.0.weight": _tensor(**changed)}).encode(), BODY)


def _raw() -> dict[str, bytes]:
    good = json.dumps({"a": _tensor()}).encode()
    return {
        "length-enormous": headed(good, BODY, length=2**63),
        "length-all-ones": headed(good, BODY, length=2**64 - 1),
        "length-past-the-end": headed(good, BODY, length=10**6),
        "length-zero": headed(good, BODY, length=0),
        "length-short": headed(good, BODY, length=10),
        "cut-in-length": b"\x10\0\0",
        "cut-in-header": headed(good)[:20],
        "no-body": headed(good),
        "body-cut": headed(good, BODY[:-1]),
        "body-longer": headed(good, BODY + b"x"),
        "header-nested": headed(b'{"a":' * 50_000),
        "header-brackets": headed(b"{" + b"[" * 1_000_000),
        "header-list": headed(b'{"a": []}'),
        "header-empty": headed(b"{}"),
        "header-number": headed(b'{"a": 1}'),
        "header-digits": headed(b'{"a": {"dtype": "F32", "shape": [' + b"9" * 100_000 + b'], "data_offsets": [0, 64]}}', BODY),
        "header-not-a-number": headed(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, Infinity]}}', BODY),
        "header-bad-utf8": headed(b'{"\xff\xfe": 1}'),
        "header-utf16": headed(good.decode().encode("utf-16"), BODY),
        "header-surrogate": headed(b'{"\\ud800": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}', BODY),
        "header-nul": headed(b'{"a\\u0000b": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}', BODY),
        "header-padded": headed(good + b" " * 30_000_000, BODY),
        "header-python": headed(b"{'a': __import__('os')}"),
        "duplicate-keys": headed(good[:-1] + b"," + good[1:], BODY),
        "duplicate-metadata": headed(b'{"__metadata__": {}, "__metadata__": {"a": "b"}, ' + good[1:], BODY),
        "million-tensors": headed(
            b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(300_000)) + b"}"
        ),
        "long-name": headed(json.dumps({"a" * 5_000_000: _tensor()}).encode(), BODY),
    }  # fmt: skip


def _entries() -> dict[str, bytes]:
    two = {"a": _tensor(), "b": _tensor()}
    lies: dict[str, dict[str, object]] = {
        "offsets-negative": {"data_offsets": [-64, 0]},
        "offsets-backward": {"data_offsets": [64, 0]},
        "offsets-past-the-end": {"data_offsets": [0, 10**12], "shape": [5 * 10**5, 5 * 10**5]},
        "offsets-beyond-integers": {"data_offsets": [2**64, 2**64 + 64]},
        "offsets-floats": {"data_offsets": [0.0, 64.0]},
        "offsets-text": {"data_offsets": ["0", "64"]},
        "offsets-three": {"data_offsets": [0, 32, 64]},
        "offsets-none": {"data_offsets": None},
        "offsets-hole": {"data_offsets": [32, 64], "shape": [8]},
        "offsets-booleans": {"data_offsets": [False, True], "dtype": "U8", "shape": [1]},
        "shape-enormous": {"shape": [2**40, 2**40]},
        "shape-wraps": {"shape": [2**62, 4, 4]},
        "shape-negative": {"shape": [-4, -4]},
        "shape-zero": {"shape": [0, 2**62]},
        "shape-text": {"shape": "44"},
        "shape-nested": {"shape": [[4, 4]]},
        "shape-floats": {"shape": [4.0, 4.0]},
        "shape-million-axes": {"shape": [1] * 1_000_000},
        "shape-disagrees": {"shape": [4, 5]},
        "dtype-unknown": {"dtype": "F99"},
        "dtype-object": {"dtype": "O"},
        "dtype-list": {"dtype": ["F32"]},
        "dtype-long": {"dtype": "F32" * 1_000_000},
        "dtype-complex": {"dtype": "C64"},
        "dtype-four-bits": {"dtype": "F4"},
        "dtype-eight-bits": {"dtype": "F8_E5M2"},
        "extra-members": {"__class__": "os.system"},
    }
    return {label: _one(**lie) for label, lie in lies.items()} | {
        "overlapping": headed(json.dumps(two).encode(), BODY),
        "overlapping-partly": headed(
            json.dumps({"a": _tensor(), "b": _tensor(data_offsets=[32, 96])}).encode(), bytes(96)
        ),
        "overlapping-thousandfold": headed(json.dumps({f"{i}": _tensor() for i in range(50_000)}).encode(), BODY),
    }


def _values() -> dict[str, bytes]:
    def with_value(value: float) -> bytes:
        arrays = dcgan_arrays()
        arrays["main.0.weight"] = np.full_like(arrays["main.0.weight"], value)
        return safetensors(arrays)

    doubles = {name: array.astype(np.float64) if array.ndim else array for name, array in dcgan_arrays().items()}
    return {
        "value-not-a-number": with_value(np.nan),
        "value-infinite": with_value(np.inf),
        "value-overflows-float32": safetensors({**doubles, "main.0.weight": doubles["main.0.weight"] * 1e300}),
        "one-name-missing": safetensors(
            {name: array for name, array in dcgan_arrays().items() if name != "main.3.weight"}
        ),
        "one-shape-wrong": safetensors({**dcgan_arrays(), "main.3.weight": np.zeros((8, 5, 4, 4), np.float32)}),
        "name-is-a-path": safetensors({"../../../tmp/x": np.zeros(4, np.float32)}),
    }


def _metadata() -> dict[str, bytes]:
    arrays = dcgan_arrays()
    texts = {
        "markup": {"format": "<img src=x onerror=alert(1)>", "<script>": "</script>"},
        "source": {"loader": "__import__('os').system('true')"},
        "ours": {"family": "stylegan2", "settings": '{"resolution": 1099511627776}', "format": "pt"},
        "control-characters": {"a": "\x1b]0;owned\x07\u202e"},
        "ten-megabytes": {"a": "x" * 10_000_000},
    }
    found = {label: safetensors(arrays, metadata) for label, metadata in texts.items()}
    odd: dict[str, object] = {"list": [1], "number": 1, "nested": {"a": {"b": "c"}}, "none": None}
    return found | {f"of-{label}": safetensors(arrays, __metadata__=value) for label, value in odd.items()}
