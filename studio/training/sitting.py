"""One process' share of a run: what it works with, what is due, and the figures it tells."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.data.dataset import Dataset
from studio.families.base import Seeing
from studio.training import events
from studio.training.bench import Bench, Metrics
from studio.training.config import TrainConfig
from studio.training.folder import RunFolder
from studio.training.health import Sentinel, Vitals
from studio.training.pace import Pace
from studio.training.scoring import Scoring
from studio.training.state import TrainState
from studio.training.trail import Trail


@dataclass(kw_only=True)
class Due:
    """Trained seconds at which something happens next."""

    progress: float = 0.0
    preview: float = 0.0
    checkpoint: float = 0.0
    check: float = 0.0
    snapshots: list[float] = field(default_factory=list)


class Tally:
    """Means of each figure since the last reading. Nothing waits for the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self.means: dict[str, float] = {}

    def add(self, metrics: Metrics) -> None:
        """The scalars of one step."""
        for name, value in metrics.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value.detach(), count + 1

    def read(self) -> dict[str, float]:
        """The means since the last reading, and the ones before for figures that came not again."""
        if self._sums:
            totals = torch.stack([total.float() for total, _ in self._sums.values()]).tolist()
            counts = [count for _, count in self._sums.values()]
            fresh = zip(self._sums, totals, counts, strict=True)
            self.means |= {name: total / count for name, total, count in fresh}
            self._sums = {}
        return self.means


@dataclass(kw_only=True)
class Sitting:
    """One process' share of a run.

    Attributes:
        saved_step: that of the newest checkpoint, -1 without one.
        failed_step: the step at which the run last had to go back; 0: it never had to.
        diversity: of the newest sheet, and whether the sentinel has not seen it yet.
        scores: the newest, None once the sentinel has seen them.
        shared: the state that the other processes of the run have a copy of, if any.
        need_bytes, free_bytes: the measured estimate of the memory, and what there was.
    """

    folder: RunFolder
    config: TrainConfig
    dataset: Dataset
    bench: Bench
    state: TrainState
    due: Due
    pace: Pace
    scoring: Scoring
    trail: Trail = field(default_factory=Trail)
    sentinel: Sentinel = field(default_factory=Sentinel)
    tally: Tally = field(default_factory=Tally)
    clock: Callable[[], float] = time.monotonic
    saved_step: int = -1
    failed_step: int = 0
    diversity: float = 0.0
    diversity_is_new: bool = False
    scores: Mapping[str, Any] | None = None
    shared: Callable[[], TrainState | None] = lambda: None
    need_bytes: int = 0
    free_bytes: int = 0

    def stamp(self) -> dict[str, Any]:
        """When, for an event."""
        state = self.state
        return {"step": state.step, "kimg": state.kimg, "seconds": round(state.seconds, 3)}

    def vitals(self) -> Vitals:
        """The reading for the sentinel; new sheets and scores are part of one reading only."""
        state = self.state
        diversity, scores = self.diversity if self.diversity_is_new else None, self.scores or {}
        self.diversity_is_new, self.scores = False, None
        return Vitals(
            kimg=state.kimg,
            seconds=state.seconds,
            epochs=state.images / max(1, len(self.dataset)),
            sign=state.sign_mean,
            augment_p=state.augment_p,
            adaptive=self.config.augment == "ada",
            sighted=isinstance(state.discriminator, Seeing),
            figures=self.tally.means,
            diversity=diversity,
            highest_diversity=state.diversity,
            copied=scores.get("copied"),
            coverage=scores.get("coverage"),
        )


def fraction(config: TrainConfig, state: TrainState) -> float:
    """How much of the run is done, 0 to 1."""
    parts = [state.seconds / config.total_seconds]
    if config.kimg:
        parts.append(state.images / (config.kimg * 1000))
    return min(1.0, max(parts))


def calm(sitting: Sitting) -> bool:
    """Whether the run has come to the last part, in which it learns with small steps."""
    return fraction(sitting.config, sitting.state) >= 1 - sitting.config.calm_share


def progress(sitting: Sitting) -> events.Progress:
    """The newest figures."""
    state, config = sitting.state, sitting.config
    sitting.pace.mark(state.images, state.seconds)
    figures = {name: round(value, 6) for name, value in sitting.tally.read().items()}
    figures |= {"sign": round(state.sign_mean, 4), "augment_p": round(state.augment_p, 6)}
    figures |= {"diversity": round(sitting.diversity, 4)}
    return events.Progress(
        fraction=round(fraction(config, state), 6),
        images_per_second=round(sitting.pace.images_per_second, 3),
        seconds_left=round(sitting.pace.seconds_left(config, state, sitting.due.snapshots), 1),
        memory_bytes=memory_bytes(sitting.bench.device),
        metrics={name: value for name, value in figures.items() if math.isfinite(value)},
        **sitting.stamp(),
    )


def memory_bytes(device: torch.device) -> int:
    """What the process holds now: main memory, and the accelerator's if it uses one."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        return held + int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return held
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held + peak * (1 if sys.platform == "darwin" else 1024)


def started(sitting: Sitting, *, resumed: bool) -> events.Started:
    """The first event of a sitting."""
    state = sitting.state
    return events.Started(
        resumed=resumed,
        total_seconds=sitting.config.total_seconds,
        device=str(sitting.bench.device),
        precision=str(sitting.bench.dtype).removeprefix("torch."),
        batch=state.batch,
        g_parameters=sum(weight.numel() for weight in state.generator.parameters()),
        d_parameters=sum(weight.numel() for weight in state.discriminator.parameters()),
        memory_bytes=sitting.need_bytes,
        free_bytes=sitting.free_bytes,
        **sitting.stamp(),
    )


def warned(
    sitting: Sitting, topic: str, message: str, hint: str = "", *, remedy: str = "", did: str = ""
) -> events.Warned:
    """A warning, as of now."""
    return events.Warned(topic=topic, message=message, hint=hint, remedy=remedy, did=did, **sitting.stamp())
