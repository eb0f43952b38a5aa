"""The objectives against their papers' formulas, worked out again in numpy, and the divergences against their values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.ops.objectives import OBJECTIVES, objective
from studio.training import config

LOG_3 = math.log(3)
"""A logit of log 3 says: real with probability 3/4."""


def sigma(v):
    return 1 / (1 + np.exp(-v))


def relu(v):
    return np.maximum(v, 0)


def nonsaturating(real, fake):
    return -np.log(sigma(real)) - np.log(1 - sigma(fake)), -np.log(sigma(fake))


def minimax(real, fake):
    return -np.log(sigma(real)) - np.log(1 - sigma(fake)), np.log(1 - sigma(fake))


def least_squares(real, fake):
    return ((real - 1) ** 2 + fake**2) / 2, (fake - 1) ** 2 / 2


def hinge(real, fake):
    return relu(1 - real) + relu(1 + fake), -fake


def wasserstein(real, fake):
    return fake - real, -fake


def by_divergence(output, conjugate):
    return lambda real, fake: (conjugate(output(fake)) - output(real), -output(fake))


def relativistic(real, fake):
    return -np.log(sigma(real - fake)), -np.log(sigma(fake - real))


def average(real, fake):
    def loss(first, second):
        return -np.log(sigma(first - second.mean(axis=0))) - np.log(1 - sigma(second - first.mean(axis=0)))

    return loss(real, fake), loss(fake, real)


def average_hinge(real, fake):
    def loss(first, second):
        return relu(1 - (first - second.mean(axis=0))) + relu(1 + (second - first.mean(axis=0)))

    return loss(real, fake), loss(fake, real)


PAPERS = {
    "nonsaturating": nonsaturating,
    "minimax": minimax,
    "least_squares": least_squares,
    "hinge": hinge,
    "wasserstein": wasserstein,
    "kl": by_divergence(lambda v: v, lambda t: np.exp(t - 1)),
    "reverse_kl": by_divergence(lambda v: -np.exp(-v), lambda t: -1 - np.log(-t)),
    "pearson": by_divergence(lambda v: v, lambda t: t**2 / 4 + t),
    "squared_hellinger": by_divergence(lambda v: 1 - np.exp(-v), lambda t: t / (1 - t)),
    "jensen_shannon": by_divergence(lambda v: np.log(2) - np.log(1 + np.exp(-v)), lambda t: -np.log(2 - np.exp(t))),
    "relativistic": relativistic,
    "relativistic_average": average,
    "relativistic_hinge": average_hinge,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_both_losses_are_the_papers(name: str) -> None:
    random = np.random.RandomState(3)
    real, fake = random.randn(6, 2) * 2, random.randn(6, 2) * 2 - 0.5
    wanted_d, wanted_g = PAPERS[name](real, fake)
    game, (x, y) = OBJECTIVES[name], (torch.tensor(real), torch.tensor(fake))
    np.testing.assert_allclose(game.discriminator(x, y).numpy(), wanted_d, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(
        game.generator(y, x if game.wants_real else None).numpy(), wanted_g, rtol=2e-5, atol=2e-6
    )


def test_a_logit_by_hand() -> None:
    x, y = torch.tensor([[LOG_3]]), torch.tensor([[-LOG_3]])
    assert OBJECTIVES["nonsaturating"].discriminator(x, y).item() == pytest.approx(2 * math.log(4 / 3))
    assert OBJECTIVES["relativistic"].discriminator(x, y).item() == pytest.approx(math.log(10 / 9))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_player_pulls_its_own_way(name: str) -> None:
    real = torch.zeros(3, 1, requires_grad=True)
    fake = torch.full((3, 1), 0.1, requires_grad=True)
    game = OBJECTIVES[name]
    game.discriminator(real, fake).sum().backward()
    assert (real.grad is not None) and bool((real.grad < 0).all()), "D should raise the logits of real pictures"
    assert fake.grad is not None and bool((fake.grad > 0).all()), "D should lower the logits of made ones"
    fake.grad = None
    game.generator(fake, real.detach()).sum().backward()
    assert bool((fake.grad < 0).all()), "G should raise the logits of its own pictures"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_for_each_logit_float32_and_survive_extremes(name: str) -> None:
    logits = torch.tensor([[-60000.0, 1.0], [0.0, -3.0], [60000.0, 20.0]], dtype=torch.float16)
    other, game = logits.flip(0), OBJECTIVES[name]
    for loss in (game.discriminator(logits, other), game.generator(logits, other)):
        assert loss.shape == (3, 2)
        assert loss.dtype == torch.float32
        assert bool(loss.isfinite().all())


@pytest.mark.parametrize(("name", "logit"), [("kl", 100.0), ("reverse_kl", -100.0), ("squared_hellinger", -100.0)])
def test_the_largest_densities_still_have_a_slope(name: str, logit: float) -> None:
    values = torch.tensor([[logit]], requires_grad=True)
    game = OBJECTIVES[name]
    loss = game.discriminator(torch.zeros(1, 1), values) if logit > 0 else game.generator(values, None)
    loss.sum().backward()
    assert loss.isfinite() and values.grad is not None and values.grad.isfinite() and values.grad.abs() > 1e6


P, Q = np.array([0.1, 0.3, 0.4, 0.15, 0.05]), np.array([0.3, 0.2, 0.1, 0.1, 0.3])
U = P / Q
SADDLES = {
    "kl": (1 + np.log(U), np.sum(P * np.log(P / Q))),
    "reverse_kl": (np.log(U), np.sum(Q * np.log(Q / P))),
    "pearson": (2 * (U - 1), np.sum((Q - P) ** 2 / Q)),
    "squared_hellinger": (np.log(U) / 2, np.sum((np.sqrt(P) - np.sqrt(Q)) ** 2)),
    "jensen_shannon": (np.log(U), np.sum(P * np.log(2 * P / (P + Q))) + np.sum(Q * np.log(2 * Q / (P + Q)))),
}
"""For two distributions over five things: the best critic's logits, and the divergence itself."""


