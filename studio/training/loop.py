"""The training loop: a generator of events. It never prints, sleeps, plots, or knows a browser.

    for event in train(folder, wish=…):
        …

It trains until the time is used or the wish changes, and saves before it ends. Killed at any moment, it goes on from
the newest checkpoint with the very numbers that it would have computed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import torch
from torch import nn

from studio import paths
from studio.data.dataset import Dataset, open_dataset
from studio.data.info import DatasetInfo
from studio.errors import BadInput, NoSpace, NotFound, StudioError
from studio.families.base import Generator, settings_from
from studio.training import checkpoint, events, publish, sheet
from studio.training.config import TrainConfig
from studio.training.folder import RunFolder
from studio.training.health import diversity
from studio.training.sitting import Due, Sitting, fraction, progress, started, warned
from studio.training.state import TrainState, compute_dtype, new_state, pick_device, scale_rates
from studio.training.step import Bench, NotFinite, train_step

PROGRESS_SECONDS = 0.4
PROGRESS_SLOWEST_SECONDS = 2.0
PREVIEW_SHARE = 0.05
PREVIEW_SLOWEST_SECONDS = 60.0
FIRST_SNAPSHOT_SECONDS = 15.0
ROLLBACKS = 2
ROLLBACK_RATE = 0.5

Wish = Callable[[], str]


def train(
    folder: RunFolder,
    *,
    wish: Wish = lambda: "train",
    clock: Callable[[], float] = time.monotonic,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[events.RunEvent]:
    """Train the run in `folder` and tell what happens.

    Args:
        wish: asked before every step for "train", "pause", "stop", "interrupt" (save, and go on at the
            next start) or "gone" (just end).
        clock: seconds, for the budget of time.
        beat: called whenever some work is done, a few times a step.

    Yields:
        Started first; Paused, Finished or Failed last.
    """
    try:
        sitting, restored = _open(folder, clock, beat)
    except StudioError as error:
        yield events.Failed(message=error.message, hint=error.hint)
        return
    for sentence in restored.damaged:
        yield warned(sitting, "damaged", sentence, "The newest one that is whole was used; a little work is repeated.")
    if restored.other_settings:
        yield warned(sitting, "settings", "Some settings have changed since the last sitting.", "")
    yield started(sitting, resumed=bool(restored.file))
    try:
        yield from _go_on(sitting, wish)
    except StudioError as error:
        yield events.Failed(message=error.message, hint=error.hint, **sitting.stamp())


def _open(
    folder: RunFolder, clock: Callable[[], float], beat: Callable[[], None]
) -> tuple[Sitting, checkpoint.Restored]:
    config = folder.read_config()
    folder.prepare()
    device = pick_device(config)
    torch.set_num_threads(config.threads or usual_threads(os.cpu_count() or 1))
    dataset = open_dataset(Path(config.dataset))
    _check_dataset(config, dataset)
    bench = Bench(
        config=config,
        device=device,
        dtype=compute_dtype(config, device),
        batch=dataset.batch,
        count=len(dataset),
        beat=beat,
    )
    state = _fresh(folder, config, dataset.info, device)
    restored = checkpoint.restore(folder.checkpoints, state, config)
    due = Due(
        checkpoint=state.seconds + config.checkpoint_seconds,
        snapshots=[seconds for seconds in snapshot_seconds(config) if seconds > state.seconds],
    )
    sitting = Sitting(folder=folder, config=config, dataset=dataset, bench=bench, state=state, due=due, clock=clock)
    sitting.rate_images, sitting.rate_seconds = state.images, state.seconds
    sitting.saved_step = state.step if restored.file else -1
    return sitting, restored


def usual_threads(cores: int) -> int:
    """All of two cores; of more, one stays free for the studio."""
    return max(cores - 1, min(cores, 2))


def _fresh(folder: RunFolder, config: TrainConfig, info: DatasetInfo, device: torch.device) -> TrainState:
    """A state to fill. A run that has begun does not miss a base model that was deleted since."""
    base: tuple[nn.Module, nn.Module | None] | None = None
    try:
        base = publish.load_base(config, info)
    except NotFound:
        if not checkpoint.found(folder.checkpoints):
            raise
    return new_state(config, device, base)


def _check_dataset(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse pictures that the networks cannot take, with the sentence that says what differs."""
    settings, info = settings_from(config.family, config.settings), dataset.info
    if len(dataset) < 1:
        raise BadInput("The dataset is empty.", "Add some pictures and prepare it again.")
    if info.resolution % settings.resolution:
        raise BadInput(
            f"The model makes pictures of {settings.resolution} px, and the dataset has {info.resolution} px.",
            "Prepare the dataset for the size of the model.",
        )
    if settings.channels != info.channels:
        raise BadInput(
            f"The model's pictures have {settings.channels} colour channels, the dataset's {info.channels}.",
            "Prepare the dataset for the colours of the model.",
        )
    if settings.classes and settings.classes != len(info.labels):
        raise BadInput(
            f"The model has {settings.classes} classes, and the dataset {len(info.labels)}.",
            "Prepare the dataset with as many class folders.",
        )
    if config.dataset_fingerprint and info.fingerprint != config.dataset_fingerprint:
        raise BadInput(
            "The pictures of this run have changed since it began.", "Start a new run from its newest snapshot."
        )


