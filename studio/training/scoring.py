"""Scores of snapshots while a run trains, for a few hundredths of its time, and which snapshot is the best."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from studio import paths
from studio.data.dataset import Dataset
from studio.ops.images import from_uint8
from studio.training import events
from studio.training.config import TrainConfig
from studio.training.folder import RunFolder
from studio.training.pictures import shrunk

if TYPE_CHECKING:
    from studio.features.extractor import Extractor
    from studio.training.scores import Scorer, Scores

SHORTEST_RUN_SECONDS = 60.0
FIRST_SECONDS = 20.0
COST_SHARE = 0.03
MADE = 128
COPIED_TOO_MUCH = 0.3
"""A snapshot with more copies than that is no candidate for the best, however low its KID."""


class Scoring:
    """When to judge a snapshot, the judge, and the best one so far. A run under a minute is not judged."""

    def __init__(self, folder: RunFolder, config: TrainConfig, dataset: Dataset) -> None:
        self._folder, self._config, self._dataset = folder, config, dataset
        self._scorer: Scorer | None = None
        self.next_seconds = FIRST_SECONDS if config.total_seconds >= SHORTEST_RUN_SECONDS else float("inf")

    def due(self, seconds: float, *, last: bool = False) -> bool:
        """Whether the snapshot of this moment, in trained seconds, is to be judged; the last one of a run always is."""
        return self.next_seconds < float("inf") if last else seconds >= self.next_seconds

    def took(self, seconds: float, cost_seconds: float) -> None:
        """It cost so much; the next one waits until that was three hundredths of the time."""
        self.next_seconds = seconds + cost_seconds / COST_SHARE

    def off(self) -> None:
        """Judge no more in this sitting."""
        self.next_seconds = float("inf")

    @property
    def wanted(self) -> int:
        """How many pictures are judged: those of the first seeds, all that a sheet shows among them."""
        return max(MADE, self._shown)

    @property
    def _shown(self) -> int:
        return self._config.preview_rows * self._config.preview_columns

    def judge(self, pictures: Tensor, name: str, beat: Callable[[], None]) -> dict[str, Any]:
        """The fields of a `Scored` event for the snapshot `name` that made these pictures [wanted, c, h, w].

        Raises:
            StudioError: there is no feature network, or too few pictures.
        """
        scorer, shown = self._open(pictures.shape[2]), self._shown
        beat()
        scores = scorer.judge(pictures)
        beat()
        figures = {key: float(getattr(scores, key)) for key in _FIGURES}
        return {
            **figures,
            "nearest": tuple(scores.nearest[:shown]),
            "distances": tuple(round(distance, 4) for distance in scores.distances[:shown]),
            "snapshot": name,
            "best": self._keep_best(name, scores),
        }

    def _keep_best(self, name: str, scores: Scores) -> bool:
        best = self._folder.read_best()
        if best and (scores.copied > COPIED_TOO_MUCH or scores.kid >= float(best["kid"])):
            return False
        record = {"snapshot": name, "kid": scores.kid, "copied": scores.copied}
        paths.write_file(self._folder.best, json.dumps(record) + "\n")
        return True

    def _open(self, resolution: int) -> Scorer:
        if self._scorer is None:
            from studio.features.extractor import load

            self._scorer = scorer_of(self._dataset, resolution, load(), seed=self._config.seed)
        return self._scorer


def scorer_of(dataset: Dataset, resolution: int, extractor: Extractor, *, seed: int = 0) -> Scorer:
    """A judge that knows the pictures of a dataset as a model of this resolution saw them. Raises BadInput if too few."""
    from studio.training.scores import Scorer

    def pictures(places: list[int]) -> Tensor:
        return shrunk(from_uint8(dataset.batch(places)[0]), resolution)

    return Scorer(pictures, len(dataset), extractor, seed=seed)


_FIGURES = ("kid", "precision", "recall", "coverage", "diversity", "copied")


def scored(fields: dict[str, Any], stamp: dict[str, Any]) -> events.Scored:
    """The event."""
    return events.Scored(**fields, **stamp)
