"""Sheets of pictures of fixed seeds, by which people see a model learn."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from studio.families.base import Generator, Measured
from studio.ops import seeds as seeded
from studio.ops.images import to_uint8

AT_ONCE = 8
LARGEST_CELL_PX = 256
QUALITY = 85


@torch.no_grad()
def draw(
    generator: Generator, seeds: Sequence[int], device: torch.device, beat: Callable[[], None] = lambda: None
) -> Tensor:
    """Pictures [n, c, h, w] of the seeds, on the CPU; the class of each is its seed modulo the number of classes."""
    if isinstance(generator, Measured):
        generator.measure()
    latents = seeded.latents(seeds, generator.z_dim).to(device)
    noise = generator.constant_noise() or None
    parts = []
    for start in range(0, len(seeds), AT_ONCE):
        label = seeded.labels(seeds[start : start + AT_ONCE], generator.classes)
        styles = generator.map(latents[start : start + AT_ONCE], None if label is None else label.to(device))
        parts.append(generator.synthesize(styles, noise).float().cpu())
        beat()
    return torch.cat(parts)


def encode(pictures: Tensor, columns: int) -> bytes:
    """One WebP of pictures [n, c, h, w] in rows of `columns`; large ones are shown at 256 px."""
    count, channels, height, width = pictures.shape
    rows = count // columns
    cells = to_uint8(pictures).reshape(rows, columns, height, width, channels)
    whole = cells.permute(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels).numpy()
    image = Image.fromarray(whole[..., 0] if channels == 1 else whole)
    if height > LARGEST_CELL_PX:
        image = image.resize((columns * LARGEST_CELL_PX, rows * LARGEST_CELL_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()
