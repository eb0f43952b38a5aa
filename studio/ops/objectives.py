"""What the two players want: the closed table of adversarial objectives.

Every loss is per logit and in float32, to be averaged by the caller, so that a step reads like its paper:

    objective = OBJECTIVES["nonsaturating"]
    loss_d = objective.discriminator(D(x), D(G(z))).mean()
    loss_g = objective.generator(D(G(z)), None).mean()

A new objective is one function for each player, or one `Divergence`, and one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from studio.errors import BadInput

_LARGEST_EXPONENT = 15.0
"""From here on an exponential goes straight on: a density ratio of three million says no more than a larger one."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One adversarial game. Both players *minimise* their loss. A higher logit means: more real.

    Attributes:
        name: its key in `OBJECTIVES`.
        title: what an artist reads.
        paper: where it comes from.
        good_for: in one line, for an artist.
        discriminator: logits of real and of generated pictures, each [n, k] -> loss [n, k].
        generator: logits of generated pictures [n, k], and those of real ones if `wants_real` -> loss [n, k].
        wants_real: G's loss also depends on the logits of real pictures.
        mixes: the loss of a picture also depends on the logits of all others.
        wants_bound: it is only sound for a critic that is kept Lipschitz (a gradient penalty, clipped weights, spectral
            norm).
        logistic: D's logit is the log-odds of "real", so its target can be softened (one-sided label smoothing).
        middle: the logit of a picture that looks as real as made; None if only differences of logits mean anything.
    """

    name: str
    title: str
    paper: str
    good_for: str
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    wants_real: bool = False
    mixes: bool = False
    wants_bound: bool = False
    logistic: bool = False
    middle: float | None = 0.0

    def signs(self, real: Tensor, fake: Tensor) -> Tensor:
        """How surely D knows each real picture, -1 or 1 for each logit [n, k]; their mean is ADA's r_t.

        Where only differences count, each real picture is held against a made one."""
        return (real.float() - (fake.float() if self.middle is None else self.middle)).sign()


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """An f-divergence for the two players, by its variational bound (Nowozin et al. 2016, equation 6).

    sup over T of E[T(x)] - E[f*(T(G(z)))], with T = g_f(logit): D maximises it; G maximises E[T(G(z))], the paper's
    alternative (section 3.2), which keeps a slope where D is sure.

    Attributes:
        output: g_f, the increasing function from any logit to the domain of f*.
        conjugate: f* after g_f, written as one function of the logit, as that is stable.
    """

    output: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """-T(x) + f*(T(G(z))), [n, k]."""
        return self.conjugate(fake.float()) - self.output(real.float())

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """-T(G(z)), [n, k]."""
        return -self.output(fake.float())


def objective(name: str) -> Objective:
    """The objective of that name. Raises BadInput for any name outside the closed table."""
    if name not in OBJECTIVES:
        raise BadInput(f"The studio has no objective {name[:40]!r}.", f"It knows {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]


def _logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(x)) - log(1 - sigma(D(G(z))))."""
    return softplus(-real.float()) + softplus(fake.float())


def _nonsaturating_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-log sigma(D(G(z))): a strong gradient just where D is sure that it sees a fake."""
    return softplus(-fake.float())


def _minimax_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """log(1 - sigma(D(G(z)))): the game as first written; its gradient fades while D wins."""
    return -softplus(fake.float())


def _least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2, that is a = 0, b = c = 1 in the paper."""
    return 0.5 * (real.float() - 1).square() + 0.5 * fake.float().square()


def _least_squares_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """1/2 (D(G(z)) - 1)^2."""
    return 0.5 * (fake.float() - 1).square()


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))): no push beyond the margin."""
    return relu(1 - real.float()) + relu(1 + fake.float())


def _wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x): minus the estimate of the earth mover's distance."""
    return fake.float() - real.float()


def _critic_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """-D(G(z)), shared by the hinge and the Wasserstein games."""
    return -fake.float()


def _pairing_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(x) - D(G(z))): each real picture should look more real than a made one."""
    return softplus(fake.float() - real.float())


def _average_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(x) - E D(G(z))) - log(1 - sigma(D(G(z)) - E D(x)))."""
    real, fake = real.float(), fake.float()
    return softplus(fake.mean(dim=0) - real) + softplus(fake - real.mean(dim=0))


def _average_hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - (D(x) - E D(G(z)))) + max(0, 1 + (D(G(z)) - E D(x)))."""
    real, fake = real.float(), fake.float()
    return relu(1 - real + fake.mean(dim=0)) + relu(1 + fake - real.mean(dim=0))


def _turned(discriminator: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The generator's side of a relativistic game: D's, with real and made pictures changing places."""
    return lambda fake, real: discriminator(fake, cast(Tensor, real))


def _exponential(values: Tensor) -> Tensor:
    """exp, and from `_LARGEST_EXPONENT` on its tangent: finite, and never without a slope."""
    beyond = relu(values - _LARGEST_EXPONENT)
    return torch.exp(values.clamp_max(_LARGEST_EXPONENT)) * (1 + beyond)


KULLBACK_LEIBLER = Divergence(output=lambda v: v, conjugate=lambda v: _exponential(v - 1))
"""f(u) = u log u; g_f(v) = v; f*(t) = exp(t - 1)."""

REVERSE_KULLBACK_LEIBLER = Divergence(output=lambda v: -_exponential(-v), conjugate=lambda v: v - 1)
"""f(u) = -log u; g_f(v) = -exp(-v); f*(t) = -1 - log(-t)."""

