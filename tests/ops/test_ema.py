"""The moving average of weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from studio.ops.ema import decay, update


def test_half_of_an_old_weight_stays_after_the_half_life() -> None:
    beta = decay(batch=100, half_life_kimg=10, images_seen=0, rampup=None)
    assert beta ** (10_000 / 100) == pytest.approx(0.5)


def test_rampup_shortens_the_half_life_at_first() -> None:
    assert decay(32, 10, images_seen=0, rampup=0.05) == 0.0
    assert decay(32, 10, images_seen=6400, rampup=0.05) == pytest.approx(0.5 ** (32 / 320))
    assert decay(32, 10, images_seen=10**9, rampup=0.05) == pytest.approx(0.5 ** (32 / 10_000))


def test_parameters_are_averaged_and_buffers_copied() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = copy.deepcopy(module)
    before = average[0].weight.detach().clone()
    with torch.no_grad():
        module[0].weight.add_(1)
    module(torch.randn(8, 3))
    update(average, module, 0.75)
    torch.testing.assert_close(average[0].weight.detach(), before + 0.25)
    assert torch.equal(average[1].running_mean, module[1].running_mean)
    assert average[1].num_batches_tracked.item() == 1
    assert average[0].weight.requires_grad and average[0].weight.grad_fn is None


def test_beta_zero_copies_exactly() -> None:
    module, average = nn.Linear(5, 5), nn.Linear(5, 5)
    update(average, module, 0.0)
    assert torch.equal(average.weight, module.weight)


def test_different_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        update(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5)
