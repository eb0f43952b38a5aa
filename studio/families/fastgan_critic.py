"""FastGAN's critic (Liu et al. 2021, section 3.2): it must also be able to redraw the real pictures that it sees.

Residual blocks halve the picture down to 8 px; coarse features are excited by fine ones. Every place of the last
features judges its own patch, and from 256 px on a second, small path judges the picture shrunk to 128 px. Plain
decoders redraw the whole picture, a random quarter of it at twice the resolution, and the small picture. All
convolutions are divided by their largest singular value (Miyato et al. 2018, "Spectral Normalization").

Ours differs from the published one in three ways: pictures below 256 px pass fewer blocks, decoders draw half the
picture's size at most, and what they miss is measured on colours at three scales instead of by a pretrained network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studio.ops import gated, layers

if TYPE_CHECKING:
    from studio.families.fastgan import FastGANSettings

LAST = 8
"""Width in pixels of the features that judge."""
SMALL = 128
"""Width in pixels of the small picture, and of the largest one that is redrawn."""

_CHANNELS = {8: 8.0, 16: 4.0, 32: 2.0, 64: 1.0, 128: 0.5, 256: 0.25, 512: 0.125, 1024: 0.0625}
_DRAWN_CHANNELS = {16: 2.0, 32: 1.0, 64: 1.0, 128: 0.5}
_LARGEST_UNHALVED = 256
_EXCITED_AFTER = 3
_SLOPE = 0.2
_SCALES = 3
_WARM_UP = 8
_TINY = 1e-12

Distance = Callable[[Tensor, Tensor], Tensor]
"""Redrawn and true pictures [n, c, h, w], float32 -> how far they are apart, [n]."""


class SpectralConvolution(nn.Conv2d):
    """A convolution whose weight is divided by its largest singular value, which one power iteration a call follows.

    `left` [o] is the left singular vector found so far; it is part of the state.
    """

    left: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inputs, outputs, size, stride, padding, bias=False)
        nn.init.normal_(self.weight, 0.0, 0.02)
        self.register_buffer("left", F.normalize(torch.randn(outputs), dim=0))
        for _ in range(_WARM_UP):
            self.largest_singular_value()

    def forward(self, input: Tensor) -> Tensor:
        """[n, i, h, w] -> [n, o, h', w']."""
        return F.conv2d(input, self.divided_weight(), None, self.stride, self.padding)

    def divided_weight(self) -> Tensor:
        """The weight [o, i, k, k] that it convolves by."""
        return self.weight / self.largest_singular_value()

    def largest_singular_value(self) -> Tensor:
        """Of the weight as a matrix [o, i k k], a scalar with its slope; in training it also improves `left`."""
        with layers.full_precision(self.weight):
            matrix = self.weight.permute(0, 2, 3, 1).flatten(1)
            with torch.no_grad():
                right = F.normalize(self.left @ matrix, dim=0, eps=_TINY)
                left = F.normalize(matrix @ right, dim=0, eps=_TINY) if self.training else self.left.clone()
                self.left.copy_(left)
            return torch.dot(left, matrix @ right)


class DoublingConvolution(SpectralConvolution):
    """The same on pictures whose pixels were doubled."""

    def forward(self, input: Tensor) -> Tensor:
        """[n, i, h, w] -> [n, o, 2h, 2w]."""
        return gated.convolve_doubled(input, self.divided_weight())


class Halving(nn.Module):
    """Half the size by two paths, whose mean is taken: two convolutions, and one of the picture shrunk before."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_normalised(SpectralConvolution(inputs, outputs, 4, stride=2, padding=1)),
            *_normalised(SpectralConvolution(outputs, outputs, 3, padding=1)),
        )
        self.direct = nn.Sequential(nn.AvgPool2d(2), *_normalised(SpectralConvolution(inputs, outputs, 1)))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.main(images) + self.direct(images)) * 0.5


