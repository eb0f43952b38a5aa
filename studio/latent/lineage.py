"""What becomes of directions and points when a model is trained further: they travel, and are measured anew.

A direction of a base is named after it in every model that comes from it (`sefa-1@1a2b3c4d`), so that an edit in an old
point still means that very direction, beside the directions that a model has of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.families.base import Generator
from studio.features.fitting import coloured, fitted
from studio.latent.directions import Check, Direction, device_of, moved
from studio.latent.point import OWN_CLASS, Edit, Point, Share
from studio.ops import seeds

SEEDS = tuple(range(6))
_THUMBNAIL_PX = 16
_MARK = "@"


def inherited_name(name: str, sha256: str) -> str:
    """The name that a direction of the model `sha256` has in its descendants."""
    return name if _MARK in name else f"{name}{_MARK}{sha256[:8]}"


def inherited(direction: Direction, child: Generator, *, title: str, sha256: str) -> Direction | None:
    """A direction of the model `title`, for a model trained from it; None if their latents have nothing in common.

    Where the latent is the only style, its classes come last: new ones are not moved, lost ones are left out.
    """
    name, vector, in_z = inherited_name(direction.name, sha256), direction.vector, direction.space == "z"
    width = child.z_dim if in_z else child.style_dim
    if len(vector) != width and (in_z or child.num_styles > 1):
        return None
    vector = F.pad(vector, (0, width - len(vector))) if len(vector) < width else vector[:width]
    if not bool(vector.any()):
        return None
    return replace(direction, name=name, vector=vector.contiguous(), origin=direction.origin or title)


@torch.no_grad()
def recheck(
    base: Generator, child: Generator, before: Direction, now: Direction, numbers: Sequence[int] = SEEDS
) -> Check:
    """How much of its effect a direction of `base`, `before`, has in `child`, as `now`.

    The effect is the change of small colour pictures from -1 σ to +1 σ, of the seeds `numbers`.
    """
    was, became = effect(base, before, numbers), effect(child, now, numbers)
    strength = float(became.norm(dim=1).mean() / was.norm(dim=1).mean().clamp_min(1e-12))
    return Check(strength=strength, likeness=float(F.cosine_similarity(was, became).mean()))


@torch.no_grad()
def effect(generator: Generator, direction: Direction, numbers: Sequence[int]) -> Tensor:
    """The change that a direction makes of each seed's picture, [n, 3 · 16 · 16], float32."""
    z = seeds.latents(numbers, generator.z_dim).to(device_of(generator))
    ends = []
    for amount in (1, -1):
        styles = moved(generator, z, direction, amount)
        pictures = generator.synthesize(styles, generator.constant_noise()).float().clamp(-1, 1)
        ends.append(fitted(coloured(pictures), _THUMBNAIL_PX).flatten(1).cpu())
    return ends[0] - ends[1]


def carried_point(
    point: Point, *, sha256: str, classes: Mapping[int | None, int], known: Mapping[str, Direction]
) -> Point:
    """A point of the model `sha256` as one of a model that was trained from it.

    Args:
        classes: its classes, or None, -> those of the other model; what is not there becomes none.
        known: the directions of the other model; edits along any other are left out.
    """
    named = [(inherited_name(edit.direction, sha256), edit) for edit in point.edits]
    edits: tuple[Edit, ...] = tuple(replace(edit, direction=name) for name, edit in named if name in known)
    label = OWN_CLASS if point.label == OWN_CLASS else classes.get(point.label)
    parts = tuple(
        Share(point=carried_point(part.point, sha256=sha256, classes=classes, known=known), weight=part.weight)
        for part in point.blend
    )
    return replace(point, edits=edits, label=label, blend=parts)
