"""FastGAN (Liu et al. 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis").

Gated convolutions from 4 px upwards; coarse features switch channels of fine ones on and off (skip-layer excitation).
The variants of Projected GAN (Sauer et al. 2021) are settings: normalised latents, classes through the normalisation,
other scales with two convolutions. Tensors carry the authors' names, less the head for small pictures; spectral
normalisation is folded into the weights at import.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.errors import BadInput
from studio.families import fastgan_critic
from studio.families.base import NetworkSettings, Noise
from studio.families.fastgan_critic import LAST
from studio.families.projected_critic import ProjectedCritic
from studio.families.single import SingleLatent
from studio.ops import gated, layers, packed, seeds
from studio.ops.gated import doubling_kernel
from studio.options import option

__all__ = ["Discriminator", "FastGANSettings", "Generator"]

CHANNELS = {4: 16.0, 8: 8.0, 16: 4.0, 32: 2.0, 64: 2.0, 128: 1.0, 256: 0.5, 512: 0.25, 1024: 0.125}
"""Feature channels at each resolution, as a multiple of the width."""
EXCITED_BY = {64: 4, 128: 8, 256: 16, 512: 32}
"""The resolution whose features excite those of another one."""
CONVOLUTIONS: Mapping[str, Callable[[int], int]] = {
    "paper": lambda size: 2 if size in (8, 32, 128, 512) else 1,
    "all": lambda size: 2,
    "none": lambda size: 1,
    "deep": lambda size: 3 if size <= 32 else 2,
}
"""How many convolutions a resolution has, by the setting `doubled`."""

_CALIBRATION_PICTURES = 128
_CALIBRATION_PICTURES_LARGE = 64
_LARGE = 512
_CALIBRATION_BATCH = 16
_GATE_GAIN = 1.85
_OPEN = 4.0


@dataclass(frozen=True, kw_only=True)
class FastGANSettings(NetworkSettings):
    """The shape of a FastGAN; the defaults are those of its authors."""

    resolution: int = option(256, help="Width and height of the pictures.", low=8, high=1024, unit="px")
    z_dim: int = option(256, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    width: int = option(64, help="Feature maps at 128 px: more is richer and slower.", low=1, high=1024)
    critic_width: int = option(
        64, help="Feature maps of the critic at 64 px, or of its finest ones.", low=1, high=1024, advanced=True
    )
    doubled: str = option(
        "paper",
        help="Which scales have two convolutions instead of one; deep is two everywhere and three up to 32 px.",
        choices=tuple(CONVOLUTIONS),
        advanced=True,
    )
    projected: bool = option(
        False,
        help="As Projected GAN has it: latents of equal length, and a critic that sees with a network that knows photographs.",
        advanced=True,
    )
    tanh: bool = option(False, help="Whether a tanh keeps the colours in range.", advanced=True)
    calibrated: bool = option(
        False, help="Whether the normalisation was measured anew on the model's own pictures.", advanced=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution not in CHANNELS:
            raise BadInput(f"A FastGAN cannot make pictures of {self.resolution} px.", "Choose 64, 128, 256, 512 …")

    @property
    def trains(self) -> bool:
        return self.projected or self.resolution > LAST

    def channels_at(self, resolution: int) -> int:
        """Feature channels at `resolution`."""
        return max(1, int(CHANNELS[resolution] * self.width))

    def convolutions_at(self, resolution: int) -> int:
        """Convolutions of the block that ends at `resolution`."""
        return CONVOLUTIONS[self.doubled](resolution)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """8, 16, … up to the picture's."""
        return tuple(size for size in CHANNELS if 4 < size <= self.resolution)


def Discriminator(settings: FastGANSettings) -> nn.Module:
    """The critic that the settings ask for."""
    return ProjectedCritic(settings) if settings.projected else fastgan_critic.Discriminator(settings)


class Normalisation(nn.BatchNorm2d):
    """Batch normalisation; it looks at no class."""

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        return super().forward(images)

    def factors(self) -> tuple[Tensor, Tensor]:
        """The scale [c] and the shift [c] that play amounts to."""
        scale = self.weight * torch.rsqrt(cast(Tensor, self.running_var) + self.eps)
        return scale, self.bias - cast(Tensor, self.running_mean) * scale

    def set_factors(self, channels: slice, scale: Tensor, shift: Tensor) -> None:
        """Let these channels, once normalised, be scaled and shifted so."""
        self.weight[channels], self.bias[channels] = scale, shift


