"""DCGAN (Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional GANs").

At 64 px the layers lie and are named as in PyTorch's own example, so its weights load as they are; `layers` describes
every other plain stack that people have trained. Classes enter the generator beside the latent (Mirza & Osindero 2014)
and the discriminator by projection (Miyato & Koyama 2018).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families.critic_parts import MinibatchDiscrimination, activations, bound
from studio.families.layout import Layer, StackSettings
from studio.families.stack import StackGenerator
from studio.ops import layers
from studio.options import option

_SIZES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class DCGANSettings(StackSettings):
    """The shape of a DCGAN; the defaults are those of the paper. `width` is the discriminator's where `layers` tell."""

    width: int = option(64, help="Feature maps at the finest level: more is richer and slower.", low=1, high=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers and self.resolution not in _SIZES:
            raise BadInput(f"A DCGAN cannot make {self.resolution} px pictures.", "Choose 8, 16, 32, 64, 128 or 256.")

    @property
    def trains(self) -> bool:
        """Whether there is a discriminator for these pictures."""
        return self.resolution in _SIZES

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature maps at 4 px, 8 px, … up to half the picture; at most eight times `width`."""
        levels = self.resolution.bit_length() - 3
        return tuple(self.width * min(2**level, 8) for level in reversed(range(levels)))

    def standard(self) -> tuple[Layer, ...]:
        """Transposed convolutions that double the size, batch normalisation, ReLU; tanh at the end."""
        first = Layer(width=self.widths[0], stride=1, padding=0, norm="batch")
        doubling = (Layer(width=width, norm="batch") for width in self.widths[1:])
        return (first, *doubling, Layer(width=self.channels, activation="tanh"))


class Generator(StackGenerator):
    """Transposed convolutions, or the stack that `layers` describes. Latent and label are its one style."""

    settings: DCGANSettings

    def __init__(self, settings: DCGANSettings) -> None:
        super().__init__(settings)
        self.apply(_initialise)


class Discriminator(nn.Module):
    """Strided convolutions, batch normalisation (none on the first), leaky ReLU.

    With spectral norm it has biases in place of batch normalisation (Miyato et al. 2018)."""

    def __init__(self, settings: DCGANSettings) -> None:
        super().__init__()
        if not settings.trains:
            raise BadInput(f"A DCGAN of {settings.resolution} px can be played, not trained.", "Train another model.")
        self.settings = settings
        widths, plain = settings.widths[::-1], settings.spectral_norm
        parts: list[nn.Module] = [nn.Conv2d(settings.channels, widths[0], 4, 2, 1, bias=plain)]
        parts += [nn.LeakyReLU(0.2, inplace=True)]
        for inputs, outputs in itertools.pairwise(widths):
            parts += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=plain)]
            parts += [] if plain else [nn.BatchNorm2d(outputs)]
            parts += [nn.LeakyReLU(0.2, inplace=True)]
        self.main = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, bias=plain))
        if settings.classes:
            self.embed = nn.Linear(settings.classes, widths[-1], bias=False)
        self.apply(_initialise)
        if settings.spectral_norm:
            bound(self)
        kernels = settings.minibatch_kernels
        self.compare = MinibatchDiscrimination(widths[-1], kernels) if kernels else None

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 1], float32."""
        features = self.main[:-1](images)
        logits = cast(Tensor, self.main[-1](features)).float().flatten(1)
        with layers.full_precision(images):
            totals = features.float().sum(dim=(2, 3))
            if self.compare is not None:
                logits = logits + self.compare(totals / features[0, 0].numel())
            if self.settings.classes:
                classes = self.embed(layers.label_rows(label, images, self.settings.classes))
                logits = logits + torch.sum(classes * totals, dim=1, keepdim=True)
        return logits

    def features(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """images [n, channels, r, r] in [-1, 1] -> what each hidden layer sees, [n, c, h, w]; labels play no part."""
        return activations(self.main, images)


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), normalisation gains from N(1, 0.02²), as in the paper."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
