"""Recipes become the styles that they describe, alone and in any batch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from studio.errors import BadInput
from studio.latent.directions import Direction
from studio.latent.point import NO_NOISE, OWN_CLASS, Edit, Mix, Point, Seed, Share, resolve
from studio.latent.resolve import resolve_many, resolve_noise
from studio.latent.timeline import Keyframe, Timeline
from studio.ops.seeds import latents


def at(seed: int, **more) -> Point:
    return Point(seeds=(Seed(seed=seed),), **more)


def between(*parts: tuple[float, Point], **more) -> Point:
    return Point(blend=tuple(Share(point=point, weight=weight) for weight, point in parts), **more)


UP = Direction(name="up", title="Up", vector=torch.eye(16)[0], scale=2.0, kind="sefa")
LATE = Direction(name="late", title="Late", vector=torch.eye(16)[1], scale=1.0, kind="sefa", first_layer=4)
CODE = Direction(name="code", title="Code", vector=torch.eye(16)[2], scale=1.0, kind="code", space="z")
KNOWN = {"up": UP, "late": LATE, "code": CODE}


def test_one_seed_is_the_mapped_latent(mapped) -> None:
    styles = resolve(at(7), mapped)
    assert styles.shape == (1, mapped.num_styles, 16) and not styles.requires_grad
    assert torch.equal(styles, mapped.map(latents([7], 16)))


def test_truncation_pulls_towards_the_mean(mapped) -> None:
    near = resolve(at(7, truncation=0.25), mapped)
    assert torch.allclose(
        near, mapped.mapping.w_avg + 0.25 * (resolve(at(7), mapped) - mapped.mapping.w_avg), atol=1e-6
    )


def test_seeds_blend_without_losing_variance(plain) -> None:
    blended = Point(seeds=(Seed(seed=1, weight=0.5), Seed(seed=2, weight=0.5)))
    z = latents([1, 2], 12)
    assert torch.allclose(resolve(blended, plain)[0, 0], (z[0] + z[1]) / math.sqrt(2), atol=1e-6)
    many = [Point(seeds=tuple(Seed(seed=4 * i + k, weight=0.25) for k in range(4))) for i in range(300)]
    assert abs(float(resolve_many(many, plain).std()) - 1) < 0.05


def test_the_weight_of_a_lone_seed_does_not_matter(plain) -> None:
    assert torch.equal(resolve(Point(seeds=(Seed(seed=1, weight=0.3),)), plain), resolve(at(1), plain))


def test_mixing_takes_layers_of_another_seed(mapped) -> None:
    styles = resolve(at(1, mix=Mix(seed=2, first_layer=2, last_layer=3)), mapped)
    one, two = resolve(at(1), mapped), resolve(at(2), mapped)
    assert torch.allclose(styles[:, 2:4], two[:, 2:4], atol=1e-6)
    assert torch.allclose(styles[:, :2], one[:, :2], atol=1e-6) and torch.allclose(styles[:, 4:], one[:, 4:], atol=1e-6)


def test_layers_beyond_the_model_are_moved_to_its_last(mapped, plain) -> None:
    styles = resolve(at(1, mix=Mix(seed=2, first_layer=40)), mapped)
    assert torch.allclose(styles[:, -1], resolve(at(2), mapped)[:, -1], atol=1e-6)
    assert torch.allclose(styles[:, :-1], resolve(at(1), mapped)[:, :-1], atol=1e-6)
    assert torch.equal(resolve(at(1, mix=Mix(seed=2, first_layer=3)), plain), resolve(at(2), plain))


def test_edits_move_along_directions_on_their_layers(mapped) -> None:
    edits = (Edit(direction="up", amount=1.5, first_layer=1, last_layer=2), Edit(direction="late", amount=-1))
    moved = resolve(at(1, edits=edits), mapped, KNOWN) - resolve(at(1), mapped)
    wanted = torch.zeros_like(moved)
    wanted[:, 1:3, 0] = 3.0
    wanted[:, 4:, 1] = -1.0
    assert torch.allclose(moved, wanted, atol=1e-5)


def test_edits_that_touch_no_layer_do_nothing(mapped) -> None:
    edit = Edit(direction="late", amount=5, last_layer=3)
    assert torch.equal(resolve(at(1, edits=(edit,)), mapped, KNOWN), resolve(at(1), mapped))


def shifted(generator, seed: int, amount: float, truncation: float = 1.0) -> torch.Tensor:
    """What a seed's latent maps to, moved along CODE."""
    return generator.map(latents([seed], 16) + amount * CODE.vector, None, truncation)


