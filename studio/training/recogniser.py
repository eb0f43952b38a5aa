"""InfoGAN (Chen et al. 2016, "InfoGAN: Interpretable Representation Learning by Information Maximizing GANs").

The first coordinates of z are the codes c. A recogniser Q reads them off the picture x = G(z), and both G and Q descend

    λ E[-log Q(c | x)] = λ E[½ Σ_k (c_k - μ_k(x))²] + constant

for Q a factored Gaussian of mean μ(x) and variance 1; that is -λ times a lower bound of the information I(c; x) (section
5). So each code must change what can be seen, and not as the others do. The paper lets Q share the critic's body; here it
sees through the frozen feature network, whichever critic there is, and pictures as people see them, before they are varied.

Where G normalises z, as StyleGAN2 does, the length of z is lost, and of each code about 1 / 2d of its variance, for z of
d numbers.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from studio.families.stylegan2 import Linear
from studio.features.extractor import load_small
from studio.ops import layers

_WIDTH = 128
_SLOPE = 0.2
_RATE = 4.0
"""The head learns so many times as fast as G, which cannot show more than is read."""


class Recogniser(nn.Module):
    """Pictures -> what the codes seem to be, by a small head on the feature network. Only the head learns and is saved."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        self._eyes = (load_small(),)  # in a tuple, it is no part of the state
        self.hidden = Linear(self._eyes[0].dim, _WIDTH, rate=_RATE)
        self.out = Linear(_WIDTH, codes, rate=_RATE)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [n, 1, 3 or 4, h, w] in [-1, 1], of any size -> the means μ [n, codes] of Q, float32."""
        seen = self._eyes[0].to(pictures.device)(pictures)
        with layers.full_precision(pictures):
            return cast(Tensor, self.out(F.leaky_relu(self.hidden(seen), _SLOPE)))


def code_error(read: Tensor, codes: Tensor) -> Tensor:
    """The mean squared error of what was read [n, codes], a scalar: 0 is without error, 1 is guessing 0."""
    return (read - codes).square().mean()
