"""The generator of stylegan2-pytorch (Phil Wang 2019), a StyleGAN2 whose mathematics are its own.

One style for each block, bilinear doubling, and one picture of noise whose corner every block shares. Tensors carry the
author's names, with the averaged networks as `S` and `G`; pictures, there from 0 to 1, are from -1 to 1 here, and noise,
there uniform from 0 to 1, is made from our normal one. Without noise every place has the middle one, 0.5.
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
from studio.families import stylegan2
from studio.families.base import NetworkSettings, Noise, Stage
from studio.families.fastgan import constant
from studio.families.lightweight import Attention, Normed, blur
from studio.ops import layers, packed, seeds
from studio.options import option

_AVERAGED = 4096
_SLOPE = 0.2


@dataclass(frozen=True, kw_only=True)
class LucidrainsSettings(NetworkSettings):
    """The shape of a generator of stylegan2-pytorch; the defaults are those of its author."""

    resolution: int = option(128, help="Width and height of the pictures.", low=8, high=1024, unit="px")
    z_dim: int = option(512, help="Width of the latent and of a style.", low=1, high=4096)
    mapping_layers: int = option(8, help="Layers between latent and style.", low=1, high=32)
    mapping_rate: float = option(0.1, help="Factor of the weights of these layers.", low=1e-6, high=100, advanced=True)
    capacity: int = option(16, help="Half the channels at the finest level: more is richer.", low=1, high=1024)
    channel_max: int = option(512, help="The most channels at any resolution.", low=1, high=4096)
    learned_start: bool = option(True, help="Whether the features at 4 px are learned, not made from the style.")
    blurred: bool = option(True, help="Whether coarse pictures are blurred as they are doubled.", advanced=True)
    attention: tuple[int, ...] = option((), help="Blocks, counted from 0, with attention before them.", advanced=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution & (self.resolution - 1):
            raise BadInput(f"This StyleGAN2 cannot make {self.resolution} px pictures.", "Choose 64, 128, 256, 512 …")
        if not set(self.attention) <= set(range(len(self.widths))):
            raise BadInput("The attention of this StyleGAN2 is before no block it has.", "Choose from 0 upwards.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the blocks at 4 px, 8 px, … up to the picture's."""
        blocks = self.resolution.bit_length() - 2
        return tuple(min(self.capacity * 2**power, self.channel_max) for power in range(blocks, 0, -1))

    @property
    def critic(self) -> stylegan2.StyleGAN2Settings:
        """What StyleGAN2's discriminator is built from, which judges this family too: as wide as the generator."""
        return stylegan2.StyleGAN2Settings(
            resolution=self.resolution, channels=self.channels, classes=self.classes,
            channel_base=min(2 * self.capacity * self.resolution, 262_144), channel_max=self.channel_max,
        )  # fmt: skip


class RatedLinear(nn.Module):
    """Linear layer whose weights and bias are multiplied by a rate."""

    def __init__(self, inputs: int, outputs: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight * self.rate, self.bias * self.rate)


class StyleVectorizer(nn.Module):
    """Latents and labels -> styles."""

    def __init__(self, settings: LucidrainsSettings) -> None:
        super().__init__()
        width = settings.z_dim
        inputs = [width + settings.classes] + [width] * (settings.mapping_layers - 1)
        parts = [(RatedLinear(size, width, settings.mapping_rate), nn.LeakyReLU(_SLOPE)) for size in inputs]
        self.net = nn.Sequential(*(part for pair in parts for part in pair))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """z [n, z_dim], label [n, classes] -> [n, z_dim], float32."""
        return cast(Tensor, self.net(torch.cat([F.normalize(z.float(), dim=1), label], dim=1)))


