"""Generators that are one plain stack of layers, as `layout` describes them: built, and folded for play.

Layer k of a stack is `main.{3k}` (the weighted sum), `main.{3k + 1}` (normalisation) and `main.{3k + 2}` (activation),
each of which may do nothing; that is how PyTorch's DCGAN example lies. A stack without any normalisation may be packed
into two places a layer.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.families.base import Noise
from studio.families.layout import Layer, StackSettings
from studio.families.single import SingleLatent

_FEW_PIXELS = 8
_WIDE = 512 * 256
"""Up to this size, and from so many products a pixel and tap, a matrix product beats a transposed convolution."""

_ACTIVATIONS: dict[str, Callable[[Layer], nn.Module]] = {
    "none": lambda layer: nn.Identity(),
    "relu": lambda layer: nn.ReLU(inplace=True),
    "leaky_relu": lambda layer: nn.LeakyReLU(layer.slope, inplace=True),
    "elu": lambda layer: nn.ELU(inplace=True),
    "selu": lambda layer: nn.SELU(inplace=True),
    "gelu": lambda layer: nn.GELU(),
    "silu": lambda layer: nn.SiLU(inplace=True),
    "softplus": lambda layer: nn.Softplus(),
    "tanh": lambda layer: nn.Tanh(),
    "sigmoid": lambda layer: nn.Sigmoid(),
    "prelu": lambda layer: nn.PReLU(),
    "channel_prelu": lambda layer: nn.PReLU(layer.width),
}


class Linear(nn.Linear):
    """A fully connected layer from all numbers of [n, c, h, w] to pictures [n, width, size, size]."""

    def __init__(self, inputs: int, width: int, size: int, *, bias: bool) -> None:
        super().__init__(inputs, width * size**2, bias=bias)
        self.width, self.size = width, size

    def forward(self, input: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, width, size, size]."""
        return super().forward(input.flatten(1)).view(-1, self.width, self.size, self.size)


class Convolution(nn.Conv2d):
    """A convolution of pictures that may be enlarged first, by repeating pixels or bilinearly."""

    def __init__(self, inputs: int, layer: Layer) -> None:
        super().__init__(inputs, layer.width, layer.kernel, layer.stride, layer.padding, bias=layer.bias)
        self.enlarge, self.mode = layer.enlarge, "bilinear" if layer.smooth else "nearest"

    def forward(self, input: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, width, h', w']."""
        if self.enlarge > 1:
            input = F.interpolate(input, scale_factor=self.enlarge, mode=self.mode)
        return super().forward(input)


class FlatBatchNorm(nn.BatchNorm1d):
    """Batch normalisation that treats every number of [n, c, h, w] as a feature of its own."""

    def forward(self, input: Tensor) -> Tensor:
        """[n, c, h, w] -> the same shape."""
        return super().forward(input.flatten(1)).view_as(input)


class LabelEmbedding(nn.Module):
    """A vector for each class; a label between classes gets a vector between theirs."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, width))

    def forward(self, label: Tensor) -> Tensor:
        """label [n, classes] -> [n, width]."""
        return label @ self.weight


class StackGenerator(SingleLatent):
    """Latent and label through a stack of layers to pictures.

    Args:
        settings: the layers are its `stack`.
        packed: whether a stack without any normalisation lies in two places a layer.
    """

    settings: StackSettings

    def __init__(self, settings: StackSettings, *, packed: bool = False) -> None:
        super().__init__(settings, settings.z_dim)
        self.places = 2 if packed and all(layer.norm == "none" for layer in settings.stack) else 3
        self.main = nn.Sequential(*_parts(settings, self.places))
        self.label_emb = LabelEmbedding(settings.classes, settings.label_width) if settings.label_width else None

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, z_dim + classes] -> pictures [n, channels, r, r] in about [-1, 1], float32. Takes no noise."""
        kind = cast(nn.Linear, self.main[0]).weight.dtype
        pictures = cast(Tensor, self.main(_entering(styles, self.settings, self.label_emb).to(kind)))
        return _levelled(pictures.float(), self.settings)

    def steps(self) -> Iterator[tuple[Layer, nn.Module, nn.Module, nn.Module]]:
        """Each layer with its sum, its normalisation and its activation; the last two may do nothing."""
        for index, layer in enumerate(self.settings.stack):
            parts = list(self.main[index * self.places : (index + 1) * self.places])
            if self.places == 2:
                parts.insert(1, nn.Identity())
            yield (layer, parts[0], parts[2], parts[1]) if layer.norm_last else (layer, *parts)  # type: ignore[misc]

    def prepared(self, dtype: torch.dtype) -> PreparedStack:
        """A form for play alone: learned normalisation folded into the weights, sums in `dtype`, channels last."""
        with torch.no_grad():
            return PreparedStack(self, dtype)


class PreparedStack(SingleLatent):
    """A stack folded for play: only sums and activations are left. What follows the last sum is in float32."""

    settings: StackSettings

    def __init__(self, generator: StackGenerator, dtype: torch.dtype) -> None:
        super().__init__(generator.settings, generator.z_dim)
        steps = [
            _folded(*step, size, dtype) for step, size in zip(generator.steps(), self.settings.sizes, strict=False)
        ]
        self.dtype = dtype
        self.main = nn.Sequential(*(module for step in steps[:-1] for module in step), steps[-1][0])
        self.last = nn.Sequential(*steps[-1][1:])
        self.label_emb = copy.deepcopy(generator.label_emb)
        self.eval().requires_grad_(False)

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, z_dim + classes] -> pictures [n, channels, r, r] in about [-1, 1], float32. Takes no noise."""
        pictures = cast(Tensor, self.main(_entering(styles, self.settings, self.label_emb).to(self.dtype)))
        return _levelled(cast(Tensor, self.last(pictures.float())), self.settings)

    def prepared(self, dtype: torch.dtype) -> PreparedStack:
        """Itself: it is folded already."""
        return self


