"""Scores of made pictures, against plain loops and known cases."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.features.extractor import Extractor
from studio.ops.distances import unit
from studio.training.scores import Scorer, Scores


def plain(pictures: torch.Tensor) -> torch.Tensor:
    """A stand-in for a network: the pixels themselves, in colour."""
    return pictures[:, :3].expand(-1, 3, -1, -1).flatten(1)


EXTRACTOR = Extractor(
    name="pixels", dim=48, describe="Pixels.", near_duplicate=0.01, network=plain, device=torch.device("cpu")
)


def draw(count: int, seed: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed)) * 0.3


def score(real: torch.Tensor, made: torch.Tensor, **settings: int) -> Scores:
    return Scorer(lambda places: real[places], len(real), EXTRACTOR, **settings).judge(made)


def slow(real: torch.Tensor, made: torch.Tensor) -> dict[str, object]:
    """All scores by loops, for sets where there are fewer than twice as many real ones as made ones."""
    r, m = (unit(plain(pictures)).double().numpy() for pictures in (real, made))
    mirrored = unit(plain(real.flip(-1))).double().numpy()

    def away(a, b):  # type: ignore[no-untyped-def]
        return math.sqrt(sum((a - b) ** 2))

    def radius(rows, i, k):  # type: ignore[no-untyped-def]
        return sorted(away(rows[i], other) for j, other in enumerate(rows) if j != i)[k - 1]

    def mean(rows):  # type: ignore[no-untyped-def]
        return np.mean([away(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j])

    def kernel(a, b):  # type: ignore[no-untyped-def]
        return (float(a @ b) + 1) ** 3

    def within(rows):  # type: ignore[no-untyped-def]
        return np.mean([kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j])

    k, l = min(3, len(r) - 1), min(3, len(m) - 1)  # noqa: E741
    balls, made_balls = [radius(r, i, k) for i in range(len(r))], [radius(m, j, l) for j in range(len(m))]
    usual = [min(away(r[i], seen[j]) for seen in (r, mirrored) for j in range(len(r)) if j != i) for i in range(len(r))]
    near = [min((min(away(x, r[i]), away(x, mirrored[i])), i) for i in range(len(r))) for x in m]
    return {
        "kid": within(r) + within(m) - 2 * np.mean([kernel(a, b) for a in r for b in m]),
        "precision": np.mean([any(away(x, a) <= balls[i] for i, a in enumerate(r)) for x in m]),
        "recall": np.mean([any(away(x, a) <= made_balls[j] for j, x in enumerate(m)) for a in r]),
        "density": np.mean([sum(away(x, a) <= balls[i] for i, a in enumerate(r)) / k for x in m]),
        "coverage": np.mean([any(away(x, a) <= balls[i] for x in m) for i, a in enumerate(r)]),
        "diversity": mean(m) / mean(r),
        "copied": np.mean([far <= np.quantile(usual, 0.05) for far, _ in near]),
        "nearest": tuple(place for _, place in near),
        "distances": tuple(far / sorted(usual)[(len(usual) - 1) // 2] for far, _ in near),
    }


@pytest.mark.parametrize(
    ("reals", "mades", "shift"), [(12, 9, 0.1), (5, 7, 0.0), (21, 30, 0.2), (3, 2, 0.0), (2, 3, 0.0)]
)
def test_scores_are_those_of_loops(reals: int, mades: int, shift: float) -> None:
    real, made = draw(reals, 1), draw(mades, 2) + shift
    made[0] = real[1].flip(-1) + 0.01
    found, wanted = score(real, made), slow(real, made)
    for name, value in wanted.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-3, abs=1e-5), name


def test_many_real_ones_are_compared_in_parts_of_the_made_size() -> None:
    real, made = draw(40, 3), draw(10, 4)
    scorer = Scorer(lambda places: real[places], 40, EXTRACTOR)
    found = scorer.judge(made)
    parts = [slow(real[scorer.places[start : start + 10]], made) for start in range(0, 40, 10)]
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name) == pytest.approx(np.mean([part[name] for part in parts]), abs=1e-6)


def test_one_distribution_scores_well() -> None:
    found = score(draw(200, 5), draw(200, 6))
    assert abs(found.kid) < 0.01
    assert min(found.precision, found.recall, found.coverage) > 0.7
    assert 0.7 < found.density < 1.3 and 0.97 < found.diversity < 1.03
    assert found.copied < 0.2
    assert 0.9 < float(np.median(found.distances)) < 1.1


def test_copies_are_called_copies_mirrored_too() -> None:
    real = draw(60, 7)
    for made in (real[20:40], real[20:40].flip(-1)):
        found = score(real, made)
        assert found.copied == 1.0
        assert found.nearest == tuple(range(20, 40))
        assert max(found.distances) < 0.01
    assert score(real, torch.cat([real[:5], draw(15, 8)])).copied == pytest.approx(0.25, abs=0.11)


def test_duplicates_in_the_dataset_do_not_hide_copies() -> None:
    real = draw(40, 9).repeat(2, 1, 1, 1)
    found = score(real, real[:10])
    assert found.copied == 1.0
    assert score(real, draw(40, 10)).copied < 0.3
    assert max(found.distances) < 0.01


def test_collapse_is_low_recall_and_no_diversity() -> None:
    made = draw(1, 11).repeat(50, 1, 1, 1) + draw(50, 12) * 0.01
    found = score(draw(100, 13), made)
    assert found.recall < 0.05 and found.coverage < 0.3 and found.diversity < 0.1
    assert found.kid > 0.1


def test_another_distribution_scores_badly() -> None:
    ramp = torch.linspace(-1, 1, 4).expand(3, 4, 4)
    real = draw(100, 14) + ramp
    found = score(real, draw(100, 15) + ramp.transpose(1, 2))
    assert max(found.precision, found.recall, found.coverage, found.density, found.copied) < 0.05
    assert found.kid > 0.5
    assert found.kid > score(real, draw(100, 15) + ramp * 0.6).kid > score(real, draw(100, 15) + ramp).kid


def test_a_seed_decides_and_large_sets_are_sampled() -> None:
    real, made = draw(90, 16), draw(20, 17)
    asked: list[int] = []

    def pictures(places: list[int]) -> torch.Tensor:
        asked.extend(places)
        return real[places]

    found = Scorer(pictures, 90, EXTRACTOR, seed=4, most=30).judge(made)
    assert len(set(asked)) == len(asked) == 30
    assert set(found.nearest) <= set(asked)
    assert found == score(real, made, seed=4, most=30)
    assert found != score(real, made, seed=5, most=30)


@pytest.mark.parametrize("channels", [1, 4])
def test_greys_and_transparent_ones(channels: int) -> None:
    found = score(draw(9, 18, channels), draw(6, 19, channels))
    assert all(math.isfinite(value) for value in astuple(found)[:7])


def test_too_few_are_refused() -> None:
    with pytest.raises(BadInput, match="One picture"):
        score(draw(1, 0), draw(5, 1))
    with pytest.raises(ValueError, match="at least two"):
        score(draw(5, 0), draw(1, 1))
    with pytest.raises(ValueError, match="finite"):
        score(draw(5, 0), draw(4, 1) * float("nan"))


def test_a_dataset_of_one_picture_many_times_is_survived() -> None:
    found = score(draw(1, 20).repeat(6, 1, 1, 1), draw(4, 21))
    assert all(math.isfinite(value) for value in astuple(found)[:7])
    assert found.copied == 0
