"""3x3 convolutions whose weights may have been laid out for the processor once, for networks that only play.

PyTorch lays a weight out anew at every call, which at one picture takes as long as the convolution itself. Its
operators for frozen networks take weights in oneDNN's own layout; where they are missing, nothing is packed.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

_ONE, _TWO, _NONE = (1, 1), (2, 2), (0, 0)


def pack(weight: Tensor, *, up: bool, size: int) -> Tensor:
    """Lay out weight [o, i, 3, 3] for `convolve`, or if `up` for `convolve_transposed`, of pictures [1, i, size, size].

    The result fits any other size and batch too, and can be used for nothing else. Weights that cannot be packed
    come back in a layout that needs the fewest copies.
    """
    weight = weight.transpose(0, 1) if up else weight
    weight = weight.contiguous(memory_format=torch.channels_last)
    if not runs_here(weight):
        return weight.transpose(0, 1) if up else weight
    shape = (1, weight.shape[0 if up else 1], size, size)
    if up:
        reorder = torch.ops.mkldnn._reorder_convolution_transpose_weight
        return cast(Tensor, reorder(weight, _NONE, _NONE, _TWO, _ONE, 1, shape))
    return cast(Tensor, torch.ops.mkldnn._reorder_convolution_weight(weight, _ONE, _ONE, _ONE, 1, shape))


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """[n, i, h, w] -> [n, o, h, w] by weight [o, i, 3, 3], plain or packed, on a border of zeros."""
    if not weight.is_mkldnn:
        return F.conv2d(images, weight, padding=1)
    run = torch.ops.mkldnn._convolution_pointwise
    return cast(Tensor, run(images, weight, None, _ONE, _ONE, _ONE, 1, "none", [], ""))


def convolve_transposed(images: Tensor, weight: Tensor) -> Tensor:
    """[n, i, h, w] -> [n, o, 2h + 1, 2w + 1] by weight [o, i, 3, 3], plain or packed: a stride of two."""
    if not weight.is_mkldnn:
        return F.conv_transpose2d(images, weight.transpose(0, 1), stride=2)
    run = torch.ops.mkldnn._convolution_transpose_pointwise
    return cast(Tensor, run(images, weight, None, _NONE, _NONE, _TWO, _ONE, 1, "none", [], ""))


def runs_here(weight: Tensor) -> bool:
    """Whether oneDNN's own operators can take a weight of this device and type."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
