"""What a training step works with and does not change, the watch over its numbers, and the pictures on their way to it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from studio.errors import StudioError
from studio.ops import seeds
from studio.ops.objectives import OBJECTIVES, Objective
from studio.training.config import TrainConfig
from studio.training.distributed import ALONE, World
from studio.training.state import TrainState

Metrics = dict[str, Tensor]
Pictures = tuple[Tensor, Tensor]
Batch = Callable[[list[int]], Pictures]
"""Indices -> bytes [n, c, h, w] and class numbers [n], as `data.Dataset.batch` answers."""


class NotFinite(StudioError):
    """A loss or a slope is no longer a number. It is found before it can touch a weight."""


class Watch:
    """Notices losses and slopes that are no numbers, without making a GPU wait.

    On a processor it speaks at once. On a GPU the answer for one step travels while the next one runs, and an optimizer
    that can skip a step on the device does so meanwhile, so that no weight is touched.
    """

    def __init__(self, *, deferred: bool) -> None:
        self._deferred = deferred
        self._seen: list[tuple[str, Tensor]] = []
        self._asked: tuple[list[str], Tensor, torch.cuda.Event | None] | None = None

    def guard(self, optimizer: torch.optim.Optimizer, finite: Tensor, whose: str) -> None:
        """Before a step of `optimizer`: let it pass only if `finite`, one boolean on the device, is true.

        Raises NotFinite where that is known at once."""
        if self._deferred and getattr(optimizer, "_step_supports_amp_scaling", False):
            optimizer.found_inf = finite.logical_not().float()  # type: ignore[attr-defined]  # fused ones skip by it
            self._seen.append((whose, finite))
        elif not bool(finite):
            self._asked, self._seen = None, []
            raise _not_finite(whose)

    def ask(self) -> None:
        """At the end of a step: judge the step before, and send for the answer of this one. Raises NotFinite."""
        self._judge()
        if self._seen:
            answers = torch.stack([finite for _, finite in self._seen]).to("cpu", non_blocking=True)
            names = [whose for whose, _ in self._seen]
            self._asked, self._seen = (names, answers, _milestone(self._seen[0][1])), []

    def settle(self) -> None:
        """Wait for every answer, as before the weights are saved. Raises NotFinite."""
        self.ask()
        self._judge()

    def _judge(self) -> None:
        asked, self._asked = self._asked, None
        if asked is None:
            return
        names, answers, event = asked
        if event is not None:
            event.synchronize()
        wrong = [name for name, finite in zip(names, answers.tolist(), strict=True) if not finite]
        if wrong:
            self._seen = []
            raise _not_finite(wrong[0])


def _milestone(values: Tensor) -> torch.cuda.Event | None:
    """What tells that all work asked of a GPU so far is done."""
    if not values.is_cuda:
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


def _not_finite(whose: str) -> NotFinite:
    return NotFinite(
        f"The {whose}'s numbers grew beyond all bounds.",
        "Halve both learning rates, or start from an earlier snapshot.",
    )


class Feed:
    """Real pictures, read from the disk by a thread of their own while the ones before are learned from."""

    def __init__(self, batch: Batch, *, pinned: bool) -> None:
        self._batch, self._pinned = batch, pinned
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._coming: tuple[list[int], Future[Pictures]] | None = None

    def take(self, places: list[int], then: list[int]) -> Pictures:
        """The pictures at `places`; those at `then` are expected next, and asked for already."""
        coming, self._coming = self._coming, None
        found = coming[1].result() if coming and coming[0] == places else self._read(places)
        self._coming = then, self._reader.submit(self._read, then)
        return found

    def _read(self, places: list[int]) -> Pictures:
        pixels, numbers = self._batch(places)
        return (pixels.pin_memory(), numbers.pin_memory()) if self._pinned else (pixels, numbers)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a step works with and does not change.

    Attributes:
        device, dtype: where the networks are, and the number format of their convolutions.
        batch: reads pictures of the dataset, of which there are `count`.
        classless: the pictures have no classes; a network that has them sees each picture under all of them by turns.
        beat: called whenever some work is done, a few times a step.
        world: the processes that share the batch; random numbers are drawn for all of it, see `World.share`.
        orders: the order of the current epoch, by its number.
        watch: over losses and slopes; settle it before weights are saved.
        feed: the real pictures.
    """

    config: TrainConfig
    device: torch.device
    dtype: torch.dtype
    batch: Batch
    count: int
    beat: Callable[[], None] = lambda: None
    classless: bool = False
    world: World = ALONE
    orders: dict[int, list[int]] = field(default_factory=dict)
    watch: Watch = field(init=False)
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        on_gpu = self.device.type == "cuda"
        object.__setattr__(self, "watch", Watch(deferred=on_gpu))
        object.__setattr__(self, "feed", Feed(self.batch, pinned=on_gpu))

    @property
    def objective(self) -> Objective:
        """The rule of the game."""
        return OBJECTIVES[self.config.objective]

    def quick(self) -> AbstractContextManager[Any]:
        """Half precision for convolutions, where this run uses it."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def exact(self) -> AbstractContextManager[Any]:
        """Full precision, for second derivatives."""
        return torch.autocast(self.device.type, enabled=False)

    def stream(self, state: TrainState, purpose: str) -> torch.Generator:
        """The random numbers of this step for one purpose, drawn on the CPU: the same on every device."""
        return seeds.stream(self.config.seed, state.step, purpose)

    def here(self, values: Tensor) -> Tensor:
        """`values` on the device, sent without waiting for it."""
        if self.device.type != "cuda" or values.is_cuda:
            return values.to(self.device)
        return values.pin_memory().to(self.device, non_blocking=True)