class FoldedLinear(nn.Module):
    """A fully connected layer to pictures [n, width, size, size] that lie channels last without being moved."""

    def __init__(self, weight: Tensor, bias: Tensor | None, width: int, size: int, dtype: torch.dtype) -> None:
        super().__init__()
        rows = weight.reshape(width, size**2, -1).transpose(0, 1).reshape(weight.shape)
        self.weight = nn.Parameter(rows.to(dtype))
        self.bias = None if bias is None else nn.Parameter(bias.view(width, -1).t().reshape(-1).to(dtype))
        self.width, self.size = width, size

    def forward(self, inputs: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, width, size, size]."""
        numbers = F.linear(inputs.flatten(1), self.weight, self.bias)
        return numbers.view(-1, self.size, self.size, self.width).permute(0, 3, 1, 2)


class FoldedConvolution(nn.Module):
    """A convolution, plain or transposed, of weights that are given."""

    def __init__(self, weight: Tensor, bias: Tensor | None, layer: Layer, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.to(dtype).contiguous(memory_format=torch.channels_last))
        self.bias = None if bias is None else nn.Parameter(bias.to(dtype))
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, width, h', w']."""
        layer = self.layer
        if layer.kind == "transposed":
            return F.conv_transpose2d(inputs, self.weight, self.bias, layer.stride, layer.padding, layer.output_padding)
        if layer.enlarge > 1:
            inputs = F.interpolate(inputs, scale_factor=layer.enlarge, mode="bilinear" if layer.smooth else "nearest")
        return F.conv2d(inputs, self.weight, self.bias, layer.stride, layer.padding)


class FoldedDoubling(nn.Module):
    """A transposed convolution 4 x 4 of stride 2 as one matrix product, whose 16 results for a pixel are then added up.

    On few wide pixels this is several times quicker than a convolution, as the weights are read once and in order.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.permute(2, 3, 1, 0).flatten(0, 2).to(dtype).contiguous())
        self.bias = nn.Parameter((weight.new_zeros(weight.shape[1]) if bias is None else bias).to(dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, width, 2 h, 2 w]."""
        (count, _, height, width), maps = inputs.shape, len(self.bias)
        pixels = inputs.permute(0, 2, 3, 1).reshape(count * height * width, -1)
        windows = F.linear(pixels, self.weight).view(count, height, width, 4, 4, maps)
        canvas = self.bias.expand(count, height + 1, 2, width + 1, 2, maps).clone()
        for row, column in itertools.product((0, 1), repeat=2):
            quarter = windows[:, :, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            canvas[:, row : row + height, :, column : column + width] += quarter.permute(0, 1, 3, 2, 4, 5)
        picture = canvas.view(count, 2 * height + 2, 2 * width + 2, maps)[:, 1:-1, 1:-1]
        return picture.permute(0, 3, 1, 2)


class InFloat32(nn.Module):
    """A layer that computes in float32, whatever it reads, and answers in the same type."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        """The same shape and type."""
        return cast(Tensor, self.module(inputs.float())).to(inputs.dtype)


def _parts(settings: StackSettings, places: int) -> Iterator[nn.Module]:
    inputs = settings.inputs
    for layer, size in zip(settings.stack, settings.sizes, strict=False):
        yield _sum(layer, inputs, size)
        rest = [_norm(layer, layer.size_after(size)), _ACTIVATIONS[layer.activation](layer)]
        yield from reversed(rest) if layer.norm_last else rest[3 - places :]
        inputs = layer.width


def _sum(layer: Layer, inputs: int, size: int) -> nn.Module:
    if layer.kind == "linear":
        return Linear(inputs * size**2, layer.width, layer.kernel, bias=layer.bias)
    if layer.kind == "convolution":
        return Convolution(inputs, layer)
    return nn.ConvTranspose2d(
        inputs, layer.width, layer.kernel, layer.stride, layer.padding, layer.output_padding, bias=layer.bias
    )


def _norm(layer: Layer, size: int) -> nn.Module:
    """The normalisation of `layer.width` maps of `size` pixels."""
    if layer.norm == "batch":
        return nn.BatchNorm2d(layer.width, layer.epsilon, affine=layer.affine)
    if layer.norm == "flat_batch":
        return FlatBatchNorm(layer.width * size**2, layer.epsilon, affine=layer.affine)
    if layer.norm == "instance":
        return nn.InstanceNorm2d(layer.width, layer.epsilon, affine=layer.affine)
    if layer.norm == "group":
        return nn.GroupNorm(layer.groups, layer.width, layer.epsilon, affine=layer.affine)
    if layer.norm == "layer":
        return nn.LayerNorm((layer.width, size, size), layer.epsilon, elementwise_affine=layer.affine)
    return nn.Identity()


def _entering(styles: Tensor, settings: StackSettings, embedding: LabelEmbedding | None) -> Tensor:
    """styles [n, 1, z_dim + classes] -> what the first layer reads, [n, inputs, 1, 1]."""
    latent = styles[:, 0]
    if embedding is not None:
        z, embedded = latent[:, : settings.z_dim], embedding(latent[:, settings.z_dim :])
        if settings.label_input == "times":
            latent = z * embedded
        else:
            latent = torch.cat([embedded, z] if settings.label_input == "embedded_before" else [z, embedded], dim=1)
    return latent[:, :, None, None]


def _levelled(pictures: Tensor, settings: StackSettings) -> Tensor:
    """The network's own black and white become -1 and 1."""
    if (settings.black, settings.white) == (-1.0, 1.0):
        return pictures
    return (pictures - settings.black) * (2 / (settings.white - settings.black)) - 1


def _folded(
    layer: Layer, total: nn.Module, norm: nn.Module, activation: nn.Module, size: int, dtype: torch.dtype
) -> list[nn.Module]:
    """The modules of one layer for play, which reads pictures `size` wide."""
    weight, bias = cast(Tensor, total.weight).detach(), cast("Tensor | None", total.bias)
    if isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm1d)) and not layer.norm_last:
        weight, bias = _absorbed(layer, weight, bias, norm)
        norm = nn.Identity()
    rest = [copy.deepcopy(activation)]
    if isinstance(activation, nn.PReLU):
        rest = [InFloat32(rest[0])]
    if not isinstance(norm, nn.Identity):
        rest.insert(1 if layer.norm_last else 0, InFloat32(copy.deepcopy(norm)))
    return [_quick_sum(layer, weight, bias, size, dtype), *rest]


