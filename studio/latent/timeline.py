"""Keyframes of points in time. `Timeline.at` serves the player, the scrub bar and the exporter alike. No torch."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from studio.errors import BadInput
from studio.latent.mix import lerp_weights, spline_weights
from studio.latent.point import Point, Share
from studio.options import Checked, option

EASINGS = ("linear", "smooth", "ease-in", "ease-out", "hold")
PATHS = ("slerp", "lerp", "spline")
_MOST_KEYFRAMES = 64
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Keyframe(Checked):
    """A point to pass through, and how to go on from there."""

    point: Point
    seconds: float = option(2.0, help="How long the way to the next keyframe takes.", low=0.05, high=600, unit="s")
    easing: str = option("smooth", help="How the way begins and ends.", choices=EASINGS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.point.blend:
            raise BadInput("A keyframe cannot be a blended point.", "Set keyframes at points that are made of seeds.")


@dataclass(frozen=True, kw_only=True)
class Timeline(Checked):
    """Keyframes in order.

    Without `loop` it ends at the last keyframe, whose seconds do not count; with it, the last leads back to the first.

    Paths: "slerp" turns the latents z of two neighbours into each other on the sphere, "lerp" goes straight through w,
    "spline" smoothly through w along four neighbours.
    """

    keyframes: tuple[Keyframe, ...]
    loop: bool = option(False, help="Whether the end leads back to the start.")
    path: str = option("slerp", help="The way between keyframes.", choices=PATHS)
    speed: float = option(1.0, help="How fast it plays.", low=0.05, high=20, unit="x")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.keyframes) <= _MOST_KEYFRAMES:
            raise BadInput(
                f"A timeline has 1 to {_MOST_KEYFRAMES} keyframes, not {len(self.keyframes)}.", "Add or remove some."
            )

    @property
    def duration(self) -> float:
        """Seconds from start to end at this speed."""
        return self._ends[-1] / self.speed if self._ends else 0.0

    @property
    def starts(self) -> tuple[float, ...]:
        """The second at which each keyframe is reached."""
        return (0.0, *(end / self.speed for end in self._ends))[: len(self.keyframes)]

    def at(self, seconds: float) -> Point:
        """The point at a time; before the start and after the end it stands still, or starts over with `loop`.

        At a keyframe it is that keyframe's own point; between them a blended point. For "slerp" the shares hold plain
        weights (1 - t, t) in "z": `latent.resolve` turns them on the sphere, as the angle depends on the model.

        Raises:
            BadInput: `seconds` is not a number.
        """
        if not math.isfinite(seconds):
            raise BadInput("This is not a moment on the timeline.", "Choose a time in seconds.")
        if not self._ends:
            return self.keyframes[0].point
        total = self._ends[-1]
        moment = seconds * self.speed
        moment = moment % total if self.loop else min(max(moment, 0.0), total)
        place = min(bisect.bisect_right(self._ends, moment), len(self._ends) - 1)
        begin = self._ends[place - 1] if place else 0.0
        return self._between(place, (moment - begin) / (self._ends[place] - begin))

    def frames(self, fps: float) -> Iterator[Point]:
        """The points of a film: each lasts 1 / fps seconds. A loop leaves out the end, which is its start.

        Raises:
            BadInput: `fps` is not between 1 and 240.
        """
        if not 1 <= fps <= 240:
            raise BadInput(f"A film cannot have {fps:g} pictures a second.", "Choose 1 to 240, such as 30.")
        return (self.at(index / fps) for index in range(self.count_frames(fps)))

    def count_frames(self, fps: float) -> int:
        """How many points `frames` gives."""
        return max(1, round(self.duration * fps) + (0 if self.loop else 1))

    @property
    def _ends(self) -> tuple[float, ...]:
        """At speed 1, the second at which each way between keyframes ends."""
        ways = self.keyframes if self.loop else self.keyframes[:-1]
        return tuple(itertools.accumulate(keyframe.seconds for keyframe in ways))

    def _between(self, place: int, t: float) -> Point:
        """The point at the fraction t (0 to 1) of the way from keyframe `place` to the next."""
        here, there = self._neighbour(place), self._neighbour(place + 1)
        t = ease(t, self.keyframes[place].easing)
        if t < _NEGLIGIBLE or here == there:
            return here
        if t > 1 - _NEGLIGIBLE:
            return there
        if self.path == "spline":
            return self._on_spline(place, t)
        shares = tuple(
            Share(point=point, weight=weight) for point, weight in zip((here, there), lerp_weights(t), strict=True)
        )
        return Point(blend=shares, space="z" if self.path == "slerp" else "w", noise_seed=here.noise_seed)

    def _on_spline(self, place: int, t: float) -> Point:
        """Four neighbours in w. Beyond the ends of an open timeline lies the mirror image 2a - b of what comes next."""
        weights: dict[int, float] = {}
        last = len(self.keyframes) - 1
        for step, weight in zip((-1, 0, 1, 2), spline_weights(t), strict=True):
            index = place + step
            if self.loop or 0 <= index <= last:
                parts = [(index % (last + 1), weight)]
            else:
                end, inner = (0, 1) if index < 0 else (last, last - 1)
                parts = [(end, 2 * weight), (inner, -weight)]
            for keyframe, part in parts:
                weights[keyframe] = weights.get(keyframe, 0.0) + part
        shares = tuple(
            Share(point=self.keyframes[index].point, weight=weight) for index, weight in weights.items() if weight
        )
        return Point(blend=shares, space="w", noise_seed=self._neighbour(place).noise_seed)

    def _neighbour(self, place: int) -> Point:
        return self.keyframes[place % len(self.keyframes)].point


def ease(t: float, easing: str) -> float:
    """Progress 0 to 1 at the fraction t of a way; "hold" stays at the start until the end."""
    if easing == "smooth":
        return t * t * (3 - 2 * t)
    if easing == "ease-in":
        return t * t
    if easing == "ease-out":
        return t * (2 - t)
    if easing == "hold":
        return 0.0 if t < 1 else 1.0
    return t
