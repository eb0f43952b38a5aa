import math

import pytest
import torch

from studio.errors import BadInput
from studio.families.base import family, settings_from
from studio.latent.point import Point, Scene, Seed, Share
from studio.latent.resolve import placement, resolve_many
from studio.options import from_json, to_json

TINY = {"resolution": 16, "z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8}


def point(seed=1, **changes):
    return Point(seeds=(Seed(seed=seed),), **changes)


@pytest.fixture(scope="module")
def generator():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return family("stylegan3").generator(settings_from("stylegan3", TINY)).eval()


def looks_at(x, y, **changes):
    return tuple((placement(point(**changes)) @ torch.tensor([x, y, 1.0])).tolist())


def test_a_pixel_is_looked_up_where_it_came_from():
    """x to the right and y downwards, in widths of the picture."""
    assert looks_at(0.1, 0.2) == pytest.approx((0.1, 0.2, 1))
    assert looks_at(0, 0, translate_x=0.25) == pytest.approx((-0.25, 0, 1))
    assert looks_at(0, 0, translate_y=0.25) == pytest.approx((0, 0.25, 1))
    assert looks_at(0, 0.5, rotate=90) == pytest.approx((0.5, 0, 1), abs=1e-6)
    turned_first = looks_at(0.3, 0.5, rotate=90, translate_x=0.3)
    assert turned_first == pytest.approx((0.5, 0, 1), abs=1e-6)


def test_blends_add_what_their_parts_move():
    parts = (
        Share(point=point(1, translate_x=0.4, rotate=40), weight=0.25),
        Share(point=point(2, translate_y=0.2), weight=0.75),
    )
    blend = Point(blend=parts, translate_x=0.1)
    assert torch.allclose(placement(blend), placement(point(translate_x=0.2, translate_y=0.15, rotate=10)), atol=1e-6)


@torch.no_grad()
def test_moved_points_draw_moved_pictures(generator):
    plain, moved = resolve_many([point()], generator), resolve_many([point(), point(translate_x=0.25)], generator)
    assert plain.shape == (1, 16, 8) and moved.shape == (2, 17, 8)
    first, second = generator.synthesize(moved)
    assert torch.allclose(first, generator.synthesize(plain)[0], atol=1e-6)
    assert not torch.allclose(first, second, atol=1e-3)
    by_hand = generator.placed(plain, torch.tensor([[1, 0, -0.25], [0, 1, 0], [0, 0, 1]]))
    assert torch.allclose(generator.synthesize(by_hand)[0], second, atol=1e-6)


@torch.no_grad()
def test_models_that_cannot_move_ignore_it():
    other = family("mlp").generator(settings_from("mlp", {"resolution": 8, "z_dim": 8, "width": 8})).eval()
    assert torch.equal(resolve_many([point(rotate=30)], other), resolve_many([point()], other))


def test_scenes_keep_their_place_and_old_ones_have_none():
    scene = Scene(model="signals", point=point(translate_x=0.5, translate_y=-0.25, rotate=-12.5))
    data = to_json(scene)
    assert from_json(Scene, data) == scene
    for name in ("translate_x", "translate_y", "rotate"):
        del data["point"][name]
    assert from_json(Scene, data) == Scene(model="signals", point=point())


@pytest.mark.parametrize("changes", [{"translate_x": 3.0}, {"rotate": math.inf}, {"rotate": 400.0}])
def test_places_out_of_range_are_refused(changes):
    with pytest.raises(BadInput):
        point(**changes)
