"""One process' share of a run: what it works with, what is due, and the figures it tells."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from studio.data.dataset import Dataset
from studio.training import events
from studio.training.config import TrainConfig
from studio.training.folder import RunFolder
from studio.training.health import Health
from studio.training.state import TrainState
from studio.training.step import Bench, Metrics


@dataclass(kw_only=True)
class Due:
    """Trained seconds at which something happens next."""

    progress: float = 0.0
    preview: float = 0.0
    checkpoint: float = 0.0
    snapshots: list[float] = field(default_factory=list)


@dataclass(kw_only=True)
class Sitting:
    """One process' share of a run."""

    folder: RunFolder
    config: TrainConfig
    dataset: Dataset
    bench: Bench
    state: TrainState
    due: Due
    health: Health = field(default_factory=Health)
    clock: Callable[[], float] = time.monotonic
    rate_images: int = 0
    rate_seconds: float = 0.0
    images_per_second: float = 0.0
    saved_step: int = -1
    metrics: Metrics = field(default_factory=dict)

    def stamp(self) -> dict[str, Any]:
        """When, for an event."""
        state = self.state
        return {"step": state.step, "kimg": state.kimg, "seconds": round(state.seconds, 3)}


def fraction(config: TrainConfig, state: TrainState) -> float:
    """How much of the run is done, 0 to 1."""
    parts = [state.seconds / config.total_seconds]
    if config.kimg:
        parts.append(state.images / (config.kimg * 1000))
    return min(1.0, max(parts))


def progress(sitting: Sitting) -> events.Progress:
    state, config = sitting.state, sitting.config
    if (passed := state.seconds - sitting.rate_seconds) > 0.2:
        rate = (state.images - sitting.rate_images) / passed
        sitting.images_per_second = (
            rate if not sitting.images_per_second else 0.7 * sitting.images_per_second + 0.3 * rate
        )
        sitting.rate_images, sitting.rate_seconds = state.images, state.seconds
    figures = {name: round(value.item(), 6) for name, value in sitting.metrics.items()}
    figures |= {"sign": round(state.sign_mean, 4), "augment_p": round(state.augment_p, 6)}
    return events.Progress(
        fraction=round(fraction(config, state), 6),
        images_per_second=round(sitting.images_per_second, 3),
        seconds_left=round(_seconds_left(sitting), 1),
        memory_bytes=memory_bytes(sitting.bench.device),
        metrics={name: value for name, value in figures.items() if math.isfinite(value)},
        **sitting.stamp(),
    )


def _seconds_left(sitting: Sitting) -> float:
    state, config = sitting.state, sitting.config
    left = max(0.0, config.total_seconds - state.seconds)
    if config.kimg and sitting.images_per_second:
        left = min(left, max(0.0, config.kimg * 1000 - state.images) / sitting.images_per_second)
    return left


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
    state = sitting.state
    return events.Started(
        resumed=resumed,
        total_seconds=sitting.config.total_seconds,
        device=str(sitting.bench.device),
        precision=str(sitting.bench.dtype).removeprefix("torch."),
        batch=state.batch,
        g_parameters=sum(weight.numel() for weight in state.generator.parameters()),
        d_parameters=sum(weight.numel() for weight in state.discriminator.parameters()),
        **sitting.stamp(),
    )


def warned(sitting: Sitting, topic: str, message: str, hint: str) -> events.Warned:
    return events.Warned(topic=topic, message=message, hint=hint, **sitting.stamp())
