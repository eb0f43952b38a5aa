"""What the plain critics (DCGAN, MLP) may have beside their layers: bounded weights, and an eye for the whole batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from studio.ops import layers

_KERNEL_WIDTH = 5


class SpectralNorm(nn.Module):
    """A weight divided by its largest singular value (Miyato et al. 2018, Spectral Normalization).

    The value is followed by one step of power iteration each time the weight is computed in training; where that has
    come to is a buffer, so that a resumed run goes on from it.
    """

    direction: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("direction", F.normalize(torch.randn(weight.shape[0]), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """A weight [o, …] -> the same shape, whose largest singular value is about 1."""
        with layers.full_precision(weight):
            matrix = weight.flatten(1)
            with torch.no_grad():
                inputs = F.normalize(matrix.t() @ self.direction, dim=0)
                outputs = F.normalize(matrix @ inputs, dim=0)
                if self.training:
                    self.direction.copy_(outputs)
            return weight / torch.dot(outputs, matrix @ inputs)


def bound(network: nn.Module) -> None:
    """Give each weighted sum of `network` that is there by now spectral norm."""
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))


class MinibatchDiscrimination(nn.Module):
    """Tells D how close the pictures of a batch lie together (Salimans et al. 2016, section 3.2): against collapse.

    Each picture's features become `kernels` short vectors; each of those is compared with the same one of every other
    picture by exp(-L1 distance). The mean over the others, where the paper has their sum, lets the batch change.
    """

    def __init__(self, inputs: int, kernels: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.project = nn.Parameter(torch.randn(inputs, kernels * _KERNEL_WIDTH) / inputs**0.5)
        self.weigh = nn.Linear(kernels, 1, bias=False)

    def closeness(self, features: Tensor) -> Tensor:
        """features [n, inputs] -> [n, kernels] in 0 to 1: 1 if all pictures of the batch are the same."""
        vectors = (features @ self.project).view(len(features), self.kernels, _KERNEL_WIDTH)
        distance = (vectors[:, None] - vectors[None]).abs().sum(dim=3)
        return (torch.exp(-distance).sum(dim=1) - 1) / max(len(features) - 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """features [n, inputs] -> what is added to the logits [n, 1]."""
        return cast(Tensor, self.weigh(self.closeness(features)))


def activations(main: Iterable[nn.Module], values: Tensor) -> tuple[Tensor, ...]:
    """What the layers of `main` make of `values` after each of their leaky ReLUs, in order."""
    found = []
    for layer in main:
        values = layer(values)
        if isinstance(layer, nn.LeakyReLU):
            found.append(values)
    return tuple(found)
