"""The arithmetic of StyleGAN2 (Karras et al. 2020) as pure functions: weights, styles and noise come in."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

GAIN = math.sqrt(2)
"""What brings the variance after a leaky ReLU back to 1."""

_SLOPE = 0.2
_EPSILON = 1e-8


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which autocast leaves float32 alone: for styles, demodulation and logits."""
    return torch.autocast(like.device.type, enabled=False)


def label_rows(label: Tensor | None, like: Tensor, classes: int) -> Tensor:
    """The label [n, classes] as float32, or for None uniform rows that prefer no class, one for each row of `like`."""
    if label is not None:
        return label.float()
    return torch.full((like.shape[0], classes), 1 / max(classes, 1), device=like.device)


def normalise(latents: Tensor) -> Tensor:
    """Scale each row of [n, width] to a mean square of 1."""
    return latents * torch.rsqrt(latents.square().mean(dim=1, keepdim=True) + _EPSILON)


def equalised_linear(inputs: Tensor, weight: Tensor, bias: Tensor, *, rate: float = 1.0, gain: float = 1.0) -> Tensor:
    """Linear layer [n, in] -> [n, out], times `gain`, whose stored weight [out, in] is N(0, 1 / rate²).

    `rate` is its learning rate relative to other layers. The factors act on the inputs, which are far fewer than
    the weights.
    """
    scaled = inputs * (gain * rate / math.sqrt(weight.shape[1]))
    return F.linear(scaled, weight, bias if gain * rate == 1 else bias * (gain * rate))


def equalised_weight(weight: Tensor, gain: float = 1.0) -> Tensor:
    """A stored N(0, 1) convolution weight [o, i, k, k] scaled to keep the variance of its inputs, times `gain`."""
    return weight * (gain / math.sqrt(weight[0].numel()))


def activate(inputs: Tensor, clamp: float = 0.0) -> Tensor:
    """Leaky ReLU of slope 0.2, in place, then kept within ±`clamp` (0: no limit).

    The gain of sqrt(2) that follows a leaky ReLU is left to the factors before it (`GAIN`), which are smaller.
    """
    return limit(F.leaky_relu_(inputs, _SLOPE), clamp)


def limit(inputs: Tensor, clamp: float) -> Tensor:
    """Keep values within ±`clamp`; 0 means no limit."""
    return inputs.clamp(-clamp, clamp) if clamp else inputs


def demodulation(styles: Tensor, squares: Tensor) -> Tensor:
    """The factors [n, o] that bring modulated outputs back to unit variance.

    Args:
        styles: [n, i], what scales each input channel.
        squares: [o, i], the convolution weight squared and summed over its window.
    """
    return torch.rsqrt(styles.square() @ squares.t() + _EPSILON)


def scale_channels(images: Tensor, scales: Tensor) -> Tensor:
    """images [n, c, h, w] times scales [n, c], in the type of the images."""
    return images * scales.to(images.dtype)[:, :, None, None]


def finish(images: Tensor, scales: Tensor, bias: Tensor, noise: Tensor | None, clamp: float) -> Tensor:
    """Demodulate [n, o, h, w] by scales [n, o], add bias [o] and noise [n, 1, h, w], activate.

    All three must already hold the activation's `GAIN`.
    """
    kind = images.dtype
    images = torch.addcmul(bias.to(kind)[:, None, None], images, scales.to(kind)[:, :, None, None])
    if noise is not None:
        images += noise.to(kind)
    return activate(images, clamp)


def to_rgb(images: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """1x1 convolution of [n, i, h, w] with weight [c, i, 1, 1] scaled by styles [n, i], as a matrix product.

    The few output channels make weights of their own for each picture cheaper than scaled copies of the features,
    but for compilers, which scale on the way.
    """
    if torch.jit.is_tracing():  # type: ignore[no-untyped-call,attr-defined]
        return F.conv2d(scale_channels(images, styles), weight)
    height, width = images.shape[2:]
    scaled = weight[:, :, 0, 0] * styles[:, None]
    pixels = images.permute(0, 2, 3, 1).flatten(1, 2)
    picture = torch.bmm(pixels, scaled.transpose(1, 2).to(pixels.dtype))
    return picture.reshape(-1, height, width, weight.shape[0]).permute(0, 3, 1, 2)


def minibatch_deviation(images: Tensor, group_size: int) -> Tensor:
    """Append one channel: how much the pictures of a group differ (Karras et al. 2018, section 3).

    A group is at most `group_size` pictures, as many as divide the batch; it takes every (n / group)-th picture.
    """
    count, channels, height, width = images.shape
    group = next(size for size in range(min(group_size, count), 0, -1) if count % size == 0)
    grouped = images.float().reshape(group, count // group, channels, height, width)
    variance = (grouped - grouped.mean(dim=0)).square().mean(dim=0)
    deviation = (variance + _EPSILON).sqrt().mean(dim=(1, 2, 3))
    column = deviation.repeat(group).to(images.dtype)[:, None, None, None]
    return torch.cat([images, column.expand(count, 1, height, width)], dim=1)
