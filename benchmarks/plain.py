"""StyleGAN2's and StyleGAN3's synthesis as published: weights of their own for every picture, grouped convolutions, filters
slid over each channel, float32. Written from the formulas, for the other forms to be measured and compared against."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.families import stylegan2, stylegan3
from studio.ops import layers

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


def judge(critic: stylegan2.Discriminator, images: Tensor) -> Tensor:
    """images [n, channels, r, r] -> logits [n, 1] of an unconditional residual critic, as published."""
    features = _layer(critic.get_submodule(f"b{critic.resolutions[0]}").fromrgb, images)  # type: ignore[arg-type]
    for resolution in critic.resolutions:
        block: Any = critic.get_submodule(f"b{resolution}")
        features = _layer(block.skip, features) + _layer(block.conv1, _layer(block.conv0, features))
    last = _layer(critic.b4.conv, layers.minibatch_deviation(features, critic.b4.group_size)).flatten(1)
    return critic.b4.out(F.leaky_relu(critic.b4.fc(last), 0.2))  # type: ignore[no-any-return]


def _layer(layer: stylegan2.Convolution, images: Tensor) -> Tensor:
    weight = layer.weight / math.sqrt(layer.weight[0].numel())
    size = weight.shape[2]
    if layer.down:
        border = (2, 2) if size == 3 else (1, 1)
        images = _filtered(images, border) / 4
        images = F.conv2d(images, weight, stride=2) if size == 3 else F.conv2d(images[:, :, ::2, ::2], weight)
    else:
        images = F.conv2d(images, weight, padding=size // 2)
    if layer.bias is not None:
        images = F.leaky_relu(images + layer.bias[:, None, None], 0.2)
    return images * layer.gain


# ── StyleGAN3 ──


def synthesize3(generator: stylegan3.Generator, styles: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
    """styles [n, num_styles, w_dim] -> pictures, as published: zeros between pixels, filters slid over each channel."""
    synthesis = generator.synthesis
    images = synthesis.input(styles[:, 0], None)
    for place, layer in enumerate(synthesis.layers):
        style, weight = _affine(layer.affine, styles[:, place + 1]), layer.weight
        if isinstance(layer, stylegan3.ToRGB):
            style = style * layer.magnitude_ema.rsqrt() / math.sqrt(weight.shape[1])
            rgb = _modulated(images, weight, style, demodulate=False) + layer.bias[:, None, None]
            return rgb.clamp(-layer.clamp, layer.clamp) * synthesis.output_scale
        weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        style = style * style.square().mean().rsqrt()
        demodulation = torch.rsqrt((weight[None] * style[:, None, :, None, None]).square().sum(dim=(2, 3, 4)) + 1e-8)
        scaled = weight[None] * style[:, None, :, None, None] * demodulation[:, :, None, None, None]
        scaled = (scaled * layer.magnitude_ema.rsqrt()).flatten(0, 1)
        count, _, height, width = images.shape
        images = F.conv2d(images.reshape(1, -1, height, width), scaled, padding=layer.kernel - 1, groups=count)
        images = images.reshape(count, -1, *images.shape[2:]) + layer.bias[:, None, None]
        images = _filtered_bend(images, layer)
    raise AssertionError("the last layer answers")


def _filtered_bend(images: Tensor, layer: stylegan3.SynthesisLayer) -> Tensor:
    count, channels, height, _ = images.shape
    geometry = layer.geometry
    up, down = geometry.up, geometry.down
    spread = images.new_zeros(count, channels, up * height, up * height)
    spread[:, :, ::up, ::up] = images
    fine = (geometry.outputs - 1) * down + len(layer.down_filter) + len(layer.up_filter) - 1
    low = geometry.padding
    high = fine - low - up * height
    spread = F.pad(spread, (low, high, low, high))
    bent = F.leaky_relu(_slid(spread, layer.up_filter * up), 0.2) * math.sqrt(2)
    return _slid(bent.clamp(-layer.clamp, layer.clamp), layer.down_filter)[:, :, ::down, ::down]


def _slid(images: Tensor, taps: Tensor) -> Tensor:
    """Convolution of each channel with a filter, separable if it is [taps]."""
    channels = images.shape[1]
    if taps.ndim == 2:
        return F.conv2d(images, taps.flip((0, 1)).expand(channels, 1, *taps.shape), groups=channels)
    line = taps.flip(0).expand(channels, 1, 1, len(taps))
    return F.conv2d(F.conv2d(images, line, groups=channels), line.mT, groups=channels)
