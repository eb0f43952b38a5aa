"""R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern GAN Baseline").

Residual blocks of three convolutions without normalisation, the middle one grouped (as in ResNeXt, Xie et al. 2017);
weights that start so that no depth needs normalising (Zhang et al. 2019, "Fixup initialization"). The critic is the
generator's mirror image. Tensors carry the names of the authors' release, less its outermost `Model.` and the constant
filters, so its weights load as they are.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families.base import NetworkSettings, Noise
from studio.families.single import SingleLatent
from studio.ops import layers, resample
from studio.options import option

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
_HINT = "Give one number for each size: 4 px, 8 px, and so on up to the picture's."


@dataclass(frozen=True, kw_only=True)
class R3GANSettings(NetworkSettings):
    """The shape of an R3GAN generator; the defaults are those of its authors at 64 px.

    Attributes:
        widths: feature channels at 4 px, 8 px, … up to the picture's size.
        groups: into how many groups the middle convolution of a block parts its channels, at each size.
        blocks: residual blocks at each size.
    """

    z_dim: int = option(64, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    widths: tuple[int, ...] = (768, 768, 768, 768, 384)
    groups: tuple[int, ...] = (96, 96, 96, 96, 48)
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2)
    expansion: int = option(2, help="How much wider a block is inside.", low=1, high=16)
    kernel_size: int = option(3, help="Width of the grouped convolutions.", low=1, high=9, unit="px")
    embedding: int = option(
        0, help="Numbers that a class is turned into; 0: as many as the latent has.", low=0, high=4096
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = len(self.widths)
        if not 1 <= stages <= 10 or self.resolution != 4 * 2 ** (stages - 1):
            raise BadInput(f"An R3GAN of {stages} sizes cannot make pictures of {self.resolution} px.", _HINT)
        if len(self.groups) != stages or len(self.blocks) != stages:
            raise BadInput("This R3GAN has not as many groups or blocks as widths.", _HINT)
        for width, groups, blocks in zip(self.widths, self.groups, self.blocks, strict=True):
            if not (1 <= width <= 8192 and 0 <= blocks <= 64 and groups >= 1 and width * self.expansion % groups == 0):
                raise BadInput(f"{width} channels in {groups} groups and {blocks} blocks cannot be built.", _HINT)
        if self.kernel_size % 2 == 0:
            raise BadInput("The grouped convolutions need an odd width.", "Choose 1, 3, 5 …")

    @property
    def condition(self) -> int:
        """Numbers that a class adds to the latent."""
        return (self.embedding or self.z_dim) if self.classes else 0


class Convolution(nn.Module):
    """k x k, without a bias of its own."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, *, groups: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.Layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
        _initialise(self.Layer.weight, gain)

    def forward(self, images: Tensor, bias: Tensor | None = None) -> Tensor:
        layer = self.Layer
        return F.conv2d(images, layer.weight, bias, padding=layer.padding, groups=layer.groups)


class Bias(nn.Module):
    """The bias before an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Bias = nn.Parameter(torch.zeros(channels))


class ResidualBlock(nn.Module):
    """1x1 to more channels, k x k in groups, 1x1 back; added to what came in."""

    def __init__(self, channels: int, groups: int, settings: R3GANSettings) -> None:
        super().__init__()
        wide = channels * settings.expansion
        gain = _GAIN * sum(settings.blocks) ** -0.25
        self.LinearLayer1 = Convolution(channels, wide, gain=gain)
        self.LinearLayer2 = Convolution(wide, wide, settings.kernel_size, groups=groups, gain=gain)
        self.LinearLayer3 = Convolution(wide, channels, gain=0.0)
        self.NonLinearity1, self.NonLinearity2 = Bias(wide), Bias(wide)

    def forward(self, images: Tensor) -> Tensor:
        change = F.leaky_relu_(self.LinearLayer1(images, self.NonLinearity1.Bias), _SLOPE)
        change = F.leaky_relu_(self.LinearLayer2(change, self.NonLinearity2.Bias), _SLOPE)
        change = cast(Tensor, self.LinearLayer3(change))
        return change + images.to(change.dtype)


class GenerativeBasis(nn.Module):
    """The latent weighs learned pictures of 4 x 4."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.Basis = nn.Parameter(torch.randn(channels, 4, 4))
        self.LinearLayer = nn.Linear(inputs, channels, bias=False)
        _initialise(self.LinearLayer.weight, 1.0)

    def forward(self, latents: Tensor) -> Tensor:
        """[n, inputs] -> [n, channels, 4, 4], float32."""
        return self.Basis * cast(Tensor, self.LinearLayer(latents))[:, :, None, None]


class UpsampleLayer(nn.Module):
    """Twice the size, after a 1x1 convolution where the channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if inputs != outputs:
            self.LinearLayer = Convolution(inputs, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return resample.upsample(self.LinearLayer(images) if hasattr(self, "LinearLayer") else images)


class DownsampleLayer(nn.Module):
    """Half the size, before a 1x1 convolution where the channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if inputs != outputs:
            self.LinearLayer = Convolution(inputs, outputs)

    def forward(self, images: Tensor) -> Tensor:
        images = resample.downsample(images)
        return self.LinearLayer(images) if hasattr(self, "LinearLayer") else images


