"""StyleGAN3 (Karras et al. 2021, "Alias-Free Generative Adversarial Networks"), configurations T and R.

Pictures are sampled from signals that know no pixels: they can be moved and turned before they are drawn. Tensors carry
the names of the authors' PyTorch release, so its weights load as they are. The discriminator is StyleGAN2's. Under
autocast convolutions and filters run in half precision; styles, the input and the picture stay in float32.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families import stylegan2
from studio.families.base import NetworkSettings, Noise, Stage
from studio.ops import filtered, layers
from studio.options import option

_MAGNITUDE_KEPT = 0.999


@dataclass(frozen=True, kw_only=True)
class StyleGAN3Settings(NetworkSettings):
    """The shape of a StyleGAN3; the defaults are those of its authors, of configuration T at 256 px."""

    z_dim: int = option(512, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    w_dim: int = option(512, help="Width of a style vector.", low=6, high=4096)
    mapping_layers: int = option(2, help="Layers between latent and style.", low=1, high=16)
    config: str = option("t", help="t: pictures may move freely; r: they may turn as well.", choices=("t", "r"))
    channel_base: int = option(32768, help="Channels times resolution: more is richer.", low=16, high=262_144)
    channel_max: int = option(512, help="The most channels in any layer.", low=1, high=4096)
    num_layers: int = option(14, help="Layers, less the one to colours.", low=4, high=32, advanced=True)
    num_critical: int = option(2, help="Last layers that keep all frequencies.", low=0, high=8, advanced=True)
    first_cutoff: float = option(2.0, help="Frequency that the first layer passes.", low=0.1, high=64, advanced=True)
    first_stopband: float = option(
        2**2.1, help="Frequency that the first layer stops.", low=0.1, high=256, advanced=True
    )
    last_stopband_rel: float = option(
        2**0.3, help="What the last layer stops, relative to what it passes.", low=1, high=8, advanced=True
    )
    margin_size: int = option(10, help="Pixels drawn beyond each border.", low=0, high=64, advanced=True)
    filter_size: int = option(6, help="Filter taps for each step of resampling.", low=2, high=16, advanced=True)
    output_scale: float = option(0.25, help="What the last layer is multiplied by.", low=0, high=100, advanced=True)
    conv_clamp: float = option(256.0, help="Limit of the activations; 0 for none.", low=0, high=1e6, advanced=True)
    discriminator_channel_base: int = option(
        0, help="The same of the critic; 0: as the authors have it.", low=0, high=262_144, advanced=True
    )
    discriminator_channel_max: int = option(
        0, help="The most channels in the critic; 0: as the authors have it.", low=0, high=4096, advanced=True
    )
    mbstd_group_size: int = option(4, help="Pictures the critic compares at a time.", low=1, high=64, advanced=True)
    discriminator_mapping_layers: int = option(
        8, help="Layers that the critic reads a class with.", low=1, high=16, advanced=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution & (self.resolution - 1) or self.resolution < 16:
            raise BadInput(f"StyleGAN3 cannot make pictures of {self.resolution} px.", "Choose 16, 32, 64, 128, 256 …")
        if self.num_critical >= self.num_layers:
            raise BadInput("A StyleGAN3 needs layers before its critical ones.", "Choose fewer critical layers.")

    @property
    def turns(self) -> bool:
        """Configuration R: convolutions of one pixel, and filters that are alike in all directions."""
        return self.config == "r"

    @property
    def critic(self) -> stylegan2.StyleGAN2Settings:
        """What StyleGAN2's discriminator is built from. The authors double a generator's channels for R, not its."""
        share = 2 if self.turns else 1
        return stylegan2.StyleGAN2Settings(
            resolution=self.resolution, channels=self.channels, classes=self.classes,
            channel_base=self.discriminator_channel_base or max(16, self.channel_base // share),
            channel_max=self.discriminator_channel_max or max(1, self.channel_max // share),
            conv_clamp=self.conv_clamp, mbstd_group_size=self.mbstd_group_size,
            discriminator_mapping_layers=self.discriminator_mapping_layers,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Band:
    """The signal after a layer.

    Attributes:
        channels: how many there are.
        size: width and height in pixels, margins and all.
        rate: pixels that a picture's width is sampled with, without the margins.
        cutoff: the frequency that still passes, in periods in a picture's width.
        half_width: from there to what is stopped.
    """

    channels: int
    size: int
    rate: int
    cutoff: float
    half_width: float


def plan_bands(settings: StyleGAN3Settings) -> tuple[Band, ...]:
    """The signal after each layer and after the last, to colours (appendix B): what passes grows by a power law."""
    top = settings.resolution / 2
    count = settings.num_layers
    last_stopband = top * settings.last_stopband_rel
    bands = []
    for place in range(count + 1):
        share = min(place / (count - settings.num_critical), 1)
        cutoff = settings.first_cutoff * (top / settings.first_cutoff) ** share
        stopband = settings.first_stopband * (last_stopband / settings.first_stopband) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, settings.resolution)))
        bands.append(
            Band(
                channels=max(1, round(min(settings.channel_base / 2 / cutoff, settings.channel_max)))
                if place < count
                else settings.channels,
                size=settings.resolution if place >= count - 1 else rate + 2 * settings.margin_size,
                rate=rate,
                cutoff=cutoff,
                half_width=max(stopband, rate / 2) - cutoff,
            )
        )
    return tuple(bands)


class SynthesisInput(nn.Module):
    """Waves of random frequency and phase, moved and turned as w and the player say."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, band: Band, w_dim: int) -> None:
        super().__init__()
        self.band = band
        self.affine = stylegan2.Linear(w_dim, 4)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        freqs = torch.randn(band.channels, 2)
        radii = torch.linalg.vector_norm(freqs, dim=1, keepdim=True).clamp_min(1e-8)
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        self.register_buffer("freqs", freqs * (band.cutoff / (radii * radii.square().exp().pow(0.25))))
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, style: Tensor, transform: Tensor | None) -> Tensor:
        """w [n, w_dim], transform [n, 2, 3] or None (the model's own) -> features [n, c, size, size], float32."""
        moved = self._placement(style) @ self._transform(transform)
        freqs = self.freqs @ moved[:, :2, :2]
        phases = self.phases[:, None] + self.freqs @ moved[:, :2, 2:]
        passed = (torch.linalg.vector_norm(freqs, dim=2) - self.band.cutoff) / (self.band.rate / 2 - self.band.cutoff)
        waves = torch.sin((self._grid(style) @ freqs.transpose(1, 2) + phases.transpose(1, 2)) * (2 * math.pi))
        amplitudes = (1 - passed).clamp(0, 1)[:, None]
        mixed = (waves * amplitudes) @ (self.weight.t() / math.sqrt(len(self.weight)))
        return cast(Tensor, mixed).reshape(len(mixed), self.band.size, self.band.size, -1).permute(0, 3, 1, 2)

    def _transform(self, given: Tensor | None) -> Tensor:
        """[3, 3] or [n, 3, 3]"""
        if given is None:
            return self.transform
        return torch.cat([given, given.new_tensor([[[0.0, 0.0, 1.0]]]).expand(len(given), -1, -1)], dim=1)

    def _placement(self, style: Tensor) -> Tensor:
        """The [n, 3, 3] that w asks for: first moved, then turned."""
        wish = self.affine(style)
        cosine, sine, x, y = (wish / torch.linalg.vector_norm(wish[:, :2], dim=1, keepdim=True)).unbind(dim=1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        turned = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], dim=1)
        shifted = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1)
        return torch.bmm(turned.reshape(-1, 3, 3), shifted.reshape(-1, 3, 3))

    def _grid(self, like: Tensor) -> Tensor:
        """Places (x, y) of all pixels [size * size, 2], in widths of the picture from its centre."""
        line = torch.arange(self.band.size, device=like.device, dtype=like.dtype) + 0.5 - self.band.size / 2
        y, x = torch.meshgrid(line / self.band.rate, line / self.band.rate, indexing="ij")
        return torch.stack([x, y], dim=2).flatten(0, 1)


