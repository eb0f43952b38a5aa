"""What a fast form of a generator answers to: parts, each a run of stages for one batch size.

A part may take seconds to make, and is then only called. Whoever has no part yet draws with the prepared form (`run`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from studio.families.base import Generator, Movable, Noise, Stage, Staged

State = tuple[Tensor, ...]
"""What goes from one stage to the next; its last tensor is the picture so far."""


@dataclass(frozen=True)
class Span:
    """Which stages a part runs, from `first` up to but without `last`, for how many pictures at once.

    `picture_only` parts answer with the picture and leave the rest of the state.
    """

    first: int
    last: int
    batch: int = 1
    picture_only: bool = True


class Part(Protocol):
    """Some stages of one generator, ready to run."""

    def __call__(self, state: State, styles: Tensor, noise: Noise | None) -> State:
        """Draw.

        Args:
            state: what the stage before left; empty before the first.
            styles: [batch, num_styles, style_dim], all of the generator's.
            noise: all of the generator's noise pictures, [1, 1, r, r] each; None or () for none.
        """
        ...


class Backend(Protocol):
    """One way to run a generator fast."""

    name: str

    def part(self, span: Span) -> Part:
        """Make a part; may take seconds and may be called from any thread.

        Raises:
            Unavailable: this backend cannot run these stages here.
        """
        ...


class Unavailable(Exception):
    """A backend cannot do what was asked on this machine. Never shown: something slower draws instead."""


class Whole(nn.Module):
    """A generator that knows no stages, as one."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self._generator = generator
        self.stages: tuple[Stage, ...] = (
            Stage(resolution=generator.resolution, styles=generator.num_styles, noises=len(generator.noise_sizes)),
        )

    def modulate(self, stage: int, styles: Tensor) -> tuple[Tensor, ...]:
        """The styles as they are."""
        return (styles,)

    def run_stage(self, stage: int, state: State, scales: tuple[Tensor, ...], noise: Noise | None) -> State:
        """The whole synthesis."""
        return (self._generator.synthesize(scales[0], noise),)


def staged(generator: Generator) -> Staged:
    """The generator by its stages, or as a single one."""
    return generator if isinstance(generator, Staged) else Whole(generator)


def placed(generator: Generator, styles: Tensor) -> Tensor:
    """Styles as parts take them: those of a generator that can move its pictures say where, even where nobody asked."""
    if isinstance(generator, Movable) and styles.shape[1] == generator.num_styles:
        return generator.placed(styles)
    return styles


def noises_of(stages: tuple[Stage, ...], noise: Noise | None) -> Iterator[Noise | None]:
    """What of `noise` each stage takes."""
    rest = None if noise is None else iter(noise)
    for stage in stages:
        yield None if rest is None else tuple(itertools.islice(rest, stage.noises))


@torch.inference_mode()
def run(network: Staged, span: Span, state: State, styles: Tensor, noise: Noise | None) -> State:
    """Run the stages of a span one after the other, as they are."""
    for place, taken in enumerate(noises_of(network.stages[: span.last], noise)):
        if place >= span.first:
            state = network.run_stage(place, state, network.modulate(place, styles), taken)
    return state[-1:] if span.picture_only else state


def prepared(generator: Generator, dtype: torch.dtype) -> Staged:
    """The generator's own quick form, by its stages."""
    return staged(generator.prepared(dtype))