def snapshot_seconds(config: TrainConfig) -> list[float]:
    """Trained seconds at which a snapshot is taken: dense at first, then spread geometrically up to the end."""
    total, count = config.total_seconds, config.snapshot_count
    first = min(FIRST_SNAPSHOT_SECONDS, total / (count + 1))
    return [first * (total / first) ** (place / count) for place in range(count)]


def _go_on(sitting: Sitting, wish: Wish) -> Iterator[events.RunEvent]:
    """Steps, and all that becomes due between them, until the end."""
    if sitting.state.step == 0:
        yield from _snapshot(sitting)
        yield from _preview(sitting)
    while True:
        wished = wish()
        if wished == "gone":
            return
        if wished in ("pause", "interrupt"):
            yield from _save(sitting)
            yield events.Paused(reason="asked" if wished == "pause" else "interrupted", **sitting.stamp())
            return
        if wished == "stop" or fraction(sitting.config, sitting.state) >= 1:
            yield from _finish(sitting)
            return
        yield from _step(sitting)


def _step(sitting: Sitting) -> Iterator[events.RunEvent]:
    begun = sitting.clock()
    try:
        sitting.metrics |= train_step(sitting.bench, sitting.state)
        yield from _due(sitting)
    except NotFinite as error:
        yield from _roll_back(sitting, error)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        yield from _shrink(sitting)
    sitting.state.seconds += sitting.clock() - begun


def _due(sitting: Sitting) -> Iterator[events.RunEvent]:
    """What the clock asks for after a step."""
    state, due = sitting.state, sitting.due
    if state.seconds >= due.progress:
        yield progress(sitting)
        yield from _judge(sitting)
        due.progress = state.seconds + min(PROGRESS_SLOWEST_SECONDS, PROGRESS_SECONDS + state.seconds / 600)
    if state.seconds >= due.preview:
        yield from _preview(sitting)
    if due.snapshots and state.seconds >= due.snapshots[0]:
        due.snapshots = [seconds for seconds in due.snapshots if seconds > state.seconds]
        yield from _snapshot(sitting)
    if state.seconds >= due.checkpoint:
        yield from _save(sitting)


def _finish(sitting: Sitting) -> Iterator[events.RunEvent]:
    """The last snapshot and sheet, then the model's folder; doing it twice changes nothing."""
    yield from _save(sitting)
    yield from _preview(sitting)
    yield from _snapshot(sitting)
    yield progress(sitting)
    model = publish.publish(sitting.config, sitting.dataset.info, sitting.state, sitting.folder.root)
    yield events.Finished(model=model, message="The training is done.", **sitting.stamp())


def _save(sitting: Sitting) -> Iterator[events.RunEvent]:
    """A checkpoint, or a warning if there is no room: the run goes on and the older ones stay."""
    sitting.due.checkpoint = sitting.state.seconds + sitting.config.checkpoint_seconds
    if sitting.saved_step == sitting.state.step:
        return
    try:
        file = checkpoint.save(sitting.folder.checkpoints, sitting.state, sitting.config)
    except NoSpace as error:
        yield warned(sitting, "space", error.message, error.hint)
        return
    sitting.saved_step = sitting.state.step
    sitting.bench.beat()
    yield events.Checkpoint(file=file.name, **sitting.stamp())


