"""Timelines reach each keyframe exactly, on time, and become JSON."""

from __future__ import annotations

import math

import pytest

from studio.errors import BadInput
from studio.latent.point import Point, Seed, Share
from studio.latent.timeline import EASINGS, Keyframe, Timeline, ease
from studio.options import from_json, to_json

POINTS = [Point(seeds=(Seed(seed=seed),), noise_seed=seed) for seed in range(4)]


def timeline(**more) -> Timeline:
    easing = more.pop("easing", "linear")
    frames = (Keyframe(point=point, seconds=1 + place, easing=easing) for place, point in enumerate(POINTS))
    return Timeline(keyframes=tuple(frames), **more)


def test_it_comes_back_equal() -> None:
    assert from_json(Timeline, to_json(timeline(loop=True, path="spline"))) == timeline(loop=True, path="spline")


def test_durations_and_starts() -> None:
    assert timeline().duration == 6 and timeline(loop=True).duration == 10 and timeline(speed=2).duration == 3
    assert timeline().starts == (0, 1, 3, 6) and timeline(loop=True, speed=2).starts == (0, 0.5, 1.5, 3)
    alone = Timeline(keyframes=timeline().keyframes[:1])
    assert alone.duration == 0 and alone.at(5) == POINTS[0] and alone.starts == (0,)


@pytest.mark.parametrize("path", ["slerp", "lerp", "spline"])
@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("easing", EASINGS)
def test_keyframes_are_reached_exactly(path: str, loop: bool, easing: str) -> None:
    line = timeline(path=path, loop=loop, easing=easing)
    assert [line.at(start) for start in line.starts] == POINTS


def test_between_keyframes_lies_a_blend() -> None:
    point = timeline().at(2)
    assert point.blend == (Share(point=POINTS[1], weight=0.5), Share(point=POINTS[2], weight=0.5))
    assert point.space == "z" and point.noise_seed == 1
    assert timeline(path="lerp").at(2).space == "w"


def test_a_spline_has_four_shares_that_sum_to_one() -> None:
    for loop, at, count in ((True, 0.5, 4), (True, 9, 4), (False, 2, 4), (False, 0.5, 3), (False, 5, 3)):
        point = timeline(path="spline", loop=loop).at(at)
        assert len(point.blend) == count and sum(share.weight for share in point.blend) == pytest.approx(1)
    two = Timeline(keyframes=timeline().keyframes[:2], path="spline").at(0.25)
    assert [(share.point, share.weight) for share in two.blend] == [(POINTS[0], 0.75), (POINTS[1], 0.25)]


def test_before_and_after() -> None:
    assert timeline().at(-1) == POINTS[0] and timeline().at(99) == POINTS[3]
    assert timeline(loop=True).at(-1) == timeline(loop=True).at(9) and timeline(loop=True).at(10) == POINTS[0]


def test_hold_stands_still_until_the_next() -> None:
    line = timeline(easing="hold")
    assert line.at(0.999) == POINTS[0] and line.at(1) == POINTS[1]


def test_equal_neighbours_are_a_rest() -> None:
    line = Timeline(keyframes=(Keyframe(point=POINTS[0]), Keyframe(point=POINTS[0])), path="spline")
    assert line.at(1) == POINTS[0]


def test_easings_go_from_nothing_to_all() -> None:
    for easing in EASINGS:
        steps = [ease(t / 50, easing) for t in range(51)]
        assert steps[0] == 0 and steps[-1] == 1 and steps == sorted(steps)


def test_frames_of_a_film() -> None:
    frames = list(timeline().frames(10))
    assert len(frames) == timeline().count_frames(10) == 61 and frames[0] == POINTS[0] and frames[-1] == POINTS[3]
    looped = list(timeline(loop=True).frames(10))
    assert len(looped) == 100 and looped[10] == POINTS[1] and looped[0] == POINTS[0] != looped[-1]
    with pytest.raises(BadInput):
        timeline().frames(0)


IMPOSSIBLE = [
    lambda: Timeline(keyframes=()),
    lambda: Timeline(keyframes=(Keyframe(point=POINTS[0]),) * 65),
    lambda: Timeline(keyframes=(Keyframe(point=POINTS[0]),), path="teleport"),
    lambda: Keyframe(point=POINTS[0], seconds=0),
    lambda: Keyframe(point=POINTS[0], seconds=math.nan),
    lambda: Keyframe(point=Point(blend=(Share(point=POINTS[0]),))),
    lambda: timeline().at(math.nan),
]


@pytest.mark.parametrize("make", IMPOSSIBLE)
def test_impossible_timelines_are_refused(make) -> None:
    with pytest.raises(BadInput):
        make()
