"""The first GAN (Goodfellow et al. 2014): fully connected layers only. To see how it began.

Leaky ReLUs stand for the paper's maxout, and tanh for its sigmoid; `layers` describes every other such stack. Classes
enter the generator beside the latent (Mirza & Osindero 2014) and the discriminator by projection (Miyato & Koyama 2018).
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
from studio.families.stack import PreparedStack, StackGenerator
from studio.ops import layers
from studio.options import option

_LARGEST = 128


@dataclass(frozen=True, kw_only=True)
class MLPSettings(StackSettings):
    """The shape of a fully connected GAN. Where `layers` tell, `width` and `depth` are the discriminator's."""

    resolution: int = option(32, help="Width and height of the pictures.", low=4, high=512, unit="px")
    width: int = option(512, help="Units in a hidden layer: more is richer and slower.", low=1, high=8192)
    depth: int = option(3, help="Hidden layers.", low=1, high=12)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers and self.resolution > _LARGEST:
            raise BadInput(f"An MLP cannot learn {self.resolution} px pictures.", f"Choose at most {_LARGEST} px.")
        if any(layer.kind != "linear" for layer in self.layers):
            raise BadInput("An MLP has fully connected layers only.", "Import the model again.")

    @property
    def trains(self) -> bool:
        """Whether there is a discriminator for these pictures."""
        return self.resolution <= _LARGEST

    @property
    def pixels(self) -> int:
        """Numbers in one picture."""
        return self.channels * self.resolution**2

    def standard(self) -> tuple[Layer, ...]:
        """`depth` layers of `width` units with leaky ReLU, then all pixels by tanh."""
        hidden = Layer(kind="linear", width=self.width, kernel=1, bias=True, activation="leaky_relu")
        last = Layer(kind="linear", width=self.channels, kernel=self.resolution, bias=True, activation="tanh")
        return (*(hidden,) * self.depth, last)


class Generator(StackGenerator):
    """Fully connected layers from the latent and the label, its one style, to all pixels."""

    settings: MLPSettings

    def __init__(self, settings: MLPSettings) -> None:
        super().__init__(settings, packed=True)
        self.apply(_initialise)

    def prepared(self, dtype: torch.dtype) -> PreparedStack:
        """A form for play alone. It is small enough to stay in float32, whatever `dtype` says."""
        return super().prepared(torch.float32)


class Discriminator(nn.Module):
    """Fully connected layers from all pixels to one number."""

    def __init__(self, settings: MLPSettings) -> None:
        super().__init__()
        if not settings.trains:
            raise BadInput(f"An MLP of {settings.resolution} px can be played, not trained.", "Train another model.")
        self.settings = settings
        self.main = nn.Sequential(*_hidden(settings.pixels, settings))
        self.out = nn.Linear(settings.width, 1)
        if settings.classes:
            self.embed = nn.Linear(settings.classes, settings.width, bias=False)
        self.apply(_initialise)
        if settings.spectral_norm:
            bound(self)
        kernels = settings.minibatch_kernels
        self.compare = MinibatchDiscrimination(settings.width, kernels) if kernels else None

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 1], float32."""
        features = self.main(images.flatten(1))
        with layers.full_precision(images):
            features = features.float()
            logits = cast(Tensor, self.out(features))
            if self.compare is not None:
                logits = logits + self.compare(features)
            if self.settings.classes:
                classes = self.embed(layers.label_rows(label, images, self.settings.classes))
                logits = logits + torch.sum(classes * features, dim=1, keepdim=True) / self.settings.width**0.5
            return logits

    def features(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """images [n, channels, r, r] in [-1, 1] -> what each hidden layer sees, [n, width]; labels play no part."""
        return activations(self.main, images.flatten(1))


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
