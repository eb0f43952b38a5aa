"""Convolution, bias and bend as one operator for training, differentiable twice.

On a CPU oneDNN applies bias and bend while the sums are still in its registers, which saves a walk through memory that
takes as long as the convolution of few channels itself. Elsewhere they are operators of their own as usual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.ops import packed, smooth

SLOPE = 0.2
"""Of the leaky ReLU below zero."""
CEILING = 6.0
"""Of the ReLU6 of networks for telephones (Howard et al. 2017)."""

_ONE = (1, 1)


def convolve_bent(images: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    """leaky_relu(images [n, i, h, w] * weight [o, i, k, k] + bias [o]) -> [n, o, h', w'], in autocast's type if it is on."""
    kind = _type_for(images)
    images, weight, bias = images.to(kind), weight.to(kind), bias.to(kind)
    return cast(Tensor, _ConvolveBent.apply(images, weight, bias, stride, padding))


def _type_for(images: Tensor) -> torch.dtype:
    device = images.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else images.dtype


class _ConvolveBent(torch.autograd.Function):
    """The sign of what comes out tells on which side of the bend a value was, so nothing else is kept."""

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        context.stride, context.padding = stride, padding
        bent = _run(images, weight, bias, stride, padding, 1, ("leaky_relu", [SLOPE]))
        context.save_for_backward(images, weight, bent)
        return bent

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        images, weight, bent = context.saved_tensors
        inner = torch.ops.aten.leaky_relu_backward(gradients[0], bent.detach(), SLOPE, True)
        if torch.is_grad_enabled():
            wanted = context.needs_input_grad
            return (*smooth.slopes(inner, images, weight, context.stride, context.padding, wanted), None, None)
        strides, paddings = (context.stride,) * 2, (context.padding,) * 2
        slopes = torch.ops.aten.convolution_backward(
            inner,
            images,
            weight,
            [weight.shape[0]],
            strides,
            paddings,
            _ONE,
            False,
            (0, 0),
            1,
            context.needs_input_grad[:3],
        )
        return (*slopes, None, None)


def convolve_frozen(images: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1, clips: bool = False) -> Tensor:
    """images [n, i, h, w] * weight [o, i, k, k] + bias [o] -> [n, o, h / stride, w / stride], in autocast's type if it is on.

    The weight never learns: only images have a slope. A weight [o, 1, k, k] for o channels convolves each by itself.

    Args:
        stride: 1, or 2 for even h and w; then the odd pixel of padding lies at the end, as TensorFlow has it.
        clips: whether what comes out is kept within 0 and `CEILING`.
    """
    kind = _type_for(images)
    if stride == 2:  # a zero before the window moves it to where padding is the same on both sides
        weight = F.pad(weight, (1, 0, 1, 0))
    return cast(Tensor, _ConvolveFrozen.apply(images.to(kind), weight.to(kind), bias.to(kind), stride, clips))


class _ConvolveFrozen(torch.autograd.Function):
    """The slope of a stride is taken over pixels with nothing between them: oneDNN has no quick way for channels by
    themselves, and took 197 ms for what takes 27 or less so (the four of EfficientNet-Lite0, 32 pictures of 128 px)."""

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: int, clips: bool) -> Tensor:
        context.weight, context.stride = weight, stride
        context.groups = images.shape[1] if weight.shape[1] == 1 else 1
        bend = ("hardtanh", [0.0, CEILING]) if clips else ("none", [])
        made = _run(images, weight, bias, stride, (weight.shape[2] - 1) // 2, context.groups, bend)
        context.save_for_backward(made if clips else None)
        return made

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Any:
        (slope,), (made,), weight = slopes, context.saved_tensors, context.weight
        if made is not None:
            slope = torch.ops.aten.hardtanh_backward(slope, made, 0.0, CEILING)
        if context.stride == 2:
            count, channels, height, width = slope.shape
            spread = slope.new_zeros(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
            spread[..., 1::2, 1::2] = slope
            slope, weight = spread, weight[..., 1:, 1:]
        turned = (weight if context.groups > 1 else weight.transpose(0, 1)).flip(2, 3)
        return F.conv2d(slope, turned, padding=weight.shape[2] // 2, groups=context.groups), None, None, None, None


_Bend = tuple[str, list[float]]
_BENDS: dict[str, Callable[..., Tensor]] = {"leaky_relu": F.leaky_relu_, "hardtanh": F.hardtanh_}


def _run(images: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, groups: int, bend: _Bend) -> Tensor:
    name, values = bend
    if packed.runs_here(weight):
        run = torch.ops.mkldnn._convolution_pointwise
        paddings, strides = (padding,) * 2, (stride,) * 2
        return cast(Tensor, run(images, weight, bias, paddings, strides, _ONE, groups, name, values, ""))
    made = F.conv2d(images, weight, bias, stride, padding, groups=groups)
    return _BENDS[name](made, *values) if values else made
