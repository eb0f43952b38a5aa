"""Our own small feature network: a picture of 64 px as maps of four sizes, and as one vector.

A residual network (He et al. 2016) of three blocks, about two million parameters. `studio.features.train` teaches it
without labels. It is convolution, batch normalisation and ReLU alone, so it runs in bfloat16 and channels-last.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.features.fitting import coloured, fitted

SIDE_PX = 64
WIDTHS = (32, 64, 128, 256)
LEAST_SPREAD = 1e-3


class Block(nn.Module):
    """Two convolutions beside a short cut; size and width stay."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolution(width, width, 3, 1), *_convolution(width, width, 3, 1)[:-1])

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(maps + self.layers(maps))


class SmallNetwork(nn.Module):
    """Pictures of any size as feature maps and as vectors. Differentiable with respect to the pictures.

    Attributes:
        dim: width of a vector: the third stage's means of each quarter of the picture, the last one's of the whole.
        centre, spread: [dim], what training pictures measured, by which each number is standardised.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        parts = [nn.Sequential(*_convolution(3, WIDTHS[0], 4, 2))]
        for before, width in pairwise(WIDTHS):
            parts.append(nn.Sequential(*_convolution(before, width, 3, 2), Block(width)))
        self.parts = nn.ModuleList(parts)
        self.dim = 4 * WIDTHS[2] + WIDTHS[3]
        self.register_buffer("centre", torch.zeros(self.dim))
        self.register_buffer("spread", torch.ones(self.dim))

    def stages(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Pictures [n, 1, 3 or 4, h, w] in [-1, 1] -> maps [n, 32, 32, 32], [n, 64, 16, 16], [n, 128, 8, 8] and
        [n, 256, 4, 4], none below 0; the earlier ones know texture and place, the last ones what is seen."""
        maps = fitted(coloured(pictures), SIDE_PX).contiguous(memory_format=torch.channels_last)
        found = []
        for part in self.parts:
            maps = part(maps)
            found.append(maps)
        return tuple(found)

    def pooled(self, pictures: Tensor) -> Tensor:
        """Pictures [n, c, h, w] -> the means of the maps of the last two stages, float32 [n, dim]."""
        *_, third, last = self.stages(pictures)
        quarters = F.adaptive_avg_pool2d(third.float(), 2).flatten(1)
        return torch.cat([quarters, last.float().mean(dim=(2, 3))], dim=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [n, c, h, w] in [-1, 1] -> vectors float32 [n, dim], standardised: about 0 ± 1 for what it was
        trained on. The cosine between two says how alike the pictures look."""
        standard: Tensor = (self.pooled(pictures) - self.centre) / self.spread
        return standard


def _convolution(before: int, width: int, size: int, stride: int) -> list[nn.Module]:
    """A convolution without bias, normalised, with a ReLU after it."""
    convolution = nn.Conv2d(before, width, size, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]
