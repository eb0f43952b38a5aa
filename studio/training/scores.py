"""How good made pictures are, beside the pictures they were learnt from: judged by features, never by the critic.

KID (Bińkowski et al. 2018), improved precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et
al. 2020), diversity, and originality: how near each made picture is to its nearest training picture. Vectors are of
length one times the root of their width, so the figures of one network can be compared, and of two networks cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.errors import BadInput
from studio.features.extractor import Extractor
from studio.ops.distances import (
    density_coverage,
    distances,
    kernel_distance,
    mean_distance,
    nearest,
    precision_recall,
    radii,
    unit,
)  # fmt: skip

MOST = 1000
NEIGHBOURS = 3
USUAL = 0.05
_BATCH = 64
_SAME = 1e-3


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a set of made pictures scores.

    Attributes:
        kid: distance of the two distributions; 0 is best, and a good one may fall just below it.
        precision: share of made pictures that lie among the real ones (quality).
        recall: share of real pictures that lie among the made ones (variety).
        density: how densely real pictures stand where the made ones are; about 1 is best.
        coverage: share of real pictures with a made one nearer than their neighbours (variety).
        diversity: mean distance between two made pictures, as a multiple of the dataset's; 1 is as diverse.
        copied: share of made pictures that are nearer to a training picture, or to its mirror image, than 95 % of the
            training pictures are to any other. About 0.05 is usual for new pictures, 1 is a copying machine.
        nearest: for each made picture the dataset place of the nearest training picture.
        distances: how far that is; 1 is the median distance of a training picture to its own nearest neighbour.
    """

    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    diversity: float
    copied: float
    nearest: tuple[int, ...]
    distances: tuple[float, ...]


class Scorer:
    """Knows the real pictures, or `most` of them, and judges made ones.

    The papers compare sets of one size. So where there are more real pictures than made ones, they are compared in
    parts as large as the made set, and the shares are averaged: a score means the same for any number of real ones.

    Args:
        pictures: dataset places -> float [n, 1, 3 or 4, h, w] in [-1, 1].
        count: how many the dataset has; its places are 0 … count - 1.
        extractor: of `studio.features`; hold on to one for a process.
        seed: which are taken, and how they are parted.
        most: at most so many are compared with. A copy of one that was not taken is not found.

    Raises:
        BadInput: fewer than two pictures.
    """

    def __init__(
        self,
        pictures: Callable[[list[int]], Tensor],
        count: int,
        extractor: Extractor,
        *,
        seed: int = 0,
        most: int = MOST,
    ) -> None:
        if min(count, most) < 2:
            raise BadInput("One picture cannot be compared with others.", "Add pictures: 30 are a good number.")
        self.places: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:most].tolist()
        self._extractor = extractor
        plain, mirrored = [], []
        for start in range(0, len(self.places), _BATCH):
            batch = pictures(self.places[start : start + _BATCH])
            plain.append(extractor(batch))
            mirrored.append(extractor(batch.flip(-1)))
        self._real = unit(torch.cat(plain))
        self._seen = torch.cat([self._real, unit(torch.cat(mirrored))])
        self._apart = distances(self._real, self._real)
        self._spread = mean_distance(self._apart)
        self._median, self._near = self._habits()

    def judge(self, made: Tensor) -> Scores:
        """Score made pictures [m, 1, 3 or 4, h, w] in [-1, 1], at least two. The same pictures score the same.

        Raises:
            ValueError: fewer than two, or values that are not finite.
        """
        vectors = unit(self._extractor(made))
        if len(vectors) < 2 or not bool(vectors.isfinite().all()):
            raise ValueError("at least two finite pictures are wanted")
        apart = distances(vectors, vectors)
        far, places = nearest(vectors, self._seen)
        scale = vectors.shape[1] ** 0.5
        precision, recall, density, coverage = self._shares(vectors, apart)
        return Scores(
            kid=kernel_distance(self._real * scale, vectors * scale),
            precision=precision, recall=recall, density=density, coverage=coverage,
            diversity=mean_distance(apart) / max(self._spread, _SAME),
            copied=float((far <= self._near).float().mean()),
            nearest=tuple(self.places[place % len(self.places)] for place in places.tolist()),
            distances=tuple((far / self._median).tolist()),
        )  # fmt: skip

    def _habits(self) -> tuple[float, float]:
        """The median and the lowest 5 % of how far a training picture is from the nearest other one, or its mirror
        image; duplicates, which are no distance apart, are left out."""
        own = torch.eye(len(self._real), dtype=torch.bool).repeat(1, 2)
        far, _ = nearest(self._real, self._seen, barred=own)
        kept = far[far > _SAME]
        if not len(kept):
            return _SAME, _SAME
        return float(kept.median()), float(kept.quantile(USUAL))

    def _shares(self, made: Tensor, made_apart: Tensor) -> tuple[float, float, float, float]:
        """Precision, recall, density and coverage, averaged over the parts of the real pictures."""
        parts = torch.arange(len(self._real)).tensor_split(max(len(self._real) // len(made), 1))
        across = distances(self._real, made)
        found = []
        for part in parts:
            neighbours = min(NEIGHBOURS, len(part) - 1)
            real_radii = radii(self._apart[part][:, part], neighbours)
            made_radii = radii(made_apart, min(NEIGHBOURS, len(made) - 1))
            shares = precision_recall(across[part], real_radii, made_radii)
            found.append((*shares, *density_coverage(across[part], real_radii, neighbours)))
        precision, recall, density, coverage = (sum(column) / len(found) for column in zip(*found, strict=True))
        return precision, recall, density, coverage
