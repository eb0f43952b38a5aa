"""How far apart vectors are, and how far apart two sets of them: pure functions on rows [n, d].

The measures of a generator are those of the papers, on whatever features come in:
`kernel_distance` (KID), Bińkowski et al. 2018; `precision_recall`, Kynkäänniemi et al. 2019; `density_coverage`,
Naeem et al. 2020.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_BLOCK = 1024


def unit(vectors: Tensor) -> Tensor:
    """Rows [n, d] of length one, float32; a row of zeros stays."""
    return F.normalize(vectors.float(), dim=1)


def distances(first: Tensor, second: Tensor) -> Tensor:
    """[n, d] and [m, d] -> Euclidean distances [n, m], within about 1e-3 of zero where rows are equal."""
    squares = first.square().sum(dim=1)[:, None] + second.square().sum(dim=1)[None]
    return (squares - 2 * first @ second.T).clamp_min_(0).sqrt_()


def nearest(vectors: Tensor, others: Tensor, barred: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """For each row of `vectors` [n, d] the nearest of `others` [m, d]: its exact distance [n], and its place [n].

    `barred` [n, m], where True, are pairs that do not count."""
    apart = distances(vectors, others)
    if barred is not None:
        apart = apart.masked_fill(barred, float("inf"))
    places = apart.argmin(dim=1)
    return (vectors - others[places]).norm(dim=1), places


def radii(apart: Tensor, neighbours: int) -> Tensor:
    """Distances [n, n] within a set -> [n], how far each member's `neighbours`-th neighbour is, itself not counted."""
    others = apart.clone().fill_diagonal_(float("inf"))
    return others.kthvalue(neighbours, dim=1).values


def mean_distance(apart: Tensor) -> float:
    """Distances [n, n] within a set of two or more -> their mean, of a member to itself not counted."""
    count = len(apart)
    return float((apart.double().sum() - apart.double().diagonal().sum()) / (count * (count - 1)))


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """KID: the unbiased squared maximum mean discrepancy of [n, d] and [m, d] (n and m at least 2), with the kernel
    (x·y / d + 1)³. About 0 for two samples of one distribution, and then as often below zero as above."""
    within = [_kernel(rows, rows) for rows in (first.double(), second.double())]
    means = [(kernel.sum() - kernel.diagonal().sum()) / (len(kernel) * (len(kernel) - 1)) for kernel in within]
    return float(means[0] + means[1] - 2 * _kernel(first.double(), second.double()).mean())


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.T / first.shape[1] + 1) ** 3


def precision_recall(across: Tensor, real: Tensor, made: Tensor) -> tuple[float, float]:
    """The share of made ones that lie among the real ones, and of real ones that lie among the made ones.

    Args:
        across: distances [n, m] from real to made.
        real, made: [n] and [m], the radii of each within its own set.
    """
    precision = (across <= real[:, None]).any(dim=0).float().mean()
    recall = (across <= made[None]).any(dim=1).float().mean()
    return float(precision), float(recall)


def density_coverage(across: Tensor, real: Tensor, neighbours: int) -> tuple[float, float]:
    """How densely real ones stand where the made ones are (1: as among themselves; may be more), and the share of real
    ones that have a made one nearer than their neighbours. `across` [n, m], `real` [n]: radii for so many neighbours."""
    inside = across <= real[:, None]
    return float(inside.sum()) / (neighbours * across.shape[1]), float(inside.any(dim=1).float().mean())


def near_pairs(vectors: Tensor, threshold: float) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of rows [n, d] whose cosine distance, 1 - cosine, is at most `threshold`; in order.

    Compared in blocks: 10,000 rows of 768 take a few seconds and 40 MB on one core."""
    rows = unit(vectors)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), _BLOCK):
        alike = rows[start : start + _BLOCK] @ rows[start:].T
        near = (alike >= 1 - threshold).triu(diagonal=1).nonzero() + start
        pairs += [(first, second) for first, second in near.tolist()]
    return pairs
