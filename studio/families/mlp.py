"""The first GAN (Goodfellow et al. 2014): fully connected layers only. To see how it began.

Leaky ReLUs stand for the paper's maxout, and tanh for its sigmoid. Classes enter the generator beside the latent
(Mirza & Osindero 2014) and the discriminator by projection (Miyato & Koyama 2018).
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from studio.families.base import NetworkSettings, Noise
from studio.ops import layers
from studio.options import option

_LARGEST = 128


@dataclass(frozen=True, kw_only=True)
class MLPSettings(NetworkSettings):
    """The shape of a fully connected GAN."""

    resolution: int = option(32, help="Width and height of the pictures.", low=4, high=_LARGEST, unit="px")
    z_dim: int = option(100, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    width: int = option(512, help="Units in a hidden layer: more is richer and slower.", low=1, high=8192)
    depth: int = option(3, help="Hidden layers.", low=1, high=12)

    @property
    def pixels(self) -> int:
        """Numbers in one picture."""
        return self.channels * self.resolution**2


class Generator(nn.Module):
    """Fully connected layers from the latent and the label, its one style, to all pixels."""

    num_styles = 1
    noise_sizes: tuple[int, ...] = ()

    def __init__(self, settings: MLPSettings) -> None:
        super().__init__()
        self.settings = settings
        self.z_dim, self.classes = settings.z_dim, settings.classes
        self.style_dim = settings.z_dim + settings.classes
        self.resolution, self.channels = settings.resolution, settings.channels
        last = nn.Linear(settings.width, settings.pixels)
        self.main = nn.Sequential(*_hidden(self.style_dim, settings), last, nn.Tanh())
        self.apply(_initialise)

    def map(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, z_dim], label [n, classes] -> styles [n, 1, z_dim + classes]; truncation scales z towards 0."""
        return torch.cat([z.float() * truncation, layers.label_rows(label, z, self.classes)], dim=1)[:, None]

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, z_dim + classes] -> pictures [n, channels, r, r] in [-1, 1], float32. It takes no noise."""
        pixels = cast(Tensor, self.main(styles[:, 0])).float()
        return pixels.reshape(-1, self.channels, self.resolution, self.resolution)

    def forward(self, z: Tensor, label: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Latents straight to pictures."""
        return self.synthesize(self.map(z, label), noise)

    def constant_noise(self) -> Noise:
        """None: it has no noise inputs."""
        return ()

    def style_matrices(self) -> tuple[Tensor, ...]:
        """None: the latent is no style that layers read."""
        return ()

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A copy for play alone. It is small enough to stay in float32, whatever `dtype` says."""
        return copy.deepcopy(self).eval().requires_grad_(False)


class Discriminator(nn.Module):
    """Fully connected layers from all pixels to one number."""

    def __init__(self, settings: MLPSettings) -> None:
        super().__init__()
        self.settings = settings
        self.main = nn.Sequential(*_hidden(settings.pixels, settings))
        self.out = nn.Linear(settings.width, 1)
        if settings.classes:
            self.embed = nn.Linear(settings.classes, settings.width, bias=False)
        self.apply(_initialise)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 1], float32."""
        features = self.main(images.flatten(1))
        with layers.full_precision(images):
            features = features.float()
            logits = cast(Tensor, self.out(features))
            if not self.settings.classes:
                return logits
            classes = self.embed(layers.label_rows(label, images, self.settings.classes))
            return logits + torch.mean(classes * features, dim=1, keepdim=True)


def _hidden(inputs: int, settings: MLPSettings) -> list[nn.Module]:
    """`depth` layers of `width` units with leaky ReLU."""
    widths = [inputs] + [settings.width] * settings.depth
    return [part for pair in itertools.pairwise(widths) for part in (nn.Linear(*pair), nn.LeakyReLU(0.2, inplace=True))]


def _initialise(module: nn.Module) -> None:
    """Weights that keep the variance through leaky ReLUs (He et al. 2015), no bias."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, a=0.2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
