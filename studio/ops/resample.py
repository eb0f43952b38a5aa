"""Twofold resampling with the binomial filter [1, 3, 3, 1], alone and around 3x3 convolutions, as StyleGAN2 does it.

Everything outside a picture counts as zero. All functions can be differentiated twice.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.ops import packed

_TAPS = (1.0, 3.0, 3.0, 1.0)
_PICTURE_CHANNELS = 4


def upsample(images: Tensor) -> Tensor:
    """[n, c, h, w] -> [n, c, 2h, 2w]: zeros between the pixels, then the filter with gain 4."""
    return cast(Tensor, _Upsample.apply(images))


def downsample(images: Tensor) -> Tensor:
    """[n, c, h, w], even sizes -> [n, c, h/2, w/2]: the filter, then every second pixel."""
    return cast(Tensor, _Downsample.apply(images))


def convolve_up(images: Tensor, weight: Tensor) -> Tensor:
    """[n, i, h, w] -> [n, o, 2h, 2w]: transposed convolution by weight [o, i, 3, 3] of stride 2, filter of gain 4."""
    return cast(Tensor, _Blur.apply(packed.convolve_transposed(images, weight), 1, 4.0))


def blur(images: Tensor) -> Tensor:
    """[n, c, h, w] -> [n, c, h + 1, w + 1]: the filter, before a convolution by 3 x 3 with a stride of 2."""
    return cast(Tensor, _Blur.apply(images, 2, 1.0))


# The adjoint of each of these three is one of them again, which makes every derivative as quick as the forward pass:
# torch's own backward of a depthwise convolution in bfloat16 is up to forty times slower than that on a CPU.


class _Blur(torch.autograd.Function):
    """The filter times `gain` on a border of `padding` zeros: [n, c, h, w] -> [n, c, h + 2 padding - 3, …]."""

    @staticmethod
    def forward(context: Any, images: Tensor, padding: int, gain: float) -> Tensor:
        context.padding, context.gain = padding, gain
        return F.conv2d(images, _filters(images, gain), padding=padding, groups=images.shape[1])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        return _Blur.apply(gradient, 3 - context.padding, context.gain), None, None


class _Upsample(torch.autograd.Function):
    """A transposed convolution, which compilers know best, for pictures; slow for features in bfloat16.

    Bilinear interpolation equals the filter away from the border, so on a border of zeros it does everywhere.
    """

    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:
        if images.shape[1] <= _PICTURE_CHANNELS:
            return F.conv_transpose2d(images, _filters(images, 4.0), stride=2, padding=1, groups=images.shape[1])
        enlarged = F.interpolate(F.pad(images, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")
        return enlarged[:, :, 2:-2, 2:-2].contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        return 4 * _Downsample.apply(gradient)


class _Downsample(torch.autograd.Function):
    """The filter at every second pixel."""

    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:
        return F.conv2d(images, _filters(images, 1.0), stride=2, padding=1, groups=images.shape[1])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        return _Upsample.apply(gradient / 4)


def _filters(images: Tensor, gain: float) -> Tensor:
    """One filter for each channel: [c, 1, 4, 4], each summing to `gain`."""
    rows = [[row * column * gain / 64 for column in _TAPS] for row in _TAPS]
    filters = torch.tensor(rows, device=images.device, dtype=images.dtype)
    return filters.expand(images.shape[1], 1, 4, 4)
