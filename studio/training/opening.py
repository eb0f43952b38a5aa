"""How a sitting begins: settings, pictures, memory, a state from nothing, from a base or from a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from studio.data.dataset import Dataset, open_dataset
from studio.data.info import DatasetInfo
from studio.errors import BadInput, NoSpace, NotFound
from studio.families.base import settings_from
from studio.training import checkpoint, memory, publish
from studio.training.bench import Bench
from studio.training.config import TrainConfig
from studio.training.distributed import ALONE, World
from studio.training.folder import RunFolder
from studio.training.pace import Pace
from studio.training.scoring import Scoring
from studio.training.sitting import Due, Sitting
from studio.training.state import TrainState, compute_dtype, new_state, pick_device
from studio.words import counted

FIRST_CHECKPOINT_SECONDS = 5.0
FIRST_SNAPSHOT_SECONDS = 15.0


def open_sitting(
    folder: RunFolder, clock: Callable[[], float], beat: Callable[[], None], world: World = ALONE
) -> tuple[Sitting, checkpoint.Restored]:
    """All that training needs, and what was found on the disk.

    Raises:
        BadInput: the pictures and the networks do not fit. NotFound, Damaged: something is missing.
        NoSpace: not even one picture at once fits into the memory.
    """
    config = folder.read_config()
    folder.prepare()
    require_shares(config.batch, world)
    device = pick_device(config)
    torch.set_num_threads(process_threads(config, world))
    dataset = open_dataset(Path(config.dataset))
    check_dataset(config, dataset)
    beat()
    need, free = _measure(config), memory.free_bytes(device)
    sharers = world.local_size if device.type == "cpu" else 1
    beat()
    state = fresh(folder, config, dataset.info, device)
    restored = checkpoint.restore(folder.checkpoints, state, config)
    state.batch = need.largest_batch(max(1, state.batch // world.size), free / sharers) * world.size
    sitting = Sitting(
        folder=folder, config=config, dataset=dataset, bench=make_bench(config, device, dataset, beat, world), state=state,
        due=due_after(config, state), pace=Pace(state.images, state.seconds), clock=clock,
        scoring=Scoring(folder, config, dataset),
        need_bytes=need.bytes(state.batch // world.size) * sharers, free_bytes=int(min(free, 2**62)),
    )  # fmt: skip
    if restored.file:
        sitting.saved_step = state.step
        sitting.trail.saved(folder.checkpoints / restored.file, state.step, state.seconds)
    return sitting, restored


def _measure(config: TrainConfig) -> memory.Need:
    try:
        return memory.measure(config)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise NoSpace(
            "The memory is too small for this model.", "Choose smaller pictures, or close other programs."
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether this is how the system says that there is no memory left."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def make_bench(
    config: TrainConfig, device: torch.device, dataset: Dataset, beat: Callable[[], None], world: World = ALONE
) -> Bench:
    """What the steps work with."""
    return Bench(
        config=config,
        device=device,
        dtype=compute_dtype(config, device),
        batch=dataset.batch,
        count=len(dataset),
        beat=beat,
        classless=not dataset.info.labels,
        world=world,
    )


def reload(sitting: Sitting, config: TrainConfig | None = None) -> None:
    """The newest checkpoint again, or the beginning, with other settings if given. The time is not given back."""
    seconds, device = sitting.state.seconds, sitting.bench.device
    sitting.config = config = config or sitting.config
    del sitting.state
    if device.type == "cuda":
        torch.cuda.empty_cache()
    sitting.state = fresh(sitting.folder, config, sitting.dataset.info, device)
    checkpoint.restore(sitting.folder.checkpoints, sitting.state, config)
    sitting.state.seconds = seconds
    sitting.bench = replace(sitting.bench, config=config, orders={})
    sitting.saved_step = -1


def due_after(config: TrainConfig, state: TrainState) -> Due:
    """What happens when, from here on."""
    return Due(
        checkpoint=next_checkpoint(config, state.seconds),
        snapshots=[seconds for seconds in snapshot_seconds(config) if seconds > state.seconds],
    )


def next_checkpoint(config: TrainConfig, seconds: float) -> float:
    """Trained seconds of the next checkpoint: 5, 10, 20, ... and then every `checkpoint_seconds`, so that a run which
    ends soon after its start has not begun in vain."""
    return seconds + min(config.checkpoint_seconds, max(FIRST_CHECKPOINT_SECONDS, seconds))


def snapshot_seconds(config: TrainConfig) -> list[float]:
    """Trained seconds at which a snapshot is taken: dense at first, then spread geometrically up to the end."""
    total, count = config.total_seconds, config.snapshot_count
    first = min(FIRST_SNAPSHOT_SECONDS, total / (count + 1))
    return [first * (total / first) ** (place / count) for place in range(count)]


def usual_threads(cores: int) -> int:
    """All of two cores; of more, one stays free for the studio."""
    return max(cores - 1, min(cores, 2))


def process_threads(config: TrainConfig, world: World = ALONE) -> int:
    """Those of the settings, else this process' part of the machine's."""
    return config.threads or max(1, usual_threads(os.cpu_count() or 1) // world.local_size)


def require_shares(batch: int, world: World) -> None:
    """Raise BadInput unless every process gets as many pictures as the others."""
    if batch % world.size:
        below = batch // world.size * world.size
        wanted = [str(size) for size in (below, below + world.size) if size]
        raise BadInput(
            f"{counted(batch, 'picture')} at once cannot be shared evenly among {world.size} processes.",
            f"Set the batch to {' or '.join(wanted)}, or start another number of processes.",
        )


def fresh(folder: RunFolder, config: TrainConfig, info: DatasetInfo, device: torch.device) -> TrainState:
    """A state to fill. A run that has begun does not miss a base model that was deleted since."""
    base: tuple[nn.Module, nn.Module | None] | None = None
    try:
        base = publish.load_base(config, info)
    except NotFound:
        if not checkpoint.found(folder.checkpoints):
            raise
    return new_state(config, device, base)


def check_dataset(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse pictures that the networks cannot take, with the sentence that says what differs."""
    settings, info = settings_from(config.family, config.settings), dataset.info
    if len(dataset) < 1:
        raise BadInput("The dataset is empty.", "Add some pictures and prepare it again.")
    if info.resolution < settings.resolution:
        raise BadInput(
            f"The model makes pictures of {settings.resolution} px, and the dataset has {info.resolution} px.",
            "Prepare the dataset for the size of the model.",
        )
    if settings.channels == 1 < info.channels:
        raise BadInput(
            f"The model's pictures have {settings.channels} colour channels, the dataset's {info.channels}.",
            "Prepare the dataset for the colours of the model.",
        )
    if settings.classes and settings.classes != len(info.labels) and (info.labels or not config.base_model):
        raise BadInput(
            f"The model has {counted(settings.classes, 'class', 'classes')}, and the dataset {len(info.labels)}.",
            "Prepare the dataset with as many class folders.",
        )
    if config.dataset_fingerprint and info.fingerprint != config.dataset_fingerprint:
        raise BadInput(
            "The pictures of this run have changed since it began.", "Start a new run from its newest snapshot."
        )
