"""The weights of two related models mixed: those that draw small pictures by one share, those of large ones by another."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from studio.families.base import Generator, Measured
from studio.latent.cross import Cross
from studio.paths import slug
from studio.weights.card import MOST_ANCESTORS, WEIGHTS_FILE, Ancestor, ModelCard

_SMALLEST_PX = 4
_WHOLE = "synthesis"
"""A module that all pictures pass through says nothing of where they are."""
_SHAPES_END, _SURFACES_BEGIN = 1 / 3, 2 / 3


_depths: WeakKeyDictionary[nn.Module, dict[str, float]] = WeakKeyDictionary()


@torch.no_grad()
def crossed(first: nn.Module, second: nn.Module, cross: Cross) -> nn.Module:
    """A new generator between two of the same architecture; its normalisation is measured anew, if it has any."""
    child, other = copy.deepcopy(first).eval(), second.state_dict()
    if first not in _depths:
        _depths[first] = depth_of_weights(first)
    depths = _depths[first]
    for name, value in child.state_dict().items():
        if value.is_floating_point():
            value.lerp_(other[name], _share(depths[name], cross) / 100)
    if isinstance(child, Measured):
        child.measure()
    return child


def crossed_card(first: ModelCard, second: ModelCard, cross: Cross) -> ModelCard:
    """The card of the model between two: credit to both, a checksum that their checksums and the shares decide."""
    told = f"{first.sha256} {second.sha256} {cross.shapes} {cross.surfaces}"
    line = (
        Ancestor(id=first.id, title=first.title, sha256=first.sha256),
        Ancestor(id=second.id, title=second.title, sha256=second.sha256),
        *first.lineage,
        *second.lineage,
    )
    title = f"{first.title} × {second.title}"[:120]
    return replace(
        first,
        id=slug(title),
        title=title,
        files={WEIGHTS_FILE: hashlib.sha256(told.encode()).hexdigest()},
        licence=_both(first.licence, second.licence),
        author=_both(first.author, second.author),
        trained_on=_both(first.trained_on, second.trained_on),
        origin=f"crossed from {first.title} and {second.title}",
        summary=f"{first.title}, with {cross.shapes} % of its shapes and {cross.surfaces} % of its surfaces from "
        f"{second.title}.",
        weaknesses=_both(first.weaknesses, second.weaknesses),
        command="",
        lineage=tuple(dict.fromkeys(line))[:MOST_ANCESTORS],
    )


@torch.no_grad()
def depth_of_weights(generator: nn.Module) -> dict[str, float]:
    """For each tensor of a generator, how far on its way to the picture it is used: 0 (mapping, 4 px) to 1 (full size).

    A weight stands where its module's features do, or those of the nearest module around it that has any; else where the
    weight before it stands.
    """
    sizes: dict[str, int] = {}

    def hear(name: str) -> Any:
        def heard(module: nn.Module, given: Any, made: Any) -> None:
            features = made[0] if isinstance(made, tuple) and made else made
            if isinstance(features, Tensor) and features.ndim == 4:
                sizes[name] = features.shape[-1]

        return heard

    inner = [(name, module) for name, module in generator.named_modules() if name and name != _WHOLE]
    hooks = [module.register_forward_hook(hear(name)) for name, module in inner]
    try:
        network = cast(Generator, generator)
        weight = next(generator.parameters())
        styles = network.map(weight.new_zeros(1, network.z_dim))
        network.synthesize(styles, network.constant_noise())
    finally:
        for hook in hooks:
            hook.remove()
    whole = max(1.0, math.log2(network.resolution / _SMALLEST_PX))
    depths, size = {}, _SMALLEST_PX
    for name in generator.state_dict():
        size = _size(name, sizes) or size
        depths[name] = min(1.0, max(0.0, math.log2(size / _SMALLEST_PX) / whole))
    return depths


def _size(weight: str, sizes: dict[str, int]) -> int:
    """The width of the features that a tensor's module makes, or the module around it, or the widest within that."""
    around = list(_around(weight))
    within = ([size for name, size in sizes.items() if name.startswith(f"{module}.")] for module in around)
    return next((sizes[name] for name in around if name in sizes), 0) or max(next(filter(None, within), [0]))


def _around(weight: str) -> Iterator[str]:
    """The modules around a tensor, the nearest first, but for the outermost."""
    name = weight.rpartition(".")[0]
    while name:
        yield name
        name = name.rpartition(".")[0]


def _share(depth: float, cross: Cross) -> float:
    """Per cent of the second model at a depth: a third of the way shapes, a third surfaces, and between them both."""
    way = min(1.0, max(0.0, (depth - _SHAPES_END) / (_SURFACES_BEGIN - _SHAPES_END)))
    return cross.shapes + way * (cross.surfaces - cross.shapes)


def _both(one: str, other: str) -> str:
    return one if one == other or not other else f"{one}; {other}" if one else other
