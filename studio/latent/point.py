"""A place in latent space as a recipe: seeds, class, style mixing, edits, truncation, noise. No tensors, no torch.

Everything here becomes JSON by `options.to_json` and comes back equal by `options.from_json`, so one Scene is cache
key, undo step, share link, PNG metadata, command-line argument and test case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.errors import BadInput
from studio.options import Checked, option

if TYPE_CHECKING:
    from torch import Tensor

    from studio.families.base import Generator
    from studio.latent.directions import Direction

LARGEST_SEED = 2**32 - 1
NO_NOISE = -1
"""The `noise_seed` of a point that wants none at all."""
OWN_CLASS = -1
"""The `label` of a point whose seeds each have the class that falls to them when classes take turns."""

_MOST_SEEDS = 16
_MOST_EDITS = 64
_MOST_SHARES = 8
_MOST_LAYERS = 64
_NAME_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class Seed(Checked):
    """One latent z, drawn from a seed, and its share in the point."""

    seed: int = option(help="The number that the latent is drawn from.", low=0, high=LARGEST_SEED)
    weight: float = option(1.0, help="How much of this seed there is.", low=-100, high=100)


@dataclass(frozen=True, kw_only=True)
class Edit(Checked):
    """A walk along a named direction, on some layers."""

    direction: str
    amount: float = option(0.0, help="How far to go; 1 is one standard deviation.", low=-100, high=100, unit="σ")
    first_layer: int = option(0, help="The first layer that is changed.", low=0, high=_MOST_LAYERS)
    last_layer: int | None = option(None, help="The last layer that is changed; none: all.", low=0, high=_MOST_LAYERS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.direction) <= _NAME_CHARACTERS:
            raise BadInput("An edit needs the name of a direction.", "Choose one from the model's list.")


@dataclass(frozen=True, kw_only=True)
class Mix(Checked):
    """Style mixing (Karras et al. 2019): some layers take the styles of another seed."""

    seed: int = option(help="The seed whose styles are taken.", low=0, high=LARGEST_SEED)
    first_layer: int = option(0, help="The first layer that takes them.", low=0, high=_MOST_LAYERS)
    last_layer: int | None = option(None, help="The last layer that takes them; none: all.", low=0, high=_MOST_LAYERS)


@dataclass(frozen=True, kw_only=True)
class Point(Checked):
    """A place in latent space.

    A plain point has `seeds`: z = Σ wᵢ zᵢ / sqrt(Σ wᵢ²), which keeps the variance of z, so a mixture of seeds is as
    vivid as each of them.

    A point with a `blend` lies between other plain points instead, and has no seeds, label or truncation of its own.
    Its mix and edits come on top. In "w" the styles of the shares are added; in "z" their latents are turned into each
    other on the sphere (see `studio.latent.mix.blend_latents`), and label, truncation, mixes and edits are shared out.

    Attributes:
        label: index of the class; None prefers none, OWN_CLASS (-1) is the class of each seed by turns, shared out by weight.
        noise_seed: None is the model's constant noise, NO_NOISE (-1) none at all, any other number draws it.
        translate_x, translate_y, rotate: where the picture lies, turned first; for models that can move their pictures,
            ignored by others. Those of the shares of a blend are added to its own, by weight.
        blend: up to 8 plain points with weights that sum to 1 (they are divided by their sum).
        space: where the blend happens, "z" or "w".
    """

    seeds: tuple[Seed, ...] = ()
    label: int | None = option(
        None, help="Which class of pictures; none prefers none, -1: each seed its own.", low=OWN_CLASS, high=9_999
    )
    mix: Mix | None = None
    edits: tuple[Edit, ...] = ()
    truncation: float = option(1.0, help="Lower is more typical, higher more daring.", low=-1, high=2, step=0.05)
    noise_seed: int | None = option(
        None, help="Seed of the fine grain; none: the model's own, -1: no grain.", low=NO_NOISE, high=LARGEST_SEED
    )
    translate_x: float = option(
        0.0, help="Move the picture to the right.", label="Move across", low=-2, high=2, step=0.01, unit="widths"
    )
    translate_y: float = option(
        0.0, help="Move the picture up.", label="Move up", low=-2, high=2, step=0.01, unit="widths"
    )
    rotate: float = option(
        0.0, help="Turn the picture clockwise about its middle.", label="Turn", low=-360, high=360, step=1, unit="°"
    )
    blend: tuple[Share, ...] = ()
    space: str = option("w", help="Where points are blended: before or after the mapping.", choices=("z", "w"))

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_most(len(self.seeds), _MOST_SEEDS, "seeds")
        _at_most(len(self.edits), _MOST_EDITS, "edits")
        _at_most(len(self.blend), _MOST_SHARES, "blended points")
        if bool(self.seeds) == bool(self.blend):
            raise BadInput("A point needs either seeds or points to lie between.", "Give one of the two.")
        if self.seeds and sum(seed.weight**2 for seed in self.seeds) < 1e-12:
            raise BadInput("All seeds of this point weigh nothing.", "Give at least one seed some weight.")
        if self.blend and abs(sum(share.weight for share in self.blend)) < 1e-6:
            raise BadInput("The blended points of this point weigh nothing together.", "Let their weights sum to 1.")
        if self.blend and (self.label is not None or self.truncation != 1):
            raise BadInput("A blended point takes class and truncation from its parts.", "Set them there.")

    @property
    def directions(self) -> frozenset[str]:
        """The names of those that it, or a point that it lies between, goes along."""
        edits = [*self.edits, *(edit for share in self.blend for edit in share.point.edits)]
        return frozenset(edit.direction for edit in edits)


@dataclass(frozen=True, kw_only=True)
class Share(Checked):
    """One of the points that a blended point lies between. Weights may be negative, as splines need it."""

    point: Point
    weight: float = option(1.0, help="How much of this point there is.", low=-100, high=100)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.point.blend:
            raise BadInput("A blended point cannot be blended again.", "Blend points that are made of seeds.")


@dataclass(frozen=True, kw_only=True)
class Scene(Checked):
    """All that it takes to make one picture."""

    model: str
    point: Point
    size_px: int | None = option(None, help="Width and height; none: the model's own.", low=4, high=8192, unit="px")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.model) <= 200:
            raise BadInput("A scene needs the name of a model.", "Choose one from the shelf.")


def resolve(point: Point, generator: Generator, directions: Mapping[str, Direction] | None = None) -> Tensor:
    """The styles [1, num_styles, style_dim] of a point; pure. See `studio.latent.resolve.resolve_many`."""
    from studio.latent.resolve import resolve_many

    return resolve_many((point,), generator, directions)


def seed_pad(x: float, y: float, origin_seed: int, columns: int = 0) -> tuple[Seed, ...]:
    """The seeds around a place on an endless map of seeds, with bilinear weights; those that weigh nothing drop out.

    Every whole-numbered place has a fixed seed, `lattice_seed`. With `columns` above 0 the map repeats itself after so
    many places in both directions, so that a walk can come home.

    Raises:
        BadInput: x or y is not a number, or beyond ±1,000,000.
    """
    if not (math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) <= 1e6):
        raise BadInput("This place is not on the map of seeds.", "Go back to the middle of the map.")
    left, top = math.floor(x), math.floor(y)
    corners = [
        (left + right, top + down, (x - left if right else 1 - x + left) * (y - top if down else 1 - y + top))
        for down in (0, 1)
        for right in (0, 1)
    ]
    if columns > 0:
        corners = [(i % columns, j % columns, weight) for i, j, weight in corners]
    return tuple(Seed(seed=lattice_seed(origin_seed, i, j), weight=weight) for i, j, weight in corners if weight > 0)


def lattice_seed(origin_seed: int, i: int, j: int) -> int:
    """The seed at column `i`, row `j` of the map; the origin itself lies at (0, 0).

    The page computes the same in JavaScript. All numbers are unsigned 32-bit, * is the product modulo 2^32
    (`Math.imul`), ^ is exclusive or and >> shifts in zeros (`>>>`); the result is made unsigned by `>>> 0`:

        if i = 0 and j = 0: return origin
        h = (origin ^ i) * 0x9E3779B1        i and j negative: two's complement (`i | 0`)
        h = ((h ^ (h >> 15)) ^ j) * 0x85EBCA77
        h = (h ^ (h >> 13)) * 0xC2B2AE3D
        return h ^ (h >> 16)
    """
    if i == 0 and j == 0:
        return origin_seed
    mask = 0xFFFFFFFF
    mixed = ((origin_seed ^ i) & mask) * 0x9E3779B1 & mask
    mixed = ((mixed ^ mixed >> 15 ^ j) & mask) * 0x85EBCA77 & mask
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE3D & mask
    return mixed ^ mixed >> 16


def _at_most(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise BadInput(f"This point has {count} {what}; the most is {limit}.", "Take some away.")
