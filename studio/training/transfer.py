"""The networks of a base model as those of a run: other colours, other classes or another size, the same pictures.

Each difference is a step of its own: a network that differs in this one thing is made, and takes over every weight.
Weights of another shape differ along one axis, and what is new there is chosen so that the pictures stay the same.
What a critic has no weights for (how it reads classes, or pictures of a size it never saw) stays as it was drawn.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from studio.families import fastgan
from studio.families.base import Family, NetworkSettings
from studio.families.stylegan2 import Convolution, Linear

Places = tuple[int | None, ...]
"""For each new class its number among the old ones; None begins as the mean of these."""

_SHAPED_NAME = re.compile(r"(L\d+_\d+)_\d+")


def class_places(old: Sequence[str], new: Sequence[str]) -> Places:
    """Where new classes are found among the old ones: by name, or in order where there are as many."""
    if len(old) == len(new):
        return tuple(range(len(new)))
    return tuple(old.index(name) if name in old else None for name in new)


def carried(
    network: nn.Module, kind: Family, wanted: NetworkSettings, *,
    settings: NetworkSettings, places: Places = (), critic: bool = False,
) -> nn.Module:  # fmt: skip
    """The network of `settings` as one of `wanted`.

    A generator makes the same pictures as before, or the grey of them, under every class. A critic judges as before grey
    pictures that come in colour, and opaque ones that come with alpha.

    Args:
        wanted: differs from `settings` in resolution, channels (more, or grey) and classes alone. What grows makes its pictures
            enlarged, a FastGAN nearly so.
        places: for each wanted class its number among those of `settings`, None for the mean of them.
        critic: whether it is the discriminator.
    """
    for after in _steps(settings, wanted):
        made = kind.discriminator(after) if critic else kind.generator(after)
        fill = partial(_grown, before=settings, after=after, places=places, critic=critic)
        small, network = network, _filled(network, made, fill)
        if not critic:
            _begin_as_before(network, small, kind, settings, after)
        settings = after
    return network


def _steps(settings: NetworkSettings, wanted: NetworkSettings) -> list[NetworkSettings]:
    """From one to the other, with one difference at a time; what grows doubles its size once in each."""
    found = []
    while 2 * settings.resolution <= wanted.resolution:
        settings = dataclasses.replace(settings, resolution=2 * settings.resolution)
        found.append(settings)
    for name in ("resolution", "channels", "classes"):
        if getattr(settings, name) != getattr(wanted, name):
            changes: dict[str, Any] = {name: getattr(wanted, name)}
            if name == "channels" and hasattr(wanted, "layers"):
                changes["layers"] = wanted.layers
            settings = dataclasses.replace(settings, **changes)
            found.append(settings)
    return found


Fill = Callable[[Tensor, Tensor, float], Tensor | None]


@torch.no_grad()
def _filled(network: nn.Module, made: nn.Module, fill: Fill) -> nn.Module:
    """`made` with the weights of `network`; where shapes differ `fill` says how, and may leave them as they are."""
    old = {_plain(name): value for name, value in network.state_dict().items()}
    new = made.state_dict()
    for name, like in new.items():
        found = old.get(_plain(name))
        if found is not None and found.shape == like.shape:
            new[name] = found
        elif found is not None and (grown := fill(found, like, _balance(made, name, found, like))) is not None:
            new[name] = grown
    made.load_state_dict(new)
    return made.train(network.training)


def _plain(name: str) -> str:
    """A tensor's name without the number of channels, which StyleGAN3's have in them."""
    return _SHAPED_NAME.sub(r"\1", name)


def _balance(network: nn.Module, name: str, found: Tensor, like: Tensor) -> float:
    """What keeps the sums of an equalised layer, which are divided by the root of the number of its inputs."""
    layer = network.get_submodule(name.rpartition(".")[0])
    equalised = isinstance(layer, (Linear, Convolution)) and like.ndim > 1 and found.ndim > 1
    return math.sqrt(like[0].numel() / found[0].numel()) if equalised else 1.0


def _grown(
    found: Tensor, like: Tensor, balance: float, *,
    before: NetworkSettings, after: NetworkSettings, places: Places, critic: bool,
) -> Tensor | None:  # fmt: skip
    """`found` in the shape of `like`, or None if nothing is known of what is new in it."""
    axes = [axis for axis in range(like.ndim) if found.ndim == like.ndim and found.shape[axis] != like.shape[axis]]
    if len(axes) != 1:
        return None
    grown: Tensor | None
    if before.channels != after.channels:
        grown = _coloured(found, axes[0], before.channels, after.channels, inputs=critic and axes[0] > 0)
    elif before.classes:
        grown = _classed(found, axes[0], before.classes, places)
    elif critic or after.resolution > before.resolution:
        grown = None
    else:
        grown = _padded(found, axes[0], like.shape[axes[0]])
    return grown * balance if grown is not None and grown.shape == like.shape else None


def _coloured(found: Tensor, axis: int, before: int, after: int, *, inputs: bool) -> Tensor:
    """Grey for red, green and blue (a third each where they are summed as inputs), and nothing for alpha; the mean of the
    three for grey (their sum for inputs)."""
    shape = found.shape
    parts = found.reshape(*shape[:axis], before, -1, *shape[axis + 1 :])
    if after == 1:
        colours = parts.narrow(axis, 0, min(before, 3))
        return colours.sum(axis) if inputs else colours.mean(axis)
    chosen = [min(place, before - 1) for place in range(min(after, 3))]
    parts = parts.index_select(axis, torch.tensor(chosen, device=found.device))
    if inputs and before == 1:
        parts = parts / 3
    if after == 4:
        parts = torch.cat([parts, torch.zeros_like(parts.narrow(axis, 0, 1))], dim=axis)
    return parts.flatten(axis, axis + 1)


def _classed(found: Tensor, axis: int, classes: int, places: Places) -> Tensor:
    """The classes are the last along the axis; each new one is an old one or the mean of all."""
    others, old = found.narrow(axis, 0, found.shape[axis] - classes), found.narrow(axis, -classes, classes)
    mean = old.mean(dim=axis, keepdim=True)
    return torch.cat([others, *(mean if place is None else old.narrow(axis, place, 1) for place in places)], dim=axis)


def _padded(found: Tensor, axis: int, size: int) -> Tensor:
    """What comes in for a class is not heard at first."""
    shape = list(found.shape)
    shape[axis] = size - shape[axis]
    return torch.cat([found, found.new_zeros(shape)], dim=axis)


def _begin_as_before(
    network: nn.Module, small: nn.Module, kind: Family, before: NetworkSettings, after: NetworkSettings
) -> None:
    """Choose what is new in a generator so that its pictures are those of `small`."""
    if after.channels == 4 != before.channels:
        _make_opaque(network, kind, after)
    if after.resolution > before.resolution:
        _begin_enlarged(network, small)
    if after.classes and not before.classes and isinstance(network, fastgan.Generator):
        fastgan.listen_to_classes(network, cast(fastgan.Generator, small))


@torch.no_grad()
def _begin_enlarged(generator: nn.Module, small: nn.Module) -> None:
    """Let the blocks that `small` has not add nothing to its enlarged picture at first."""
    if isinstance(generator, fastgan.Generator):
        fastgan.let_through(generator, cast(fastgan.Generator, small))
        return
    size = cast(int, small.resolution)
    for name, value in generator.named_parameters():
        block = re.fullmatch(r"synthesis\.b(\d+)\.torgb\.(weight|bias)", name)
        if block and int(block[1]) > size:
            value.zero_()


@torch.no_grad()
def _make_opaque(generator: nn.Module, kind: Family, settings: NetworkSettings) -> None:
    """Let alpha be 1 everywhere, by the bias of the last layer to colours; all else of it is 0."""
    values = {name: value for name, value in generator.named_parameters() if name.endswith("bias")}
    if kind.name == "stylegan2":
        values[f"synthesis.b{settings.resolution}.torgb.bias"][3] = 1.0
    elif kind.name == "stylegan3":
        name = next(name for name in reversed(values) if re.fullmatch(r"synthesis\.L\d+_\d+_4\.bias", name))
        values[name][3] = 1 / getattr(settings, "output_scale", 1.0)
    elif kind.name == "lightweight":
        values["out_conv.bias"][3] = 1.0
