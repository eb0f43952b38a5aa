"""Moving pictures by 3x3 matrices, in two ways, both differentiable twice (R1 looks through them).

`permute` is exact, for flips, quarter turns and whole pixels. `warp` is for everything else, and is the resampling of
Karras et al. 2020 (Training GANs with Limited Data, appendix B.2): reflect the borders, go up 2x through a wavelet
low-pass, read bilinearly, and come down 2x through the same low-pass reversed, which leaves no aliases and, as the
wavelet is orthogonal, gives an unmoved picture back unchanged.

A matrix says for each place in the result where to look in the source. Places are (x, y, 1) in pixels from the centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Low-pass of Daubechies' least asymmetric wavelet with six vanishing moments. Its sum is sqrt(2)."""

_REACH_PX = 3
"""How far the low-pass reaches: a quarter of its twelve taps, in pixels of the picture."""


def permute(images: Tensor, inverse: Tensor) -> Tensor:
    """Move pictures by whole pixels, flips and quarter turns; what comes in from outside is reflected.

    Args:
        images: [n, c, h, w].
        inverse: [n, 3, 3], each a product of flips, quarter turns and whole-pixel shifts.

    Returns:
        [n, c, h, w], the very values of `images`.
    """
    height, width = images.shape[-2:]
    x, y = _sources(inverse.to(images), _centred(width), _centred(height))
    columns = reflect((x + (width - 1) / 2).round().long(), width)
    rows = reflect((y + (height - 1) / 2).round().long(), height)
    chosen = (rows * width + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, chosen).reshape(images.shape)


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Move pictures by any affine matrices, without aliasing.

    Args:
        images: [n, c, h, w] float32.
        inverse: [n, 3, 3] on the CPU.

    Returns:
        [n, c, h, w]. Places more than one reflection away are 0.
    """
    height, width = images.shape[-2:]
    left, top, right, bottom = _margins(inverse, height, width)
    up_x = _up_matrix(width, left, right).to(images)
    up_y = _up_matrix(height, top, bottom).to(images)
    fine = up_y @ (images @ up_x.T)
    size = (2 * (height + 2 * _REACH_PX), 2 * (width + 2 * _REACH_PX))
    shift = torch.tensor([(left - right) / 2, (top - bottom) / 2], dtype=inverse.dtype)
    theta = _between_grids(inverse, shift, size, (fine.shape[-2], fine.shape[-1])).to(images)
    grid = torch.stack(_sources(theta, _centred(size[1]) * 2 / size[1], _centred(size[0]) * 2 / size[0]), dim=3)
    read: Tensor = _Read.apply(fine, grid)
    return _down_matrix(height).to(images) @ (read @ _down_matrix(width).to(images).T)


def reflect(index: Tensor, size: int) -> Tensor:
    """Fold whole indices back into 0 … size - 1, the border pixel not repeated."""
    if size == 1:
        return torch.zeros_like(index)
    return (size - 1) - ((index.remainder(2 * size - 2)) - (size - 1)).abs()


def _centred(size: int) -> Tensor:
    return torch.arange(size) - (size - 1) / 2


def _sources(inverse: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where [n, 3, 3] send the places (x [w], y [h]) of a grid: two [n, h, w]. Term by term and not as a product of
    matrices, which a GPU may round to TF32: too coarse for places."""
    x, y = x.to(inverse), y.to(inverse)[:, None]
    across, down = (
        inverse[:, row, 0, None, None] * x + inverse[:, row, 1, None, None] * y + inverse[:, row, 2, None, None]
        for row in (0, 1)
    )
    return across, down


