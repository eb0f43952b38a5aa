"""Leaky ReLU between an upsampling and a downsampling low-pass (Karras et al. 2021, "Alias-Free GANs", appendix D).

A bent signal has frequencies that its pixels cannot hold; they are cut off at the finer size before they can fold back.

A filter is applied as a product with a banded matrix, one direction at a time, cut into blocks along the band: processors
multiply matrices an order of magnitude faster than they slide a filter over each channel, which more than pays for the
zeros beside the band. A filter in two dimensions is a sum of products of filters in one (its singular vectors). Rows go
through the fine size in strips that fit the processor's cache, so that the fine picture, four to sixteen times the coarse
one, never exists as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_SLOPE = 0.2
_BLOCK = 32
_UNCUT = 96
_NEGLIGIBLE = {torch.bfloat16: 3e-4, torch.float16: 3e-5}
_NEGLIGIBLE_ELSE = 1e-8


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How pictures change their size on the way.

    Attributes:
        inputs, outputs: width and height before and after, in pixels.
        up, down: the factors; `padding` zeros come before the first fine pixel (below 0: that many are cut off).
    """

    inputs: int
    outputs: int
    up: int
    down: int
    padding: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A banded matrix [rows, columns], cut into blocks of equal size along its band.

    Attributes:
        blocks: [t, height, width]; below the last row of the matrix they are zero.
        starts: the first column of each block.
    """

    blocks: Tensor
    starts: tuple[int, ...]

    def times(self, values: Tensor) -> Tensor:
        """The product with [n, columns or more, c], as [n, rows or more, c]; what is more is zero or ignored."""
        width = self.blocks.shape[2]
        windows = [values[:, start : start + width] for start in self.starts]
        if len(windows) == 1:
            return torch.matmul(self.blocks[0], windows[0])
        return torch.matmul(self.blocks, torch.stack(windows, dim=1)).flatten(1, 2)

    def parts(self, values: Tensor) -> Iterator[Tensor]:
        """The same, [n, height, c] at a time."""
        width = self.blocks.shape[2]
        for block, start in zip(self.blocks, self.starts, strict=True):
            yield block @ values[:, start : start + width]

    def to(self, kind: torch.dtype | Tensor) -> Band:
        """In another type, or in the type and on the device of a tensor."""
        return Band(blocks=self.blocks.to(kind), starts=self.starts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Filters:
    """What `filtered_leaky_relu` multiplies with, for pictures of one size.

    Attributes:
        up: [fine, in], across rows and along them.
        down: [out, fine], the same, for each product that the filter is a sum of.
    """

    up: tuple[Band, Band]
    down: tuple[tuple[Band, Band], ...]
    outputs: int

    def to(self, kind: torch.dtype | Tensor) -> Filters:
        """In another type, or in the type and on the device of a tensor."""
        across, along = self.up
        down = tuple((first.to(kind), second.to(kind)) for first, second in self.down)
        return Filters(up=(across.to(kind), along.to(kind)), down=down, outputs=self.outputs)


def prepare(
    up_filter: Tensor, down_filter: Tensor, geometry: Geometry, *, gain: float = 1.0, dtype: torch.dtype = torch.float32
) -> Filters:
    """Lay filters out as matrices.

    Args:
        up_filter: [taps], of sum 1.
        down_filter: [taps], or [taps, taps] where it is not separable.
        gain: what fine pixels are multiplied by before they are bent; a leaky ReLU lets it through.
        dtype: of the matrices; what is lost in it anyway is not computed.
    """
    products = _products(down_filter, _NEGLIGIBLE.get(dtype, _NEGLIGIBLE_ELSE))
    fine = (geometry.outputs - 1) * geometry.down + len(down_filter)
    taps = up_filter.double().cpu().flip(0) * (geometry.up * math.sqrt(gain))
    up = _banded(taps, fine, geometry.inputs, spread=geometry.up, padding=geometry.padding)
    falls = [[_banded(taps.flip(0), geometry.outputs, fine, step=geometry.down) for taps in pair] for pair in products]
    filters = Filters(
        up=(_cut(up, uncut=0), _cut(up)),
        down=tuple((_cut(across), _cut(along)) for across, along in falls),
        outputs=geometry.outputs,
    )
    return filters.to(torch.empty(0, dtype=dtype, device=up_filter.device))


def filtered_leaky_relu(images: Tensor, filters: Filters, *, clamp: float = 0.0) -> Tensor:
    """[n, c, in, in] -> [n, c, out, out]: up, leaky ReLU of slope 0.2, kept within ±`clamp` (0: no limit), down.

    Outside a picture everything is zero. Filters must be of the type of the pictures. Can be differentiated twice.
    """
    if images.device.type == "cpu" and not torch._C._is_tracing():
        singles = [_filter(image, filters, clamp, strips=True) for image in torch.split(images, 1)]
        return singles[0] if len(singles) == 1 else torch.cat(singles)
    return _filter(images, filters, clamp, strips=False)


def _filter(images: Tensor, filters: Filters, clamp: float, *, strips: bool) -> Tensor:
    count, channels, height, width = images.shape
    up_across, up_along = filters.up
    rows = images.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    parts = up_across.parts(rows) if strips else [up_across.times(rows)]
    lines: list[list[Tensor]] = [[] for _ in filters.down]
    for part in parts:
        fine = _bend(up_along.times(part.reshape(-1, width, channels)), clamp)
        for found, (_, along) in zip(lines, filters.down, strict=True):
            found.append(along.times(fine)[:, : filters.outputs].reshape(*part.shape[:2], -1))
    falls = [across.times(torch.cat(found, dim=1)) for found, (across, _) in zip(lines, filters.down, strict=True)]
    summed = falls[0] if len(falls) == 1 else torch.stack(falls).sum(dim=0)
    return summed[:, : filters.outputs].reshape(count, filters.outputs, -1, channels).permute(0, 3, 1, 2)


def _bend(values: Tensor, clamp: float) -> Tensor:
    values = F.leaky_relu_(values, _SLOPE)
    if not clamp:
        return values
    return values.clamp(-clamp, clamp) if values.requires_grad else values.clamp_(-clamp, clamp)


def _banded(taps: Tensor, rows: int, columns: int, *, step: int = 1, spread: int = 1, padding: int = 0) -> Tensor:
    """[rows, columns]: row r holds every `spread`-th of the taps, the first of which lies at r * step - padding."""
    place = torch.arange(columns) * spread - torch.arange(rows)[:, None] * step + padding
    chosen = taps[place.clamp(0, len(taps) - 1)]
    return chosen.masked_fill((place < 0) | (place >= len(taps)), 0.0)


def _cut(matrix: Tensor, uncut: int = _UNCUT) -> Band:
    """A matrix in blocks of `_BLOCK` rows, or whole where it has at most `uncut` columns."""
    rows, columns = matrix.shape
    if columns <= uncut:
        return Band(blocks=matrix[None], starts=(0,))
    height = math.ceil(rows / math.ceil(rows / _BLOCK))
    blocks = F.pad(matrix, (0, 0, 0, -rows % height)).reshape(-1, height, columns)
    used = [torch.nonzero(block.any(dim=0)).flatten().tolist() or [0] for block in blocks]
    width = max(places[-1] + 1 - places[0] for places in used)
    starts = tuple(min(places[0], columns - width) for places in used)
    narrow = [block[:, start : start + width] for block, start in zip(blocks, starts, strict=True)]
    return Band(blocks=torch.stack(narrow), starts=starts)


def _products(taps: Tensor, negligible: float) -> list[tuple[Tensor, Tensor]]:
    """Pairs of filters (across rows, along them), double precision, whose outer products sum to the filter."""
    taps = taps.detach().double().cpu()
    if taps.dim() == 1:
        return [(taps, taps)]
    left, strength, right = torch.linalg.svd(taps)
    kept = int((strength > negligible * strength[0]).sum())
    return [(left[:, place] * strength[place], right[place]) for place in range(max(kept, 1))]


def design(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """A low-pass [taps] of sum 1: a sinc under Kaiser's window.

    Args:
        cutoff: the frequency that is halved, in the units of `rate`.
        width: of the band between what passes and what does not.
        rate: samples per unit.
    """
    place = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    low_pass = torch.sinc(place * (2 * cutoff / rate)) * _kaiser(taps, width / (rate / 2))
    return (low_pass / low_pass.sum()).float()


def design_radial(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """A low-pass [taps, taps] of sum 1 that passes all directions alike: a jinc under Kaiser's window."""
    place = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    distance = torch.hypot(place[:, None], place).clamp_min(1e-12)
    window = _kaiser(taps, width / (rate / 2))
    low_pass: Tensor = torch.special.bessel_j1(2 * math.pi * cutoff * distance) / distance * window * window[:, None]
    return (low_pass / low_pass.sum()).float()


def _kaiser(taps: int, width: float) -> Tensor:
    """Kaiser's window for a band of `width` (1: half the sampling rate), by his estimate of what it attenuates."""
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    window: Tensor = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    return window
