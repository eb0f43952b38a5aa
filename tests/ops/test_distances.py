"""Distances of vectors and of sets, against plain loops."""

from __future__ import annotations

import pytest
import torch

from studio.ops import distances as d


@pytest.fixture
def sets() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(13, 5, generator=random), torch.randn(9, 5, generator=random) + 0.5


def test_distances_are_those_of_a_loop(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    first, second = sets
    slow = torch.stack([torch.stack([(a - b).norm() for b in second]) for a in first])
    torch.testing.assert_close(d.distances(first, second), slow, atol=1e-5, rtol=1e-5)


def test_nearest_is_exact_for_equal_rows(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    first, _ = sets
    far, places = d.nearest(first, first.flip(0))
    assert far.tolist() == [0.0] * 13
    assert places.tolist() == list(range(12, -1, -1))


def test_barred_pairs_do_not_count(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    first, _ = sets
    far, places = d.nearest(first, first, barred=torch.eye(13, dtype=torch.bool))
    assert all(place != row for row, place in enumerate(places.tolist()))
    assert far.min() > 0.1


def test_radii_leave_the_member_itself_out() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    apart = d.distances(line, line)
    assert d.radii(apart, 1).tolist() == pytest.approx([1, 1, 2, 4], abs=1e-3)
    assert d.radii(apart, 2).tolist() == pytest.approx([3, 2, 3, 6], abs=1e-3)
    assert d.mean_distance(apart) == pytest.approx((1 + 3 + 7 + 2 + 6 + 4) / 6, abs=1e-3)


def test_kernel_distance_is_that_of_a_loop(sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    first, second = (rows.double().numpy() for rows in sets)

    def kernel(a, b):  # type: ignore[no-untyped-def]
        return (sum(x * y for x, y in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(rows):  # type: ignore[no-untyped-def]
        values = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return sum(values) / len(values)

    across = [kernel(a, b) for a in first for b in second]
    slow = within(first) + within(second) - 2 * sum(across) / len(across)
    assert d.kernel_distance(*sets) == pytest.approx(slow, rel=1e-9)


def test_kernel_distance_is_zero_on_average_for_one_distribution() -> None:
    random = torch.Generator().manual_seed(1)
    found = [d.kernel_distance(*torch.randn(2, 40, 8, generator=random)) for _ in range(60)]
    assert abs(sum(found) / 60) < 0.01
    assert min(found) < 0 < max(found)
    assert d.kernel_distance(torch.randn(40, 8, generator=random), torch.randn(40, 8, generator=random) + 1) > 0.5


@pytest.mark.parametrize("neighbours", [1, 3])
def test_shares_are_those_of_loops(sets: tuple[torch.Tensor, torch.Tensor], neighbours: int) -> None:
    real, made = sets
    across = d.distances(real, made)
    real_radii = d.radii(d.distances(real, real), neighbours)
    made_radii = d.radii(d.distances(made, made), neighbours)
    inside = [[float((r - m).norm()) <= float(real_radii[i]) for m in made] for i, r in enumerate(real)]
    among = [any(float((r - m).norm()) <= float(made_radii[j]) for j, m in enumerate(made)) for r in real]
    precision = sum(any(row[j] for row in inside) for j in range(9)) / 9
    assert d.precision_recall(across, real_radii, made_radii) == pytest.approx((precision, sum(among) / 13))
    density = sum(map(sum, inside)) / (neighbours * 9)
    assert d.density_coverage(across, real_radii, neighbours) == pytest.approx((density, sum(map(any, inside)) / 13))


def test_near_pairs_over_more_than_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d, "_BLOCK", 4)
    random = torch.Generator().manual_seed(2)
    rows = torch.randn(11, 16, generator=random)
    rows[9] = rows[1] * 3
    rows[10] = rows[5] + 0.01
    rows[6] = rows[5]
    assert d.near_pairs(rows, 0.01) == [(1, 9), (5, 6), (5, 10), (6, 10)]
    assert d.near_pairs(rows[:4], 0.01) == []
    assert d.near_pairs(rows[:0], 0.01) == []