class ClassNormalisation(nn.Module):
    """Batch normalisation whose gain and shift come from the embedded class (de Vries et al. 2017)."""

    stored_mean: Tensor
    stored_var: Tensor
    eps = 1e-5

    def __init__(self, channels: int, class_dim: int) -> None:
        super().__init__()
        self.momentum = 0.1
        self.gain = nn.Linear(class_dim, channels)
        self.bias = nn.Linear(class_dim, channels)
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        images = F.batch_norm(
            images, self.stored_mean, self.stored_var, training=self.training, momentum=self.momentum, eps=self.eps
        )
        return self.modulate(images, classes)

    def modulate(self, images: Tensor, classes: Tensor) -> Tensor:
        """Scale and shift [n, c, h, w] as classes [n, class_dim] ask for."""
        gain, bias = (self.gain(classes) + 1).to(images.dtype), self.bias(classes).to(images.dtype)
        return torch.addcmul(bias[:, :, None, None], images, gain[:, :, None, None])

    def factors(self) -> tuple[Tensor, Tensor]:
        """The scale [c] and the shift [c] that play amounts to before `modulate`."""
        scale = torch.rsqrt(self.stored_var + self.eps)
        return scale, -self.stored_mean * scale

    def set_factors(self, channels: slice, scale: Tensor, shift: Tensor) -> None:
        """Let these channels, once normalised, be scaled and shifted so under every class."""
        self.gain.weight[channels], self.gain.bias[channels] = 0, scale - 1
        self.bias.weight[channels], self.bias.bias[channels] = 0, shift

    def begin_as(self, plain: Normalisation) -> None:
        """Normalise as `plain` does, whatever the class."""
        self.set_factors(slice(None), plain.weight, plain.bias)
        self.stored_mean.copy_(cast(Tensor, plain.running_mean))
        self.stored_var.copy_(cast(Tensor, plain.running_var))


class Grain(nn.Module):
    """Adds noise of a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor, noise: Tensor | None) -> Tensor:
        return images if noise is None else images + (self.weight * noise).to(images.dtype)


class Step(NamedTuple):
    """Convolution, noise and normalisation before one gate."""

    convolution: nn.Conv2d
    grain: Grain | None
    normalisation: Normalisation | ClassNormalisation


class UpBlock(nn.Module):
    """Doubles the size, then one to three steps; with classes the parts have names, else the authors' numbers."""

    _NUMBERED: ClassVar = (("1", "2", "3"), ("5", "6", "7"), ("9", "10", "11"))
    _NAMED: ClassVar = (("conv1", "noise", "bn1"), ("conv2", "noise", "bn2"), ("conv3", "noise", "bn3"))

    def __init__(self, inputs: int, outputs: int, *, convolutions: int, class_dim: int) -> None:
        super().__init__()
        self.names = (self._NAMED if class_dim else self._NUMBERED)[:convolutions]
        if convolutions == 1:
            self.names = (("conv", "", "bn"),) if class_dim else (("1", "", "2"),)
        for convolution, grain, normalisation in self.names:
            self.add_module(convolution, nn.Conv2d(inputs, 2 * outputs, 3, padding=1, bias=False))
            if grain:
                self.add_module(grain, Grain())
            kind = ClassNormalisation(2 * outputs, class_dim) if class_dim else Normalisation(2 * outputs)
            self.add_module(normalisation, kind)
            inputs = outputs

    def steps(self) -> list[Step]:
        """The parts in the order in which pictures pass them."""
        found = [[self.get_submodule(name) if name else None for name in names] for names in self.names]
        return [Step(*cast(tuple[nn.Conv2d, Grain | None, Normalisation], tuple(parts))) for parts in found]

    def forward(self, images: Tensor, noises: Iterator[Tensor | None], classes: Tensor | None) -> Tensor:
        for place, (convolution, grain, normalisation) in enumerate(self.steps()):
            images = convolution(images) if place else gated.convolve_doubled(images, convolution.weight)
            if grain is not None:
                images = grain(images, next(noises))
            images = gated.gate(normalisation(images, classes))
        return images

    def folded(self, dtype: torch.dtype, resolution: int) -> FoldedBlock:
        """The same for play alone, with convolutions in `dtype`; `resolution` is that of its outputs."""
        return FoldedBlock(
            FoldedStep(
                step.convolution.weight, *step.normalisation.factors(), up=place == 0, size=resolution, dtype=dtype,
                grain=None if step.grain is None else step.grain.weight,
                classes=step.normalisation if isinstance(step.normalisation, ClassNormalisation) else None,
            )
            for place, step in enumerate(self.steps())
        )  # fmt: skip


