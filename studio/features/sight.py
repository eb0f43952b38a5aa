"""What a critic sees with: EfficientNet-Lite0, taught on the photographs of ImageNet and frozen, as maps of four sizes.

The network of Tan & Le 2019 ("EfficientNet") in the variant without excitation and with ReLU6, which runs quickly and in
bfloat16. Its normalisations are folded into the convolutions, and what comes after the last block is left out; the card
in assets/features says where the weights come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from studio.features.extractor import shipped
from studio.features.fitting import coloured, fitted
from studio.ops import fused
from studio.paths import bundled

WIDTHS = (24, 40, 112, 320)
"""Channels of the four maps; the first one is a quarter of the picture's side, and each further one half of that."""

_STEM = 32
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))  # fmt: skip
"""Repeats, kernel, first stride, expansion and channels, as in the paper's table 1."""
_SHOWN = (2, 4, 10, 15)
"""The blocks whose maps are given out: the last ones of each size."""


class Folded(nn.Conv2d):
    """A convolution that keeps the size, or halves it with the odd pixel of padding at the end, as TensorFlow has it."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1, bends: bool = True):
        super().__init__(inputs, outputs, size, stride, groups=groups)
        self.bends = bends

    def forward(self, input: Tensor) -> Tensor:
        """[n, i, h, h] -> [n, o, h, h], or half of it; even h where it is halved."""
        bias = cast(Tensor, self.bias)
        return fused.convolve_frozen(input, self.weight, bias, stride=self.stride[0], clips=self.bends)


class Block(nn.Module):
    """Widen, look around in each channel, narrow; beside a short cut where the shape stays (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        widen = [Folded(inputs, inner, 1)] if expansion > 1 else []
        around = Folded(inner, inner, size, stride=stride, groups=inner)
        self.layers = nn.Sequential(*widen, around, Folded(inner, outputs, 1, bends=False))
        self.short = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        made: Tensor = self.layers(maps)
        return maps + made if self.short else made


class Sight(nn.Module):
    """Pictures as four maps; differentiable with respect to the pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Folded(3, _STEM, 3, stride=2)
        self.blocks = nn.ModuleList(_blocks())

    def forward(self, pictures: Tensor, side_px: int) -> tuple[Tensor, ...]:
        """Pictures [n, 1, 3 or 4, h, w] in [-1, 1], seen at `side_px` (a multiple of 32) -> maps [n, 24, s/4, s/4],
        [n, 40, s/8, s/8], [n, 112, s/16, s/16] and [n, 320, s/32, s/32]; transparency lies on white."""
        maps = self.stem(fitted(coloured(pictures), side_px).contiguous(memory_format=torch.channels_last))
        found = []
        for place, block in enumerate(self.blocks):
            maps = block(maps)
            if place in _SHOWN:
                found.append(maps)
        return tuple(found)


def _blocks() -> Iterator[Block]:
    inputs = _STEM
    for repeats, size, stride, expansion, outputs in _STAGES:
        for number in range(repeats):
            yield Block(inputs, outputs, size, stride=1 if number else stride, expansion=expansion)
            inputs = outputs


@cache
def load_sight(device: torch.device) -> Sight:
    """The frozen network, one for a whole process and device. Raises Damaged: its file is missing or broken."""
    return shipped(Sight, bundled("assets") / "features" / "sight.safetensors", device)
