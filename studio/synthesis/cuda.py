"""NVIDIA GPUs: the family's prepared form in bfloat16, recorded once as a CUDA graph and replayed for every picture.

A small picture's kernels take less time than launching them from Python; a graph launches all of them at once.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from studio.families.base import Generator, Noise, Staged
from studio.synthesis.backend import Part, Span, State, Unavailable, placed, prepared, run

_WARMING_RUNS = 3


class CUDA:
    """Recorded parts of one generator on the current GPU."""

    name = "cuda"

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._network: Staged | None = None

    def part(self, span: Span) -> Part:
        """Record the stages of a span. Raises Unavailable without a GPU, or without the memory for it."""
        if not torch.cuda.is_available():
            raise Unavailable("there is no CUDA GPU")
        try:
            with torch.inference_mode():
                if self._network is None:
                    moved = copy.deepcopy(cast(nn.Module, self._generator)).cuda()
                    self._network = prepared(cast(Generator, moved), torch.bfloat16)
                return _Recorded(self._network, self._generator, span)
        except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
            raise Unavailable(f"CUDA cannot run this network: {error}") from error


class _Recorded:
    """A CUDA graph with the buffers that it reads and writes."""

    def __init__(self, network: Staged, generator: Generator, span: Span) -> None:
        self._generator = generator
        plain = torch.zeros(span.batch, generator.num_styles, generator.style_dim)
        self._styles = placed(generator, plain).cuda()
        self._noise = tuple(torch.zeros(1, 1, size, size, device="cuda") for size in generator.noise_sizes)
        before = Span(0, span.first, span.batch, picture_only=False)
        self._state = run(network, before, (), self._styles, self._noise) if span.first else ()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARMING_RUNS):
                run(network, span, self._state, self._styles, self._noise)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._answers = run(network, span, self._state, self._styles, self._noise)

    def __call__(self, state: State, styles: Tensor, noise: Noise | None) -> State:
        with torch.inference_mode():
            self._styles.copy_(placed(self._generator, styles))
            for place, buffer in enumerate(self._noise):
                buffer.copy_(noise[place]) if noise else buffer.zero_()
            for buffer, given in zip(self._state, state, strict=True):
                buffer.copy_(given)
            self._graph.replay()
            return tuple(answer.cpu() for answer in self._answers)
