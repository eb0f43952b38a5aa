"""How several processes train one run: the first leads, the others do each step with it and nothing else.

The leader goes through the very loop that a lone process goes through; it alone touches the run's folder. Before each
step it gives an order. Whenever its state is another object than before (the start, a way back, another setting), all
others get a copy. So they need to see nothing but the prepared pictures, and a resumed run may have more processes, or
fewer.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from studio.data.dataset import open_dataset
from studio.errors import StudioError
from studio.options import from_json, to_json
from studio.training.bench import Bench, NotFinite
from studio.training.config import TrainConfig
from studio.training.distributed import Elsewhere, Lost, World
from studio.training.opening import check_dataset, make_bench, out_of_memory, process_threads
from studio.training.sitting import Sitting, calm
from studio.training.state import COUNTERS, TrainState, new_state, pick_device, put_tensors, tensors_of
from studio.training.step import train_step

END, STATE, STEP, CALM_STEP = range(4)
"""The leader's orders."""
EXIT_FAILED = 4


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """All that a process must know before it receives the tensors of a state: plain data.

    Attributes:
        config, counters: of the run and of its state.
        tensors: name, shape, type and kind of device, in the order in which they follow.
    """

    config: dict[str, Any]
    counters: dict[str, Any]
    tensors: list[tuple[str, tuple[int, ...], torch.dtype, str]]


@contextlib.contextmanager
def leading(sitting: Sitting) -> Iterator[bool]:
    """Around a step of the leader: the others, if there are any, do it too. Yields whether it is to be a calm one.

    Raises Lost, or Elsewhere if another process is out of memory.
    """
    world, is_calm = sitting.bench.world, calm(sitting)
    if not world.together:
        yield is_calm
        return
    if sitting.shared() is not sitting.state:
        world.order(STATE)
        send(world, sitting.config, sitting.state)
        sitting.shared = weakref.ref(sitting.state)
    world.order(CALM_STEP if is_calm else STEP)
    with in_step(world):
        yield is_calm


@contextlib.contextmanager
def resting(sitting: Sitting) -> Iterator[None]:
    """Between two steps, while the others of this machine wait: their processor cores are the leader's."""
    torch.set_num_threads(process_threads(sitting.config))
    try:
        yield
    finally:
        torch.set_num_threads(process_threads(sitting.config, sitting.bench.world))


@contextlib.contextmanager
def in_step(world: World) -> Iterator[None]:
    """Around a step of any process: whoever runs out of memory says so, and all leave the step together."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error) and not isinstance(error, Elsewhere):
            with contextlib.suppress(Elsewhere):
                world.agree(well=False)
        raise
    world.agree()


def send(world: World, config: TrainConfig, state: TrainState) -> None:
    """The leader's state, for all others. Raises StudioError with the sentence of one that cannot take it."""
    tensors = tensors_of(state)
    about = [(name, tuple(value.shape), value.dtype, value.device.type) for name, value in tensors.items()]
    world.tell(
        Parcel(config=to_json(config), counters={name: getattr(state, name) for name in COUNTERS}, tensors=about)
    )
    if troubles := [trouble for trouble in world.gather("") if trouble]:
        raise StudioError(troubles[0], "All machines must see the prepared pictures under the same path.")
    for value in tensors.values():
        world.copy(value.contiguous())


def receive(world: World) -> tuple[Bench, TrainState] | None:
    """What `send` sent, and a bench to work on; None if this process cannot work on it, which the leader then knows."""
    parcel: Parcel = world.tell(None)
    try:
        bench, state = prepare(world, from_json(TrainConfig, parcel.config))
    except (StudioError, MemoryError, RuntimeError, OSError) as error:
        if isinstance(error, Lost):
            raise
        said = error.message if isinstance(error, StudioError) else str(error)
        world.gather(f"Process {world.rank} on {socket.gethostname()} cannot begin: {said}")
        return None
    if any(world.gather("")):
        return None
    tensors = {name: torch.empty(shape, dtype=dtype, device=kind) for name, shape, dtype, kind in parcel.tensors}
    for value in tensors.values():
        world.copy(value)
    put_tensors(state, tensors)
    for name, value in parcel.counters.items():
        setattr(state, name, value)
    return bench, state


def prepare(world: World, config: TrainConfig) -> tuple[Bench, TrainState]:
    """A bench, and a state that is still to be filled. Raises StudioError if the pictures cannot be read here."""
    device = pick_device(config)
    torch.set_num_threads(process_threads(config, world))
    dataset = open_dataset(Path(config.dataset))
    check_dataset(config, dataset)
    return make_bench(config, device, dataset, lambda: None, world), new_state(config, device)


def follow(world: World) -> int:
    """What every process but the first does until the leader ends it. Returns the exit code."""
    work: tuple[Bench, TrainState] | None = None
    try:
        while (order := world.order()) != END:
            if order == STATE:
                work = None
                work = receive(world)
            elif work is not None:
                do_step(world, *work, calm=order == CALM_STEP)
    except Lost as error:
        print(f"Process {world.rank}: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def do_step(world: World, bench: Bench, state: TrainState, *, calm: bool) -> None:
    """One step; what goes wrong, the leader finds wrong as well, and mends it."""
    try:
        with in_step(world):
            train_step(bench, state, calm=calm)
    except NotFinite:
        return
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise


def dismiss(world: World) -> None:
    """The leader's last order."""
    if world.together:
        with contextlib.suppress(Lost):
            world.order(END)
