"""One run as the page shows it, from its settings, its log and its folder. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.training.config import TrainConfig
from studio.training.folder import RunFolder
from studio.training.record import Record


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run as the page shows it.

    `state` is waiting, starting, training, pausing, paused, stopping, finished, failed or interrupted. `fraction` is
    0 to 1, `snapshots` are the steps that can be played, and `model_id` names the finished model on the shelf. `best` is the
    snapshot with the best scores, -1 without any. `topic` and `remedy` belong to `message`: words for a button, which
    `Runs.heal(id, topic)` carries out; empty: there is nothing to click.
    """

    id: str
    title: str
    state: str
    fraction: float
    step: int
    kimg: float
    images_per_second: float
    seconds_left: float
    seconds_trained: float
    memory_bytes: int
    message: str
    hint: str
    metrics: dict[str, float]
    preview: str
    preview_seeds: tuple[int, ...]
    preview_columns: int
    snapshots: tuple[int, ...]
    base: str
    dataset: str
    family: str
    minutes: float
    model_id: str
    created: str
    best: int = -1
    topic: str = ""
    remedy: str = ""


def summarise(run_id: str, folder: RunFolder, config: TrainConfig, record: Record, state: str) -> RunSummary:
    """The summary of a run in `state`."""
    figures, finished = record.figures, state == "finished"
    seconds, kimg = float(figures.get("seconds", 0.0)), float(figures.get("kimg", 0.0))
    alive = state in ("training", "pausing", "stopping")
    return RunSummary(
        id=run_id,
        title=config.title,
        state=state,
        fraction=1.0 if finished else _fraction(config, seconds, kimg),
        step=int(figures.get("step", 0)),
        kimg=kimg,
        images_per_second=float(figures.get("images_per_second", 0.0)) if alive else 0.0,
        seconds_left=_seconds_left(config, seconds, figures, state),
        seconds_trained=seconds,
        memory_bytes=int(figures.get("memory_bytes", 0)) if alive else 0,
        message=record.message,
        hint=record.hint,
        metrics=dict(figures.get("metrics", {})),
        preview=record.preview,
        preview_seeds=record.preview_seeds,
        preview_columns=record.preview_columns,
        snapshots=_snapshots(folder),
        base=Path(config.base_model).name,
        dataset=Path(config.dataset).name,
        family=config.family,
        minutes=config.minutes,
        model_id=Path(record.model).name if finished else "",
        created=config.created,
        best=_best(folder),
        topic=record.topic,
        remedy=record.remedies.get(record.topic, ""),
    )


def _snapshots(folder: RunFolder) -> tuple[int, ...]:
    if not folder.snapshots.is_dir():
        return ()
    return tuple(sorted(int(place.name) for place in folder.snapshots.iterdir() if place.name.isdigit()))


def _best(folder: RunFolder) -> int:
    name = str(folder.read_best().get("snapshot", ""))
    return int(name) if name and (folder.snapshots / name).is_dir() else -1


def _fraction(config: TrainConfig, seconds: float, kimg: float) -> float:
    by_pictures = kimg / config.kimg if config.kimg else 0.0
    return min(1.0, max(seconds / config.total_seconds, by_pictures))


def _seconds_left(config: TrainConfig, seconds: float, figures: dict[str, Any], state: str) -> float:
    if state == "finished":
        return 0.0
    end = figures.get("end_seconds", config.total_seconds) if state == "training" else config.total_seconds
    return max(0.0, float(end) - seconds)
