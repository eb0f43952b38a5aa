"""The projected critic (Sauer et al. 2021, "Projected GANs Converge Faster"): it judges what a frozen network sees.

The four maps of EfficientNet-Lite0 are mixed by convolutions that are drawn once and never learn: across their channels,
then from the coarsest map to the finest. A head of strided convolutions judges each mixed map. Ours differs from the paper's
in two ways: one more head judges the plain pixels, as what the frozen network overlooks (stripes, smears) the forger would
never unlearn; and classes are read through an embedding of the heads' own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.families.fastgan_critic import SpectralConvolution
from studio.features.fitting import coloured
from studio.features.sight import WIDTHS, load_sight
from studio.ops import layers

if TYPE_CHECKING:
    from studio.families.fastgan import FastGANSettings

SMALLEST_SEEN_PX, LARGEST_SEEN_PX = 128, 256
"""Pictures are enlarged or shrunk to between these, for the network knows photographs and no thumbnails."""

_JUDGED_PX = 4
_WIDEST = 8
"""At most so many times the critic's width has a head."""
_CLASS_WIDTH = 64
_SLOPE = 0.2


class Mixing(nn.Module):
    """Maps of a frozen network -> as many, each of which knows something of all coarser ones. Nothing here learns.

    Attributes:
        widths: channels of the mixed maps, the finest first.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        across = [width << place for place in range(len(WIDTHS))]
        self.widths = (across[0], *across[:-1])
        for place, (seen, mixed, outputs) in enumerate(zip(WIDTHS, across, self.widths, strict=True)):
            self.register_buffer(f"channels{place}", _random(mixed, seen, gain=2.0))
            self.register_buffer(f"scales{place}", _random(outputs, mixed, gain=1.0))

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for place in reversed(range(len(maps))):
            mixed = F.conv2d(maps[place], self.get_buffer(f"channels{place}"))
            if found:
                mixed = mixed + F.interpolate(found[-1], scale_factor=2, mode="bilinear", align_corners=True)
            found.append(F.conv2d(mixed, self.get_buffer(f"scales{place}")))
        return tuple(reversed(found))


class Head(nn.Module):
    """A map [n, inputs, size, size] -> one logit a picture, [n, 1]."""

    def __init__(self, inputs: int, widest: int, size: int, classes: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        while size > _JUDGED_PX:
            size, outputs = size // 2, min(2 * inputs, widest)
            halving = SpectralConvolution(inputs, outputs, 4, stride=2, padding=1)
            parts += [halving, nn.BatchNorm2d(outputs), nn.LeakyReLU(_SLOPE, inplace=True)]
            inputs = outputs
        self.main = nn.Sequential(*parts)
        self.judge = SpectralConvolution(inputs, 1, _JUDGED_PX)
        if classes:
            self.ask = SpectralConvolution(inputs, _CLASS_WIDTH, _JUDGED_PX)
            self.classes = nn.Parameter(torch.randn(classes, _CLASS_WIDTH))

    def forward(self, maps: Tensor, rows: Tensor | None) -> Tensor:
        features = self.main(maps)
        with layers.full_precision(features):
            features = features.float()
            logits: Tensor = self.judge(features).flatten(1)
            if rows is not None:
                asked = self.ask(features).flatten(1) * (rows @ self.classes)
                logits = logits + asked.sum(dim=1, keepdim=True) / _CLASS_WIDTH**0.5
            return logits


class ProjectedCritic(nn.Module):
    """Five logits a picture: of its pixels, and of each mixed map. The frozen network is no part of the state."""

    def __init__(self, settings: FastGANSettings) -> None:
        super().__init__()
        self.settings, width = settings, settings.critic_width
        narrow = max(1, width // 2)
        self.side_px = min(max(settings.resolution, SMALLEST_SEEN_PX), LARGEST_SEEN_PX)
        self.mixing = Mixing(width)
        self.opening = nn.Sequential(SpectralConvolution(3, narrow, 3, padding=1), nn.LeakyReLU(_SLOPE, inplace=True))
        widths = (narrow, *self.mixing.widths)
        sizes = (settings.resolution, *(self.side_px >> (place + 2) for place in range(len(WIDTHS))))
        self.heads = nn.ModuleList(
            Head(inputs, _WIDEST * width, size, settings.classes) for inputs, size in zip(widths, sizes, strict=True)
        )

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 5], float32."""
        return self.judge_features(self.features(images), label)

    def features(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """images [n, channels, r, r] -> their colours [n, 3, r, r] and the mixed maps, the finest first; labels play no
        part."""
        images = coloured(images).contiguous(memory_format=torch.channels_last)
        return (images, *self.mixing(load_sight(images.device)(images, self.side_px)))

    def judge_features(self, features: tuple[Tensor, ...], label: Tensor | None = None) -> Tensor:
        """What `features` gives, label [n, classes] -> logits [n, 5], float32."""
        classes, (pixels, *mixed) = self.settings.classes, features
        rows = layers.label_rows(label, pixels, classes) if classes else None
        seen = (self.opening(pixels), *mixed)
        return torch.cat([head(maps, rows) for head, maps in zip(self.heads, seen, strict=True)], dim=1)


def _random(outputs: int, inputs: int, *, gain: float) -> Tensor:
    """Weights [outputs, inputs, 1, 1] that keep the size of what they sum (He et al. 2015: gain 2 after a ReLU)."""
    return torch.randn(outputs, inputs, 1, 1) * math.sqrt(gain / inputs)
