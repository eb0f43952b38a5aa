"""Kinds of pictures: those that look alike are together, in about equal numbers, the same ones every time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.features.kinds import sort_into_kinds


def clouds(sizes: list[int], *, spread: float = 0.05) -> tuple[Tensor, Tensor]:
    """Vectors around as many far places, and whose each is."""
    random = torch.Generator().manual_seed(1)
    owners = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return torch.eye(len(sizes), 16)[owners] + spread * torch.randn(len(owners), 16, generator=random), owners


def test_what_looks_alike_is_one_kind() -> None:
    vectors, owners = clouds([20, 20, 20, 20])
    kinds = sort_into_kinds(vectors, 4)
    assert kinds.dtype == torch.int64
    assert len({(int(owner), int(kind)) for owner, kind in zip(owners, kinds, strict=True)}) == 4


def test_one_large_cloud_is_divided_and_small_ones_are_joined() -> None:
    vectors, _ = clouds([80, 10, 10])
    sizes = torch.bincount(sort_into_kinds(vectors, 4), minlength=4)
    assert sizes.sum() == 100 and sizes.min() >= 12 and sizes.max() <= 40


def test_the_order_of_pictures_does_not_matter_to_the_result_twice() -> None:
    vectors, _ = clouds([15, 15, 15], spread=0.4)
    assert torch.equal(sort_into_kinds(vectors, 3), sort_into_kinds(vectors, 3))


def test_kinds_that_look_alike_are_neighbours() -> None:
    line = torch.tensor([0.0, 3.0, 1.0, 2.0])
    angles = torch.repeat_interleave(line, 20) * 0.5
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    kinds = sort_into_kinds(vectors, 4)[::20]
    assert kinds.tolist() in ([0, 3, 1, 2], [3, 0, 2, 1])


@pytest.mark.parametrize("count", [1, 7])
def test_one_kind_and_as_many_kinds_as_pictures(count: int) -> None:
    vectors, _ = clouds([7], spread=1.0)
    assert len(set(sort_into_kinds(vectors, count).tolist())) == count