def bound(name: str, logits: torch.Tensor) -> torch.Tensor:
    """The critic's estimate: minus its loss, over all pairs of a real and a made thing by how often they meet."""
    loss = OBJECTIVES[name].discriminator(logits[:, None].expand(5, 5), logits[None].expand(5, 5))
    return -(loss * torch.tensor(np.outer(P, Q), dtype=torch.float32)).sum()


@pytest.mark.parametrize("name", SADDLES)
def test_the_best_critic_measures_the_divergence(name: str) -> None:
    best, divergence = SADDLES[name]
    logits = torch.tensor(best, dtype=torch.float32, requires_grad=True)
    value = bound(name, logits)
    value.backward()
    assert value.item() == pytest.approx(divergence, rel=1e-5)
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6
    for seed in range(10):
        moved = logits.detach() + 0.3 * torch.randn(5, generator=torch.Generator().manual_seed(seed))
        assert bound(name, moved) < value


@pytest.mark.parametrize("name", [name for name, game in OBJECTIVES.items() if game.middle is not None])
def test_the_middle_is_where_the_best_critic_cannot_tell(name: str) -> None:
    """With as many made as real pictures of one kind, D's loss is least at the middle."""
    game = OBJECTIVES[name]
    assert game.middle is not None
    places = torch.linspace(-3, 3, 121)[:, None]
    losses = game.discriminator(places, places)
    assert game.discriminator(torch.tensor(game.middle), torch.tensor(game.middle)) <= losses.min() + 1e-6


def test_signs_tell_how_sure_the_critic_is() -> None:
    real, fake = torch.tensor([[0.4], [0.6], [2.0]]), torch.tensor([[1.0], [0.0], [1.0]])
    assert OBJECTIVES["nonsaturating"].signs(real, fake).flatten().tolist() == [1, 1, 1]
    assert OBJECTIVES["least_squares"].signs(real, fake).flatten().tolist() == [-1, 1, 1]
    assert OBJECTIVES["kl"].signs(real, fake).flatten().tolist() == [-1, -1, 1]
    assert OBJECTIVES["relativistic"].signs(real, fake).flatten().tolist() == [-1, 1, 1]


def test_the_table_is_closed_and_says_what_each_is() -> None:
    assert objective("hinge") is OBJECTIVES["hinge"]
    for name, entry in OBJECTIVES.items():
        assert name == entry.name and entry.paper and entry.title and entry.good_for.endswith(".")
    with pytest.raises(BadInput, match="no objective"):
        objective("os.system")


def test_the_configuration_knows_the_same_names() -> None:
    assert tuple(OBJECTIVES) == config.OBJECTIVES
    assert tuple(name for name, game in OBJECTIVES.items() if game.logistic) == config.LOGISTIC