class Excitation(nn.Module):
    """Fine features [n, i, h, w] -> how much of each channel of coarse ones passes, [n, o, 1, 1]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), SpectralConvolution(inputs, outputs, 4), nn.SiLU(),
            SpectralConvolution(outputs, outputs, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.main(images))


class Decoder(nn.Module):
    """Features [n, i, 8, 8] -> a picture [n, channels, size, size], float32, by doubling, convolving and gating."""

    def __init__(self, inputs: int, width: float, channels: int, size: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        drawn = LAST
        while drawn < size:
            drawn *= 2
            outputs = max(1, int(_DRAWN_CHANNELS[drawn] * width))
            parts += [DoublingConvolution(inputs, 2 * outputs, 3, padding=1), nn.BatchNorm2d(2 * outputs), Gate()]
            inputs = outputs
        self.main = nn.Sequential(*parts, SpectralConvolution(inputs, channels, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.main(features)).float().tanh()


class Gate(nn.Module):
    """One half of the channels decides how much of the other passes."""

    def forward(self, images: Tensor) -> Tensor:
        return gated.gate(images)


class Path(nn.Module):
    """A picture of `size` px -> the features after every block, the last of 8 px.

    Pictures above 256 px are halved by plain convolutions first, without a block.
    """

    def __init__(self, size: int, width: int, channels: int) -> None:
        super().__init__()
        self.opening, size, opened = _opening(size, width, channels)
        self.blocks = nn.ModuleList()
        self.excitations = nn.ModuleDict()
        found = [opened]
        while size > LAST:
            size //= 2
            outputs = _channels(size, width)
            if len(found) >= _EXCITED_AFTER:
                self.excitations[str(len(found))] = Excitation(found[-_EXCITED_AFTER], outputs)
            self.blocks.append(Halving(found[-1], outputs))
            found.append(outputs)
        self.widths = tuple(found)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = [cast(Tensor, self.opening(images))]
        for place, block in enumerate(self.blocks, start=1):
            features = block(found[-1])
            if str(place) in self.excitations:
                features = features * self.excitations[str(place)](found[place - _EXCITED_AFTER])
            found.append(features)
        return tuple(found)


class Discriminator(nn.Module):
    """The FastGAN critic: logits of 5 x 5 patches, twice as many from 256 px on; with classes by projection.

    Attributes:
        distance: what measures how well a picture was redrawn; any other may be put in its place.
    """

    def __init__(self, settings: FastGANSettings) -> None:
        super().__init__()
        self.settings, self.distance = settings, picture_distance
        width, channels = settings.critic_width, settings.channels
        self.big = Path(settings.resolution, width, channels)
        last, before = self.big.widths[-1], self.big.widths[-2]
        hidden = max(1, last // 2)
        self.narrow = nn.Sequential(*_normalised(SpectralConvolution(last, hidden, 1)))
        self.judge = SpectralConvolution(hidden, 1, 4)
        if settings.classes:
            self.embed = SpectralConvolution(settings.classes, hidden, 1)
        drawn = min(SMALL, settings.resolution // 2)
        self.decode_whole = Decoder(last, width, channels, drawn)
        self.decode_quarter = Decoder(before, width, channels, drawn)
        if settings.resolution > SMALL:
            self.small = Path(SMALL, max(1, width // 2), channels)
            self.judge_small = SpectralConvolution(self.small.widths[-1], 1, 4)
            self.decode_small = Decoder(self.small.widths[-1], width, channels, SMALL // 2)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, 25 or 50], float32."""
        return self._judged(*self._seen(images), label)

    def features(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """images [n, channels, r, r] -> what every block made of them, the small picture's last; labels play no part."""
        big, small = self._seen(images)
        return big[1:] + small[1:]

    def judge_and_rebuild(self, images: Tensor, label: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """images [n, channels, r, r], label [n, classes] -> logits [n, 25 or 50] and what redrawing missed [n]."""
        big, small = self._seen(images)
        row, column = divmod(int(torch.randint(4, [], generator=random)), 2)
        quarter = _quarter(images, row, column), self.decode_quarter(_quarter(big[-2], row, column))
        pairs = [(images, self.decode_whole(big[-1])), quarter]
        if small:
            pairs.append((images, self.decode_small(small[-1])))
        missed = [self.distance(drawn, _shrunk(true.float(), drawn.shape[-1])) for true, drawn in pairs]
        return self._judged(big, small, label), torch.stack(missed).sum(dim=0)

    def _seen(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The features of the picture and, if there is one, of the small picture."""
        images = images.contiguous(memory_format=torch.channels_last)
        small = self.small(_shrunk(images, SMALL)) if self.settings.resolution > SMALL else ()
        return self.big(images), small

    def _judged(self, big: tuple[Tensor, ...], small: tuple[Tensor, ...], label: Tensor | None) -> Tensor:
        features = self.narrow(big[-1])
        with layers.full_precision(features):
            features = features.float()
            logits = self.judge(features)
            if self.settings.classes:
                rows = layers.label_rows(label, features, self.settings.classes)
                agreement = (features * self.embed(rows[:, :, None, None])).sum(dim=1, keepdim=True)
                logits = logits + F.avg_pool2d(agreement, 4, stride=1)
            found = [logits.flatten(1)]
            if small:
                found.append(self.judge_small(small[-1].float()).flatten(1))
            return torch.cat(found, dim=1)


def picture_distance(drawn: Tensor, true: Tensor) -> Tensor:
    """The mean absolute difference of pictures [n, c, h, w] at full, half and quarter size, added up: [n]."""
    difference, total = drawn - true, torch.zeros(len(drawn), device=drawn.device)
    for scale in range(_SCALES):
        if scale:
            difference = F.avg_pool2d(difference, 2)
        total = total + difference.abs().mean(dim=(1, 2, 3))
    return total


def _opening(size: int, width: int, channels: int) -> tuple[nn.Sequential, int, int]:
    """What turns a picture into features, with their width in pixels and their channels."""
    if size <= _LARGEST_UNHALVED:
        outputs = _channels(size, width)
        return nn.Sequential(SpectralConvolution(channels, outputs, 3, padding=1), _bend()), size, outputs
    parts: list[nn.Module] = []
    while size > _LARGEST_UNHALVED:
        size //= 2
        outputs = _channels(size, width)
        convolution = SpectralConvolution(channels, outputs, 4, stride=2, padding=1)
        parts += _normalised(convolution) if parts else [convolution, _bend()]
        channels = outputs
    return nn.Sequential(*parts), size, channels


def _channels(size: int, width: int) -> int:
    return max(1, int(_CHANNELS[size] * width))


def _normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), _bend()]


def _bend() -> nn.Module:
    return nn.LeakyReLU(_SLOPE, inplace=True)


def _quarter(images: Tensor, row: int, column: int) -> Tensor:
    """One quarter of [n, c, h, h]: [n, c, h/2, h/2]."""
    half = images.shape[-1] // 2
    return images[:, :, row * half : (row + 1) * half, column * half : (column + 1) * half]


def _shrunk(images: Tensor, size: int) -> Tensor:
    """Pictures [n, c, h, h] of `size` px, by averaging whole squares of pixels."""
    factor = images.shape[-1] // size
    return F.avg_pool2d(images, factor) if factor > 1 else images
