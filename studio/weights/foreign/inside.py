"""What runs inside the child that opens foreign weights: one request on standard input, one answer on standard output.

The request is a line of JSON with `source` and `into`; the answer one with `found` or with `refused`. The child limits itself
before it opens the file: memory by the file's size, processor time, the files that it writes. It imports no torch.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
import mmap
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from studio.confine import limit_memory, processor_budget
from studio.errors import BadInput, Damaged, NoSpace, StudioError
from studio.paths import explain_disk
from studio.weights.foreign.adapters import ADAPTERS
from studio.weights.foreign.contents import Contents, Imported, opened_modules
from studio.weights.foreign.plain import read_safetensors, side_config
from studio.weights.foreign.sniff import container, other_kind, unknown
from studio.weights.foreign.torchfiles import read_legacy, read_pickle, read_zip

GENERATOR_FILE = "generator.safetensors"
DISCRIMINATOR_FILE = "discriminator.safetensors"
FOUND_FILE = "found.json"
MAX_FILE_BYTES = 4_000_000_000
_MEMORY_BYTES = 900_000_000
_PROCESSOR_SECONDS = 6.0
_BYTES_A_SECOND = 40_000_000
_CHUNK_BYTES = 1 << 20
_WRITTEN_BYTES = 64_000_000
_LONGEST_TEXT = 2_000
_MAX_ENTRIES = 20_000
_DEEPEST = 8
_ASK = "Ask its author for the plain weights as safetensors."

_READERS: Mapping[str, tuple[str, Callable[[memoryview], object]]] = {
    "zip": ("torch", read_zip),
    "legacy": ("torch", read_legacy),
    "pickle": ("pickle", read_pickle),
    "safetensors": ("safetensors", read_safetensors),
}


def wall_seconds(size: int) -> float:
    """How long a child may take over a file of `size` bytes."""
    return _PROCESSOR_SECONDS + 2 + size / _BYTES_A_SECOND


def parse(source: Path) -> Contents:
    """What a file holds, as plain data and inert records. Raises BadInput or Damaged with a sentence that says what it is."""
    with open(source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise BadInput("This file is larger than any GAN that the studio knows.", "Drop the weights file itself.")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    label, reader = _READERS[container(data)]
    return Contents(tree=reader(data), container=label, config=side_config(source), file_name=source.name)


def adapt(contents: Contents) -> Imported:
    """What the first adapter that knows the format makes of it; whole torch modules are state dicts to them if no adapter
    knows the modules themselves. Raises BadInput."""
    if (refusal := other_kind(contents)) is not None:
        raise refusal
    for readable in _readings(contents):
        for adapter in ADAPTERS:
            imported = adapter(readable)
            if imported is not None:
                return imported
    raise unknown(contents)


def _readings(contents: Contents) -> Iterator[Contents]:
    yield contents
    opened = opened_modules(contents.tree)
    if opened is not contents.tree:
        yield replace(contents, tree=opened)


def handle(source: Path, into: Path) -> dict[str, Any]:
    """Read `source`, write its weights to the empty folder `into`, and return the facts. Raises BadInput or Damaged."""
    imported = adapt(parse(source))
    write_safetensors(into / GENERATOR_FILE, imported.generator)
    if imported.discriminator is not None:
        write_safetensors(into / DISCRIMINATOR_FILE, imported.discriminator)
    found = _facts(imported, source)
    (into / FOUND_FILE).write_text(json.dumps(found, allow_nan=False), "utf-8")
    return found


def _facts(imported: Imported, source: Path) -> dict[str, Any]:
    return {
        "family": imported.family,
        "format": _shown(imported.format),
        "candidates": [
            {"title": _shown(candidate.title), "settings": _plain(candidate.settings)}
            for candidate in imported.candidates
        ],
        "classes": [_shown(name)[:120] for name in imported.classes],
        "kimg": float(imported.kimg) if math.isfinite(imported.kimg) else 0.0,
        "arguments": _plain(imported.arguments),
        "warnings": [_shown(warning) for warning in imported.warnings],
        "file_name": _shown(source.name),
        "sha256": _checksum(source),
        "has_discriminator": imported.discriminator is not None,
    }


def _plain(value: object, depth: int = 0) -> Any:
    """What JSON can say; numpy numbers become numbers, what is no data is left out as None."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist() if value.size <= _MAX_ENTRIES else None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _shown(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        items = list(value.items())[:_MAX_ENTRIES]
        return {_shown(name): _plain(item, depth + 1) for name, item in items}
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in list(value)[:_MAX_ENTRIES]]
    return None


