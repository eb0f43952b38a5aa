"""What the tensors of a StyleGAN2, under its authors' names, say about its shape; shared by the readers of its formats.

Shapes are trusted before arguments: what does not follow the rule of our own network is refused in plain words here,
and whatever slips through is refused again when the weights are loaded into that network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Candidate, Imported

Tensors = Mapping[str, np.ndarray]
Settings = dict[str, Any]
_Shape = tuple[str, tuple[int, ...]]

_MAPPED = 8192
"""Latents that are mapped for a mean style which the file lacks."""

_RATE = 0.01
_SLOPE = 0.2
_EPSILON = 1e-8
_MOST_CLASSES = 10_000
_WIDEST = 4096
_LARGEST_PX = 2048
_HINT = "Open one of the original networks, or train one here."


@dataclass(frozen=True, kw_only=True, eq=False)
class Critic:
    """A discriminator as a file holds it.

    Attributes:
        tensors: under the authors' names, without the constant filters.
        settings: what shapes cannot tell, under the names of our settings.
        problem: a sentence that says why it cannot be used; empty if it can.
    """

    tensors: Tensors
    settings: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def assemble(
    generator: Tensors,
    critic: Critic | None,
    *,
    format: str,
    settings: Mapping[str, Any],
    kimg: float = 0.0,
    arguments: Mapping[str, Any] | None = None,
) -> Imported:
    """An import of family stylegan2 from tensors under the authors' names.

    A discriminator that does not fit is left out, and a warning says so.

    Args:
        settings: what shapes cannot tell, under the names of our settings.

    Raises:
        BadInput: the generator is not a StyleGAN2 that our network can be.
    """
    generator = completed(without_filters(generator))
    found = {**generator_settings(generator), **settings}
    discriminator, added, told = joined(critic, found, _as_ours)
    return Imported(
        family="stylegan2",
        format=format,
        candidates=(Candidate(title="StyleGAN2", settings={**found, **added}),),
        generator=generator,
        discriminator=discriminator,
        classes=class_names(found["classes"]),
        kimg=kimg,
        arguments=arguments or {},
        warnings=told,
    )


def joined(
    critic: Critic | None,
    generator: Mapping[str, Any],
    added: Callable[[Mapping[str, Any], Mapping[str, Any]], Settings],
) -> tuple[Tensors | None, Settings, tuple[str, ...]]:
    """A discriminator's tensors and what it adds to the settings of a generator; or neither, and a warning.

    Args:
        generator: the generator's settings.
        added: from the shape of the discriminator and the generator's settings to the settings that the family has for
            a discriminator; it raises BadInput if the two cannot go together.
    """
    try:
        if critic is None:
            raise BadInput("The file holds none.")
        if critic.problem:
            raise BadInput(critic.problem)
        tensors = without_filters(critic.tensors)
        if "b4.conv.weight" not in tensors:
            raise BadInput("The old one is of another kind.")
        found = discriminator_settings(tensors)
        _compare(found, generator, ("resolution", "channels", "classes"))
        if critic.settings.get("conv_clamp", generator["conv_clamp"]) != generator["conv_clamp"]:
            raise BadInput("The old one limits its activations in another way.")
        return tensors, {**critic.settings, **added(found, generator)}, ()
    except BadInput as refusal:
        return None, {}, (f"Training this model further starts with a new critic. {refusal.message}",)


def class_names(count: int) -> tuple[str, ...]:
    """Names for classes that have only numbers."""
    return tuple(str(number) for number in range(count))


def without_filters(tensors: Tensors) -> dict[str, np.ndarray]:
    """All but the constant resampling filters."""
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("resample_filter")}


def completed(generator: Tensors) -> dict[str, np.ndarray]:
    """The generator with silent noise for layers that were built without, and with a mean style if it has none."""
    found = dict(generator)
    for name in generator:
        if match := re.fullmatch(r"(synthesis\.b(\d{1,4})\.conv[01]\.)weight", name):
            size = min(int(match[2]), _LARGEST_PX)
            found.setdefault(f"{match[1]}noise_strength", np.zeros((), np.float32))
            found.setdefault(f"{match[1]}noise_const", np.zeros((size, size), np.float32))
    if "mapping.w_avg" not in found:
        found["mapping.w_avg"] = mean_style(found)
    return found


def generator_settings(tensors: Tensors) -> dict[str, Any]:
    """Size, channels, classes and widths of a generator. Raises BadInput for what our network cannot be."""
    widths = _widths(tensors, r"synthesis\.b(\d{1,4})\.conv1\.weight")
    size = max(widths)
    if any(name.startswith("synthesis.") and name.endswith(".skip.weight") for name in tensors):
        raise BadInput("This is a StyleGAN2 whose generator is residual, which the studio cannot play.", _HINT)
    if any(f"synthesis.b{resolution}.torgb.weight" not in tensors for resolution in widths):
        raise BadInput("This is a StyleGAN2 that paints at its last size only, which the studio cannot play.", _HINT)
    channels = shape(tensors, f"synthesis.b{size}.torgb.weight", 4)[0]
    if channels not in (1, 3, 4):
        raise BadInput(f"This StyleGAN2 makes pictures of {channels} channels, and the studio knows 1, 3 and 4.", _HINT)
    settings = {"resolution": size, "channels": channels, **mapping_settings(tensors), **_rule(widths)}
    refuse_misfits("This StyleGAN2", tensors, dict(_generator_shapes(settings, widths)))
    return settings


def mapping_settings(tensors: Tensors) -> dict[str, Any]:
    """z_dim, w_dim, classes and mapping_layers of a generator. Raises BadInput."""
    depth = _depth(tensors)
    if not depth:
        raise BadInput("This StyleGAN has no layers between latent and style, which cannot be played.", _HINT)
    w_dim, inputs = shape(tensors, "mapping.fc0.weight", 2)
    classes = _classes(tensors)
    embedded = shape(tensors, "mapping.embed.weight", 2)[0] if classes else 0
    layers = [f"fc{place}" for place in range(depth)]
    inner = {shape(tensors, f"mapping.{name}.weight", 2) for name in layers[1:]}
    biases = {shape(tensors, f"mapping.{name}.bias", 1) for name in (*layers, *(["embed"] if classes else []))}
    if inner - {(w_dim, w_dim)} or biases != {(w_dim,)} or embedded not in (0, w_dim):
        raise BadInput("The layers between latent and style differ in width, which cannot be played.", _HINT)
    if not 0 < inputs - embedded <= _WIDEST or w_dim > _WIDEST:
        raise BadInput("The latent or the style of this network is wider than any that can be played.", _HINT)
    return {"z_dim": inputs - embedded, "w_dim": w_dim, "classes": classes, "mapping_layers": depth}


def discriminator_settings(tensors: Tensors) -> dict[str, Any]:
    """Size, channels, classes, widths, depth and architecture of a discriminator, under their plain names.

    Raises BadInput for what our network cannot be.
    """
    widths = _widths(tensors, r"b(\d{1,4})\.conv0\.weight", {4: shape(tensors, "b4.conv.weight", 4)[0]})
    skips = any(name.endswith(".skip.weight") for name in tensors)
    paints = max(widths) > 4 and "b4.fromrgb.weight" in tensors
    settings = {
        "resolution": max(widths),
        "channels": shape(tensors, f"b{max(widths)}.fromrgb.weight", 4)[1],
        "classes": _classes(tensors),
        "mapping_layers": _depth(tensors),
        "architecture": "resnet" if skips else "skip" if paints else "orig",
        **_rule(widths),
    }
    refuse_misfits("The old one", tensors, dict(_discriminator_shapes(settings, widths)))
    return settings


def mean_style(tensors: Tensors) -> np.ndarray:
    """The mean w [w_dim] of many latents, over all classes alike: what truncation pulls towards."""
    settings = mapping_settings(tensors)
    random = np.random.default_rng(0)
    hidden = _normalised(random.standard_normal((_MAPPED, settings["z_dim"]), dtype=np.float32))
    if classes := settings["classes"]:
        embedded = tensors["mapping.embed.weight"].T / np.float32(np.sqrt(classes)) + tensors["mapping.embed.bias"]
        hidden = np.concatenate([hidden, _normalised(embedded)[np.arange(_MAPPED) % classes]], axis=1)
    for place in range(settings["mapping_layers"]):
        weight, bias = tensors[f"mapping.fc{place}.weight"], tensors[f"mapping.fc{place}.bias"]
        hidden = hidden @ (weight.T * np.float32(_RATE / np.sqrt(weight.shape[1]))) + bias * np.float32(_RATE)
        hidden = np.maximum(hidden, hidden * np.float32(_SLOPE)) * np.float32(np.sqrt(2))
    return np.asarray(hidden.mean(axis=0, dtype=np.float64), np.float32)


def shape(tensors: Tensors, name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there and have so many axes. Raises BadInput."""
    tensor = tensors.get(name)
    if tensor is None or tensor.ndim != axes or 0 in tensor.shape:
        raise BadInput(f"The file lacks a usable {name!r}, so it is incomplete or of another kind.", _HINT)
    return tuple(tensor.shape)


