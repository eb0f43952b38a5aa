"""DiffAugment: the same mild, differentiable changes to real and generated pictures, with no strength to control.

Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training. Magnitudes are the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from studio.ops.seeds import WHOLE, Share

_UNIFORMS_PER_PICTURE = 8
_FARTHEST_SHIFT = 1 / 8
_HOLE = 1 / 2

POLICIES = ("color", "translation", "cutout")


def diffaugment(
    images: Tensor, generator: torch.Generator, policy: Collection[str] = POLICIES, *, share: Share = WHOLE
) -> Tensor:
    """Change every picture a little: colour, place, and a missing square.

    Args:
        images: [n, c, h, w] in about [-1, 1]; 1, 3 or 4 channels (the fourth moves but keeps its values).
        generator: CPU stream. Picture i depends on it and on i, whatever else is in the batch.
        policy: names out of `POLICIES`.
        share: which rows of the whole batch `images` are.

    Returns:
        float32 [n, c, h, w], not clamped; what has no source is 0.

    Raises:
        ValueError: an unknown policy.
    """
    if unknown := set(policy) - set(POLICIES):
        raise ValueError(f"no such policy: {sorted(unknown)}")
    dice = share.draw(torch.rand, (len(images), _UNIFORMS_PER_PICTURE), generator, dtype=torch.float64)
    changes = [_CHANGES[name] for name in sorted(policy, key=POLICIES.index)]
    with torch.autocast(images.device.type, enabled=False):
        result = images.float()
        for change in changes:
            result = change(result, dice)
    return result


def _color(images: Tensor, dice: Tensor) -> Tensor:
    """Brightness by -0.5 … 0.5, then saturation by 0 … 2, then contrast by 0.5 … 1.5."""
    brightness, saturation, contrast = dice[:, :3].to(images).T[:, :, None, None, None]
    colours = images[:, :3] + (brightness - 0.5)
    grey = colours.mean(dim=1, keepdim=True)
    colours = grey + (colours - grey) * (saturation * 2)
    middle = colours.mean(dim=(1, 2, 3), keepdim=True)
    colours = middle + (colours - middle) * (contrast + 0.5)
    return torch.cat([colours, images[:, 3:]], dim=1)


def _translation(images: Tensor, dice: Tensor) -> Tensor:
    """Whole pixels, up to an eighth of the side, each way."""
    count, channels, height, width = images.shape
    rows = torch.arange(height) - _whole(dice[:, 3], height)[:, None]
    columns = torch.arange(width) - _whole(dice[:, 4], width)[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    source = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    chosen = source.flatten(1)[:, None].to(images.device).expand(-1, channels, -1)
    moved = images.flatten(2).gather(2, chosen).reshape(count, channels, height, width)
    return moved * inside[:, None].to(images)


def _whole(uniform: Tensor, size: int) -> Tensor:
    farthest = int(size * _FARTHEST_SHIFT + 0.5)
    return (uniform * (2 * farthest + 1)).floor().long() - farthest


def _cutout(images: Tensor, dice: Tensor) -> Tensor:
    """A square of half the side is 0; its centre lies anywhere, so that part of it may fall outside."""
    height, width = images.shape[-2:]
    rows = _hole(dice[:, 5], height)[:, :, None]
    columns = _hole(dice[:, 6], width)[:, None, :]
    return images * (~(rows & columns))[:, None].to(images)


def _hole(uniform: Tensor, size: int) -> Tensor:
    """[n, size], true where the hole covers one axis."""
    side = int(size * _HOLE + 0.5)
    centre = (uniform * (size + 1 - side % 2)).floor()[:, None]
    place = torch.arange(size)
    return (place >= centre - side // 2) & (place < centre - side // 2 + side)


_CHANGES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
