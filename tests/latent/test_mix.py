"""Paths pass through their points, and latents stay on their sphere."""

from __future__ import annotations

import math

import pytest
import torch

from studio.latent.mix import blend_latents, lerp_weights, slerp_weights, spline_weights


@pytest.mark.parametrize("cosine", [-1.0, -0.3, 0.0, 0.7, 1.0, 1.0000001])
def test_slerp_meets_both_ends(cosine: float) -> None:
    assert slerp_weights(0, cosine) == pytest.approx((1, 0)) and slerp_weights(1, cosine) == pytest.approx((0, 1))


def test_slerp_stays_on_the_sphere() -> None:
    for t in (0.1, 0.5, 0.8):
        a, b = slerp_weights(t, 0.0)
        assert a * a + b * b == pytest.approx(1) and b == pytest.approx(math.sin(t * math.pi / 2))


def test_splines_interpolate_and_reproduce_lines() -> None:
    assert spline_weights(0) == pytest.approx((0, 1, 0, 0)) and spline_weights(1) == pytest.approx((0, 0, 1, 0))
    for t in (0.2, 0.5, 0.9):
        weights = spline_weights(t)
        assert sum(weights) == pytest.approx(1)
        assert sum(place * weight for place, weight in zip((-1, 0, 1, 2), weights, strict=True)) == pytest.approx(t)
    assert lerp_weights(0.25) == (0.75, 0.25)


def test_many_latents_keep_their_length() -> None:
    latents = list(torch.randn(5, 512, generator=torch.Generator().manual_seed(0)))
    blended = blend_latents(latents, [0.2] * 5)
    assert float(blended.norm()) == pytest.approx(sum(float(z.norm()) for z in latents) / 5, rel=1e-5)


def test_opposite_latents_give_finite_numbers() -> None:
    z = torch.randn(8, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(blend_latents([z, -z], [0.5, 0.5])).all()
    assert torch.isfinite(blend_latents([z, torch.zeros(8)], [0.5, 0.5])).all()
