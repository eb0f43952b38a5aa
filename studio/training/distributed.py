"""One run in several processes, as torchrun starts them: who we are, and the few things that we say to each other.

Data parallel: every process holds the same networks and learns from its own rows of each batch; before an optimizer
moves, slopes and figures are averaged over all. Each `World` of size 1 does nothing at all.

Two channels: orders, for which a process may wait all day, and what is exchanged within a step, where silence means
that something is wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from studio.errors import BadInput, StudioError
from studio.ops.seeds import Share
from studio.training.process import processes

MEETING = "STUDIO_MEETING"
"""In the environment of a process that another one of this machine started: the file by which they find each other."""
MEETING_SECONDS = 120.0
"""So long is waited for processes of this machine to come; on others, as long as within a step."""
ORDER_SECONDS = 7 * 24 * 3600.0
"""So long may the others wait for an order: the first process prepares pictures, draws previews and judges stages."""
LEAVING_SECONDS = 5.0
"""So long may a process take to end once it is told so, or once nobody leads it any more."""
PEER_SECONDS = 600.0
"""So long may a process be silent within a step, compiling and slow disks included."""


class Lost(StudioError):
    """Another process of this run is gone, or does not answer any more."""


class Elsewhere(MemoryError):
    """Another process of this run has no memory left, so that all of them leave the step."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes of one run, seen from one of them.

    Attributes:
        rank: our number, from 0, which leads and alone writes.
        size: how many there are, on all machines.
        local_rank, local_size: the same on this machine.
        meeting: the file by which processes of one machine find each other; "": torchrun told them how.
        orders, steps: the channels, once joined.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    meeting: str = ""
    orders: Any = None
    steps: Any = None

    @property
    def share(self) -> Share:
        """The rows of each batch that are ours."""
        return Share(self.rank, self.size)

    @property
    def together(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    def order(self, code: int = 0) -> int:
        """What the leader says to all, a small number; the others wait for it, all day if need be. Raises Lost."""
        said = torch.tensor([code])
        _exchange(lambda: dist.broadcast(said, 0, group=self.orders))
        return int(said)

    def tell(self, thing: Any) -> Any:
        """The leader's `thing`, of plain data, for all. Raises Lost."""
        box = [thing]
        _exchange(lambda: dist.broadcast_object_list(box, 0, group=self.steps, device=torch.device("cpu")))
        return box[0]

    def gather(self, text: str) -> list[str]:
        """The text of each process, for all. Raises Lost."""
        texts = [""] * self.size
        _exchange(lambda: dist.all_gather_object(texts, text, group=self.steps))
        return texts

    def copy(self, values: Tensor) -> None:
        """Overwrite `values`, which must be contiguous, with the leader's. Raises Lost."""
        _exchange(lambda: dist.broadcast(values, 0, group=self.steps))

    def agree(self, well: bool = True) -> None:
        """Before each exchange within a step, and at its end: is everyone well? Waits for no device.

        Raises Elsewhere if somebody is out of memory; Lost."""
        if self.together:
            troubles = torch.tensor([0 if well else 1])
            _exchange(lambda: dist.all_reduce(troubles, group=self.steps))
            if int(troubles):
                raise Elsewhere("A process of this run is out of memory.")

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite each of the tensors, float32 on one device, with its mean over all processes, in one message."""
        if not self.together:
            return
        flat = torch.cat([values.reshape(-1) for values in tensors])
        self.add_up(flat)
        pieces = torch.split(flat.div_(self.size), [values.numel() for values in tensors])
        shaped = [piece.view(values.shape) for piece, values in zip(pieces, tensors, strict=True)]
        torch._foreach_copy_(list(tensors), shaped)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of all processes' `values`, of one shape, float32, through which slopes find their way back."""
        return summed(values.float(), self) / self.size if self.together else values

    def gather_rows(self, values: Tensor) -> Tensor:
        """The rows [n, …] of all processes [size * n, …], float32, through which slopes find their way back."""
        everyones = torch.zeros(self.size, *values.shape, device=values.device)
        everyones[self.rank] = 1
        return summed(everyones * values.float(), self).flatten(0, 1)

    def add_up(self, values: Tensor) -> None:
        """Overwrite `values` with their sum over all processes. Raises Lost, Elsewhere."""
        self.agree()
        _exchange(lambda: dist.all_reduce(values, group=self.steps))


ALONE = World()
"""What a process is that torchrun did not start."""


class _Summed(torch.autograd.Function):
    """The sum over all processes. Each of them differentiates the sum of all their losses, so slopes add up as well."""

    @staticmethod
    def forward(context: Any, values: Tensor, world: World) -> Tensor:
        context.world = world
        total = values.clone(memory_format=torch.contiguous_format)
        world.add_up(total)
        return total

    @staticmethod
    def backward(context: Any, slope: Tensor) -> Any:
        return summed(slope, context.world), None


def summed(values: Tensor, world: World) -> Tensor:
    """`values` added up over all processes; can be differentiated any number of times."""
    total: Tensor = _Summed.apply(values, world)
    return total


def from_environment(environment: Mapping[str, str] = os.environ) -> World:
    """What torchrun says; a process that it did not start is alone. Raises BadInput for numbers that make no sense."""
    size = processes(environment)
    if size == 1:
        return ALONE
    rank, local_rank = environment["RANK"], environment.get("LOCAL_RANK", "0")
    local_size = environment.get("LOCAL_WORLD_SIZE", "1")
    try:
        return World(
            rank=int(rank), size=size, local_rank=int(local_rank), local_size=int(local_size),
            meeting=environment.get(MEETING, ""),
        )  # fmt: skip
    except ValueError:
        raise BadInput("The numbers of the processes are garbled.", "Start the training with torchrun.") from None


@contextmanager
def joined(world: World, peer_seconds: float = 0) -> Iterator[World]:
    """Meet the other processes, and part in the end. A world of one is left as it is.

    Args:
        peer_seconds: patience within steps; 0 takes STUDIO_PEER_SECONDS of the environment, else `PEER_SECONDS`.

    Raises:
        Lost: they cannot be reached.
    """
    if not world.together:
        yield world
        return
    patience = peer_seconds or float(os.environ.get("STUDIO_PEER_SECONDS", PEER_SECONDS))
    backend = "gloo"
    if torch.cuda.is_available() and not world.meeting:
        torch.cuda.set_device(world.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    _exchange(lambda: _meet(world, patience))
    try:
        steps = _exchange(lambda: dist.new_group(backend=backend, timeout=timedelta(seconds=patience)))
        orders = _exchange(lambda: dist.new_group(backend="gloo", timeout=timedelta(seconds=ORDER_SECONDS)))
        yield replace(world, orders=orders, steps=steps)
    finally:
        dist.destroy_process_group()


def _meet(world: World, patience: float) -> None:
    if not world.meeting:
        dist.init_process_group("gloo", timeout=timedelta(seconds=patience))
        return
    if loopback := {"linux": "lo", "darwin": "lo0"}.get(sys.platform):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)  # nobody else's business
    dist.init_process_group(
        "gloo", init_method=Path(world.meeting).as_uri(), rank=world.rank, world_size=world.size,
        timeout=timedelta(seconds=MEETING_SECONDS),
    )  # fmt: skip


@contextmanager
def hired(size: int, command: Sequence[str]) -> Iterator[World]:
    """Start `size` - 1 more processes on this machine by `command`, each knowing its number as if torchrun had started
    it, and lead them. In the end those that have not left by themselves are killed.

    Raises:
        Lost: they do not come.
    """
    with tempfile.TemporaryDirectory(prefix="studio-crew-") as place:
        meeting = str(Path(place) / "meeting")
        numbers = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), MEETING: meeting}
        others = [
            subprocess.Popen(
                command,
                env={**os.environ, **numbers, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
            )
            for rank in range(1, size)
        ]
        try:
            with joined(World(size=size, local_size=size, meeting=meeting)) as world:
                yield world
        finally:
            for other in others:
                _see_off(other)


def _see_off(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(LEAVING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _exchange(say: Callable[[], Any]) -> Any:
    """Whatever torch.distributed finds wrong, in plain words."""
    try:
        return say()
    except RuntimeError as error:
        raise Lost(
            "Another process of this training has ended, or does not answer.",
            "Its own output says why. Start the training again; it goes on from the newest checkpoint.",
        ) from error
