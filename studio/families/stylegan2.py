"""StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"), skip G and residual D.

Tensors carry the names of the authors' PyTorch release, so its weights load as they are, less the constant
`resample_filter` buffers. Under autocast the convolutions run in half precision; styles, demodulation, the sum of
the RGB pictures and the logits stay in float32.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families.base import NetworkSettings, Noise, Stage
from studio.ops import fused, layers, packed, resample
from studio.options import option


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Settings(NetworkSettings):
    """The shape of a StyleGAN2; the defaults are those of its authors for pictures up to 256 px."""

    z_dim: int = option(512, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    w_dim: int = option(512, help="Width of a style vector.", low=1, high=4096)
    mapping_layers: int = option(8, help="Layers between latent and style.", low=1, high=16)
    channel_base: int = option(16384, help="Channels times resolution: more is richer.", low=16, high=262_144)
    channel_max: int = option(512, help="The most channels at any resolution.", low=1, high=4096)
    conv_clamp: float = option(0.0, help="Limit of the activations; 0 for none.", low=0, high=1e6, advanced=True)
    mbstd_group_size: int = option(4, help="Pictures the critic compares at a time.", low=1, high=64, advanced=True)
    discriminator_mapping_layers: int = option(
        8, help="Layers that the critic reads a class with.", low=0, high=16, advanced=True
    )
    discriminator_architecture: str = option(
        "resnet", help="How the critic's sizes are joined.", choices=("resnet", "skip", "orig"), advanced=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution & (self.resolution - 1):
            raise BadInput(f"StyleGAN2 cannot make pictures of {self.resolution} px.", "Choose 32, 64, 128, 256 …")

    def channels_at(self, resolution: int) -> int:
        """Feature channels of the block at `resolution`."""
        return max(1, min(self.channel_base // resolution, self.channel_max))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, … up to the picture's."""
        return tuple(2**power for power in range(2, self.resolution.bit_length()))


class Linear(nn.Module):
    """Equalised linear layer."""

    def __init__(self, inputs: int, outputs: int, *, rate: float = 1.0, bias: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.rate, self.gain = rate, gain
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))

    def forward(self, inputs: Tensor) -> Tensor:
        return layers.equalised_linear(inputs, self.weight, self.bias, rate=self.rate, gain=self.gain)


class Mapping(nn.Module):
    """Latents and labels -> w. Without `z_dim` it maps labels alone, as the discriminator needs it."""

    w_avg: Tensor
    RATE = 0.01

    def __init__(self, *, z_dim: int, classes: int, w_dim: int, depth: int, averaged: bool) -> None:
        super().__init__()
        self.z_dim, self.classes, self.depth = z_dim, classes, depth
        if classes:
            self.embed = Linear(classes, w_dim)
        width = z_dim + (w_dim if classes else 0)
        for place in range(depth):
            self.add_module(f"fc{place}", Linear(width, w_dim, rate=self.RATE, gain=layers.GAIN))
            width = w_dim
        if averaged:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        """z [n, z_dim], label [n, classes] or None (no class preferred) -> w [n, w_dim], float32."""
        parts = [layers.normalise(z.float())] if self.z_dim else []
        if self.classes:
            parts.append(layers.normalise(self.embed(layers.label_rows(label, z, self.classes))))
        hidden = torch.cat(parts, dim=1)
        for place in range(self.depth):
            hidden = layers.activate(self.get_submodule(f"fc{place}")(hidden))
        return hidden


