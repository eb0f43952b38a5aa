"""The generator of lightweight-gan (Phil Wang 2020), after FastGAN: gated convolutions and skip-layer excitation.

Both generations: the later one doubles the size by shuffling channels into pixels and adds noise, the earlier one (and
the models of the huggan event) repeats pixels. Linear attention and frequency channel attention are settings. Tensors
carry the author's names; pictures, there from 0 to 1, are from -1 to 1 here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families import stylegan2
from studio.families.base import NetworkSettings, Noise
from studio.families.fastgan import FoldedStep, Grain, Normalisation, folded_opening, measure_statistics
from studio.families.single import SingleLatent
from studio.options import option

EXCITES = {16: 128, 32: 256, 64: 512, 128: 1024}
"""The resolution that the features of another one excite."""

_HEADS, _HEAD_WIDTH = 8, 64
_FREQUENCIES = 8
_FINEST_PLAIN = 256
_GATE_GAIN = 1.85


@dataclass(frozen=True, kw_only=True)
class LightweightSettings(NetworkSettings):
    """The shape of a lightweight-gan; the defaults are those of its author."""

    resolution: int = option(256, help="Width and height of the pictures.", low=8, high=1024, unit="px")
    z_dim: int = option(256, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    channel_max: int = option(512, help="The most channels at any resolution.", low=1, high=4096)
    channel_base: int = option(8192, help="Channels times resolution: more is richer.", low=8, high=2**24)
    shuffled: bool = option(True, help="The later generation, which shuffles channels into pixels.", advanced=True)
    blurred: bool = option(False, help="Whether doubled features are blurred against jagged edges.", advanced=True)
    attention: tuple[int, ...] = option((), help="Resolutions whose features attend to each other.", advanced=True)
    local_attention: bool = option(True, help="Whether features also attend to their neighbours.", advanced=True)
    frequencies: bool = option(False, help="Whether frequencies decide which channels pass.", advanced=True)
    calibrated: bool = option(
        False, help="Whether the normalisation was measured anew on the model's own pictures.", advanced=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution & (self.resolution - 1):
            raise BadInput(f"lightweight-gan cannot make {self.resolution} px pictures.", "Choose 64, 128, 256, 512 …")
        if not set(self.attention) <= {4, *self.resolutions[:-1]}:
            raise BadInput("The attention of this lightweight-gan is at no resolution it has.", "Choose 32 or 64.")

    def channels_at(self, resolution: int) -> int:
        """Feature channels at `resolution`; beyond 256 px there are three."""
        if resolution == 4:
            return self.z_dim
        if resolution > _FINEST_PLAIN:
            return 3
        return max(1, min(self.channel_base // resolution, self.channel_max))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """8, 16, … up to the picture's."""
        return tuple(2**power for power in range(3, self.resolution.bit_length()))

    @property
    def critic(self) -> stylegan2.StyleGAN2Settings:
        """What StyleGAN2's discriminator is built from, which judges this family too: half as wide as the generator."""
        return stylegan2.StyleGAN2Settings(
            resolution=self.resolution, channels=self.channels, classes=self.classes,
            channel_base=min(max(16, self.channel_base // 2), 262_144), channel_max=max(1, self.channel_max // 2),
        )  # fmt: skip


class Shuffle(nn.Module):
    """Doubles the size: 1x1 convolution to four times the channels, which become 2 x 2 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.SiLU(), nn.PixelShuffle(2))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.net(images))


class Repeat(nn.Module):
    """Doubles the size: each pixel becomes 2 x 2."""

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, scale_factor=2)


def blur(images: Tensor) -> Tensor:
    """[n, c, h, w] through the filter [1, 2, 1] both ways, on a mirrored border."""
    channels = images.shape[1]
    row = torch.tensor([0.25, 0.5, 0.25], device=images.device, dtype=images.dtype)
    filters = (row[:, None] * row).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), filters, groups=channels)


class Up(nn.Module):
    """Doubles the size; convolution, noise in the later generation, normalisation, gate. Numbered as the author did."""

    def __init__(self, inputs: int, outputs: int, *, shuffled: bool, blurred: bool) -> None:
        super().__init__()
        self.blurred = blurred
        if shuffled:
            self.add_module("0", Shuffle(inputs))
            self.add_module("2", nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(inputs, 2 * outputs, 4)))
            self.add_module("3", Grain())
            self.add_module("4", Normalisation(2 * outputs))
        else:
            self.add_module("0", Repeat())
            self.add_module("2", nn.Conv2d(inputs, 2 * outputs, 3, padding=1))
            self.add_module("3", Normalisation(2 * outputs))
        self.grain, self.last = ("3", "4") if shuffled else ("", "3")

    def forward(self, images: Tensor, noises: Iterator[Tensor | None]) -> Tensor:
        images = self.get_submodule("0")(images)
        if self.blurred:
            images = blur(images)
        images = self.get_submodule("2")(images)
        if self.grain:
            images = self.get_submodule(self.grain)(images, next(noises))
        return F.glu(self.get_submodule(self.last)(images), dim=1)

    def folded(self, dtype: torch.dtype, resolution: int) -> FoldedUp:
        """The same for play alone, with convolutions in `dtype`; `resolution` is that of its outputs."""
        convolution = self.get_submodule("2")
        if isinstance(convolution, nn.Sequential):
            convolution = convolution[1]
        kernel, bias = cast(nn.Conv2d, convolution).weight, cast(Tensor, convolution.bias)
        scale, shift = cast(Normalisation, self.get_submodule(self.last)).factors()
        grain = cast(Grain, self.get_submodule(self.grain)).weight if self.grain else None
        at_once = not self.grain and not self.blurred
        step = FoldedStep(kernel, scale, shift + bias * scale, up=at_once, size=resolution, dtype=dtype, grain=grain)
        return FoldedUp(None if at_once else copy.deepcopy(self.get_submodule("0")), self.blurred, step)


class FoldedUp(nn.Module):
    """`Up` for play: what doubles the size (None: the step itself does), the blur, and one folded step."""

    def __init__(self, doubling: nn.Module | None, blurred: bool, step: FoldedStep) -> None:
        super().__init__()
        self.doubling, self.blurred, self.step = doubling, blurred, step

    def forward(self, images: Tensor, noises: Iterator[Tensor | None]) -> Tensor:
        if self.doubling is not None:
            images = self.doubling(images)
        if self.blurred:
            images = blur(images)
        return cast(Tensor, self.step(images, noises))


class GlobalContext(nn.Module):
    """Coarse features [n, i, h, w] -> how much of each channel of fine ones passes, [n, o, 1, 1]: one look at all
    places, weighted by attention (Cao et al. 2020)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.to_k = nn.Conv2d(inputs, 1, 1)
        self.net = _squeeze(inputs, max(3, outputs // 2), outputs)

    def forward(self, images: Tensor) -> Tensor:
        attention = self.to_k(images).flatten(2).softmax(dim=2)
        seen = torch.bmm(images.flatten(2), attention.transpose(1, 2))
        return cast(Tensor, self.net(seen[..., None]))


class FrequencyAttention(nn.Module):
    """The same from sixteen groups of channels, each seen through one cosine (Qin et al. 2021, FcaNet)."""

    dct_weights: Tensor

    def __init__(self, inputs: int, outputs: int, resolution: int) -> None:
        super().__init__()
        self.net = _squeeze(inputs, max(3, outputs // 4), outputs)
        self.register_buffer("dct_weights", _cosines(inputs, resolution))

    def forward(self, images: Tensor) -> Tensor:
        seen = (images * self.dct_weights.to(images.dtype)).sum(dim=(2, 3), keepdim=True)
        return cast(Tensor, self.net(seen))


def _squeeze(inputs: int, between: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, between, 1), nn.LeakyReLU(0.1), nn.Conv2d(between, outputs, 1), nn.Sigmoid()
    )  # fmt: skip


def _cosines(channels: int, resolution: int) -> Tensor:
    """[1, channels, r, r]: horizontal cosines of 0 to 7 half waves, then vertical ones, a sixteenth of the channels
    each; what remains is zero."""
    places = (torch.arange(resolution) + 0.5) / resolution
    waves = torch.stack([(math.pi * half_waves * places).cos() for half_waves in range(_FREQUENCIES)])
    waves[1:] *= math.sqrt(2)
    waves /= math.sqrt(resolution)
    flat = waves[0]
    found = torch.zeros(1, channels, resolution, resolution)
    share = channels // (2 * _FREQUENCIES)
    for group, wave in enumerate([*waves, *waves]):
        across = group < _FREQUENCIES
        plane = flat[:, None] * wave if across else wave[:, None] * flat
        found[:, group * share : (group + 1) * share] = plane
    return found


class Depthwise(nn.Module):
    """3x3 convolution of each channel by itself, then 1x1 over all."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.net(images))


class Attention(nn.Module):
    """Eight heads of linear attention (Shen et al. 2021) over all places; `local` adds full attention to the nine
    places around each, where those outside of the picture count as zeros."""

    def __init__(self, channels: int, *, local: bool) -> None:
        super().__init__()
        inner = _HEADS * _HEAD_WIDTH
        self.local = local
        self.names = ("to_lin_q", "to_lin_kv") if local else ("to_q", "to_kv")
        self.add_module(self.names[0], nn.Conv2d(channels, inner, 1, bias=False))
        self.add_module(self.names[1], Depthwise(channels, 2 * inner))
        if local:
            self.to_q = nn.Conv2d(channels, inner, 1, bias=False)
            self.to_kv = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.to_out = nn.Conv2d(inner * (2 if local else 1), channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        found = F.gelu(self._everywhere(images))
        if self.local:
            found = torch.cat([found, self._nearby(images)], dim=1)
        return cast(Tensor, self.to_out(found))

    def _everywhere(self, images: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, inner, h, w]; what is attended to is summed up once for all places."""
        count, _, height, width = images.shape
        queries = _heads(self.get_submodule(self.names[0])(images))
        keys, values = (_heads(part) for part in self.get_submodule(self.names[1])(images).chunk(2, dim=1))
        queries = queries.softmax(dim=1) * _HEAD_WIDTH**-0.5
        summary = torch.bmm(values, keys.softmax(dim=2).transpose(1, 2))
        return torch.bmm(summary, queries).reshape(count, -1, height, width)

    def _nearby(self, images: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, inner, h, w]."""
        count, _, height, width = images.shape
        queries = _heads(self.to_q(images)) * _HEAD_WIDTH**-0.5
        keys, values = (
            F.unfold(part.reshape(-1, _HEAD_WIDTH, height, width), 3, padding=1).reshape(
                count * _HEADS, _HEAD_WIDTH, 9, height * width
            )
            for part in self.to_kv(images).chunk(2, dim=1)
        )
        attention = (queries[:, :, None] * keys).sum(dim=1, keepdim=True).softmax(dim=2)
        return cast(Tensor, (attention * values).sum(dim=2)).reshape(count, -1, height, width)


def _heads(features: Tensor) -> Tensor:
    """[n, heads * c, h, w] -> [n * heads, c, h * w]."""
    return features.reshape(-1, _HEAD_WIDTH, features.shape[2] * features.shape[3])


class ChannelNorm(nn.Module):
    """Each place to mean 0 and variance 1 over its channels, then a gain and a shift of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.b = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        features = images.float()
        variance, mean = torch.var_mean(features, dim=1, correction=0, keepdim=True)
        return ((features - mean) * torch.rsqrt(variance + 1e-5) * self.g + self.b).to(images.dtype)


class Normed(nn.Module):
    """Channel normalisation before something else."""

    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = ChannelNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.fn(self.norm(images)))


class Layer(nn.Module):
    """One doubling: "0" doubles, "1" excites finer features if any, "2" is attention before it if any."""

    def __init__(self, settings: LightweightSettings, resolution: int) -> None:
        super().__init__()
        inputs, outputs = settings.channels_at(resolution // 2), settings.channels_at(resolution)
        self.add_module("0", Up(inputs, outputs, shuffled=settings.shuffled, blurred=settings.blurred))
        target = EXCITES.get(resolution, 0)
        self.target = target if target <= settings.resolution else 0
        if self.target:
            excited = settings.channels_at(target)
            wide = FrequencyAttention(outputs, excited, resolution) if settings.frequencies else None
            self.add_module("1", wide or GlobalContext(outputs, excited))
        self.attends = resolution // 2 in settings.attention
        if self.attends:
            self.add_module("2", Normed(inputs, Attention(inputs, local=settings.local_attention)))

    def forward(self, images: Tensor, noises: Iterator[Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """Features, and what excites those of `target`."""
        if self.attends:
            images = images + self.get_submodule("2")(images)
        images = self.get_submodule("0")(images, noises)
        return images, self.get_submodule("1")(images) if self.target else None


class Generator(SingleLatent):
    """The generator of lightweight-gan; see `studio.families.base.Generator` for what it answers."""

    settings: LightweightSettings

    def __init__(self, settings: LightweightSettings) -> None:
        super().__init__(settings, settings.z_dim)
        self.noise_sizes = settings.resolutions if settings.shuffled else ()
        first = settings.z_dim
        self.initial_conv = nn.Sequential(nn.ConvTranspose2d(self.style_dim, 2 * first, 4), Normalisation(2 * first))
        self.layers = nn.ModuleList(Layer(settings, size) for size in settings.resolutions)
        width = settings.channels_at(settings.resolution)
        self.out_conv = nn.Conv2d(width, settings.channels, 3, padding=1)
        self.apply(_initialise)
        nn.init.normal_(self.out_conv.weight, 0.0, 0.15 / (9 * width) ** 0.5)
        nn.init.constant_(self.out_conv.bias, 0.5)  # type: ignore[arg-type]  # it has one

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, z_dim + classes], noise [1 or n, 1, r, r] for each of `noise_sizes` -> pictures, float32."""
        noises: Iterator[Tensor | None] = iter(noise or (None,) * len(self.noise_sizes))
        images = F.glu(self.initial_conv(styles[:, 0, :, None, None].to(self.out_conv.weight.dtype)), dim=1)
        images = F.normalize(images, dim=1).contiguous(memory_format=torch.channels_last)
        waiting: dict[int, Tensor] = {}
        for size, layer in zip(self.settings.resolutions, self.layers, strict=True):
            images, excitement = layer(images, noises)
            if excitement is not None:
                waiting[EXCITES[size]] = excitement
            if size in waiting:
                images = images * waiting.pop(size)
        return cast(Tensor, self.out_conv(images)).float() * 2 - 1

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A copy for play alone: convolutions in `dtype`, each with the normalisation that follows in it."""
        prepared = copy.deepcopy(self).eval().requires_grad_(False)
        prepared.initial_conv = folded_opening(self.initial_conv)
        for size, layer in zip(self.settings.resolutions, prepared.layers, strict=True):
            layer.set_submodule("0", cast(Up, layer.get_submodule("0")).folded(dtype, size))
        for module in prepared.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.to(dtype).to(memory_format=torch.channels_last)
        return prepared

    def calibrate(self) -> None:
        """To be called once after an import: measure the normalisation anew, if the settings say that it is."""
        if self.settings.calibrated:
            measure_statistics(self)


class Discriminator(stylegan2.Discriminator):
    """StyleGAN2's: the author's own critic is not here, and imported models bring none."""

    def __init__(self, settings: LightweightSettings) -> None:
        super().__init__(settings.critic)


def _initialise(module: nn.Module) -> None:
    """Weights that keep the variance through a gate."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        inputs = module.in_channels if isinstance(module, nn.ConvTranspose2d) else module.weight[0].numel()
        nn.init.normal_(module.weight, 0.0, _GATE_GAIN / inputs**0.5)