class ModulatedConvolution(nn.Module):
    """3x3 or 1x1 convolution whose inputs are scaled by a style plus one."""

    squares: Tensor | None

    def __init__(self, inputs: int, outputs: int, size: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size) * (gain / math.sqrt(inputs * size**2)))
        self.register_buffer("squares", None)

    def fold(self, dtype: torch.dtype, resolution: int) -> None:
        """Compute once what the weights alone decide, and keep them as `dtype`. Only for play."""
        self.squares = self._squares()
        self.weight = constant(packed.pack(self.weight.to(dtype), up=False, size=resolution))

    def modulate(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """A style read by its layer [n, i] -> the factors of the inputs [n, i] and of the outputs [n, o], which bring
        these back to unit variance."""
        scales = style + 1
        return scales, layers.demodulation(scales, self._squares() if self.squares is None else self.squares)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve pictures that were scaled before."""
        return packed.convolve(images, self.weight)

    def _squares(self) -> Tensor:
        return self.weight.float().square().sum(dim=(2, 3))


class ToRGB(nn.Module):
    """The picture of one block."""

    def __init__(self, z_dim: int, inputs: int, channels: int) -> None:
        super().__init__()
        self.to_style = nn.Linear(z_dim, inputs)
        self.conv = ModulatedConvolution(inputs, channels, 1, gain=0.1)

    def modulate(self, style: Tensor) -> Tensor:
        """style [n, z_dim] -> the factors of the inputs [n, i], with the 2 that widens 0 to 1 into -1 to 1."""
        return cast(Tensor, self.to_style(style) + 1) * 2

    def forward(self, images: Tensor, scales: Tensor) -> Tensor:
        """images [n, i, h, w] -> [n, channels, h, w], float32."""
        return layers.to_rgb(images, self.conv.weight, scales).float()


class Block(nn.Module):
    """One resolution: doubling (none at 4 px), two modulated convolutions with noise, and a picture."""

    def __init__(self, settings: LucidrainsSettings, place: int) -> None:
        super().__init__()
        widths, z_dim = settings.widths, settings.z_dim
        inputs, outputs = widths[max(place - 1, 0)], widths[place]
        self.doubles = place > 0
        self.resolution = 4 << place
        self.to_style1 = nn.Linear(z_dim, inputs)
        self.to_noise1 = nn.Linear(1, outputs)
        self.conv1 = ModulatedConvolution(inputs, outputs, 3)
        self.to_style2 = nn.Linear(z_dim, outputs)
        self.to_noise2 = nn.Linear(1, outputs)
        self.conv2 = ModulatedConvolution(outputs, outputs, 3)
        self.to_rgb = ToRGB(z_dim, outputs, settings.channels)

    def modulate(self, style: Tensor) -> tuple[Tensor, ...]:
        """style [n, z_dim] -> what it means: factors of inputs and outputs of both convolutions, and of ToRGB's inputs."""
        first, second = self.conv1.modulate(self.to_style1(style)), self.conv2.modulate(self.to_style2(style))
        return *first, *second, self.to_rgb.modulate(style)

    def forward(self, images: Tensor, scales: tuple[Tensor, ...], noise: Tensor) -> tuple[Tensor, Tensor]:
        """images [n, i, h, w], noise [1 or n, 1, r, r] from 0 to 1 -> features, and their picture."""
        noise = noise[:, :, : self.resolution, : self.resolution]
        images = layers.scale_channels(images, scales[0])
        if self.doubles:
            images = F.interpolate(images, scale_factor=2, mode="bilinear")
        images = _finish(self.conv1(images), scales[1], noise, self.to_noise1)
        images = layers.scale_channels(images, scales[2])
        images = _finish(self.conv2(images), scales[3], noise, self.to_noise2)
        return images, self.to_rgb(images, scales[4])


def _finish(images: Tensor, factors: Tensor, noise: Tensor, strength: nn.Linear) -> Tensor:
    """Demodulate [n, o, h, w] by [n, o], add noise [1 or n, 1, h, w] by a strength of each channel, activate."""
    grain = torch.addcmul(strength.bias[:, None, None], noise, strength.weight[:, :, None]).to(images.dtype)
    return F.leaky_relu_(torch.addcmul(grain, images, factors.to(images.dtype)[:, :, None, None]), _SLOPE)


class Feedforward(nn.Sequential):
    """Two 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        first, last = nn.Conv2d(channels, 2 * channels, 1), nn.Conv2d(2 * channels, channels, 1)
        super().__init__(first, nn.LeakyReLU(_SLOPE), last)


class Residual(nn.Module):
    """Something and its input."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, images: Tensor) -> Tensor:
        return images + cast(Tensor, self.fn(images))


class Synthesis(nn.Module):
    """Styles and noise -> pictures."""

    def __init__(self, settings: LucidrainsSettings) -> None:
        super().__init__()
        widths = settings.widths
        self.blurred = settings.blurred
        self.attended = settings.attention
        if settings.learned_start:
            self.initial_block = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        else:
            self.to_initial_block = nn.ConvTranspose2d(settings.z_dim, widths[0], 4, bias=False)
        self.initial_conv: nn.Module = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(settings, place) for place in range(len(widths)))
        self.attns = nn.Module()
        for place in settings.attention:
            width = widths[max(place - 1, 0)]
            parts = (Attention(width, local=False), Feedforward(width))
            self.attns.add_module(str(place), nn.Sequential(*(Residual(Normed(width, part)) for part in parts)))

    def modulate(self, place: int, styles: Tensor) -> tuple[Tensor, ...]:
        """What styles [n, blocks, z_dim] mean to a block; to the first one also the features it starts from."""
        scales = cast(Block, self.blocks[place]).modulate(styles[:, place])
        return (*scales, self._start(styles)) if place == 0 else scales

    def forward(self, place: int, state: tuple[Tensor, ...], scales: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One block: (features, noise from 0 to 1, picture from -1 to 1), of the first (noise,), to the next ones."""
        block = cast(Block, self.blocks[place])
        if place == 0:
            noise = state[0]
            images = scales[-1].to(block.conv1.weight.dtype).contiguous(memory_format=torch.channels_last)
        else:
            images, noise, picture = state
        if place in self.attended:
            images = self.attns.get_submodule(str(place))(images)
        images, rgb = block(images, scales, noise)
        return images, noise, rgb - 1 if place == 0 else self._double(picture) + rgb

    def _start(self, styles: Tensor) -> Tensor:
        """Features at 4 px [n, c, 4, 4]."""
        if hasattr(self, "initial_block"):
            return cast(Tensor, self.initial_conv(self.initial_block)).expand(styles.shape[0], -1, -1, -1)
        return cast(Tensor, self.initial_conv(self.to_initial_block(styles.mean(dim=1)[:, :, None, None])))

    def _double(self, picture: Tensor) -> Tensor:
        picture = F.interpolate(picture, scale_factor=2, mode="bilinear")
        return blur(picture) if self.blurred else picture


class Generator(nn.Module):
    """The generator of stylegan2-pytorch; see `studio.families.base.Generator` for what it answers."""

    w_avg: Tensor

    def __init__(self, settings: LucidrainsSettings) -> None:
        super().__init__()
        self.settings = settings
        self.z_dim, self.style_dim, self.classes = settings.z_dim, settings.z_dim, settings.classes
        self.resolution, self.channels = settings.resolution, settings.channels
        self.num_styles = len(settings.widths)
        self.noise_sizes = (settings.resolution,)
        self.S = StyleVectorizer(settings)
        self.G = Synthesis(settings)
        self.register_buffer("w_avg", torch.zeros(settings.z_dim))

    def map(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, z_dim], label [n, classes] -> styles [n, num_styles, z_dim]: w' = w_avg + truncation (w - w_avg)."""
        with layers.full_precision(z):
            w = self.S(z, layers.label_rows(label, z, self.classes))
            if truncation != 1:
                w = torch.lerp(self.w_avg, w, truncation)
        return cast(Tensor, w)[:, None].expand(-1, self.num_styles, -1)

    @torch.no_grad()
    def track_w_average(self, w: Tensor, beta: float) -> None:
        """Move the mean of w, towards which truncation pulls, to the mean of this batch [n, z_dim]; `beta` is kept."""
        self.w_avg.copy_(torch.lerp(w.detach().float().mean(dim=0), self.w_avg, beta))

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, num_styles, z_dim], one noise [1 or n, 1, r, r] -> pictures [n, channels, r, r], float32."""
        state: tuple[Tensor, ...] = ()
        for place in range(self.num_styles):
            state = self.run_stage(place, state, self.modulate(place, styles), noise if place == 0 else ())
        return state[-1]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One for each block. The first takes the noise, and all styles if it starts from their mean."""
        read = 1 if self.settings.learned_start else self.num_styles
        return tuple(
            Stage(resolution=4 << place, styles=max(place + 1, read), noises=int(place == 0))
            for place in range(self.num_styles)
        )

    def modulate(self, stage: int, styles: Tensor) -> tuple[Tensor, ...]:
        """styles [n, num_styles, z_dim] -> what they mean to a block, float32; see `studio.families.base.Staged`."""
        with layers.full_precision(styles):
            return self.G.modulate(stage, styles)

    def run_stage(
        self, stage: int, state: tuple[Tensor, ...], scales: tuple[Tensor, ...], noise: Noise | None
    ) -> tuple[Tensor, ...]:
        """One block; the state is (features, noise, picture)."""
        if stage == 0:
            size = self.resolution
            normal = noise[0].float() if noise else scales[0].new_zeros(1, 1, size, size)
            state = ((torch.erf(normal / math.sqrt(2)) + 1) / 2,)
        return cast("tuple[Tensor, ...]", self.G(stage, state, scales))

    def forward(self, z: Tensor, label: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Latents straight to pictures."""
        return self.synthesize(self.map(z, label), noise)

    def constant_noise(self) -> Noise:
        """None: it was trained with fresh noise."""
        return ()

    def style_matrices(self) -> tuple[Tensor, ...]:
        """For each block the weights [out, z_dim] that read its style."""
        return tuple(
            torch.cat([block.to_style1.weight, block.to_style2.weight, block.to_rgb.to_style.weight]).detach()
            for block in cast("list[Block]", self.G.blocks)
        )

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A copy for play alone: convolutions in `dtype`; styles, demodulation and the sum of pictures in float32."""
        prepared = copy.deepcopy(self).eval().requires_grad_(False)
        if self.settings.learned_start:
            start = self.G.initial_conv(self.G.initial_block)
            prepared.G.initial_block, prepared.G.initial_conv = constant(start.detach()), nn.Identity()
        for block in cast("list[Block]", prepared.G.blocks):
            block.conv1.fold(dtype, block.resolution)
            block.conv2.fold(dtype, block.resolution)
        for module in prepared.G.attns.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype).to(memory_format=torch.channels_last)
        return prepared

    @torch.no_grad()
    def calibrate(self) -> None:
        """To be called once after an import: measure the mean of the styles, which truncation pulls towards."""
        z = seeds.latents(range(_AVERAGED), self.z_dim).to(self.w_avg.device)
        self.w_avg.copy_(self.map(z)[:, 0].mean(dim=0))


class Discriminator(stylegan2.Discriminator):
    """StyleGAN2's: the author's own critic is not here, and imported models bring none."""

    def __init__(self, settings: LucidrainsSettings) -> None:
        super().__init__(settings.critic)
