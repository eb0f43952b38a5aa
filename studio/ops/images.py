"""Between the networks' pictures, floats in [-1, 1], and bytes."""

from __future__ import annotations

import torch
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """Pictures [n, c, h, w] in [-1, 1], of any float type -> bytes [n, h, w, c]. What lies outside is clipped."""
    scaled = images.float().mul(127.5).add_(128).clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_uint8(images: Tensor) -> Tensor:
    """Bytes [n, c, h, w] -> pictures [n, c, h, w] in [-1, 1], float32; 0 is -1 and 255 is 1."""
    return images.float().div_(127.5).sub_(1)
