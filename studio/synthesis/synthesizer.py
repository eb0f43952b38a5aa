"""One generator at its fastest: it draws at once with what is there, and changes to faster parts as they get ready.

Three things save work: a backend chosen by measuring it here, redrawing only the stages that a change touches, and drafts
of half the size while the hand moves over a slow model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from studio.families.base import Generator, Noise, Staged
from studio.synthesis.backend import Backend, Part, Span, State, Unavailable, placed, run

log = logging.getLogger(__name__)

EAGER = "eager"
"""The name of the prepared form, which needs no backend, among those measured."""

_BATCH = 8
_MOST_REDRAWN = 4
"""Stages. To cut earlier saves little: the first stages of a large model cost nearly nothing."""
_SLOW_SECONDS = 0.045
_MEASURED_ROUNDS = 6

Later = Callable[[Callable[[], None]], "Future[Any] | None"]
"""Runs something in the background."""


@dataclass
class _Head:
    """What the stages before a cut last drew with, and what they left once they have run."""

    cut: int
    styles: Tensor
    noise: Noise | None
    state: State | None = None

    def fits(self, styles: Tensor, noise: Noise | None) -> bool:
        """Whether they would draw the same again."""
        return _same(self.noise, noise) and torch.equal(self.styles, styles[:, : self.styles.shape[1]])


class Synthesizer:
    """Draws pictures of one generator. One thread draws; parts may be made in another.

    Args:
        quick: the generator's prepared form by its stages; plays until something faster is ready.
        later: how to run something in the background.
    """

    def __init__(self, generator: Generator, quick: Staged, later: Later) -> None:
        self._generator, self._quick, self._later = generator, quick, later
        self._fast: Backend | None = None
        self._parts: dict[Span, Part] = {}
        self._asked: set[Span] = set()
        self._before: tuple[Tensor, Noise | None] | None = None
        self._head: _Head | None = None
        self._seconds = 0.0
        count = len(quick.stages)
        self._whole = Span(0, count)
        self._cuts = range(max(1, count - _MOST_REDRAWN), count)
        self._draft = next(
            (
                Span(0, place + 1)
                for place, stage in enumerate(quick.stages)
                if 2 * stage.resolution == generator.resolution
            ),
            None,
        )

    @property
    def backend(self) -> str:
        """What draws whole pictures just now."""
        return self._fast.name if self._fast is not None and self._whole in self._parts else EAGER

    @property
    def slow(self) -> bool:
        """Whether drafts pay: a picture takes longer than a hand is patient, and half of one can be drawn."""
        return self._draft is not None and self._seconds > _SLOW_SECONDS

    def draw(self, styles: Tensor, noise: Noise | None, *, draft: bool = False) -> Tensor:
        """styles [n, num_styles, style_dim] -> pictures [n, channels, r, r], float32 on the CPU.

        `noise` is shared by all of them, [1, 1, r, r] each. A `draft` of a slow model has half the size."""
        styles = placed(self._generator, styles)
        if len(styles) > 1:
            return torch.cat(list(self._batches(styles, noise)))
        if draft and self.slow and self._draft is not None:
            return self._run(self._draft, (), styles, noise)[-1]
        picture = self._redrawn(styles, noise)
        if picture is None:
            started = time.perf_counter()
            picture = self._run(self._whole, (), styles, noise)[-1]
            self._seconds = 0.7 * self._seconds + 0.3 * (time.perf_counter() - started)
        return picture

    def _batches(self, styles: Tensor, noise: Noise | None) -> Iterator[Tensor]:
        for part in torch.split(styles, _BATCH):
            span = Span(0, self._whole.last, _BATCH)
            full = len(part) == _BATCH
            yield (self._run(span, (), part, noise) if full else run(self._quick, span, (), part, noise))[-1]

    def _redrawn(self, styles: Tensor, noise: Noise | None) -> Tensor | None:
        """The picture from the first stage on that changed since the last one; None if that pays not, or not yet."""
        before, self._before = self._before, (styles, noise)
        cut = self._first_touched(before, styles, noise)
        fits = self._head is not None and self._head.fits(styles, noise)
        if not fits and cut not in self._cuts:
            return None
        if self._head is None or not fits or self._head.cut < cut < self._whole.last:
            self._head = _Head(cut, styles[:, : self._quick.stages[cut - 1].styles].clone(), noise)
        head = self._head
        first, rest = Span(0, head.cut, picture_only=False), Span(head.cut, self._whole.last)
        if head.state is None:
            if self._fast is not None and not all([self._ready(first), self._ready(rest)]):
                return None
            head.state = self._run(first, (), styles, noise)
        return self._run(rest, head.state, styles, noise)[-1]

    def _first_touched(self, before: tuple[Tensor, Noise | None] | None, styles: Tensor, noise: Noise | None) -> int:
        """The first stage that reads something else than in the last picture; their number if none does."""
        if before is None or not _same(before[1], noise):
            return 0
        kept = int((styles == before[0]).all(dim=2)[0].long().cumprod(dim=0).sum())
        return sum(stage.styles <= kept for stage in self._quick.stages)

    def _run(self, span: Span, state: State, styles: Tensor, noise: Noise | None) -> State:
        if self._ready(span):
            return self._parts[span](state, styles, noise)
        return run(self._quick, span, state, styles, noise)

    # ── faster parts ──

    def _ready(self, span: Span) -> bool:
        """Whether there is a fast part; if not, it is asked for, once."""
        if span not in self._parts and span not in self._asked and self._fast is not None:
            self._asked.add(span)
            self._later(lambda: self._make(span))
        return span in self._parts

    def use(self, fast: Backend) -> None:
        """Draw whole pictures with a faster backend from the moment its part is made, here and now; any thread.

        Its other parts are made in the background when they are first missed."""
        self._fast = fast
        self._make(self._whole)

    def _make(self, span: Span) -> None:
        """Make the fast part of a span; if that cannot be done, the plain form stays for good."""
        self._asked.add(span)
        fast = self._fast
        try:
            if fast is not None:
                self._parts[span] = fast.part(span)
        except Unavailable as error:
            log.info("%s", error)
            self._fast = None

    def measure(self) -> dict[str, float]:
        """Seconds for a picture by each form that is ready, on this machine now. The slower one is given up."""
        styles = self._generator.map(torch.zeros(1, self._generator.z_dim))
        noise = self._generator.constant_noise() or None
        ways: dict[str, Part] = {
            EAGER: lambda state, styles, noise: run(self._quick, self._whole, state, styles, noise)
        }
        if self._fast is not None and self._whole in self._parts:
            ways[self._fast.name] = self._parts[self._whole]
        rounds = [{name: _seconds(part, styles, noise) for name, part in ways.items()} for _ in range(_MEASURED_ROUNDS)]
        seconds = {name: min(each[name] for each in rounds) for name in ways}
        if min(seconds, key=lambda name: seconds[name]) == EAGER:
            self._fast = None
            self._parts.clear()
        self._seconds = min(seconds.values())
        return seconds


def _same(one: Noise | None, other: Noise | None) -> bool:
    """Whether these are the same noise pictures, in memory."""
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(mine is its for mine, its in zip(one, other, strict=True))


def _seconds(part: Part, styles: Tensor, noise: Noise | None) -> float:
    started = time.perf_counter()
    part((), styles, noise)
    return time.perf_counter() - started
