"""Pictures and zips, good and hostile, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def noise(seed: int, width: int = 40, height: int = 40, channels: int = 3) -> Image.Image:
    """A smooth coloured picture that differs for every seed."""
    low = np.random.default_rng(seed).integers(0, 256, (6, 6, channels), dtype=np.uint8)
    image = Image.fromarray(low[..., 0] if channels == 1 else low)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(name="noise")
def _noise() -> Callable[..., Image.Image]:
    return noise


@pytest.fixture(name="encoded")
def _encoded() -> Callable[..., bytes]:
    return encoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight good pictures in two classes."""
    for seed in range(8):
        place = tmp_path / "album" / ("cats" if seed < 5 else "dogs")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{seed}.png").write_bytes(encoded(noise(seed)))
    return tmp_path / "album"
