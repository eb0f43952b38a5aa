"""A prepared dataset as tensors: the only module of this room that knows torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.data.info import DatasetInfo, open_labels, open_pixels, read_info

__all__ = ["Dataset", "DatasetInfo", "open_dataset"]


class Dataset:
    """Pictures and classes by position. The pixels stay on disk (memory-mapped) until they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = read_info(folder)
        self._pixels = open_pixels(folder, self.info)
        self._labels = open_labels(folder, self.info)

    def __len__(self) -> int:
        return self.info.count

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """uint8 pictures [n, channels, resolution, resolution] and int64 classes [n] (all 0 without classes).

        Raises:
            IndexError: a position outside the dataset.
        """
        rows = np.asarray(indices, dtype=np.int64)
        pictures = torch.from_numpy(self._pixels[rows]).permute(0, 3, 1, 2).contiguous()
        classes = np.zeros(len(rows), dtype=np.int64) if self._labels is None else self._labels[rows]
        return pictures, torch.from_numpy(classes)


def open_dataset(folder: Path) -> Dataset:
    """Open and check a prepared dataset.

    Raises:
        NotFound: no dataset is there.
        Damaged: a file is missing, cut short, or does not fit the description.
    """
    return Dataset(folder)
