"""A tiny prepared dataset and a tiny run, made without the rest of the studio's machinery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from studio.options import to_json
from studio.training.config import TrainConfig
from studio.training.folder import RunFolder

SETTINGS: dict[str, Any] = {
    "resolution": 8, "channels": 3, "classes": 0, "z_dim": 8, "w_dim": 8, "mapping_layers": 2,
    "channel_base": 64, "channel_max": 8,
}  # fmt: skip
FINGERPRINT = "f" * 64


def make_dataset(folder: Path, *, count: int = 24, resolution: int = 8, channels: int = 3, classes: int = 0) -> Path:
    """A prepared folder of smooth random pictures."""
    folder.mkdir(parents=True)
    random = np.random.RandomState(1)
    corners = random.randint(0, 256, (count, 2, 2, channels))
    pixels = np.repeat(np.repeat(corners, resolution // 2, axis=1), resolution // 2, axis=2).astype(np.uint8)
    np.save(folder / "pixels.npy", pixels)
    labels = np.arange(count, dtype=np.int64) % max(1, classes)
    if classes:
        np.save(folder / "labels.npy", labels)
    info = {
        "id": folder.name, "title": "Corners", "resolution": resolution, "channels": channels, "count": count,
        "labels": [f"class {number}" for number in range(classes)], "fingerprint": FINGERPRINT,
        "counts": np.bincount(labels).tolist() if classes else [],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def make_config(dataset: Path, **changes: Any) -> TrainConfig:
    """A run of a few steps in float32 on one thread."""
    settings = {**SETTINGS, **changes.pop("settings", {})}
    given: dict[str, Any] = {
        "title": "Tiny", "settings": settings, "dataset": str(dataset), "dataset_fingerprint": FINGERPRINT, "batch": 4,
        "kimg": 0.04, "seed": 5, "threads": 1, "device": "cpu", "precision": "float32", "r1_interval": 4,
        "ada_interval": 2, "ada_speed_kimg": 0.2, "augment_start_p": 0.3, "ema_kimg": 0.02, "snapshot_count": 3,
        "preview_rows": 2, "preview_columns": 2, "preview_seconds": 3600.0, "checkpoint_seconds": 3600.0,
        "minutes": 600.0,
    }  # fmt: skip
    return TrainConfig(**{**given, **changes})


def make_run(root: Path, config: TrainConfig) -> RunFolder:
    """The folder of a run that has not begun."""
    root.mkdir(parents=True)
    folder = RunFolder(root)
    folder.config.write_text(json.dumps(to_json(config)))
    return folder