class FoldedStep(nn.Module):
    """One step for play: a single convolution that holds the normalisation, then noise and gate.

    Repeating each pixel twice and then convolving by 3 x 3 equals a transposed convolution of stride 2 by 4 x 4, which
    takes 16 products instead of 36; so `up` costs nothing.

    Args:
        weight: [o, i, 3, 3] of the convolution, or [o, i, 4, 4] if it stands on a border of 2 zeros before and 1 after.
        scale, shift: [o], what follows it.
        up: whether the pictures are doubled first.
        size: width of the outputs in pixels.
        grain: strength [1] of the noise that is added between convolution and scale; None for no noise.
        classes: what scales and shifts by class after that; None for nothing.
    """

    def __init__(
        self, weight: Tensor, scale: Tensor, shift: Tensor, *, up: bool, size: int, dtype: torch.dtype,
        grain: Tensor | None = None, classes: ClassNormalisation | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.up, self.even, self.classes = up, weight.shape[2] % 2 == 0, classes
        weight = (weight * scale[:, None, None, None]).detach().to(memory_format=torch.channels_last)
        if up:
            weight = doubling_kernel(weight)
        weight = weight.to(dtype)
        self.weight = constant(weight if self.even else packed.pack(weight, up=up, size=size // 2 if up else size))
        self.shift = constant(shift.to(dtype)[:, None, None])
        self.grain = None if grain is None else constant((grain * scale).to(dtype)[:, None, None])

    def forward(self, images: Tensor, noises: Iterator[Tensor | None], classes: Tensor | None = None) -> Tensor:
        images = self._convolve(images).add_(self.shift)
        noise = None if self.grain is None else next(noises)
        if noise is not None:
            images = images.addcmul_(noise.to(images.dtype), cast(Tensor, self.grain))
        if self.classes is not None:
            images = self.classes.modulate(images, cast(Tensor, classes))
        return F.glu(images, dim=1)

    def _convolve(self, images: Tensor) -> Tensor:
        if self.up:
            return packed.convolve_transposed(images, self.weight)[:, :, 1:-1, 1:-1]
        if self.even:
            return F.conv2d(images, self.weight, padding=2)[:, :, :-1, :-1]
        return packed.convolve(images, self.weight)


class FoldedBlock(nn.ModuleList):
    """Folded steps, one after the other."""

    def forward(self, images: Tensor, noises: Iterator[Tensor | None], classes: Tensor | None) -> Tensor:
        for step in self:
            images = step(images, noises, classes)
        return images


def folded_opening(opening: nn.Sequential) -> nn.Sequential:
    """The transposed convolution of a pair and, in its weights, the normalisation that follows it."""
    first, normalisation = cast(nn.ConvTranspose2d, copy.deepcopy(opening[0])), cast(Normalisation, opening[1])
    scale, shift = normalisation.factors()
    if first.bias is not None:
        shift = shift + first.bias * scale
    first.weight, first.bias = constant((first.weight * scale[:, None, None]).detach()), constant(shift.detach())
    return nn.Sequential(first)


def constant(values: Tensor) -> nn.Parameter:
    """A parameter that is never trained."""
    return nn.Parameter(values, requires_grad=False)


class Excitation(nn.Module):
    """Coarse features [n, i, h, w] -> how much of each channel of fine ones passes, [n, o, 1, 1]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Conv2d(inputs, outputs, 4, bias=False), nn.SiLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.main(images))


class Opening(nn.Module):
    """Latents -> features at 4 px."""

    def __init__(self, z_dim: int, outputs: int) -> None:
        super().__init__()
        self.init = nn.Sequential(nn.ConvTranspose2d(z_dim, 2 * outputs, 4, bias=False), Normalisation(2 * outputs))

    def forward(self, z: Tensor) -> Tensor:
        """z [n, z_dim] -> [n, c, 4, 4]."""
        if not self.training:
            return F.glu(self.init(z[:, :, None, None]), dim=1)
        first, normalisation = self.init
        weight = cast(Tensor, first.weight).permute(0, 2, 3, 1)
        pixels = (z @ weight.flatten(1)).view(-1, *weight.shape[1:])
        return gated.gate(normalisation(pixels.permute(0, 3, 1, 2)))


class Generator(SingleLatent):
    """The FastGAN generator; see `studio.families.base.Generator` for what it answers."""

    settings: FastGANSettings

    def __init__(self, settings: FastGANSettings) -> None:
        super().__init__(settings, settings.z_dim)
        convolutions = {size: settings.convolutions_at(size) for size in settings.resolutions}
        self.noise_sizes = tuple(size for size, count in convolutions.items() if count > 1 for _ in range(count))
        self.init = Opening(settings.z_dim, settings.channels_at(4))
        if settings.classes:
            self.embed = nn.Embedding(settings.classes, settings.z_dim)
        class_dim = settings.z_dim if settings.classes else 0
        for size in settings.resolutions:
            inputs, outputs = settings.channels_at(size // 2), settings.channels_at(size)
            block = UpBlock(inputs, outputs, convolutions=convolutions[size], class_dim=class_dim)
            self.add_module(f"feat_{size}", block)
            if size in EXCITED_BY:
                self.add_module(f"se_{size}", Excitation(settings.channels_at(EXCITED_BY[size]), outputs))
        width = settings.channels_at(settings.resolution)
        self.to_big = nn.Conv2d(width, settings.channels, 3, padding=1, bias=settings.projected)
        self.apply(_initialise)
        nn.init.normal_(self.to_big.weight, 0.0, 0.3 / (9 * width) ** 0.5)

    def map(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, z_dim], label [n, classes] -> styles [n, 1, z_dim + classes]; truncation scales z towards 0."""
        return super().map(layers.normalise(z.float()) if self.settings.projected else z, label, truncation)

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, z_dim + classes], noise [1 or n, 1, r, r] for each of `noise_sizes` -> pictures, float32."""
        z, label = styles[:, 0, : self.z_dim], styles[:, 0, self.z_dim :]
        classes = label @ self.embed.weight if self.classes else None
        noises: Iterator[Tensor | None] = iter(noise or (None,) * len(self.noise_sizes))
        images = self.init(z.to(self.to_big.weight.dtype)).contiguous(memory_format=torch.channels_last)
        coarse = {4: images}
        for size in self.settings.resolutions:
            images = self.get_submodule(f"feat_{size}")(images, noises, classes)
            if size in EXCITED_BY:
                images = images * self.get_submodule(f"se_{size}")(coarse.pop(EXCITED_BY[size]))
            if size in EXCITED_BY.values():
                coarse[size] = images
        picture = cast(Tensor, self.to_big(images)).float()
        return picture.tanh() if self.settings.tanh else picture

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A copy for play alone: convolutions in `dtype`, each with its normalisation and its doubling in it."""
        prepared = copy.deepcopy(self).eval().requires_grad_(False)
        prepared.init.init = folded_opening(self.init.init)
        for size in self.settings.resolutions:
            block = cast(UpBlock, prepared.get_submodule(f"feat_{size}"))
            prepared.set_submodule(f"feat_{size}", block.folded(dtype, size))
        for module in prepared.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.to(dtype).to(memory_format=torch.channels_last)
        return prepared

    def class_parameters(self) -> Iterator[nn.Parameter]:
        """The embedding of the classes, and what every normalisation makes of it; nothing without classes."""
        if self.classes:
            yield from self.embed.parameters()
        for module in self.modules():
            if isinstance(module, ClassNormalisation):
                yield from module.parameters()

    def calibrate(self) -> None:
        """To be called once after an import: measure the normalisation anew, if the settings say that it is.

        The files hold averaged weights beside the statistics of the network that was not averaged, and the authors'
        own sampling ignores these; see `measure_statistics`.
        """
        if self.settings.calibrated:
            measure_statistics(self)

    def measure(self) -> None:
        """Measure the normalisation anew on a few pictures, for a network that training has just averaged."""
        measure_statistics(self, _CALIBRATION_BATCH if self.resolution >= _LARGE // 2 else 2 * _CALIBRATION_BATCH)


@torch.no_grad()
def let_through(grown: Generator, small: Generator) -> None:
    """Make `grown`, which has the layers of `small` and one block more, begin with its pictures enlarged.

    The colours of `small` are the first features of the new block, whose gates stand open for them; normalisation gives
    them the mean and the spread that they had. The last layer listens to nothing else at first.
    """
    numbers = range(_CALIBRATION_BATCH)
    pictures = small(seeds.latents(numbers, small.z_dim), seeds.labels(numbers, small.classes))
    spread, mean = torch.std_mean(pictures, dim=(0, 2, 3))
    size, colours = grown.resolution, len(mean)
    for place, step in enumerate(cast(UpBlock, grown.get_submodule(f"feat_{size}")).steps()):
        width = len(step.convolution.weight) // 2
        values, gates = slice(colours), slice(width, width + colours)
        step.convolution.weight[values] = 0
        if place:
            step.convolution.weight[values, :colours, 1, 1] = torch.eye(colours)
        else:
            step.convolution.weight[values] = small.to_big.weight
        step.normalisation.set_factors(values, spread, mean)
        step.normalisation.set_factors(gates, torch.zeros(colours), torch.full((colours,), _OPEN))
    opened = 1 / (1 + math.exp(-_OPEN))
    if size in EXCITED_BY:
        cast(nn.Conv2d, cast(Excitation, grown.get_submodule(f"se_{size}")).main[3]).weight[:colours] = 0
        opened /= 2
    grown.to_big.weight.zero_()
    grown.to_big.weight[:, :colours, 1, 1] = torch.eye(colours) / opened
    if grown.to_big.bias is not None:
        grown.to_big.bias.zero_()


@torch.no_grad()
def measure_statistics(generator: SingleLatent, pictures: int | None = None) -> None:
    """Set the means and variances of every normalisation to their averages over batches of the generator's own
    pictures, each batch normalised by itself. The seeds, and so the result, are always the same.

    Without a number it takes 128 pictures, and 64 from 512 px on, where each has more places to measure.
    """
    if pictures is None:
        pictures = _CALIBRATION_PICTURES_LARGE if generator.resolution >= _LARGE else _CALIBRATION_PICTURES
    normalisations = [
        module for module in generator.modules() if isinstance(module, (nn.BatchNorm2d, ClassNormalisation))
    ]
    device = next(generator.parameters()).device
    for batch in range(-(-pictures // _CALIBRATION_BATCH)):
        numbers = range(batch * _CALIBRATION_BATCH, (batch + 1) * _CALIBRATION_BATCH)
        z = seeds.latents(numbers, generator.z_dim).to(device)
        label = seeds.labels(numbers, generator.classes)
        noise = tuple(picture.to(device) for picture in seeds.noise(batch, generator.noise_sizes))
        for module in normalisations:
            module.train()
            module.momentum = 1 / (batch + 1)
        generator(z, None if label is None else label.to(device), noise)
    for module in normalisations:
        module.eval()
        module.momentum = 0.1


@torch.no_grad()
def listen_to_classes(classed: Generator, plain: Generator) -> None:
    """Make `classed`, which differs from `plain` by knowing classes, begin with its pictures under each of them."""
    for size in classed.settings.resolutions:
        blocks = (cast(UpBlock, network.get_submodule(f"feat_{size}")) for network in (classed, plain))
        for step, old in zip(*(block.steps() for block in blocks), strict=True):
            step.convolution.load_state_dict(old.convolution.state_dict())
            if step.grain is not None and old.grain is not None:
                step.grain.load_state_dict(old.grain.state_dict())
            cast(ClassNormalisation, step.normalisation).begin_as(cast(Normalisation, old.normalisation))


def _initialise(module: nn.Module) -> None:
    """Weights that keep the variance through a gate."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        inputs = module.in_channels if isinstance(module, nn.ConvTranspose2d) else module.weight[0].numel()
        nn.init.normal_(module.weight, 0.0, _GATE_GAIN / inputs**0.5)
