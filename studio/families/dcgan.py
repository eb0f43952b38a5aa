"""DCGAN (Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional GANs").

At 64 px the layers lie and are named as in PyTorch's own example, so its weights load as they are. Classes enter the
generator beside the latent (Mirza & Osindero 2014) and the discriminator by projection (Miyato & Koyama 2018).
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families.base import NetworkSettings, Noise
from studio.ops import layers
from studio.options import option


@dataclass(frozen=True, kw_only=True)
class DCGANSettings(NetworkSettings):
    """The shape of a DCGAN; the defaults are those of the paper."""

    z_dim: int = option(100, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    width: int = option(64, help="Feature maps at the finest level: more is richer and slower.", low=1, high=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution not in (8, 16, 32, 64, 128, 256):
            raise BadInput(f"A DCGAN cannot make {self.resolution} px pictures.", "Choose 8, 16, 32, 64, 128 or 256.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature maps at 4 px, 8 px, … up to half the picture; at most eight times `width`."""
        levels = self.resolution.bit_length() - 3
        return tuple(self.width * min(2**level, 8) for level in reversed(range(levels)))


class Generator(nn.Module):
    """Transposed convolutions, batch normalisation, ReLU; tanh at the end. Latent and label are its one style."""

    num_styles = 1
    noise_sizes: tuple[int, ...] = ()

    def __init__(self, settings: DCGANSettings) -> None:
        super().__init__()
        self.settings = settings
        self.z_dim, self.classes = settings.z_dim, settings.classes
        self.style_dim = settings.z_dim + settings.classes
        self.resolution, self.channels = settings.resolution, settings.channels
        widths = settings.widths
        parts: list[nn.Module] = [nn.ConvTranspose2d(self.style_dim, widths[0], 4, bias=False)]
        parts += [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for inputs, outputs in itertools.pairwise(widths):
            parts += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
            parts += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        parts += [nn.ConvTranspose2d(widths[-1], settings.channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*parts)
        self.apply(_initialise)

    def map(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, z_dim], label [n, classes] -> styles [n, 1, z_dim + classes]; truncation scales z towards 0."""
        return torch.cat([z.float() * truncation, layers.label_rows(label, z, self.classes)], dim=1)[:, None]

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, z_dim + classes] -> pictures [n, channels, r, r] in [-1, 1], float32. It takes no noise."""
        first = cast(nn.ConvTranspose2d, self.main[0])
        return cast(Tensor, self.main(styles[:, 0, :, None, None].to(first.weight.dtype))).float()

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
        """A copy for play alone: convolutions in `dtype`, normalisation by what was learned, in float32."""
        prepared = copy.deepcopy(self).eval().requires_grad_(False)
        for module in prepared.main:
            if isinstance(module, nn.ConvTranspose2d):
                module.to(dtype)
        return prepared.to(memory_format=torch.channels_last)


class Discriminator(nn.Module):
    """Strided convolutions, batch normalisation (none on the first), leaky ReLU."""

    def __init__(self, settings: DCGANSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = settings.widths[::-1]
        parts: list[nn.Module] = [nn.Conv2d(settings.channels, widths[0], 4, 2, 1, bias=False)]
        parts += [nn.LeakyReLU(0.2, inplace=True)]
        for inputs, outputs in itertools.pairwise(widths):
            parts += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs)]
            parts += [nn.LeakyReLU(0.2, inplace=True)]
        self.main = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, bias=False))
        if settings.classes:
            self.embed = nn.Linear(settings.classes, widths[-1], bias=False)
        self.apply(_initialise)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 1], float32."""
        features = self.main[:-1](images)
        logits = cast(Tensor, self.main[-1](features)).float().flatten(1)
        if not self.settings.classes:
            return logits
        with layers.full_precision(images):
            classes = self.embed(layers.label_rows(label, images, self.settings.classes))
            return logits + torch.sum(classes * features.float().sum(dim=(2, 3)), dim=1, keepdim=True)


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), normalisation gains from N(1, 0.02²), as in the paper."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
