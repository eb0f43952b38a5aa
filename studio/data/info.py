"""What a prepared dataset says of itself, and the arrays in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.data.sources import Refusal
from studio.errors import BadInput, Damaged, NotFound
from studio.options import from_json, to_json

__all__ = ["INFO_FILE", "LABELS_FILE", "PIXELS_FILE", "SHEET_FILE", "DatasetInfo", "Refusal",
           "open_labels", "open_pixels", "read_info", "write_info_text"]  # fmt: skip

INFO_FILE = "dataset.json"
PIXELS_FILE = "pixels.npy"
LABELS_FILE = "labels.npy"
SHEET_FILE = "sheet.webp"
_MAX_INFO_BYTES = 100_000_000
_AGAIN = "Prepare the dataset again from its pictures."


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A prepared dataset.

    Attributes:
        id: the name of its folder.
        resolution, channels, count: pixels are uint8 [count, resolution, resolution, channels].
        labels, counts: names of the classes, and pictures in each; empty if there are none.
        fingerprint: sha256 over pixels, labels and what they mean; equal for equal training material.
        refused, duplicates: what was left out and why; groups of equal pictures, by their names.
        mirror: training may show each picture mirrored as well.
        source: where it came from, as a name to show.
    """

    id: str
    title: str
    resolution: int
    channels: int
    count: int
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    fingerprint: str
    refused: tuple[Refusal, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    mirror: bool = False
    source: str = ""
    created: str = ""


def write_info_text(info: DatasetInfo) -> str:
    """The content of dataset.json."""
    return json.dumps(to_json(info), ensure_ascii=False, indent=1)


def read_info(folder: Path) -> DatasetInfo:
    """The info of a prepared dataset.

    Raises:
        NotFound: no dataset is there.
        Damaged: dataset.json cannot be read or contradicts itself.
    """
    file = folder / INFO_FILE
    if not file.is_file():
        raise NotFound(f"There is no dataset {folder.name!r}.", "Choose one from the list.")
    try:
        if file.stat().st_size > _MAX_INFO_BYTES:
            raise ValueError("too large")
        info = from_json(DatasetInfo, json.loads(file.read_text("utf-8")))
    except (BadInput, ValueError, OSError, RecursionError) as error:
        raise Damaged(f"The description of dataset {folder.name!r} cannot be read.", _AGAIN) from error
    sizes_fit = info.count >= 1 and 1 <= info.resolution <= 4096 and info.channels in (1, 3, 4)
    classes_fit = len(info.labels) == len(info.counts) and (not info.labels or sum(info.counts) == info.count)
    if not (sizes_fit and classes_fit):
        raise Damaged(f"The description of dataset {folder.name!r} contradicts itself.", _AGAIN)
    return info


def open_pixels(folder: Path, info: DatasetInfo) -> NDArray[np.uint8]:
    """The pixels, uint8 [count, resolution, resolution, channels], memory-mapped and read-only.

    Raises:
        Damaged: the file is missing, cut short, or of another shape or type than `info` says.
    """
    pixels = _open_array(folder / PIXELS_FILE, folder.name)
    if pixels.dtype != np.uint8 or pixels.shape != (info.count, info.resolution, info.resolution, info.channels):
        raise Damaged(f"The pixels of dataset {folder.name!r} are not what its description says.", _AGAIN)
    return pixels


def open_labels(folder: Path, info: DatasetInfo) -> NDArray[np.int64] | None:
    """The class of each picture, int64 [count] from 0, or None where there are no classes.

    Raises:
        Damaged: the file is missing, cut short, or does not fit `info`.
    """
    if not info.labels:
        return None
    labels = np.array(_open_array(folder / LABELS_FILE, folder.name))
    if labels.dtype != np.int64 or labels.shape != (info.count,):
        raise Damaged(f"The classes of dataset {folder.name!r} are not what its description says.", _AGAIN)
    inside = labels.min() >= 0 and labels.max() < len(info.labels)
    if not inside or tuple(np.bincount(labels, minlength=len(info.labels)).tolist()) != info.counts:
        raise Damaged(f"The classes of dataset {folder.name!r} are not what its description says.", _AGAIN)
    return labels


def _open_array(file: Path, name: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        raise Damaged(f"{file.name} of dataset {name!r} is missing or was cut short.", _AGAIN) from error
    if not isinstance(array, np.ndarray):
        raise Damaged(f"{file.name} of dataset {name!r} is not an array.", _AGAIN)
    return array