class ModulatedLayer(nn.Module):
    """3x3 convolution under a style, noise, leaky ReLU; `up` doubles the size."""

    noise_const: Tensor
    squares: Tensor | None

    def __init__(self, inputs: int, outputs: int, *, w_dim: int, resolution: int, up: bool, clamp: float) -> None:
        super().__init__()
        self.up, self.clamp, self.resolution = up, clamp, resolution
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("squares", None)

    def fold(self, dtype: torch.dtype) -> None:
        """Compute once what the weights alone decide, and keep them as `dtype`. Only for play."""
        self.squares = self._squares()
        size = self.resolution // 2 if self.up else self.resolution
        self.weight = _constant(packed.pack(self.weight.to(dtype), up=self.up, size=size))

    def modulate(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """The scales that style [n, w_dim] asks for, of the inputs [n, i] and the outputs [n, o], float32."""
        scales = self.affine(style)
        squares = self._squares() if self.squares is None else self.squares
        return scales, layers.demodulation(scales, squares) * layers.GAIN

    def forward(self, images: Tensor, inputs: Tensor, outputs: Tensor, noise: Tensor | None) -> Tensor:
        images = layers.scale_channels(images, inputs)
        convolve = resample.convolve_up if self.up else packed.convolve
        images = convolve(images, self.weight)
        if noise is not None:
            noise = noise * (self.noise_strength * layers.GAIN)
        return layers.finish(images, outputs, self.bias * layers.GAIN, noise, self.clamp)

    def _squares(self) -> Tensor:
        return self.weight.float().square().sum(dim=(2, 3))


class ToRGB(nn.Module):
    """1x1 convolution under a style, without demodulation, to the picture's channels."""

    def __init__(self, inputs: int, channels: int, *, w_dim: int, clamp: float) -> None:
        super().__init__()
        self.clamp = clamp
        self.gain = 1 / math.sqrt(inputs)
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def modulate(self, style: Tensor) -> tuple[Tensor]:
        """The scales of the inputs [n, i] that style [n, w_dim] asks for, float32."""
        return (self.affine(style) * self.gain,)

    def forward(self, images: Tensor, inputs: Tensor) -> Tensor:
        picture = layers.to_rgb(images, self.weight, inputs)
        return layers.limit(picture.float() + self.bias[:, None, None], self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: two modulated layers (one at 4 px, after the constant) and a ToRGB."""

    def __init__(self, settings: StyleGAN2Settings, resolution: int) -> None:
        super().__init__()
        outputs = settings.channels_at(resolution)
        w_dim, clamp = settings.w_dim, settings.conv_clamp
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(outputs, 4, 4))
        else:
            inputs = settings.channels_at(resolution // 2)
            self.conv0 = ModulatedLayer(inputs, outputs, w_dim=w_dim, resolution=resolution, up=True, clamp=clamp)
        self.conv1 = ModulatedLayer(outputs, outputs, w_dim=w_dim, resolution=resolution, up=False, clamp=clamp)
        self.torgb = ToRGB(outputs, settings.channels, w_dim=w_dim, clamp=clamp)
        self.resolution = resolution

    @property
    def styled(self) -> list[ModulatedLayer]:
        """The layers that take noise, in order."""
        return [self.conv1] if self.resolution == 4 else [self.conv0, self.conv1]

    @property
    def readers(self) -> list[tuple[int, ModulatedLayer | ToRGB]]:
        """Every layer after the index of the style it reads. A ToRGB shares its style with the next block's conv0."""
        last = 2 * self.resolution.bit_length() - 5
        return list(enumerate((*self.styled, self.torgb), start=last - len(self.styled)))

    def modulate(self, styles: Tensor) -> tuple[Tensor, ...]:
        """styles [n, num_styles, w_dim] -> the scales of its layers and of ToRGB one after the other, float32."""
        with layers.full_precision(styles):
            return tuple(scales for index, layer in self.readers for scales in layer.modulate(styles[:, index]))

    def forward(self, state: tuple[Tensor, ...], scales: tuple[Tensor, ...], noise: Noise | None) -> tuple[Tensor, ...]:
        """(features, picture) of half the size, or () at 4 px, and what `modulate` gave -> (features, picture)."""
        if state:
            images = state[0]
        else:
            constant = self.const.expand(scales[0].shape[0], -1, -1, -1)
            images = constant.contiguous(memory_format=torch.channels_last)
        for place, layer in enumerate(self.styled):
            images = layer(images, *scales[2 * place : 2 * place + 2], None if noise is None else noise[place])
        picture = self.torgb(images, scales[-1])
        return images, resample.upsample(state[1]) + picture if state else picture


class Synthesis(nn.Module):
    """Styles and noise -> pictures."""

    def __init__(self, settings: StyleGAN2Settings) -> None:
        super().__init__()
        self.resolutions = settings.resolutions
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(settings, resolution))

    @property
    def blocks(self) -> list[SynthesisBlock]:
        return [cast(SynthesisBlock, self.get_submodule(f"b{resolution}")) for resolution in self.resolutions]

    def forward(self, styles: Tensor, noise: Noise | None) -> Tensor:
        """styles [n, num_styles, w_dim] -> pictures [n, channels, r, r], float32."""
        state: tuple[Tensor, ...] = ()
        rest = None if noise is None else iter(noise)
        for block in self.blocks:
            taken = None if rest is None else tuple(itertools.islice(rest, len(block.styled)))
            state = block(state, block.modulate(styles), taken)
        return state[-1]


class Mapped(nn.Module):
    """What the generators that map latents to w share, StyleGAN2 and 3: `mapping`, truncation and the mean of w."""

    mapping: Mapping
    num_styles: int

    def map_w(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [n, z_dim], label [n, classes] -> w [n, w_dim], neither truncated nor repeated for the layers."""
        with layers.full_precision(z):
            return cast(Tensor, self.mapping(z, label))

    def map(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, z_dim], label [n, classes] -> styles [n, num_styles, w_dim]: w' = w_avg + truncation (w - w_avg)."""
        w = self.map_w(z, label)
        if truncation != 1:
            w = torch.lerp(self.mapping.w_avg, w, truncation)
        return w[:, None].expand(-1, self.num_styles, -1)

    @torch.no_grad()
    def track_w_average(self, w: Tensor, beta: float) -> None:
        """Move the mean of w, towards which truncation pulls, to the mean of this batch [n, w_dim]; `beta` is kept."""
        self.mapping.w_avg.copy_(torch.lerp(w.detach().float().mean(dim=0), self.mapping.w_avg, beta))


class Generator(Mapped):
    """The StyleGAN2 generator; see `studio.families.base.Generator` for what it answers."""

    def __init__(self, settings: StyleGAN2Settings) -> None:
        super().__init__()
        self.settings = settings
        self.z_dim, self.style_dim, self.classes = settings.z_dim, settings.w_dim, settings.classes
        self.resolution, self.channels = settings.resolution, settings.channels
        self.num_styles = 2 * len(settings.resolutions)
        self.noise_sizes = tuple(r for r in settings.resolutions for _ in range(1 if r == 4 else 2))
        self.mapping = Mapping(
            z_dim=settings.z_dim, classes=settings.classes, w_dim=settings.w_dim,
            depth=settings.mapping_layers, averaged=True,
        )  # fmt: skip
        self.synthesis = Synthesis(settings)

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, num_styles, w_dim] and noise [1 or n, 1, r, r] for each of `noise_sizes` -> pictures."""
        return cast(Tensor, self.synthesis(styles, noise))

    def forward(self, z: Tensor, label: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Latents straight to pictures."""
        return self.synthesize(self.map(z, label), noise)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One for each resolution."""
        return tuple(
            Stage(resolution=block.resolution, styles=block.readers[-1][0] + 1, noises=len(block.styled))
            for block in self.synthesis.blocks
        )

    def modulate(self, stage: int, styles: Tensor) -> tuple[Tensor, ...]:
        """What the styles [n, num_styles, w_dim] mean to a stage, float32."""
        return self.synthesis.blocks[stage].modulate(styles)

    def run_stage(
        self, stage: int, state: tuple[Tensor, ...], scales: tuple[Tensor, ...], noise: Noise | None
    ) -> tuple[Tensor, ...]:
        """One stage: (features, picture) of the one before, () at first -> (features, picture)."""
        return cast(tuple[Tensor, ...], self.synthesis.blocks[stage](state, scales, noise))

    def constant_noise(self) -> Noise:
        """The noise that the model was trained with or given, [1, 1, r, r] each."""
        return tuple(layer.noise_const[None, None] for block in self.synthesis.blocks for layer in block.styled)

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A copy for play alone: convolutions in `dtype`, everything that the weights decide computed once.

        Styles, demodulation and the sum of the RGB pictures stay in float32. It can be neither trained nor saved.
        """
        prepared = copy.deepcopy(self).eval().requires_grad_(False)
        first = prepared.synthesis.blocks[0]
        first.const = _constant(first.const.to(dtype))
        for block in prepared.synthesis.blocks:
            for layer in block.styled:
                layer.fold(dtype)
        return prepared

    def style_matrices(self) -> tuple[Tensor, ...]:
        """For each style index the affine weights [out, w_dim] that read it: one convolution, and a ToRGB if any."""
        found: list[list[Tensor]] = [[] for _ in range(self.num_styles)]
        for index, layer in (reader for block in self.synthesis.blocks for reader in block.readers):
            found[index].append(layer.affine.weight)
        return tuple(torch.cat(weights).detach() for weights in found)


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


class Convolution(nn.Module):
    """Equalised convolution of the discriminator, k x k, with leaky ReLU where it has a bias."""

    def __init__(
        self, inputs: int, outputs: int, size: int, *,
        down: bool = False, bias: bool = True, gain: float = 1.0, clamp: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.down, self.gain, self.clamp = down, gain * (layers.GAIN if bias else 1), clamp * gain
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        size = self.weight.shape[2]
        weight = layers.equalised_weight(self.weight, self.gain)
        if self.down:
            images = resample.downsample(images) if size == 1 else resample.blur(images)
        stride, padding = (2, 0) if self.down and size > 1 else (1, 0 if self.down else size // 2)
        if self.bias is None:
            return F.conv2d(images, weight, None, stride, padding)
        bent = fused.convolve_bent(images, weight, self.bias * self.gain, stride=stride, padding=padding)
        return layers.limit(bent, self.clamp)


class DiscriminatorBlock(nn.Module):
    """Two convolutions that halve the size, and beside them, if it is residual, a skip."""

    def __init__(self, settings: StyleGAN2Settings, resolution: int) -> None:
        super().__init__()
        inputs, outputs = settings.channels_at(resolution), settings.channels_at(resolution // 2)
        clamp = settings.conv_clamp
        self.residual = settings.discriminator_architecture == "resnet"
        gain = math.sqrt(0.5) if self.residual else 1.0
        if resolution == settings.resolution or settings.discriminator_architecture == "skip":
            self.fromrgb = Convolution(settings.channels, inputs, 1, clamp=clamp)
        self.conv0 = Convolution(inputs, inputs, 3, clamp=clamp)
        self.conv1 = Convolution(inputs, outputs, 3, down=True, gain=gain, clamp=clamp)
        if self.residual:
            self.skip = Convolution(inputs, outputs, 1, down=True, bias=False, gain=gain)

    def forward(self, images: Tensor) -> Tensor:
        if not self.residual:
            return cast(Tensor, self.conv1(self.conv0(images)))
        return cast(Tensor, self.skip(images).add_(self.conv1(self.conv0(images))))


class Epilogue(nn.Module):
    """4 x 4 features -> one number, or as many as the class embedding has."""

    def __init__(self, settings: StyleGAN2Settings) -> None:
        super().__init__()
        width = settings.channels_at(4)
        self.group_size = settings.mbstd_group_size
        if settings.resolution == 4 or settings.discriminator_architecture == "skip":
            self.fromrgb = Convolution(settings.channels, width, 1, clamp=settings.conv_clamp)
        self.conv = Convolution(width + 1, width, 3, clamp=settings.conv_clamp)
        self.fc = Linear(width * 16, width, gain=layers.GAIN)
        self.out = Linear(width, width if settings.classes else 1)

    def forward(self, images: Tensor, sets: int = 1) -> Tensor:
        compared = [layers.minibatch_deviation(each, self.group_size) for each in images.chunk(sets)]
        images = self.conv(torch.cat(compared) if sets > 1 else compared[0])
        with layers.full_precision(images):
            return cast(Tensor, self.out(layers.activate(self.fc(images.float().flatten(1)))))


class Discriminator(nn.Module):
    """The StyleGAN2 discriminator, conditional by projection (Miyato & Koyama 2018).

    Residual as a rule; its authors also trained it plain ("orig"), and with the picture read anew at every size ("skip").
    """

    def __init__(self, settings: StyleGAN2Settings) -> None:
        super().__init__()
        self.settings = settings
        self.resolutions = settings.resolutions[:0:-1]
        for resolution in self.resolutions:
            self.add_module(f"b{resolution}", DiscriminatorBlock(settings, resolution))
        self.b4 = Epilogue(settings)
        if settings.classes:
            self.mapping = Mapping(
                z_dim=0, classes=settings.classes, w_dim=settings.channels_at(4),
                depth=settings.discriminator_mapping_layers, averaged=False,
            )  # fmt: skip

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 1], float32."""
        return self._judged(self.features(images)[-1], label, sets=1)

    def judge_sets(self, sets: Sequence[Tensor], labels: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """The logits of each of several sets of pictures, all of [n, channels, r, r], as if each were judged alone.

        One pass for all is quicker than one for each."""
        rows = [layers.label_rows(label, each, self.settings.classes) for label, each in zip(labels, sets, strict=True)]
        return self._judged(self.features(torch.cat(list(sets)))[-1], torch.cat(rows), sets=len(sets)).chunk(len(sets))

    def features(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """images [n, channels, r, r] -> the features after each block; labels play no part."""
        images = images.contiguous(memory_format=torch.channels_last)
        found = [self._from_rgb(self.settings.resolution, images)]
        for resolution in self.resolutions:
            features = self.get_submodule(f"b{resolution}")(found[-1])
            if self.settings.discriminator_architecture == "skip":
                images = resample.downsample(images)
                features = features + self._from_rgb(resolution // 2, images)
            found.append(features)
        return tuple(found)

    def _judged(self, features: Tensor, label: Tensor | None, *, sets: int) -> Tensor:
        logits = cast(Tensor, self.b4(features, sets))
        if not self.settings.classes:
            return logits
        with layers.full_precision(features):
            classes = self.mapping(logits[:, :0], label)
        return cast(Tensor, (logits * classes).sum(dim=1, keepdim=True) / math.sqrt(classes.shape[1]))

    def _from_rgb(self, resolution: int, images: Tensor) -> Tensor:
        return cast(Tensor, cast(nn.Module, self.get_submodule(f"b{resolution}").fromrgb)(images))
