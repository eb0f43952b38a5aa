"""What the two players want: the closed table of adversarial objectives.

Every loss is per sample and in float32, to be averaged by the caller, so that a step reads like its paper:

    objective = OBJECTIVES["nonsaturating"]
    loss_d = objective.discriminator(D(x), D(G(z))).mean()
    loss_g = objective.generator(D(G(z))).mean()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus

from studio.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One adversarial game. Both players *minimise* their loss.

    Attributes:
        name: its key in `OBJECTIVES`.
        title: what an artist reads.
        paper: where it comes from.
        generator: logits of generated pictures [n, 1] -> loss [n, 1].
        discriminator: logits of real and of generated pictures [n, 1] -> loss [n, 1].
        wants_gradient_penalty: it is only sound for a critic kept Lipschitz (a gradient penalty, or clipped weights).
    """

    name: str
    title: str
    paper: str
    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]
    wants_gradient_penalty: bool = False


def objective(name: str) -> Objective:
    """The objective of that name. Raises BadInput for any name outside the closed table."""
    if name not in OBJECTIVES:
        raise BadInput(f"The studio has no objective {name[:40]!r}.", f"It knows {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]


def _logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(x)) - log(1 - sigma(D(G(z))))."""
    return softplus(-real.float()) + softplus(fake.float())


def _nonsaturating_generator(fake: Tensor) -> Tensor:
    """-log sigma(D(G(z))): a strong gradient just where D is sure that it sees a fake."""
    return softplus(-fake.float())


def _minimax_generator(fake: Tensor) -> Tensor:
    """log(1 - sigma(D(G(z)))): the game as first written; its gradient fades while D wins."""
    return -softplus(fake.float())


def _least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2, that is a = 0, b = c = 1 in the paper."""
    return 0.5 * (real.float() - 1).square() + 0.5 * fake.float().square()


def _least_squares_generator(fake: Tensor) -> Tensor:
    return 0.5 * (fake.float() - 1).square()


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))): no push beyond the margin."""
    return relu(1 - real.float()) + relu(1 + fake.float())


def _wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x): minus the estimate of the earth mover's distance."""
    return fake.float() - real.float()


def _critic_generator(fake: Tensor) -> Tensor:
    """-D(G(z)), shared by the hinge and the Wasserstein games."""
    return -fake.float()


OBJECTIVES: Mapping[str, Objective] = {
    entry.name: entry
    for entry in (
        Objective(
            name="nonsaturating",
            title="Non-saturating logistic",
            paper="Goodfellow et al. 2014, Generative Adversarial Nets, section 3",
            generator=_nonsaturating_generator,
            discriminator=_logistic_discriminator,
        ),
        Objective(
            name="minimax",
            title="Minimax",
            paper="Goodfellow et al. 2014, Generative Adversarial Nets, equation 1",
            generator=_minimax_generator,
            discriminator=_logistic_discriminator,
        ),
        Objective(
            name="least_squares",
            title="Least squares",
            paper="Mao et al. 2017, Least Squares Generative Adversarial Networks, equation 9",
            generator=_least_squares_generator,
            discriminator=_least_squares_discriminator,
        ),
        Objective(
            name="hinge",
            title="Hinge",
            paper="Lim and Ye 2017, Geometric GAN; Miyato et al. 2018, Spectral Normalization",
            generator=_critic_generator,
            discriminator=_hinge_discriminator,
        ),
        Objective(
            name="wasserstein",
            title="Wasserstein",
            paper="Arjovsky et al. 2017, Wasserstein GAN",
            generator=_critic_generator,
            discriminator=_wasserstein_discriminator,
            wants_gradient_penalty=True,
        ),
    )
}