def refuse_misfits(title: str, tensors: Tensors, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise BadInput unless the tensors have exactly the names and shapes that are expected."""
    if unknown := sorted(set(tensors) - set(expected)):
        raise BadInput(f"{title} has parts that the studio does not know, such as {unknown[0][:60]!r}.", _HINT)
    if missing := sorted(set(expected) - set(tensors)):
        raise BadInput(f"{title} lacks {missing[0][:60]!r}, so it is incomplete or of another kind.", _HINT)
    for name, axes in expected.items():
        if tensors[name].shape != axes:
            found = list(tensors[name].shape)
            raise BadInput(f"{title} has {name[:60]!r} in the shape {found}, where {list(axes)} is usual.", _HINT)


def _as_ours(critic: Mapping[str, Any], generator: Mapping[str, Any]) -> Settings:
    _compare(critic, generator, ("channel_base", "channel_max"))
    return {"discriminator_architecture": critic["architecture"], **critic_depth(critic)}


def critic_depth(critic: Mapping[str, Any]) -> Settings:
    """The setting for the layers that read a class, for those discriminators that read one."""
    return {"discriminator_mapping_layers": critic["mapping_layers"]} if critic["classes"] else {}


def _compare(critic: Mapping[str, Any], generator: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if critic[name] != generator[name]:
            raise BadInput(f"The old one has {critic[name]} as its {name.replace('_', ' ')}, not {generator[name]}.")


def mapping_shapes(settings: Mapping[str, Any]) -> Iterator[_Shape]:
    """Name and shape of every tensor between latent and style."""
    w_dim, classes = settings["w_dim"], settings["classes"]
    yield "mapping.w_avg", (w_dim,)
    if classes:
        yield from layer_shapes("mapping.embed", w_dim, classes)
    for place in range(settings["mapping_layers"]):
        inputs = settings["z_dim"] + (w_dim if classes else 0) if place == 0 else w_dim
        yield from layer_shapes(f"mapping.fc{place}", w_dim, inputs)


def _generator_shapes(settings: Mapping[str, Any], widths: Mapping[int, int]) -> Iterator[_Shape]:
    """Every tensor of our generator and its shape."""
    w_dim = settings["w_dim"]
    yield from mapping_shapes(settings)
    yield "synthesis.b4.const", (widths[4], 4, 4)
    for resolution, width in widths.items():
        block = f"synthesis.b{resolution}"
        inner = {"conv1": width} if resolution == 4 else {"conv0": widths[resolution // 2], "conv1": width}
        for name, inputs in inner.items():
            yield from layer_shapes(f"{block}.{name}", width, inputs, 3, 3)
            yield from layer_shapes(f"{block}.{name}.affine", inputs, w_dim)
            yield f"{block}.{name}.noise_strength", ()
            yield f"{block}.{name}.noise_const", (resolution, resolution)
        yield from layer_shapes(f"{block}.torgb", settings["channels"], width, 1, 1)
        yield from layer_shapes(f"{block}.torgb.affine", width, w_dim)


def _discriminator_shapes(settings: Mapping[str, Any], widths: Mapping[int, int]) -> Iterator[_Shape]:
    """Every tensor of our discriminator and its shape."""
    size, last = settings["resolution"], widths[4]
    for resolution, width in widths.items():
        if resolution == size or settings["architecture"] == "skip":
            yield from layer_shapes(f"b{resolution}.fromrgb", width, settings["channels"], 1, 1)
        if resolution == 4:
            continue
        yield from layer_shapes(f"b{resolution}.conv0", width, width, 3, 3)
        yield from layer_shapes(f"b{resolution}.conv1", widths[resolution // 2], width, 3, 3)
        if settings["architecture"] == "resnet":
            yield f"b{resolution}.skip.weight", (widths[resolution // 2], width, 1, 1)
    yield from layer_shapes("b4.conv", last, last + 1, 3, 3)
    yield from layer_shapes("b4.fc", last, last * 16)
    yield from layer_shapes("b4.out", last if settings["classes"] else 1, last)
    if settings["classes"]:
        yield from layer_shapes("mapping.embed", last, settings["classes"])
    for place in range(settings["mapping_layers"]):
        yield from layer_shapes(f"mapping.fc{place}", last, last)


def layer_shapes(name: str, *axes: int) -> Iterator[_Shape]:
    """Name and shape of a weight of these axes, and of its bias."""
    yield f"{name}.weight", axes
    yield f"{name}.bias", axes[:1]


def _widths(tensors: Tensors, pattern: str, known: Mapping[int, int] | None = None) -> dict[int, int]:
    """Output channels by resolution, which must be 4, 8, 16 and so on."""
    widths = dict(known or {})
    for name in tensors:
        if match := re.fullmatch(pattern, name):
            widths[int(match[1])] = shape(tensors, name, 4)[0]
    if not widths or sorted(widths) != [4 << power for power in range(len(widths))]:
        raise BadInput("This StyleGAN2 lacks some of its sizes, so the file is incomplete or of another kind.", _HINT)
    return widths


def _rule(widths: Mapping[int, int]) -> dict[str, int]:
    """The channel rule min(base // resolution, max) that these widths follow. Raises BadInput."""
    base, most = max(width * resolution for resolution, width in widths.items()), max(widths.values())
    if any(width != min(base // resolution, most) for resolution, width in widths.items()):
        raise BadInput("The widths of this StyleGAN2 follow a rule of their own.", _HINT)
    return {"channel_base": base, "channel_max": most}


def _depth(tensors: Tensors) -> int:
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in tensors)


def _classes(tensors: Tensors) -> int:
    count = shape(tensors, "mapping.embed.weight", 2)[1] if "mapping.embed.weight" in tensors else 0
    if count > _MOST_CLASSES:
        raise BadInput(f"This network knows {count} classes, and the studio at most {_MOST_CLASSES}.", _HINT)
    return count


def _normalised(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True) + np.float32(_EPSILON)))