class SynthesisLayer(nn.Module):
    """A modulated convolution and a leaky ReLU that makes no aliases."""

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor
    squares: Tensor | None

    def __init__(self, settings: StyleGAN3Settings, place: int, before: Band, after: Band) -> None:
        super().__init__()
        self.kernel, self.clamp = 1 if settings.turns else 3, settings.conv_clamp
        self.affine = stylegan2.Linear(settings.w_dim, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, self.kernel, self.kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        fine = 2 * max(before.rate, after.rate)
        up, down = fine // before.rate, fine // after.rate
        up_taps, down_taps = settings.filter_size * up, settings.filter_size * down
        radial = settings.turns and place < settings.num_layers - settings.num_critical
        design = filtered.design_radial if radial else filtered.design
        self.register_buffer("up_filter", filtered.design(up_taps, before.cutoff, 2 * before.half_width, fine))
        self.register_buffer("down_filter", design(down_taps, after.cutoff, 2 * after.half_width, fine))
        self.register_buffer("squares", None)
        inputs = before.size + self.kernel - 1
        total = (after.size - 1) * down + 1 - inputs * up + up_taps + down_taps - 2
        self.geometry = filtered.Geometry(
            inputs=inputs, outputs=after.size, up=up, down=down, padding=(total + up) // 2
        )
        self.filters = self._lay(torch.float32)

    def fold(self, dtype: torch.dtype) -> None:
        """Compute once what the weights alone decide, and keep it as `dtype`. Only for play."""
        weight = self._normalised()
        self.squares = weight.square().sum(dim=(2, 3))
        folded = weight.to(dtype, memory_format=torch.channels_last)
        self.weight = nn.Parameter(folded, requires_grad=False)
        self.filters = self._lay(dtype)

    def modulate(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """The scales that style [n, w_dim] asks for, of inputs [n, i] and outputs [n, o], float32.

        Styles and weights are first brought to a mean square of 1, which the demodulation undoes."""
        squares = self._normalised().square().sum(dim=(2, 3)) if self.squares is None else self.squares
        scales = layers.normalise(self.affine(style))
        return scales, layers.demodulation(scales, squares)

    def forward(self, images: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        """images [n, i, h, w] under the scales of `modulate` -> [n, o, h', w']."""
        weight = self._normalised() if self.squares is None else self.weight
        images = layers.scale_channels(images.to(weight.dtype), inputs * self.magnitude_ema.rsqrt())
        images = F.conv2d(images, weight, padding=self.kernel - 1)
        kind = images.dtype
        images = torch.addcmul(self.bias.to(kind)[:, None, None], images, outputs.to(kind)[:, :, None, None])
        return filtered.filtered_leaky_relu(images, self.filters.to(images), clamp=self.clamp)

    def _normalised(self) -> Tensor:
        return self.weight * self.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()

    # The matrices follow the buffers that they are laid out from.

    def _lay(self, dtype: torch.dtype) -> filtered.Filters:
        return filtered.prepare(self.up_filter, self.down_filter, self.geometry, gain=layers.GAIN, dtype=dtype)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.filters = self._lay(torch.float32)

    def _apply(self, *arguments: Any, **options: Any) -> SynthesisLayer:
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self.filters = self._lay(self.weight.dtype)
        return self


class ToRGB(nn.Module):
    """The last layer: 1x1 convolution under a style, neither demodulated nor bent."""

    magnitude_ema: Tensor

    def __init__(self, settings: StyleGAN3Settings, before: Band, after: Band) -> None:
        super().__init__()
        self.clamp = settings.conv_clamp
        self.affine = stylegan2.Linear(settings.w_dim, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))

    def modulate(self, style: Tensor) -> tuple[Tensor]:
        """The scales of inputs [n, i] that style [n, w_dim] asks for, float32."""
        return (self.affine(style) / math.sqrt(self.weight.shape[1]),)

    def forward(self, images: Tensor, inputs: Tensor) -> Tensor:
        """images [n, i, r, r] under the scales of `modulate` -> colours [n, channels, r, r], float32."""
        picture = layers.to_rgb(images, self.weight, inputs * self.magnitude_ema.rsqrt())
        return layers.limit(picture.float() + self.bias[:, None, None], self.clamp)


class Synthesis(nn.Module):
    """Styles -> pictures."""

    def __init__(self, settings: StyleGAN3Settings) -> None:
        super().__init__()
        bands = plan_bands(settings)
        self.input = SynthesisInput(bands[0], settings.w_dim)
        self.output_scale = settings.output_scale
        self.names: list[str] = []
        for place, after in enumerate(bands):
            before = bands[max(place - 1, 0)]
            last = place == settings.num_layers
            layer = ToRGB(settings, before, after) if last else SynthesisLayer(settings, place, before, after)
            self.names.append(f"L{place}_{after.size}_{after.channels}")
            self.add_module(self.names[-1], layer)

    @property
    def layers(self) -> list[SynthesisLayer | ToRGB]:
        """In the order of the styles that they read, from style 1 on."""
        return [cast(SynthesisLayer | ToRGB, self.get_submodule(name)) for name in self.names]

    def modulate(self, place: int, styles: Tensor) -> tuple[Tensor, ...]:
        """styles [n, num_styles, w_dim], placed or not -> the scales of a layer; those of the first come with features."""
        transform = None
        if styles.shape[1] > len(self.names) + 1:
            transform, styles = styles[:, 0, :6].reshape(-1, 2, 3), styles[:, 1:]
        with layers.full_precision(styles):
            scales = self.layers[place].modulate(styles[:, place + 1])
            return scales if place else (self.input(styles[:, 0], transform), *scales)

    def run(self, place: int, images: Tensor, scales: tuple[Tensor, ...]) -> Tensor:
        """What comes into a layer, and what `modulate` gave -> what comes out of it."""
        layer = self.layers[place]
        if self.training:
            _follow(layer.magnitude_ema, images)
        images = cast(Tensor, layer(images, *scales))
        return images * self.output_scale if isinstance(layer, ToRGB) else images


@torch.no_grad()
def _follow(magnitude: Tensor, images: Tensor) -> None:
    """In training, let a magnitude follow the mean square of what comes in."""
    magnitude.copy_(torch.lerp(images.detach().float().square().mean(), magnitude, _MAGNITUDE_KEPT))


class Generator(stylegan2.Mapped):
    """The StyleGAN3 generator; see `studio.families.base.Generator` for what it answers."""

    noise_sizes: tuple[int, ...] = ()
    movable = True

    def __init__(self, settings: StyleGAN3Settings) -> None:
        super().__init__()
        self.settings = settings
        self.z_dim, self.style_dim, self.classes = settings.z_dim, settings.w_dim, settings.classes
        self.resolution, self.channels = settings.resolution, settings.channels
        self.num_styles = settings.num_layers + 2
        self.mapping = stylegan2.Mapping(
            z_dim=settings.z_dim, classes=settings.classes, w_dim=settings.w_dim,
            depth=settings.mapping_layers, averaged=True,
        )  # fmt: skip
        self.synthesis = Synthesis(settings)

    def placed(self, styles: Tensor, transform: Tensor | None = None) -> Tensor:
        """Styles that draw the same picture elsewhere. They are for `synthesize` and the stages alone.

        Args:
            styles: [n, num_styles, w_dim].
            transform: [3, 3] or [n, 3, 3], affine. It sends each place (x, y, 1) of the picture, in its widths from its
                centre, y downwards, to the place of the signal that is drawn there; None is the model's own.

        Returns:
            [n, num_styles + 1, w_dim]: the matrix lies in a row before the others.
        """
        transform = self.synthesis.input.transform if transform is None else transform
        row = styles.new_zeros(len(styles), 1, styles.shape[2])
        row[:, 0, :6] = transform[..., :2, :].to(styles).flatten(-2)
        return torch.cat([row, styles], dim=1)

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, num_styles, w_dim], or what `placed` made of them -> pictures. It takes no noise."""
        state: tuple[Tensor, ...] = ()
        for place in range(len(self.stages)):
            state = self.run_stage(place, state, self.modulate(place, styles), noise)
        return state[0]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One for each layer, the input with the first. They read a style more than told, lest `placed` shifts them."""
        last = len(self.synthesis.names) - 1
        return tuple(
            Stage(resolution=self.resolution if place == last else 0, styles=min(place + 3, self.num_styles))
            for place in range(last + 1)
        )

    def modulate(self, stage: int, styles: Tensor) -> tuple[Tensor, ...]:
        """styles [n, num_styles, w_dim], placed or not -> the scales of one stage."""
        return self.synthesis.modulate(stage, styles)

    def run_stage(
        self, stage: int, state: tuple[Tensor, ...], scales: tuple[Tensor, ...], noise: Noise | None
    ) -> tuple[Tensor, ...]:
        """The features after the stage before, () at first, and what `modulate` gave -> features, at last the picture."""
        images, *rest = scales if stage == 0 else (*state, *scales)
        return (self.synthesis.run(stage, images, tuple(rest)),)

    def forward(self, z: Tensor, label: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Latents straight to pictures."""
        return self.synthesize(self.map(z, label), noise)

    def constant_noise(self) -> Noise:
        """None: it has no noise inputs."""
        return ()

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A copy for play alone: convolutions and filters in `dtype`, what the weights decide computed once.

        Styles, demodulation, the input and the picture stay in float32. It can be neither trained nor saved.
        """
        prepared = copy.deepcopy(self).eval().requires_grad_(False)
        for layer in prepared.synthesis.layers:
            if isinstance(layer, SynthesisLayer):
                layer.fold(dtype)
        return prepared

    def style_matrices(self) -> tuple[Tensor, ...]:
        """For each style index the affine weights [out, w_dim] that read it: the input first, then each layer."""
        readers = [self.synthesis.input.affine, *(layer.affine for layer in self.synthesis.layers)]
        return tuple(affine.weight.detach() for affine in readers)


class Discriminator(stylegan2.Discriminator):
    """StyleGAN2's discriminator, with the channels that go with this generator."""

    def __init__(self, settings: StyleGAN3Settings) -> None:
        super().__init__(settings.critic)