def test_edits_in_z_move_the_latent_before_it_is_mapped(mapped) -> None:
    one = at(1, edits=(Edit(direction="code", amount=2),), truncation=0.5)
    assert torch.equal(resolve(one, mapped, KNOWN), shifted(mapped, 1, 2, 0.5))
    assert not torch.allclose(resolve(one, mapped, KNOWN), resolve(at(1, truncation=0.5), mapped), atol=1e-3)
    both = at(1, edits=(Edit(direction="code", amount=2), Edit(direction="up"), Edit(direction="code", amount=-0.5)))
    assert torch.allclose(resolve(both, mapped, KNOWN), shifted(mapped, 1, 1.5), atol=1e-6)


def test_edits_in_z_know_layers_mixes_and_blends(mapped) -> None:
    edit = Edit(direction="code", amount=2, first_layer=1, last_layer=3)
    styles = resolve(at(1, edits=(edit,), mix=Mix(seed=2, first_layer=3)), mapped, KNOWN)
    parts = (shifted(mapped, 1, 0)[:, :1], shifted(mapped, 1, 2)[:, 1:3], shifted(mapped, 2, 2)[:, 3:4])
    wanted = torch.cat([*parts, shifted(mapped, 2, 0)[:, 4:]], dim=1)
    assert torch.allclose(styles, wanted, atol=1e-6)
    own = at(1, edits=(Edit(direction="code", amount=1),))
    blend = between((0.25, own), (0.75, at(2)), edits=(Edit(direction="code", amount=-3),))
    wanted = 0.25 * shifted(mapped, 1, -2) + 0.75 * shifted(mapped, 2, -3)
    assert torch.allclose(resolve(blend, mapped, KNOWN), wanted, atol=1e-5)
    ends = between((1, own), (0, at(2)), space="z"), between((0, own), (1, at(2)), space="z")
    assert torch.allclose(resolve(ends[0], mapped, KNOWN), shifted(mapped, 1, 1), atol=1e-5)
    assert torch.allclose(resolve(ends[1], mapped, KNOWN), shifted(mapped, 2, 0), atol=1e-5)


def test_many_edits_in_z_map_no_more_rows_than_one(mapped, monkeypatch) -> None:
    known = {f"code-{place}": replace(CODE, vector=torch.eye(16)[place]) for place in range(16)}
    point = at(1, edits=tuple(Edit(direction=name, amount=1) for name in known))
    seen, original = [], mapped.map
    monkeypatch.setattr(mapped, "map", lambda z, *rest: seen.append(len(z)) or original(z, *rest))
    assert torch.allclose(resolve(point, mapped, known), original(latents([1], 16) + 1), atol=1e-6) and seen == [1]


def test_labels_choose_a_class(classed) -> None:
    one, two = resolve(at(1, label=0), classed), resolve(at(1, label=2), classed)
    wanted = classed.map(latents([1], 16), torch.tensor([[0.0, 0, 1]]))
    assert torch.allclose(two, wanted, atol=1e-6) and not torch.allclose(one, two)
    assert torch.allclose(resolve(at(1), classed), classed.map(latents([1], 16)), atol=1e-6)


def test_each_seed_may_have_its_own_class(classed, mapped) -> None:
    for seed in (0, 4, 8):
        own, named = at(seed, label=OWN_CLASS), at(seed, label=seed % 3)
        assert torch.allclose(resolve(own, classed), resolve(named, classed), atol=1e-6)
    between_two = Point(seeds=(Seed(seed=3, weight=0.75), Seed(seed=7, weight=0.25)), label=OWN_CLASS)
    z = (0.75 * latents([3], 16) + 0.25 * latents([7], 16)) / math.hypot(0.75, 0.25)
    assert torch.allclose(resolve(between_two, classed), classed.map(z, torch.tensor([[0.75, 0.25, 0]])), atol=1e-5)
    assert torch.equal(resolve(at(7, label=OWN_CLASS), mapped), resolve(at(7), mapped))


@pytest.mark.parametrize("point", [at(1, label=0), at(1, edits=(Edit(direction="unknown"),))])
def test_what_the_model_does_not_have_is_refused(mapped, point: Point) -> None:
    with pytest.raises(BadInput):
        resolve(point, mapped, KNOWN)


def test_directions_of_another_model_are_refused(plain) -> None:
    with pytest.raises(BadInput, match="another model"):
        resolve(at(1, edits=(Edit(direction="up", amount=1),)), plain, KNOWN)


def test_a_blend_in_w_is_a_weighted_sum(mapped) -> None:
    one, two = at(1, truncation=0.5, mix=Mix(seed=5, first_layer=3)), at(2, edits=(Edit(direction="up", amount=2),))
    for weights in ((0.25, 0.75), (-0.5, 1.5), (1, 3)):
        share = weights[1] / sum(weights)
        styles = resolve(between((weights[0], one), (weights[1], two), space="w"), mapped, KNOWN)
        wanted = (1 - share) * resolve(one, mapped, KNOWN) + share * resolve(two, mapped, KNOWN)
        assert torch.allclose(styles, wanted, atol=1e-5)


