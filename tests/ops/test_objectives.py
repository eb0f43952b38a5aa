"""The objectives against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from studio.errors import BadInput
from studio.ops.objectives import OBJECTIVES, objective

LOG_3 = math.log(3)
"""A logit of log 3 says: real with probability 3/4."""


@pytest.mark.parametrize(
    ("name", "real", "fake", "wanted"),
    [
        ("nonsaturating", LOG_3, -LOG_3, 2 * math.log(4 / 3)),
        ("minimax", 0.0, LOG_3, math.log(2) + math.log(4)),
        ("least_squares", 3.0, -1.0, 0.5 * 4 + 0.5 * 1),
        ("hinge", 0.25, -0.5, 0.75 + 0.5),
        ("hinge", 7.0, -7.0, 0.0),
        ("wasserstein", 2.0, 5.0, 3.0),
    ],
)
def test_discriminator_by_hand(name: str, real: float, fake: float, wanted: float) -> None:
    loss = OBJECTIVES[name].discriminator(torch.tensor([[real]]), torch.tensor([[fake]]))
    assert loss.item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "fake", "wanted"),
    [
        ("nonsaturating", LOG_3, math.log(4 / 3)),
        ("minimax", LOG_3, -math.log(4)),
        ("least_squares", -1.0, 2.0),
        ("hinge", 0.3, -0.3),
        ("wasserstein", -2.0, 2.0),
    ],
)
def test_generator_by_hand(name: str, fake: float, wanted: float) -> None:
    assert OBJECTIVES[name].generator(torch.tensor([[fake]])).item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_player_pulls_its_own_way(name: str) -> None:
    real = torch.zeros(3, 1, requires_grad=True)
    fake = torch.zeros(3, 1, requires_grad=True)
    game = OBJECTIVES[name]
    game.discriminator(real, fake).sum().backward()
    assert (real.grad is not None) and bool((real.grad < 0).all()), "D should raise the logits of real pictures"
    pushed = fake.grad
    fake.grad = None
    game.generator(fake).sum().backward()
    assert bool((fake.grad < 0).all()), "G should raise the logits of its own pictures"
    if name != "least_squares":
        assert pushed is not None and bool((pushed > 0).all())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_per_sample_float32_and_survive_extremes(name: str) -> None:
    logits = torch.tensor([[-60000.0], [0.0], [60000.0]], dtype=torch.float16)
    game = OBJECTIVES[name]
    for loss in (game.discriminator(logits, logits.flip(0)), game.generator(logits)):
        assert loss.shape == (3, 1)
        assert loss.dtype == torch.float32
        assert bool(loss.isfinite().all())


def test_the_table_is_closed() -> None:
    assert objective("hinge") is OBJECTIVES["hinge"]
    assert all(name == entry.name and entry.paper and entry.title for name, entry in OBJECTIVES.items())
    with pytest.raises(BadInput, match="no objective"):
        objective("os.system")