class DiscriminativeBasis(nn.Module):
    """Pictures of 4 x 4, each weighed by a learned one and summed, then a linear layer."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.Basis = nn.Conv2d(channels, channels, 4, groups=channels, bias=False)
        self.LinearLayer = nn.Linear(channels, outputs, bias=False)
        _initialise(self.Basis.weight, 1.0)
        _initialise(self.LinearLayer.weight, 1.0)

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels, 4, 4] -> [n, outputs], float32."""
        with layers.full_precision(images):
            sums = (images.float() * self.Basis.weight[:, 0]).sum(dim=(2, 3))
            return cast(Tensor, self.LinearLayer(sums))


class Stage(nn.Module):
    """One size: residual blocks, behind what leads to it in the generator, before what leads on in the critic."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.Layers = nn.ModuleList(parts)

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.Layers:
            images = layer(images)
        return images


class Generator(SingleLatent):
    """Stages from 4 px up, then a 1x1 convolution to colours. Latent and class are its one style."""

    settings: R3GANSettings

    def __init__(self, settings: R3GANSettings) -> None:
        super().__init__(settings, settings.z_dim)
        if settings.classes:
            self.EmbeddingLayer = nn.Linear(settings.classes, settings.condition, bias=False)
            _initialise(self.EmbeddingLayer.weight, 1.0)
        self.MainLayers = nn.ModuleList(_stage(settings, place) for place in range(len(settings.widths)))
        self.AggregationLayer = Convolution(settings.widths[-1], settings.channels)

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, z_dim + classes] -> pictures [n, channels, r, r] in about [-1, 1], float32. It takes no noise."""
        latents, label = torch.split(styles[:, 0].float(), [self.z_dim, self.classes], dim=1)
        if self.classes:
            latents = torch.cat([latents, self.EmbeddingLayer(label)], dim=1)
        first, *others = cast(Stage, self.MainLayers[0]).Layers
        images = first(latents).to(self.AggregationLayer.Layer.weight.dtype, memory_format=torch.channels_last)
        for layer in [*others, *self.MainLayers[1:]]:
            images = layer(images)
        return cast(Tensor, self.AggregationLayer(images)).float()

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A copy for play alone: convolutions in `dtype`, class and latent in float32."""
        prepared = copy.deepcopy(self).eval().requires_grad_(False)
        for module in prepared.modules():
            if isinstance(module, (Convolution, Bias)):
                module.to(dtype)
        return prepared.to(memory_format=torch.channels_last)


class Discriminator(nn.Module):
    """A 1x1 convolution from colours, then the generator's stages in reverse; with classes by projection."""

    def __init__(self, settings: R3GANSettings) -> None:
        super().__init__()
        self.settings = settings
        self.ExtractionLayer = Convolution(settings.channels, settings.widths[-1])
        self.MainLayers = nn.ModuleList(_critic_stage(settings, place) for place in range(len(settings.widths))[::-1])
        if settings.classes:
            self.EmbeddingLayer = nn.Linear(settings.classes, settings.condition, bias=False)
            _initialise(self.EmbeddingLayer.weight, settings.condition**-0.5)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 1], float32."""
        logits = self.features(images)[-1]
        if not self.settings.classes:
            return logits
        with layers.full_precision(images):
            rows = layers.label_rows(label, images, self.settings.classes)
            return torch.sum(logits * self.EmbeddingLayer(rows), dim=1, keepdim=True)

    def features(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """images [n, channels, r, r] -> what every stage makes of them, the last [n, 1 or embedding]; labels play no
        part."""
        images, found = self.ExtractionLayer(images.contiguous(memory_format=torch.channels_last)), []
        for stage in self.MainLayers:
            images = stage(images)
            found.append(images)
        return tuple(found)


def _stage(settings: R3GANSettings, place: int) -> Stage:
    """The generator's stage of 4 px times 2 to the power of `place`."""
    width = settings.widths[place]
    if place:
        return Stage(UpsampleLayer(settings.widths[place - 1], width), *_blocks(settings, place))
    return Stage(GenerativeBasis(settings.z_dim + settings.condition, width), *_blocks(settings, place))


def _critic_stage(settings: R3GANSettings, place: int) -> Stage:
    """The critic's stage of the same size."""
    width = settings.widths[place]
    if place:
        return Stage(*_blocks(settings, place), DownsampleLayer(width, settings.widths[place - 1]))
    return Stage(*_blocks(settings, place), DiscriminativeBasis(width, settings.condition or 1))


def _blocks(settings: R3GANSettings, place: int) -> list[ResidualBlock]:
    width, groups = settings.widths[place], settings.groups[place]
    return [ResidualBlock(width, groups, settings) for _ in range(settings.blocks[place])]


def _initialise(weight: Tensor, gain: float) -> None:
    """Weights that multiply the variance of what they sum by `gain` squared (He et al. 2015)."""
    nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))
