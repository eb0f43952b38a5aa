"""Ways between points: weights for straight, spherical and smooth paths, and latents blended on their sphere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_PARALLEL = 1e-6


def lerp_weights(t: float) -> tuple[float, float]:
    """Weights of the two ends of a straight line, t in 0 to 1."""
    return (1 - t, t)


def slerp_weights(t: float, cosine: float) -> tuple[float, float]:
    """Weights of two unit vectors on the great circle between them (Shoemake 1985).

    Args:
        t: 0 at the first, 1 at the second.
        cosine: of the angle between them. Where they are parallel or opposite the straight line is taken.
    """
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    sine = math.sin(angle)
    if sine < _PARALLEL:
        return lerp_weights(t)
    return (math.sin((1 - t) * angle) / sine, math.sin(t * angle) / sine)


def spline_weights(t: float) -> tuple[float, float, float, float]:
    """Weights of four neighbours on the uniform Catmull-Rom spline between the middle two; they sum to 1.

    The curve passes through every point, with a tangent there that is half the way between its neighbours.
    """
    return (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )


def blend_latents(latents: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Blend latents z of the same shape by weights that sum to 1.

    Two latents meet on the great circle between their directions; more are added and brought back to the sphere. The
    length goes straight from one to the other, so each latent alone comes out exactly as it was.
    """
    import torch

    lengths = [float(torch.linalg.vector_norm(z.double())) for z in latents]
    units = [z.double() / max(length, 1e-12) for z, length in zip(latents, lengths, strict=True)]
    turned: Sequence[float] = weights
    if len(latents) == 2:
        turned = slerp_weights(weights[1], float((units[0] * units[1]).sum()))
    total = torch.stack([weight * unit for weight, unit in zip(turned, units, strict=True)]).sum(dim=0)
    size = float(torch.linalg.vector_norm(total))
    length = sum(weight * length for weight, length in zip(weights, lengths, strict=True))
    return (total * (length / max(size, 1e-12))).to(latents[0].dtype)
