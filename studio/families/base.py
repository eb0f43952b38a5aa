"""What every generator and discriminator of the studio answers to, and the closed table of families.

Tools ask what a generator can do (`num_styles`, `classes`, `style_matrices`), never what it is. torch is imported with
the first network, not with this table, so that the page can name families before anything heavy is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from studio.errors import BadInput
from studio.options import Checked, from_json, option

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Noise = tuple["Tensor", ...]
"""One tensor [1 or n, 1, r, r] for each entry of `Generator.noise_sizes`."""


@runtime_checkable
class Generator(Protocol):
    """Turns latents into pictures in two steps. Networks are read-only in play: everything random comes in.

    Attributes:
        z_dim: width of the input latent.
        style_dim: width of one style vector.
        num_styles: style vectors per picture (StyleGAN's num_ws); 1 where a family has a single latent.
        resolution: pictures are square, in pixels.
        channels: 1 grey, 3 RGB, 4 RGBA (straight alpha).
        classes: number of classes, 0 if unconditional.
        noise_sizes: resolution of each noise input, in order; empty where there is none.
    """

    z_dim: int
    style_dim: int
    num_styles: int
    resolution: int
    channels: int
    classes: int
    noise_sizes: tuple[int, ...]

    def map(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, z_dim] (and label [n, classes], rows sum to 1; None means no class is preferred)
        -> styles [n, num_styles, style_dim], pulled towards their mean by `truncation` (1: not at all, 0: the mean)."""
        ...

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, num_styles, style_dim] -> pictures [n, channels, resolution, resolution] in about [-1, 1].

        `noise` None means none is added; `constant_noise()` gives the model's own."""
        ...

    def constant_noise(self) -> Noise:
        """The model's own noise pictures; empty where it has none."""
        ...

    def prepared(self, dtype: torch.dtype) -> Generator:
        """A form for play alone that answers the same, quicker: weights folded once, convolutions in `dtype`."""
        ...

    def style_matrices(self) -> tuple[Tensor, ...]:
        """For each style index the weights [out, style_dim] that read it, stacked; empty where there are none.

        They are what closed-form factorisation works on (Shen & Zhou 2021, SeFa)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a synthesis that goes from small pictures to large ones.

    Attributes:
        resolution: of the picture after it; 0 if there is none yet.
        styles: how many styles it and the stages before it read.
        noises: how many noise pictures it takes, after those of the stages before it.
    """

    resolution: int
    styles: int
    noises: int = 0


@runtime_checkable
class Staged(Protocol):
    """A generator whose synthesis can be cut, so that only what changed is drawn anew, and drafts stop half way.

    What styles decide (`modulate`: small, float32) is apart from what pixels cost (`run_stage`: any precision).
    The state between stages is a tuple of tensors, empty before the first; its last one is the picture so far."""

    @property
    def stages(self) -> tuple[Stage, ...]: ...

    def modulate(self, stage: int, styles: Tensor) -> tuple[Tensor, ...]:
        """styles [n, num_styles, style_dim] -> what they mean to a stage, float32, each [n, …]."""
        ...

    def run_stage(
        self, stage: int, state: tuple[Tensor, ...], scales: tuple[Tensor, ...], noise: Noise | None
    ) -> tuple[Tensor, ...]:
        """The state before a stage -> the state after it."""
        ...


@runtime_checkable
class Movable(Protocol):
    """A generator that can move and turn its pictures before it draws them; `movable` is True."""

    movable: bool

    def placed(self, styles: Tensor, transform: Tensor | None = None) -> Tensor:
        """Styles [n, num_styles, style_dim] that draw the same picture elsewhere, for `synthesize` and stages alone.

        `transform` [3, 3] or [n, 3, 3] sends each place (x, y, 1) of the picture, in its widths from its centre, y
        downwards, to the place that is drawn there; None is the model's own."""
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A generator that measures something of itself once, after its weights were imported."""

    def calibrate(self) -> None:
        """Measure it, always with the same result; may take half a minute for a large network."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A generator whose normalisation rests on statistics of its own pictures.

    A moving average has the weights of many steps beside the statistics of the last one, so it is measured before it
    is seen or saved."""

    def measure(self) -> None:
        """Measure them, always with the same result for the same weights; in a fraction of a second."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A generator that has layers for its classes alone."""

    def class_parameters(self) -> Iterator[nn.Parameter]:
        """What says how pictures of one class differ from those of another."""
        ...


class Discriminator(Protocol):
    """Scores pictures: higher is more real."""

    def __call__(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, k], k ≥ 1; losses average over all."""
        ...


@runtime_checkable
class Rebuilding(Protocol):
    """A critic that must also be able to redraw the real pictures that it sees (FastGAN)."""

    def judge_and_rebuild(self, images: Tensor, label: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> logits [n, k] and what redrawing missed [n].

        What is chosen at random comes from `random`, a generator on the CPU."""
        ...


