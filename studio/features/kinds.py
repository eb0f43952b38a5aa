"""Pictures sorted into kinds by their looks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.features.sight import load_sight

SEEN_PX = 64
_COARSE_MAPS = 2
_SHARPNESS = 20.0
_ROUNDS = 40
_BALANCINGS = 30
_TINY = 1e-6


@torch.no_grad()
def look(pictures: Tensor) -> Tensor:
    """What is on pictures [n, 1, 3 or 4, h, w] in [-1, 1], more than how it is painted: vectors [n, 432], float32.

    The means of the two coarsest maps of a network that knows photographs, which sees the pictures at 64 px.
    Raises Damaged: its file is missing or broken.
    """
    maps = load_sight(torch.device("cpu"))(pictures, SEEN_PX)[-_COARSE_MAPS:]
    return torch.cat([one.float().mean(dim=(2, 3)) for one in maps], dim=1)


def sort_into_kinds(vectors: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """The kind of each picture, int64 [n] from 0; neighbouring numbers are kinds that look alike.

    K-means on the sphere (Dhillon and Modha 2001), begun with pictures far from each other (Arthur and Vassilvitskii 2007).
    All kinds come to about as many pictures: whom each belongs to is balanced in every round (Cuturi 2013, "Sinkhorn
    Distances", as Asano et al. 2020 label pictures by it).

    Args:
        vectors: float [n, dim] as `look` gives them, n ≥ count; each column counts as much as the others.
        count: how many kinds, at least 1.
    """
    spread, mean = torch.std_mean(vectors, dim=0)
    points = F.normalize((vectors - mean) / spread.clamp_min(_TINY), dim=1)
    centres = _far_apart(points, count, torch.Generator().manual_seed(seed))
    for _ in range(_ROUNDS):
        shares = _balanced(points @ centres.T)
        centres = F.normalize(shares.T @ points, dim=1)
    kinds = _balanced(points @ centres.T).argmax(dim=1)
    return _along_one_line(centres)[kinds]


def _far_apart(points: Tensor, count: int, random: torch.Generator) -> Tensor:
    """So many of the points [count, dim]; the farther one lies from those before it, the likelier it is drawn."""
    chosen = [int(torch.randint(len(points), [], generator=random))]
    for _ in range(count - 1):
        distances = (1 - (points @ points[chosen].T).amax(dim=1)).clamp_min(_TINY)
        chosen.append(int(torch.multinomial(distances**2, 1, generator=random)))
    return points[chosen]


def _balanced(likeness: Tensor) -> Tensor:
    """Cosines [n, kinds] -> how much each point belongs to each kind; rows sum to 1, columns to about n / kinds."""
    shares = torch.exp(_SHARPNESS * likeness)
    for _ in range(_BALANCINGS):
        shares = shares / shares.sum(dim=0) / len(shares.T)
        shares = shares / shares.sum(dim=1, keepdim=True)
    return shares


def _along_one_line(centres: Tensor) -> Tensor:
    """The rank of each kind [kinds] along the line in which their centres differ most."""
    line: Tensor = torch.linalg.svd(centres - centres.mean(dim=0), full_matrices=False).Vh[0]
    return torch.argsort(torch.argsort(centres @ line))
