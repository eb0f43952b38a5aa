"""What keeps the game fair besides the slopes of `ops.penalties`: each a few lines, used in one place of `step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families.base import Featured, Generator
from studio.training.config import TrainConfig

LECAM_KEPT = 0.99


def require_able(config: TrainConfig, discriminator: nn.Module) -> None:
    """Raise BadInput where a setting asks for what this critic cannot do."""
    if config.feature_matching and not isinstance(discriminator, Featured):
        raise BadInput(
            f"The critic of the family {config.family} shows no features that the forger could match.",
            "Set feature matching to 0, or train a DCGAN.",
        )


def require_room(config: TrainConfig, generator: nn.Module) -> None:
    """Raise BadInput where the latent of this generator has fewer coordinates than InfoGAN wants codes."""
    width = cast(Generator, generator).z_dim
    if config.codes > width:
        raise BadInput(
            f"The latent of this model has {width} coordinates, too few for {config.codes} codes.",
            f"Set InfoGAN's codes to {width} or fewer.",
        )


def feature_distance(
    real: tuple[Tensor, ...], made: tuple[Tensor, ...], overall: Callable[[Tensor], Tensor] = lambda mean: mean
) -> Tensor:
    """Feature matching (Salimans et al. 2016, section 3.1): ||E f(x) - E f(G(z))||^2, a scalar.

    Args:
        real, made: for each of the critic's layers its features [n, …]; the square is averaged over a layer's features
            and over the layers, so that it means the same for large networks and small ones.
        overall: the mean over all processes, of the mean of ours.
    """
    terms = [
        overall(of_real.float().mean(dim=0) - of_made.float().mean(dim=0)).square().mean()
        for of_real, of_made in zip(real, made, strict=True)
    ]
    return torch.stack(terms).mean()


def lecam(real: Tensor, fake: Tensor, means: Tensor) -> Tensor:
    """LeCam regularisation (Tseng et al. 2021, equation 8), a scalar: E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2.

    Args:
        real, fake: logits [n, k].
        means: a_R and a_F [2], the moving means of the two.
    """
    return (real.float() - means[1]).square().mean() + (fake.float() - means[0]).square().mean()


@torch.no_grad()
def moved_means(means: Tensor, real: Tensor, fake: Tensor, turns: int) -> Tensor:
    """The moving means [2] of the logits after one more batch; the first of all (`turns` 0) sets them."""
    newest = torch.stack([real.float().mean(), fake.float().mean()])
    return torch.lerp(means, newest, max(1 - LECAM_KEPT, 1 / (turns + 1)))


def smoothed(real: Tensor, share: float) -> Tensor:
    """What one-sided label smoothing (Salimans et al. 2016, section 3.4) adds to the loss of a logistic D, [n, k].

    With the target 1 - share in place of 1, -log sigma(D(x)) grows by share * D(x)."""
    return share * real.float()


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float) -> None:
    """Keep every weight within ±limit (Arjovsky et al. 2017); 0 leaves them alone."""
    if limit:
        torch._foreach_clamp_max_(list(network.parameters()), limit)
        torch._foreach_clamp_min_(list(network.parameters()), -limit)