def _absorbed(
    layer: Layer, weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d | nn.BatchNorm1d
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a sum together with the batch normalisation behind it, by its learned statistics."""
    mean, variance = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
    gain, offset = torch.ones_like(mean), torch.zeros_like(mean)
    if norm.affine:
        gain, offset = norm.weight.double(), norm.bias.double()
    gain = gain / (variance + norm.eps).sqrt()
    offset = offset - mean * gain
    axis = 1 if layer.kind == "transposed" else 0
    repeats = weight.shape[axis] // len(gain)
    gain, offset = gain.repeat_interleave(repeats), offset.repeat_interleave(repeats)
    if bias is not None:
        offset = offset + bias.double() * gain
    shape = [-1 if place == axis else 1 for place in range(weight.ndim)]
    return (weight.double() * gain.view(shape)).to(weight.dtype), offset.to(weight.dtype)


def _quick_sum(layer: Layer, weight: Tensor, bias: Tensor | None, size: int, dtype: torch.dtype) -> nn.Module:
    """The quickest form of a layer's sum.

    A transposed convolution of one pixel is a matrix product. A picture that is doubled by repeating pixels and then
    convolved 3 x 3 is a transposed convolution 4 x 4, each of whose weights stands for those that met the same pixel.
    """
    if layer.kind == "linear":
        return FoldedLinear(weight, bias, layer.width, layer.kernel, dtype)
    if layer.kind == "transposed" and size == 1 and not (layer.padding or layer.output_padding):
        spread = None if bias is None else bias.repeat_interleave(layer.kernel**2)
        return FoldedLinear(weight.flatten(1).t(), spread, layer.width, layer.kernel, dtype)
    plain = (layer.kernel, layer.stride, layer.padding) == (3, 1, 1)
    if layer.kind == "convolution" and plain and layer.enlarge == 2 and not layer.smooth:
        layer, weight = Layer(kind="transposed", width=layer.width), _doubling(weight)
    window = (layer.kind, layer.kernel, layer.stride, layer.padding, layer.output_padding)
    if window == ("transposed", 4, 2, 1, 0) and size <= _FEW_PIXELS and weight[:, :, 0, 0].numel() >= _WIDE:
        return FoldedDoubling(weight, bias, dtype)
    return FoldedConvolution(weight, bias, layer, dtype)


def _doubling(weight: Tensor) -> Tensor:
    """[o, i, 3, 3] of a convolution after doubling -> [i, o, 4, 4] of the transposed one that does both."""
    flipped = weight.flip(2, 3).transpose(0, 1)
    rows = F.pad(flipped, (0, 0, 0, 1)) + F.pad(flipped, (0, 0, 1, 0))
    return F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))