def _shown(text: object) -> str:
    """Text that any page and any file can hold: what does not print (control characters, half surrogates) becomes "?"."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:_LONGEST_TEXT])


def _checksum(source: Path) -> str:
    digest = hashlib.sha256()
    with open(source, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


# ── writing ──


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write arrays as safetensors, one after the other, without a second copy of all of them.

    Floats become float32 (exactly, for those that were smaller); whole numbers and truth values int64.

    Raises:
        BadInput: a value is not finite, or it is no array of numbers.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    tensors = {name: _counted(name, array) for name, array in tensors.items()}
    for name, array in tensors.items():
        kind, size = _stored(name, array)
        end = position + math.prod(array.shape) * size
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, array in tensors.items():
            _write_array(file, name, array)


def _counted(name: str, array: np.ndarray) -> np.ndarray:
    """Zero for a counter of batches that became a fraction when its model was halved: nothing reads it."""
    fraction = isinstance(array, np.ndarray) and array.ndim == 0 and array.dtype.kind == "f"
    return np.zeros((), np.int64) if fraction and str(name).endswith("num_batches_tracked") else array


def _stored(name: str, array: np.ndarray) -> tuple[str, int]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise BadInput(f"The weights {str(name)[:80]!r} are not numbers.", "Ask the model's author for another copy.")
    return ("F32", 4) if array.dtype.kind == "f" else ("I64", 8)


def _write_array(file: IO[bytes], name: str, array: np.ndarray) -> None:
    kind = "<f4" if array.dtype.kind == "f" else "<i8"
    for part in _parts(array):
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(part, kind)
        if kind == "<f4" and not np.isfinite(values).all():
            raise BadInput(
                f"The weights {str(name)[:80]!r} hold values that are not numbers: its training broke down.",
                "Use an earlier snapshot.",
            )
        file.write(values.data)


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Slices along the first axis, so that a conversion never copies a large tensor at once."""
    if array.nbytes <= _CHUNK_BYTES * 16 or array.ndim == 0:
        yield array
        return
    yield from (array[index] for index in range(len(array)))


# ── the child ──


def answer(request: Mapping[str, str]) -> dict[str, Any]:
    """The answer to one request: `found`, or `refused` with its kind, sentence and hint."""
    source, into = Path(request["source"]), Path(request["into"])
    try:
        size = source.stat().st_size
        limit_memory(_MEMORY_BYTES + 2 * size, file_bytes=4 * size + _WRITTEN_BYTES)
        processor_budget(_PROCESSOR_SECONDS + size / _BYTES_A_SECOND)
        return {"found": handle(source, into)}
    except StudioError as refusal:
        return _refused(refusal)
    except MemoryError:
        return _refused(BadInput("This file needs far more memory than a model of its size.", _ASK))
    except OSError as error:
        return _refused(explain_disk(error, into))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
        traceback.print_exc()  # the parent writes it to its log
        return _refused(BadInput("This file is not built as a model of its kind is.", _ASK))


def _refused(error: Exception) -> dict[str, Any]:
    kind = type(error).__name__ if isinstance(error, (Damaged, NoSpace)) else "BadInput"
    if isinstance(error, StudioError):
        return {"refused": {"kind": kind, "message": _shown(error.message), "hint": _shown(error.hint)}}
    return {
        "refused": {
            "kind": kind,
            "message": _shown(f"This file cannot be read: {error}."),
            "hint": "Copy it elsewhere.",
        }
    }


def main() -> None:
    """Answer one request and end. (Garbage is not collected: the process is short, and a million objects cost seconds.)"""
    gc.disable()
    request = json.loads(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(json.dumps(answer(request)).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
