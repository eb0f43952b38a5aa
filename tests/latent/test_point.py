"""Points are recipes: they become JSON and come back, and refuse what cannot be."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from studio.errors import BadInput
from studio.latent.point import NO_NOISE, Edit, Mix, Point, Scene, Seed, Share, lattice_seed, seed_pad
from studio.options import from_json, to_json

PLAIN = Point(
    seeds=(Seed(seed=3), Seed(seed=2**32 - 1, weight=0.5)), label=2, mix=Mix(seed=9, first_layer=4),
    edits=(Edit(direction="sefa-1", amount=-2.5, last_layer=3),), truncation=0.7, noise_seed=NO_NOISE,
)  # fmt: skip
BLENDED = Point(
    blend=(Share(point=PLAIN, weight=0.25), Share(point=Point(seeds=(Seed(seed=1),)), weight=0.75)), space="z"
)


@pytest.mark.parametrize("point", [PLAIN, BLENDED])
def test_a_scene_comes_back_equal(point: Point) -> None:
    scene = Scene(model="moths", point=point, size_px=64)
    assert from_json(Scene, json.loads(json.dumps(to_json(scene)))) == scene
    assert hash(scene) == hash(from_json(Scene, to_json(scene)))


IMPOSSIBLE = [
    lambda: Point(),
    lambda: Point(seeds=(Seed(seed=1),), blend=BLENDED.blend),
    lambda: Point(seeds=(Seed(seed=1, weight=0),)),
    lambda: Point(seeds=(Seed(seed=1),) * 17),
    lambda: Point(seeds=(Seed(seed=1),), edits=(Edit(direction="a"),) * 65),
    lambda: Point(blend=(Share(point=PLAIN),) * 9),
    lambda: Point(blend=(Share(point=BLENDED),)),
    lambda: Point(blend=(Share(point=PLAIN, weight=1), Share(point=PLAIN, weight=-1))),
    lambda: Point(blend=(Share(point=PLAIN),), truncation=0.5),
    lambda: Point(seeds=(Seed(seed=1),), truncation=math.nan),
    lambda: Point(seeds=(Seed(seed=1),), label=-2),
    lambda: Point(seeds=(Seed(seed=1),), space="q"),
    lambda: Seed(seed=-1),
    lambda: Seed(seed=2**32),
    lambda: Seed(seed=1, weight=math.inf),
    lambda: Edit(direction="", amount=1),
    lambda: Edit(direction="a", amount=math.nan),
    lambda: Scene(model="", point=PLAIN),
    lambda: seed_pad(math.nan, 0, 1),
    lambda: seed_pad(0, 2e6, 1),
]


@pytest.mark.parametrize("make", IMPOSSIBLE)
def test_impossible_points_are_refused(make) -> None:
    with pytest.raises(BadInput):
        make()


def test_the_origin_of_the_pad_is_the_seed_itself() -> None:
    assert seed_pad(0, 0, 42) == (Seed(seed=42, weight=1.0),)


def test_the_pad_mixes_four_neighbours() -> None:
    pad = seed_pad(1.25, -0.5, 42)
    assert [seed.seed for seed in pad] == [lattice_seed(42, i, j) for j in (-1, 0) for i in (1, 2)]
    assert [seed.weight for seed in pad] == [0.375, 0.125, 0.375, 0.125]
    assert len(seed_pad(1.5, 2, 42)) == 2 and len({seed.seed for seed in pad}) == 4


def test_the_pad_is_continuous_and_can_come_home() -> None:
    near, at = seed_pad(2 - 1e-9, 0, 7), seed_pad(2, 0, 7)
    assert at[0].seed in {seed.seed for seed in near if seed.weight > 0.99}
    home, around = seed_pad(0.25, 0.5, 7, columns=5), seed_pad(5.25, -4.5, 7, columns=5)
    assert home == around != seed_pad(5.25, -4.5, 7)


def test_lattice_seeds_are_the_documented_numbers() -> None:
    """The page's JavaScript holds the same examples."""
    places = ((42, 0, 0), (42, 1, 0), (42, 0, -1), (2**32 - 1, -7, 9))
    assert [lattice_seed(*place) for place in places] == [42, 1740203035, 1807986736, 3854088196]
    drawn = {lattice_seed(0, i, j) for i in range(-40, 40) for j in range(-40, 40)}
    assert len(drawn) == 6400 and all(0 <= seed < 2**32 for seed in drawn)


def test_points_need_no_torch() -> None:
    code = "import sys, studio.latent.point, studio.latent.timeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
