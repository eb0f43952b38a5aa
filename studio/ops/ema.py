"""The moving average of a generator's weights, which is what people see (Karras et al. 2018, Progressive Growing)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def decay(batch: int, half_life_kimg: float, images_seen: int, rampup: float | None = 0.05) -> float:
    """How much of the average stays after one step: 0.5 ^ (batch / half life).

    Args:
        batch: pictures in this step.
        half_life_kimg: thousands of pictures after which an old weight counts half.
        images_seen: pictures seen so far in this run.
        rampup: the half life is at most this share of `images_seen`, so that the first, untrained weights are soon
            forgotten; None when starting from a trained model.

    Returns:
        beta in [0, 1) for `update`.
    """
    half_life = half_life_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, images_seen * rampup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


@torch.no_grad()
def update(average: nn.Module, module: nn.Module, beta: float) -> None:
    """average <- beta * average + (1 - beta) * module for parameters, in place; buffers are copied.

    Raises:
        ValueError: the two modules do not have the same parameters and buffers.
    """
    kept, fresh = _matched(dict(average.named_parameters()), dict(module.named_parameters()))
    if kept:
        torch._foreach_lerp_(kept, fresh, 1 - beta)
    for old, new in zip(*_matched(dict(average.named_buffers()), dict(module.named_buffers())), strict=True):
        old.copy_(new)


def _matched(average: dict[str, Tensor], module: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    if average.keys() != module.keys():
        raise ValueError(f"the average and its module differ in {sorted(average.keys() ^ module.keys())[:3]}")
    return list(average.values()), [module[name].detach() for name in average]
