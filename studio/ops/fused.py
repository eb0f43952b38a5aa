"""Convolution, bias and leaky ReLU as one operator for training, differentiable twice.

On a CPU oneDNN applies bias and bend while the sums are still in its registers, which saves a walk through memory that
takes as long as the convolution of few channels itself. Elsewhere it is three operators as usual.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.ops import packed, smooth

SLOPE = 0.2
"""Of the leaky ReLU below zero."""

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
        bent = _run(images, weight, bias, stride, padding)
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


def _run(images: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    if packed.runs_here(weight):
        run = torch.ops.mkldnn._convolution_pointwise
        paddings, strides = (padding,) * 2, (stride,) * 2
        return cast(Tensor, run(images, weight, bias, paddings, strides, _ONE, 1, "leaky_relu", [SLOPE], ""))
    return F.leaky_relu_(F.conv2d(images, weight, bias, stride, padding), SLOPE)
