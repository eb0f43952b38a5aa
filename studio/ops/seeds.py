"""Numbers from seeds. A seed means the same latent and the same noise on every machine and in any batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from studio.errors import BadInput

_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Share:
    """The rows of a batch that are ours where `size` processes share it: every `size`-th, from number `rank` on.

    All processes draw the numbers of the whole batch and keep their rows, so that how many there are changes nothing.
    Every `size`-th row keeps the groups of a minibatch deviation whole.
    """

    rank: int = 0
    size: int = 1

    def of(self, values: Tensor) -> Tensor:
        """Our rows of a whole batch [n, …]."""
        return values[self.rank :: self.size] if self.size > 1 else values

    def draw(self, kind: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, **how: Any) -> Tensor:
        """Random numbers of `kind` (torch.rand, torch.randn) in our `shape` [n, …]."""
        return self.of(kind(shape[0] * self.size, *shape[1:], generator=generator, **how))


WHOLE = Share()


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Standard normal latents [len(seeds), z_dim], float32; row i depends on seed i alone.

    They are the numbers that NVIDIA's StyleGAN tools draw for the same seeds.

    Raises:
        BadInput: a seed outside 0 to 4294967295.
    """
    rows = [np.random.RandomState(_checked(seed)).randn(z_dim) for seed in seeds]
    return torch.from_numpy(np.array(rows, dtype=np.float32).reshape(len(rows), z_dim))


def labels(seeds: Sequence[int], classes: int) -> Tensor | None:
    """The labels [len(seeds), classes] of seeds where the classes take turns, float32; None where there are none."""
    return F.one_hot(torch.as_tensor(seeds) % classes, classes).float() if classes else None


def noise(seed: int, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Standard normal noise pictures [1, 1, r, r] for each r of `sizes`, float32, in pixels.

    Each place in `sizes` has a stream of its own, so a taller network keeps the noise of a smaller one.
    """
    return tuple(_normal_picture(seed, place, size) for place, size in enumerate(sizes))


def stream(*path: int | str) -> torch.Generator:
    """A CPU random generator for one purpose, seeded by a hash of `path`, such as stream(seed, step, "augment").

    The same path gives the same numbers whatever was drawn elsewhere, so a resumed run goes on as if never stopped.
    """
    generator = torch.Generator()
    generator.manual_seed(_hash(path) >> 1)
    return generator


def _normal_picture(seed: int, place: int, size: int) -> Tensor:
    random = np.random.RandomState(_hash((seed, "noise", place, size)) & _LARGEST_SEED)
    return torch.from_numpy(random.randn(1, 1, size, size).astype(np.float32))


def _hash(path: tuple[int | str, ...]) -> int:
    """64 bits that depend on every part of the path; 1 and "1" differ."""
    digest = hashlib.blake2b(json.dumps(path).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _checked(seed: int) -> int:
    if not 0 <= seed <= _LARGEST_SEED:
        raise BadInput(f"The seed {seed} cannot be used.", f"Choose a whole number from 0 to {_LARGEST_SEED}.")
    return int(seed)
