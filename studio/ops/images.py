"""Between the networks' pictures, floats in [-1, 1], and bytes."""

from __future__ import annotations

import torch
from torch import Tensor

_FAINTEST = 1e-8


def to_uint8(images: Tensor) -> Tensor:
    """Pictures [n, c, h, w] in [-1, 1], of any float type -> bytes [n, h, w, c]. What lies outside is clipped."""
    scaled = images.float().mul(127.5).add_(128).clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_uint8(images: Tensor) -> Tensor:
    """Bytes [n, c, h, w] -> pictures [n, c, h, w] in [-1, 1], float32; 0 is -1 and 255 is 1."""
    return images.float().div_(127.5).sub_(1)


def blur(images: Tensor, sigma_px: float) -> Tensor:
    """Pictures [n, c, h, h] -> the same under a Gaussian, float32; beyond the edges there is nothing, and means stay.

    Two products with a band matrix, whose cost does not depend on `sigma_px` as that of convolutions does. What does not
    count in float32 is no part of it: products of such numbers underflow, which took twenty times as long."""
    places = torch.arange(images.shape[-1], device=images.device, dtype=torch.float32)
    weights = torch.exp(-((places[:, None] - places) ** 2) / (2 * sigma_px**2))
    weights = weights * (weights > _FAINTEST)
    band = weights / weights.sum(dim=1, keepdim=True)
    with torch.autocast(images.device.type, enabled=False):
        return (band @ images.float() @ band.T).contiguous(memory_format=torch.channels_last)