PEARSON = Divergence(output=lambda v: v, conjugate=lambda v: 0.25 * v.square() + v)
"""f(u) = (u - 1)^2; g_f(v) = v; f*(t) = t^2 / 4 + t."""

SQUARED_HELLINGER = Divergence(output=lambda v: 1 - _exponential(-v), conjugate=lambda v: _exponential(v) - 1)
"""f(u) = (sqrt(u) - 1)^2; g_f(v) = 1 - exp(-v); f*(t) = t / (1 - t)."""

JENSEN_SHANNON = Divergence(
    output=lambda v: math.log(2) - softplus(-v),
    conjugate=lambda v: softplus(v) - math.log(2),
)
"""f(u) = u log u - (u + 1) log((u + 1) / 2); g_f(v) = log 2 - log(1 + exp(-v)); f*(t) = -log(2 - exp(t))."""


def _divergence_row(
    name: str, title: str, divergence: Divergence, good_for: str, *, middle: float = 0.0, table: str = "tables 1 and 2"
) -> Objective:
    return Objective(
        name=name, title=title, paper=f"Nowozin et al. 2016, f-GAN, {table}", good_for=good_for,
        discriminator=divergence.discriminator, generator=divergence.generator, middle=middle,
    )  # fmt: skip


OBJECTIVES: Mapping[str, Objective] = {
    entry.name: entry
    for entry in (
        Objective(
            name="nonsaturating",
            title="Non-saturating logistic",
            paper="Goodfellow et al. 2014, Generative Adversarial Nets, section 3",
            good_for="The safe choice: it learns from the first picture on and suits every family.",
            discriminator=_logistic_discriminator,
            generator=_nonsaturating_generator,
            logistic=True,
        ),
        Objective(
            name="minimax",
            title="Minimax",
            paper="Goodfellow et al. 2014, Generative Adversarial Nets, equation 1",
            good_for="The game as it was first written; to see why nobody plays it: the forger stops learning.",
            discriminator=_logistic_discriminator,
            generator=_minimax_generator,
            logistic=True,
        ),
        Objective(
            name="least_squares",
            title="Least squares",
            paper="Mao et al. 2017, Least Squares Generative Adversarial Networks, equation 9",
            good_for="Soft and even pictures; also pulls at those that already fool the critic.",
            discriminator=_least_squares_discriminator,
            generator=_least_squares_generator,
            middle=0.5,
        ),
        Objective(
            name="hinge",
            title="Hinge",
            paper="Lim and Ye 2017, Geometric GAN; Miyato et al. 2018, Spectral Normalization",
            good_for="Quick with few pictures (FastGAN): the critic only minds what it is unsure of.",
            discriminator=_hinge_discriminator,
            generator=_critic_generator,
        ),
        Objective(
            name="wasserstein",
            title="Wasserstein",
            paper="Arjovsky et al. 2017, Wasserstein GAN; Gulrajani et al. 2017 for the gradient penalty",
            good_for="Slow and steady; its loss falls as pictures get better, and it rarely collapses.",
            discriminator=_wasserstein_discriminator,
            generator=_critic_generator,
            wants_bound=True,
            middle=None,
        ),
        _divergence_row(
            "kl",
            "Kullback–Leibler",
            KULLBACK_LEIBLER,
            "Covers everything in your pictures, at the price of some that fit in nowhere.",
            middle=1.0,
        ),
        _divergence_row(
            "reverse_kl",
            "Reverse Kullback–Leibler",
            REVERSE_KULLBACK_LEIBLER,
            "Prefers convincing pictures to many different ones.",
        ),
        _divergence_row(
            "pearson",
            "Pearson χ²",
            PEARSON,
            "Minds most what the forger leaves out; lively, and easily upset.",
        ),
        _divergence_row(
            "squared_hellinger",
            "Squared Hellinger",
            SQUARED_HELLINGER,
            "Between the two Kullback–Leiblers: asks for variety and for conviction alike.",
        ),
        _divergence_row(
            "jensen_shannon",
            "Jensen–Shannon",
            JENSEN_SHANNON,
            "What the first GAN measures, less a constant: even-handed and calm.",
        ),
        Objective(
            name="relativistic",
            title="Relativistic pairing",
            paper="Jolicoeur-Martineau 2019, The relativistic discriminator; Huang et al. 2024, R3GAN",
            good_for="Keeps all kinds of pictures in play; with R1 and R2 it is today's strongest plain recipe.",
            discriminator=_pairing_discriminator,
            generator=_turned(_pairing_discriminator),
            wants_real=True,
            middle=None,
        ),
        Objective(
            name="relativistic_average",
            title="Relativistic average",
            paper="Jolicoeur-Martineau 2019, The relativistic discriminator, section 4 (RaSGAN)",
            good_for="Like the pairing, against the average of the other side: a little calmer with small batches.",
            discriminator=_average_discriminator,
            generator=_turned(_average_discriminator),
            wants_real=True,
            mixes=True,
            middle=None,
        ),
        Objective(
            name="relativistic_hinge",
            title="Relativistic average hinge",
            paper="Jolicoeur-Martineau 2019, The relativistic discriminator, section 4 (RaHingeGAN)",
            good_for="The relativistic average with a margin: crisp with few pictures.",
            discriminator=_average_hinge_discriminator,
            generator=_turned(_average_hinge_discriminator),
            wants_real=True,
            mixes=True,
            middle=None,
        ),
    )
}
