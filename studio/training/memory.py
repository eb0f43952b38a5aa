"""How much memory a run needs, measured before it starts, and how much there is."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.families.base import settings_from
from studio.training.bench import Bench
from studio.training.config import TrainConfig
from studio.training.state import OPTIMIZERS, compute_dtype, new_state, pick_device, tensors_of
from studio.training.step import train_step

_SLOPES_AND_SCRATCH = 1.3
"""Beside what is kept for the way back there are the slopes on it and the kernels' scratch."""
_ALWAYS_BYTES = 150_000_000
"""What libraries take for themselves at the first step."""
_SPARE_SHARE = 0.1
_TRIED = (2, 4)
"""Batches that are measured; some penalties take half a batch, so 1 and 2 would be the same to them."""
_KNOWN_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@dataclass(frozen=True, kw_only=True)
class Need:
    """A run needs `fixed_bytes` and, for each picture of the batch, `picture_bytes`."""

    fixed_bytes: int
    picture_bytes: int

    def bytes(self, batch: int) -> int:
        """The whole at this batch."""
        return self.fixed_bytes + batch * self.picture_bytes

    def largest_batch(self, wanted: int, free_bytes: float) -> int:
        """`wanted`, halved until it fits into nine tenths of what is free, but at least 1."""
        while wanted > 1 and self.bytes(wanted) > free_bytes * (1 - _SPARE_SHARE):
            wanted //= 2
        return wanted


def measure(config: TrainConfig) -> Need:
    """Make one whole step with two pictures and one with four, and count what is kept for the way back.

    The peak of the bytes that autograd holds at once (a hook sees each tensor come and go) is linear in the batch; the
    weights, their average, slopes and the optimizers' memory are counted from a fresh state. The state of the run and
    all random numbers stay as they are.
    """
    device = pick_device(config)
    peaks = []
    with torch.random.fork_rng(devices=[]):
        for batch in _TRIED:
            state = new_state(replace(config, base_model="", batch=batch), device)
            held = Held({value.untyped_storage().data_ptr() for value in tensors_of(state).values()})
            with torch.autograd.graph.saved_tensors_hooks(held.pack, held.unpack):
                train_step(_bench(config, device), state)
            peaks.append(held.peak)
    groups = [group for name in OPTIMIZERS for group in getattr(state, name).param_groups]
    weights = [weight for group in groups for weight in group["params"]]
    fixed = sum(_bytes(value) for value in tensors_of(state).values()) + sum(map(_bytes, weights))
    del state
    gc.collect()
    picture = max((peaks[1] - peaks[0]) // (_TRIED[1] - _TRIED[0]), 1)
    return Need(
        fixed_bytes=fixed + max(0, peaks[0] - _TRIED[0] * picture) + _ALWAYS_BYTES,
        picture_bytes=int(picture * _SLOPES_AND_SCRATCH),
    )


class Held:
    """Counts the bytes that autograd keeps, each storage once; `known` storages (the weights) are not counted."""

    def __init__(self, known: set[int]) -> None:
        self.peak = 0
        self._now = 0
        self._known = known
        self._holders: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> _Kept:
        place = tensor.untyped_storage().data_ptr()
        if place not in self._known:
            self._holders[place] = self._holders.get(place, 0) + 1
            if self._holders[place] == 1:
                self._now += tensor.untyped_storage().nbytes()
                self.peak = max(self.peak, self._now)
        return _Kept(tensor, self._let_go)

    def unpack(self, kept: _Kept) -> Tensor:
        return kept.tensor

    def _let_go(self, tensor: Tensor) -> None:
        place = tensor.untyped_storage().data_ptr()
        if (count := self._holders.get(place, 0)) == 1:
            self._now -= tensor.untyped_storage().nbytes()
            del self._holders[place]
        elif count:
            self._holders[place] = count - 1


class _Kept:
    """A tensor that autograd keeps; it tells when it is let go."""

    def __init__(self, tensor: Tensor, let_go: Callable[[Tensor], None]) -> None:
        self.tensor, self._let_go = tensor, let_go

    def __del__(self) -> None:
        self._let_go(self.tensor)


def free_bytes(device: torch.device) -> float:
    """What this process may still take on `device`; infinite where the system does not tell.

    On a processor it is the least of what the machine has and what each control group around this process allows.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return min([_machine_bytes(), *_group_bytes(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))])


def _machine_bytes() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    except (OSError, StopIteration):
        return _physical_bytes()


def _physical_bytes() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _group_bytes(root: Path, own: Path) -> list[float]:
    """Room in every control group from this process' own up to the root, in version 2 or 1."""
    places = {root, root / "memory"}
    try:
        names = [line.split(":", 2)[2].strip("/") for line in own.read_text().splitlines()]
    except (OSError, IndexError):
        names = []
    for name in names:
        for base in (root, root / "memory"):
            places |= {base / name, *(base / parent for parent in Path(name).parents)}
    return [room for place in places for limits in _KNOWN_LIMITS if (room := _room(place, *limits)) is not None]


def _room(place: Path, limit: str, usage: str, idle: str) -> float | None:
    """Bytes left in one group: file pages that nobody uses count as free."""
    try:
        most, used = float((place / limit).read_text()), float((place / usage).read_text())
        counts = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return max(0.0, most - used + float(counts.get(idle, 0)))


def _bench(config: TrainConfig, device: torch.device) -> Bench:
    """A bench whose pictures are grey."""
    settings: Any = settings_from(config.family, config.settings)
    shape = (settings.channels, settings.resolution, settings.resolution)

    def grey(places: list[int]) -> tuple[Tensor, Tensor]:
        return torch.full((len(places), *shape), 128, dtype=torch.uint8), torch.zeros(len(places), dtype=torch.long)

    return Bench(config=config, device=device, dtype=compute_dtype(config, device), batch=grey, count=4)


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
