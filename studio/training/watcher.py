"""A second critic, which judges pictures by what the frozen feature network sees in them.

Small heads on the maps of a network that has already learned to see judge beside the critic of the family (Kumari et al.
2022, "Ensembling Off-the-shelf Models for GAN Training"; Sauer et al. 2021, "Projected GANs Converge Faster"). Theirs see by
networks that know a million photographs; ours is small, and what it brings is not clear: docs/recipes.md has the figures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from studio.families.fastgan_critic import SpectralConvolution
from studio.features.extractor import load_small
from studio.features.network import SIDE_PX, WIDTHS

_JUDGED = (1, 2, 3)
"""Which maps are judged. The first one knows texture alone, and that the family's critic sees better."""
_HEAD_WIDTH = 128
_HEAD_PX = 4
_SLOPE = 0.2
_GAIN = 4.0
"""Layers of spectral norm 1 answer with small numbers; the gain of their logits is learned, from here on."""


class Watcher(nn.Module):
    """Pictures -> logits, by one head for each map of the feature network. Only the heads learn and are saved."""

    def __init__(self) -> None:
        super().__init__()
        self._eyes = (load_small(),)  # in a tuple, it is no part of the state
        self.heads = nn.ModuleList(_Head(WIDTHS[place], SIDE_PX >> (place + 1)) for place in _JUDGED)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [n, 1, 3 or 4, h, w] in [-1, 1], of any size -> logits [n, 48], float32: 4 x 4 places a head."""
        maps = self._eyes[0].to(pictures.device).stages(pictures)
        return torch.cat([head(maps[place]) for head, place in zip(self.heads, _JUDGED, strict=True)], dim=1)


class _Head(nn.Module):
    """A map [n, width, side, side] -> a logit for each of its 4 x 4 places, [n, 16]."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [SpectralConvolution(width, _HEAD_WIDTH, 1), nn.LeakyReLU(_SLOPE)]
        while side > _HEAD_PX:
            side //= 2
            layers += [SpectralConvolution(_HEAD_WIDTH, _HEAD_WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        layers += [SpectralConvolution(_HEAD_WIDTH, _HEAD_WIDTH, 3, padding=1), nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers, SpectralConvolution(_HEAD_WIDTH, 1, 1))
        self.gain = nn.Parameter(torch.tensor(_GAIN))
        self.bias = nn.Parameter(torch.zeros([]))

    def forward(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.layers(maps).float().flatten(1) * self.gain + self.bias
        return logits
