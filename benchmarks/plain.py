"""StyleGAN2's synthesis as it was published: weights of their own for every picture, grouped convolutions, the filter
after them, float32. Written from the formulas, for the other forms to be measured and compared against."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.families import stylegan2

_TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])


def synthesize(generator: stylegan2.Generator, styles: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
    """styles [n, num_styles, w_dim] and the model's noise -> pictures [n, channels, r, r], float32."""
    rest = iter(noise)
    images = generator.synthesis.blocks[0].const[None].repeat(len(styles), 1, 1, 1)
    picture = None
    for block in generator.synthesis.blocks:
        for index, layer in block.readers:
            style = _affine(layer.affine, styles[:, index])
            if isinstance(layer, stylegan2.ToRGB):
                rgb = _modulated(images, layer.weight, style * layer.gain, demodulate=False) + layer.bias[:, None, None]
                picture = rgb if picture is None else _filtered(_spread(picture), (2, 1)) + rgb
                continue
            images = _modulated(images, layer.weight, style, demodulate=True, up=layer.up)
            images = images + next(rest) * layer.noise_strength
            images = F.leaky_relu(images + layer.bias[:, None, None], 0.2) * math.sqrt(2)
    assert picture is not None
    return picture


def _affine(layer: stylegan2.Linear, style: Tensor) -> Tensor:
    return torch.addmm(layer.bias, style, layer.weight.T / math.sqrt(layer.weight.shape[1]))


def _modulated(images: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool, up: bool = False) -> Tensor:
    count, inputs, height, width = images.shape
    outputs, _, size, _ = weight.shape
    weights = weight[None] * style[:, None, :, None, None]
    if demodulate:
        weights = weights * torch.rsqrt(weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    grouped = images.reshape(1, count * inputs, height, width)
    if up:
        swapped = weights.transpose(1, 2).reshape(count * inputs, outputs, size, size)
        spread = F.conv_transpose2d(grouped, swapped, stride=2, groups=count)
        return _filtered(spread.reshape(count, outputs, 2 * height + 1, 2 * width + 1), (1, 1))
    convolved = F.conv2d(grouped, weights.reshape(count * outputs, inputs, size, size), padding=size // 2, groups=count)
    return convolved.reshape(count, outputs, height, width)


def _spread(images: Tensor) -> Tensor:
    """A zero after every pixel, both ways."""
    count, channels, height, width = images.shape
    spread = F.pad(images.reshape(count, channels, height, 1, width, 1), [0, 1, 0, 0, 0, 1])
    return spread.reshape(count, channels, 2 * height, 2 * width)


def _filtered(images: Tensor, border: tuple[int, int]) -> Tensor:
    """The filter [1, 3, 3, 1] with gain 4, on a border of zeros."""
    channels = images.shape[1]
    kernel = (torch.outer(_TAPS, _TAPS) / 16).expand(channels, 1, 4, 4)
    return F.conv2d(F.pad(images, [*border, *border]), kernel, groups=channels)