def _margins(inverse: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Pixels to add (left, top, right, bottom) so that the batch's farthest corner, and the low-pass round it, lie
    inside; at most one reflection."""
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=inverse.dtype)
    signs = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=inverse.dtype)
    corners = torch.cat([signs * half, torch.ones(4, 1, dtype=inverse.dtype)], dim=1)
    reached = (inverse[:, :2] @ corners.T).transpose(0, 1).flatten(1)
    beyond = torch.cat([-reached.amin(dim=1) - half, reached.amax(dim=1) - half]) + 2 * _REACH_PX
    limits = (width - 1, height - 1, width - 1, height - 1)
    left, top, right, bottom = (
        min(max(math.ceil(px), 0), limit) for px, limit in zip(beyond.tolist(), limits, strict=True)
    )
    return left, top, right, bottom


def _up_matrix(size: int, before: int, after: int) -> Tensor:
    """[2 (before + size + after), size]: reflect one axis, put a zero after every sample, low-pass with gain 2.

    As a matrix this costs one product per axis; on a CPU it is ten times quicker than convolving each plane.
    """
    taps = _low_pass()
    padded = before + size + after
    fine = torch.arange(2 * padded)[:, None]
    coarse = fine // 2 + torch.arange(-len(SYM6) // 2, len(SYM6) // 2 + 1)
    tap = fine + (len(SYM6) // 2 - 1) - 2 * coarse
    inside = (tap >= 0) & (tap < len(SYM6)) & (coarse >= 0) & (coarse < padded)
    values = 2 * taps[tap.clamp(0, len(SYM6) - 1)] * inside
    return torch.zeros(2 * padded, size).scatter_add_(1, reflect(coarse - before, size), values)


def _down_matrix(size: int) -> Tensor:
    """[size, 2 (size + 2 reach)]: the low-pass reversed in time, every second sample, the reach cut off."""
    row = torch.arange(size)[:, None]
    columns = 2 * row + torch.arange(len(SYM6)) + 1
    return torch.zeros(size, 2 * (size + 2 * _REACH_PX)).scatter_(1, columns, _low_pass().expand(size, -1))


def _low_pass() -> Tensor:
    return torch.tensor(SYM6) / sum(SYM6)


def _between_grids(inverse: Tensor, shift: Tensor, out: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """`inverse` between the [-1, 1] coordinates of two fine grids -> [n, 3, 3].

    Fine sample 2i lies on pixel i, half a fine sample before the middle of the pair (2i, 2i + 1). `shift` is how far
    the margins moved the source's centre.
    """
    to_pixels = _affine([0.5, 0.5], [0.25, 0.25]) @ _affine([out[1] / 2, out[0] / 2])
    to_fine = _affine([2, 2], [-0.5, -0.5]) @ _affine([1, 1], shift.tolist())
    return _affine([2 / source[1], 2 / source[0]]) @ to_fine @ inverse.double() @ to_pixels


def _affine(scale: Sequence[float], shift: Sequence[float] = (0, 0)) -> Tensor:
    """[3, 3]: scale x and y, then shift them."""
    return torch.tensor([[scale[0], 0, shift[0]], [0, scale[1], shift[1]], [0, 0, 1]], dtype=torch.float64)


class _Read(torch.autograd.Function):
    """grid_sample (bilinear, zeros outside), which is linear in the image: so its gradient is `_Spread`, and the
    gradient of that is `_Read` again. torch's own is not differentiable twice on every version and device."""

    @staticmethod
    def forward(context: Any, image: Tensor, grid: Tensor) -> Tensor:
        context.save_for_backward(grid)
        context.shape = image.shape
        return grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (grid,) = context.saved_tensors
        return _Spread.apply(gradients[0], grid, context.shape), None


class _Spread(torch.autograd.Function):
    """The transpose of `_Read`: each value goes back to the four pixels that it was read from."""

    @staticmethod
    def forward(context: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        context.save_for_backward(grid)
        image = values.new_empty(()).expand(shape)  # only its shape is read
        mask = (True, False)
        result: Tensor = torch.ops.aten.grid_sampler_2d_backward(values.contiguous(), image, grid, 0, 0, False, mask)[0]
        return result

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = context.saved_tensors
        return _Read.apply(gradients[0], grid), None, None