def _snapshot(sitting: Sitting) -> Iterator[events.RunEvent]:
    """The averaged generator as a playable model folder."""
    name = f"{sitting.state.step:08d}"
    folder = sitting.folder.snapshots / name
    if not folder.is_dir():
        try:
            publish.save_snapshot(folder, sitting.config, sitting.dataset.info, sitting.state)
        except NoSpace as error:
            yield warned(sitting, "space", error.message, error.hint)
            return
    sitting.bench.beat()
    yield events.Snapshot(name=name, **sitting.stamp())


def _preview(sitting: Sitting) -> Iterator[events.RunEvent]:
    """A sheet of fixed seeds; the next one waits so long that sheets take a twentieth of the time at most."""
    config, state, begun = sitting.config, sitting.state, sitting.clock()
    seeds = tuple(range(config.preview_rows * config.preview_columns))
    pictures = sheet.draw(cast(Generator, state.average), seeds, sitting.bench.device, sitting.bench.beat)
    file = f"{state.step:08d}.webp"
    try:
        paths.write_file(sitting.folder.previews / file, sheet.encode(pictures, config.preview_columns))
    except NoSpace as error:
        yield warned(sitting, "space", error.message, error.hint)
        return
    cost = sitting.clock() - begun
    usual = min(config.preview_seconds, 1 + state.seconds / 4)
    sitting.due.preview = state.seconds + max(
        usual, min(state.seconds / 100, PREVIEW_SLOWEST_SECONDS), cost / PREVIEW_SHARE
    )
    yield events.Preview(
        file=file,
        seeds=seeds,
        rows=config.preview_rows,
        columns=config.preview_columns,
        size_px=pictures.shape[2],
        **sitting.stamp(),
    )
    now = diversity(pictures)
    state.diversity = max(state.diversity, now)
    if alarm := sitting.health.judge_diversity(kimg=state.kimg, diversity=now, highest=state.diversity):
        yield warned(sitting, alarm.topic, alarm.message, alarm.hint)


def _judge(sitting: Sitting) -> Iterator[events.RunEvent]:
    state = sitting.state
    alarm = sitting.health.judge_critic(
        kimg=state.kimg, sign_mean=state.sign_mean, augment_p=state.augment_p, adaptive=sitting.config.augment == "ada"
    )
    if alarm:
        yield warned(sitting, alarm.topic, alarm.message, alarm.hint)


def _roll_back(sitting: Sitting, error: NotFinite) -> Iterator[events.RunEvent]:
    """Back to the newest checkpoint with half the learning rates; the third time the run fails."""
    if sitting.state.rollbacks >= ROLLBACKS:
        raise error
    rollbacks = sitting.state.rollbacks + 1
    _reload(sitting)
    sitting.state.rollbacks = rollbacks
    scale_rates(sitting.state, ROLLBACK_RATE)
    yield warned(
        sitting,
        "rollback",
        error.message,
        f"The run went back to step {sitting.state.step} and learns at half the speed.",
    )


def _shrink(sitting: Sitting) -> Iterator[events.RunEvent]:
    """Out of memory: back to the newest checkpoint with half the batch."""
    batch = sitting.state.batch // 2
    if batch < 1:
        raise NoSpace("The memory is too small for this model.", "Choose smaller pictures, or close other programs.")
    _reload(sitting)
    sitting.state.batch = batch
    yield warned(sitting, "memory", f"The memory was full. The run goes on with {batch} pictures at once.", "")


def _reload(sitting: Sitting) -> None:
    """The newest checkpoint again; without one, the beginning. The time is not given back."""
    seconds, config = sitting.state.seconds, sitting.config
    del sitting.state
    if sitting.bench.device.type == "cuda":
        torch.cuda.empty_cache()
    sitting.state = _fresh(sitting.folder, config, sitting.dataset.info, sitting.bench.device)
    checkpoint.restore(sitting.folder.checkpoints, sitting.state, config)
    sitting.state.seconds = seconds
    sitting.rate_images = sitting.state.images


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