@runtime_checkable
class Featured(Protocol):
    """A critic that shows what it saw on the way to its logits, for feature matching (Salimans et al. 2016)."""

    def features(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """images [n, channels, r, r] in [-1, 1], label [n, classes] -> features [n, …] of its layers, in order."""
        ...


@runtime_checkable
class Seeing(Featured, Protocol):
    """A critic whose costly first part never learns: what it saw of a picture serves both players."""

    def judge_features(self, features: tuple[Tensor, ...], label: Tensor | None = None) -> Tensor:
        """The logits [n, k] of the pictures that have these `features`."""
        ...


@runtime_checkable
class Joint(Protocol):
    """A critic that judges several sets of pictures in one pass, which is quicker than a pass for each."""

    def judge_sets(self, sets: Sequence[Tensor], labels: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """The logits of each set of pictures [n, channels, r, r], all of one size, as if it were judged alone."""
        ...


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(Checked):
    """What every family needs to know. A family's own settings add to these."""

    resolution: int = option(64, help="Width and height of the pictures.", low=4, high=2048, unit="px")
    channels: int = option(3, help="1 for grey, 3 for colour, 4 for colour with transparency.", choices=(1, 3, 4))
    classes: int = option(0, help="How many classes the pictures come in; 0 for none.", low=0, high=10_000)

    @property
    def trains(self) -> bool:
        """Whether a network of this shape can be trained here, where its family can."""
        return True


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture. `module` is imported on first use and holds `generator` and `discriminator`.

    `trains` is False where the studio has no discriminator of that family: its models are imported and played only.
    `offer` says in few words why a run would begin with it; it is empty where a run needs a model to start from."""

    name: str
    title: str
    summary: str
    module: str
    settings_class: str
    offer: str = ""
    trains: bool = True

    @property
    def settings(self) -> type[NetworkSettings]:
        return cast(type[NetworkSettings], getattr(self._load(), self.settings_class))

    def _load(self) -> Any:
        return importlib.import_module(self.module)

    def generator(self, settings: NetworkSettings) -> nn.Module:
        """A freshly initialised generator (of torch's global random state)."""
        return cast("nn.Module", self._load().Generator(settings))

    def discriminator(self, settings: NetworkSettings) -> nn.Module:
        """A freshly initialised discriminator for the same pictures."""
        return cast("nn.Module", self._load().Discriminator(settings))


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="fastgan",
            title="FastGAN",
            summary="Gated convolutions that coarse features switch on and off; the quickest to good pictures.",
            module="studio.families.fastgan",
            settings_class="FastGANSettings",
            offer="good pictures soonest",
        ),
        Family(
            name="stylegan2",
            title="StyleGAN2",
            summary="Mapped styles at every scale; slower to learn, the richest to play.",
            module="studio.families.stylegan2",
            settings_class="StyleGAN2Settings",
            offer="the richest to play",
        ),
        Family(
            name="stylegan3",
            title="StyleGAN3",
            summary="Pictures as signals that can be moved and turned; fine detail stays on what it belongs to.",
            module="studio.families.stylegan3",
            settings_class="StyleGAN3Settings",
        ),
        Family(
            name="lightweight",
            title="lightweight-gan",
            summary="A relative of FastGAN with noise and attention; many models for it are on the Hub.",
            module="studio.families.lightweight",
            settings_class="LightweightSettings",
        ),
        Family(
            name="lucidrains",
            title="StyleGAN2 (lucidrains)",
            summary="The StyleGAN2 of stylegan2-pytorch, whose mathematics differ from its authors'.",
            module="studio.families.lucidrains",
            settings_class="LucidrainsSettings",
        ),
        Family(
            name="r3gan",
            title="R3GAN",
            summary="Plain residual blocks without normalisation, as in 2024; strong with many pictures.",
            module="studio.families.r3gan",
            settings_class="R3GANSettings",
            offer="plain blocks, as in 2024",
        ),
        Family(
            name="dcgan",
            title="DCGAN",
            summary="Transposed convolutions and batch normalisation, as in 2015; small and quick.",
            module="studio.families.dcgan",
            settings_class="DCGANSettings",
            offer="small and quick, as in 2015",
        ),
        Family(
            name="mlp",
            title="MLP",
            summary="Fully connected layers only, as in the first GAN of 2014; to see how it began.",
            module="studio.families.mlp",
            settings_class="MLPSettings",
            offer="as in the first GAN of 2014",
        ),
    )
}
TRAINED = tuple(family.name for family in FAMILIES.values() if family.trains)
FROM_NOTHING = tuple(family.name for family in FAMILIES.values() if family.offer)
"""Families that a run can begin with where there is no model to start from."""
FIRST_CHOICE = FROM_NOTHING[0]
"""The one that a run begins with unless told otherwise: docs/recipes.md has the evidence."""


def family(name: str) -> Family:
    """The family of that name. Raises BadInput for any name outside the closed table."""
    if name not in FAMILIES:
        raise BadInput(f"The studio has no family {name[:40]!r}.", f"It knows {', '.join(FAMILIES)}.")
    return FAMILIES[name]


_GONE = ("smooth",)
"""Settings of a FastGAN for a while; models of that time have it, mostly false. One that was true is refused by its weights."""


def settings_from(name: str, data: Mapping[str, Any]) -> NetworkSettings:
    """The settings of family `name` from JSON. Raises BadInput for unknown keys and values out of range."""
    return from_json(family(name).settings, {key: value for key, value in data.items() if key not in _GONE})
