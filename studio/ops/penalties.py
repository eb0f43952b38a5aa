"""What keeps the two players smooth. Each penalty is per sample, in float32, and can be differentiated again.

x.requires_grad_()
penalty = r1(D(augment(x)), x, gamma=1.0)        # the gradient is taken at the picture before its augmentation
loss = (objective.discriminator(...) + penalty[:, None] * interval).mean()
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from studio.ops.seeds import WHOLE, Share

Critic = Callable[[Tensor, Tensor | None], Tensor]
"""images [n, c, h, w], label [n, classes] or None -> logits [n, 1]."""

_TINY = 1e-12
"""Below this a squared length counts as zero: the root's slope there is infinite and would make NaN."""


def r1(real_logits: Tensor, real: Tensor, *, gamma: float) -> Tensor:
    """gamma / 2 * ||grad_x D(x)||^2 at real pictures (Mescheder et al. 2018, equation 9).

    Args:
        real_logits: D(x) [n, 1], computed from `real` with its graph.
        real: x [n, c, h, w], requiring a gradient; before augmentation.
        gamma: weight; the paper's own is 10, StyleGAN2's depends on the resolution.

    Returns:
        [n], summed over channels and pixels.
    """
    return gamma / 2 * _squared_length(_slope(real_logits, real))


def r2(fake_logits: Tensor, fake: Tensor, *, gamma: float) -> Tensor:
    """gamma / 2 * ||grad_x D(x)||^2 at generated pictures (Mescheder et al. 2018, equation 10).

    `fake` [n, c, h, w] is detached from the generator and requires a gradient. Returns [n].
    """
    return gamma / 2 * _squared_length(_slope(fake_logits, fake))


def gradient_penalty(
    discriminator: Critic,
    real: Tensor,
    fake: Tensor,
    label: Tensor | None = None,
    *,
    weight: float = 10.0,
    generator: torch.Generator,
    share: Share = WHOLE,
) -> Tensor:
    """weight * (||grad_x D(x)|| - 1)^2 between real and generated pictures (Gulrajani et al. 2017, equation 3).

    Args:
        discriminator: the critic; batch normalisation in it would void the penalty.
        real, fake: [n, c, h, w]; neither receives a gradient.
        label: [n, classes] or None.
        weight: the paper's lambda.
        generator: CPU stream for the place between each pair, uniform in [0, 1).
        share: which rows of the whole batch these are.

    Returns:
        [n].
    """
    shape = (len(real),) + (1,) * (real.dim() - 1)
    place = share.draw(torch.rand, shape, generator).to(real.device)
    between = torch.lerp(real.detach().float(), fake.detach().float(), place).requires_grad_()
    length = _length(_slope(discriminator(between, label), between))
    return weight * (length - 1).square()


def path_length(
    images: Tensor,
    styles: Tensor,
    mean: Tensor,
    *,
    decay: float = 0.01,
    weight: float = 2.0,
    generator: torch.Generator,
    share: Share = WHOLE,
    overall: Callable[[Tensor], Tensor] = lambda mean: mean,
) -> tuple[Tensor, Tensor]:
    """weight * (||J_w^T y|| - a)^2: equal steps in w make equal steps in the picture (Karras et al. 2020, equation 4).

    Args:
        images: g(w) [n, c, h, w], computed from `styles` with its graph.
        styles: w [n, num_styles, style_dim], requiring a gradient.
        mean: a, the running mean of lengths so far, a scalar; 0 at the start of a run.
        decay: the share of this batch in the new mean.
        weight: StyleGAN2's gamma_pl.
        generator: CPU stream for the picture of noise y.
        share: which rows of the whole batch these are.
        overall: the mean over all shares, of the mean of ours.

    Returns:
        the penalty [n], and the new mean (detached), which the caller keeps for the next time.
    """
    height, width = images.shape[-2:]
    noise = share.draw(torch.randn, images.shape, generator).to(images.device) / (height * width) ** 0.5
    slope = _slope(images.float() * noise, styles)
    length = slope.square().sum(dim=2).mean(dim=1).clamp_min(_TINY).sqrt()
    new_mean = torch.lerp(mean.float().to(length.device), overall(length.mean()), decay)
    return weight * (length - new_mean).square(), new_mean.detach()


def _slope(values: Tensor, at: Tensor) -> Tensor:
    """grad of the sum of `values` with respect to `at`, itself differentiable. Samples do not mix, so the sum keeps
    each sample's own gradient (but for minibatch statistics, whose part all papers leave in)."""
    (slope,) = torch.autograd.grad(values.float().sum(), at, create_graph=True)
    return slope.float()


def _squared_length(slope: Tensor) -> Tensor:
    return slope.square().flatten(1).sum(dim=1)


def _length(slope: Tensor) -> Tensor:
    return _squared_length(slope).clamp_min(_TINY).sqrt()