def test_a_blend_in_z_turns_on_the_sphere(plain) -> None:
    one, two = (resolve(at(seed), plain).flatten() for seed in (1, 2))
    angle = torch.acos(torch.cosine_similarity(one, two, dim=0))
    for t in (0.25, 0.5, 0.9):
        z = resolve(between((1 - t, at(1)), (t, at(2)), space="z"), plain).flatten()
        assert torch.isclose(torch.acos(torch.cosine_similarity(one, z, dim=0)), t * angle, atol=1e-4)
        assert torch.isclose(z.norm(), (1 - t) * one.norm() + t * two.norm(), atol=1e-4)


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_blend_of_one_is_that_point(mapped, classed, space: str) -> None:
    rich = at(1, truncation=0.6, mix=Mix(seed=3, first_layer=4), edits=(Edit(direction="up", amount=1),))
    alone = between((1, rich), (0, at(2)), space=space)
    assert torch.allclose(resolve(alone, mapped, KNOWN), resolve(rich, mapped, KNOWN), atol=1e-5)
    labelled = at(1, label=1)
    blend = between((1, labelled), (0, at(2)), space=space)
    assert torch.allclose(resolve(blend, classed), resolve(labelled, classed), atol=1e-5)


def test_a_blend_in_z_shares_out_labels(classed) -> None:
    blend = between((0.5, at(1, label=0)), (0.5, at(1, label=1)), space="z")
    wanted = classed.map(latents([1], 16), torch.tensor([[0.5, 0.5, 0]]))
    assert torch.allclose(resolve(blend, classed), wanted, atol=1e-5)


def test_a_blend_keeps_its_own_mix_and_edits(mapped) -> None:
    parts = ((0.5, at(1)), (0.5, at(2)))
    for space in ("z", "w"):
        extra = {"mix": Mix(seed=9, first_layer=5), "edits": (Edit(direction="up", amount=1, last_layer=0),)}
        styles = resolve(between(*parts, space=space, **extra), mapped, KNOWN)
        bare = resolve(between(*parts, space=space), mapped, KNOWN)
        assert torch.allclose(styles[:, 5], resolve(at(9), mapped)[:, 5], atol=1e-5)
        assert torch.allclose(styles[:, 0] - bare[:, 0], 2 * torch.eye(16)[:1], atol=1e-5)
        assert torch.allclose(styles[:, 1:5], bare[:, 1:5], atol=1e-6)


def test_a_batch_gives_the_same_numbers(classed) -> None:
    points = [
        at(1), at(2, truncation=0.5), at(3, label=1), at(4, label=2, truncation=0.5, mix=Mix(seed=8, first_layer=1)),
        between((0.3, at(5, label=1)), (0.7, at(6, edits=(Edit(direction="up", amount=1),))), space="z"),
        between((0.3, at(5)), (0.3, at(6)), (0.4, at(7)), space="w"),
    ]  # fmt: skip
    together = resolve_many(points, classed, KNOWN)
    alone = torch.cat([resolve(point, classed, KNOWN) for point in points])
    assert (together - alone).abs().max() < 1e-6


@pytest.mark.parametrize("path", ["slerp", "lerp", "spline"])
def test_timelines_are_continuous(mapped, path: str) -> None:
    keyframes = tuple(
        Keyframe(point=at(seed, truncation=0.5 + 0.1 * seed, mix=Mix(seed=9, first_layer=seed)), seconds=1)
        for seed in (1, 2, 3, 4)
    )
    timeline = Timeline(keyframes=keyframes, path=path, loop=True)
    for start in timeline.starts:
        before, here, after = (resolve(timeline.at(start + step), mapped) for step in (-1e-4, 0, 1e-4))
        assert torch.allclose(before, here, atol=1e-2) and torch.allclose(here, after, atol=1e-2)


def test_noise_is_constant_drawn_or_none(mapped, plain) -> None:
    constant = resolve_noise(at(1), mapped)
    drawn, again = resolve_noise(at(1, noise_seed=4), mapped), resolve_noise(at(2, noise_seed=4), mapped)
    assert all(torch.equal(a, b) for a, b in zip(constant, mapped.constant_noise(), strict=True))
    assert [picture.shape[-1] for picture in drawn] == list(mapped.noise_sizes)
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True)) and not torch.equal(drawn[0], constant[0])
    assert resolve_noise(at(1, noise_seed=NO_NOISE), mapped) is None
    assert resolve_noise(at(1, noise_seed=4), plain) == ()
