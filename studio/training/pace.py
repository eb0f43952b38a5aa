"""How fast a run is, and how long it will still take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from studio.training.config import TrainConfig
from studio.training.state import TrainState

WINDOW_SECONDS = 60.0
NEWEST_SECONDS = 5.0
_SHORTEST_SECONDS = 0.2


class Pace:
    """Pictures per second of trained time, and from that the end.

    Sheets come all the time, so they are part of the pace. Snapshots with their scores are dense at first and rare
    later: their time is kept apart, and those that are still to come are added one by one. What is shown follows the
    last seconds; what the end is reckoned from follows a minute, or half of the sitting if that is longer.
    """

    def __init__(self, images: int, seconds: float) -> None:
        self._begun = seconds
        self._marks: deque[tuple[float, int]] = deque([(seconds, images)])
        self._rests: list[float] = []
        self._rested = 0.0

    def rest(self, seconds: float) -> None:
        """A snapshot took so long."""
        self._rests = [*self._rests[-9:], seconds]
        self._rested += seconds

    def mark(self, images: int, seconds: float) -> None:
        """So many pictures were shown by now. A run that went back begins anew."""
        seconds -= self._rested
        if images < self._marks[-1][1]:
            self._begun, self._marks = seconds, deque([(seconds, images)])
        self._marks.append((seconds, images))
        window = max(WINDOW_SECONDS, (seconds - self._begun) / 2)
        while len(self._marks) > 2 and self._marks[1][0] <= seconds - window:
            self._marks.popleft()

    @property
    def images_per_second(self) -> float:
        """Over the last seconds, or the last step if that is longer; 0 at the start."""
        seconds, images = self._marks[-1]
        before = (mark for mark in reversed(self._marks) if mark[0] <= seconds - NEWEST_SECONDS and mark[1] < images)
        return self._rate(next(before, self._marks[0]))

    def seconds_left(self, config: TrainConfig, state: TrainState, snapshots: Sequence[float] = ()) -> float:
        """Until the time is used or the pictures are shown, whichever comes first; `snapshots`: when they are due."""
        left = max(0.0, config.total_seconds - state.seconds)
        if config.kimg and (rate := self._rate(self._marks[0])):
            by_pictures = max(0.0, config.kimg * 1000 - state.images) / rate
            left = min(left, by_pictures + self._rests_before(state.seconds + by_pictures, snapshots))
        return left

    def _rests_before(self, end: float, snapshots: Sequence[float]) -> float:
        usual = sum(self._rests) / max(1, len(self._rests))
        return usual * (1 + sum(seconds < end for seconds in snapshots))

    def _rate(self, since: tuple[float, int]) -> float:
        seconds, images = self._marks[-1]
        if seconds - since[0] < _SHORTEST_SECONDS:
            since = self._marks[0]
        passed = seconds - since[0]
        return (images - since[1]) / passed if passed > 0 else 0.0
