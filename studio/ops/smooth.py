"""Convolutions whose second derivatives are as quick, and as right, as their first.

torch writes the derivative of a slope by a weight as a convolution whose window is as large as the picture. That is slow,
and on processors with AMX or AVX512-BF16 it is wrong by half in bfloat16 (torch 2.15, 3 x 3 with a border). Within
`Smoothly()` a plain convolution's derivatives are the three products that it has anyway, each in terms of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import grad as gradients
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


class Smoothly(TorchFunctionMode):
    """A context for penalties on slopes: plain 2D convolutions within it are differentiated in the manner above."""

    def __torch_function__(
        self, called: Callable[..., Any], types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        named = named or {}
        if called is torch.conv2d and (plain := _plain(*given, **named)) is not None:
            return plain
        return called(*given, **named)


def _plain(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution if it is one without groups, dilation and named borders, else None."""
    if groups != 1 or dilation not in (1, (1, 1)) or isinstance(padding, str):
        return None
    device = images.device.type
    if torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)
        images, weight, bias = images.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    result: Tensor = _Convolution.apply(images, weight, _pair(stride), _pair(padding))
    return result if bias is None else result + bias[:, None, None]


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def slopes(
    slope: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """What a slope [n, o, h', w'] at a convolution's result is at its images, weight and bias, where `wanted`.

    Each can be differentiated again in the manner above."""
    manner = _pair(stride), _pair(padding)
    return (
        _ToImages.apply(slope, weight, images.shape, *manner) if wanted[0] else None,
        _ToWeight.apply(images, slope, weight.shape, *manner) if wanted[1] else None,
        slope.sum(dim=(0, 2, 3)) if wanted[2] else None,
    )


class _Convolution(torch.autograd.Function):
    """images [n, i, h, w], weight [o, i, k, k] -> [n, o, h', w']."""

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        context.save_for_backward(images, weight)
        context.manner = stride, padding
        return torch.conv2d(images, weight, None, stride, padding)

    @staticmethod
    def backward(context: Any, slope: Tensor) -> Any:
        (images, weight), (for_images, for_weight, *_) = context.saved_tensors, context.needs_input_grad
        back = _ToImages.apply(slope, weight, images.shape, *context.manner) if for_images else None
        across = _ToWeight.apply(images, slope, weight.shape, *context.manner) if for_weight else None
        return back, across, None, None


class _ToImages(torch.autograd.Function):
    """A slope [n, o, h', w'] at the result, weight [o, i, k, k] -> the slope [n, i, h, w] at the images."""

    @staticmethod
    def forward(context: Any, slope: Tensor, weight: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
        context.save_for_backward(slope, weight)
        context.manner = stride, padding
        back = gradients.conv2d_input(shape, weight, slope, stride, padding)  # type: ignore[no-untyped-call]
        return cast(Tensor, back)

    @staticmethod
    def backward(context: Any, images: Tensor) -> Any:
        (slope, weight), (for_slope, for_weight, *_) = context.saved_tensors, context.needs_input_grad
        forth = _Convolution.apply(images, weight, *context.manner) if for_slope else None
        across = _ToWeight.apply(images, slope, weight.shape, *context.manner) if for_weight else None
        return forth, across, None, None, None


class _ToWeight(torch.autograd.Function):
    """images [n, i, h, w] and a slope [n, o, h', w'] at the result -> the slope [o, i, k, k] at the weight."""

    @staticmethod
    def forward(context: Any, images: Tensor, slope: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
        context.save_for_backward(images, slope)
        context.manner = stride, padding
        across = gradients.conv2d_weight(images, shape, slope, stride, padding)  # type: ignore[no-untyped-call]
        return cast(Tensor, across)

    @staticmethod
    def backward(context: Any, weight: Tensor) -> Any:
        (images, slope), (for_images, for_slope, *_) = context.saved_tensors, context.needs_input_grad
        back = _ToImages.apply(slope, weight, images.shape, *context.manner) if for_images else None
        forth = _Convolution.apply(images, weight, *context.manner) if for_slope else None
        return back, forth, None, None, None
