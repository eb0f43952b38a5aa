"""Plain PyTorch: always there, what plays while the others get ready, and what they are measured against."""

from __future__ import annotations

from torch import Tensor

from studio.families.base import Noise, Staged
from studio.synthesis.backend import Part, Span, State, run


class Eager:
    """The family's own prepared form, operation by operation. Its parts cost nothing and fit any batch."""

    name = "eager"

    def __init__(self, quick: Staged) -> None:
        self._network = quick

    def part(self, span: Span) -> Part:
        """The stages of a span."""

        def draw(state: State, styles: Tensor, noise: Noise | None) -> State:
            return run(self._network, span, state, styles, noise)

        return draw
