"""R3GAN's pickles (Huang et al. 2024) -> our R3GAN: a dict of whole modules of plain classes, of which G_ema is played.

The state dict of such a module is read too. The discriminator comes along if it is the mirror image of the generator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Candidate, Contents, Imported, Record, module_tensors, tensors
from studio.weights.foreign.nvlabs import kimg

_FIRST = "MainLayers.0.Layers.0.Basis"
_OUTER = "Model."
_FILTER = ".Resampler.Kernel"
_LAYER = re.compile(r"MainLayers\.(\d{1,2})\.Layers\.(\d{1,3})\.")
_MOST_STAGES = 10
_OTHER_CRITIC = "Its critic is of another shape than ours, so training it further begins with a new one."
_HINT = "Only networks of R3GAN's own layers can be read; open one of the original ones."

Arrays = dict[str, np.ndarray]


def read(contents: Contents) -> Imported | None:
    """An R3GAN generator; None if the file holds none.

    Raises:
        BadInput: it is one, but a relative that computes otherwise, or incomplete.
    """
    source = _generator(contents.tree)
    weights = _weights(source)
    if _FIRST not in weights:
        return None
    if isinstance(source, Record) and source.class_name != "Generator":
        raise BadInput(f"This is a relative of R3GAN, {source.class_name[:40]!r}, that takes other inputs.", _HINT)
    weights = _without_filters(weights)
    settings = _settings(weights)
    critic, told = _critic(contents.tree, settings)
    return Imported(
        family="r3gan",
        format=f"R3GAN (Huang et al.), {contents.container}",
        candidates=(Candidate(title="As its authors", settings=settings),),
        generator=weights,
        discriminator=critic,
        classes=tuple(str(number) for number in range(settings["classes"])),
        kimg=kimg(contents),
        warnings=told,
    )


def _generator(tree: object) -> object:
    if isinstance(tree, dict):
        for name in ("G_ema", "G"):
            if tree.get(name) is not None:
                return tree[name]
    return tree


def _weights(source: object) -> Arrays:
    """The tensors of a module or a state dict, under the names of our network."""
    found = module_tensors(source) if isinstance(source, Record) else tensors(source)
    return {name.removeprefix(_OUTER): value for name, value in found.items()}


def _critic(tree: object, settings: Mapping[str, Any]) -> tuple[Arrays | None, tuple[str, ...]]:
    """The discriminator beside the generator, if there is one, or a warning if it is no mirror image."""
    source = tree.get("D") if isinstance(tree, dict) else None
    if source is None:
        return None, ()
    try:
        weights = _without_filters(_weights(source))
    except BadInput:
        return None, (_OTHER_CRITIC,)
    fits = {name: value.shape for name, value in weights.items()} == dict(_critic_shapes(settings))
    return (weights, ()) if fits else (None, (_OTHER_CRITIC,))


def _critic_shapes(settings: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of our discriminator."""
    widths, size = settings["widths"], settings["kernel_size"]
    yield "ExtractionLayer.Layer.weight", (widths[-1], settings["channels"], 1, 1)
    if settings["classes"]:
        yield "EmbeddingLayer.weight", (settings["embedding"], settings["classes"])
    for stage, place in enumerate(reversed(range(len(widths)))):
        width, prefix = widths[place], f"MainLayers.{stage}.Layers"
        wide = width * settings["expansion"]
        for block in range(settings["blocks"][place]):
            yield f"{prefix}.{block}.LinearLayer1.Layer.weight", (wide, width, 1, 1)
            yield f"{prefix}.{block}.LinearLayer2.Layer.weight", (wide, wide // settings["groups"][place], size, size)
            yield f"{prefix}.{block}.LinearLayer3.Layer.weight", (width, wide, 1, 1)
            yield f"{prefix}.{block}.NonLinearity1.Bias", (wide,)
            yield f"{prefix}.{block}.NonLinearity2.Bias", (wide,)
        last = f"{prefix}.{settings['blocks'][place]}"
        if not place:
            yield f"{last}.Basis.weight", (width, 1, 4, 4)
            yield f"{last}.LinearLayer.weight", (settings["embedding"] or 1, width)
        elif widths[place - 1] != width:
            yield f"{last}.LinearLayer.Layer.weight", (widths[place - 1], width, 1, 1)


def _without_filters(weights: Arrays) -> Arrays:
    """Everything but the resampling filters, which must be the usual ones."""
    taps = np.array([1.0, 3.0, 3.0, 1.0]) / 8
    for name, values in weights.items():
        usual = values.shape == (4, 4) and np.allclose(values, np.outer(taps, taps), atol=1e-3)
        if name.endswith(_FILTER) and not usual:
            raise BadInput("This R3GAN resizes with a filter of its own.", _HINT)
    return {name: values for name, values in weights.items() if not name.endswith(_FILTER)}


def _settings(weights: Arrays) -> dict[str, Any]:
    """The family's settings, from shapes alone."""
    layers = _layers(weights)
    shapes = [_stage(weights, place, count) for place, count in enumerate(layers)]
    classes = weights["EmbeddingLayer.weight"].shape[-1] if "EmbeddingLayer.weight" in weights else 0
    embedding = len(weights["EmbeddingLayer.weight"]) if classes else 0
    return {
        "resolution": 4 * 2 ** (len(layers) - 1),
        "channels": len(_part(weights, "AggregationLayer.Layer.weight", 4)),
        "classes": classes,
        "z_dim": _part(weights, "MainLayers.0.Layers.0.LinearLayer.weight", 2).shape[1] - embedding,
        "widths": [shape["width"] for shape in shapes],
        "groups": [shape["groups"] for shape in shapes],
        "blocks": [count - 1 for count in layers],
        "expansion": _same("expansion", shapes, 2),
        "kernel_size": _same("kernel", shapes, 3),
        "embedding": embedding,
    }


def _layers(weights: Arrays) -> list[int]:
    """How many layers each stage has, its entrance included.

    An entrance that only resizes has no tensors but its filter, so counting goes by the highest number."""
    found: dict[int, int] = {}
    for name in weights:
        if match := _LAYER.match(name):
            stage, layer = int(match[1]), int(match[2])
            found[stage] = max(found.get(stage, 0), layer + 1)
    if sorted(found) != list(range(len(found))) or len(found) > _MOST_STAGES:
        raise BadInput("This R3GAN lacks some of its sizes.", _HINT)
    return [found[stage] for stage in range(len(found))]


def _stage(weights: Arrays, place: int, count: int) -> dict[str, int]:
    """Width, groups, expansion and kernel of a stage; expansion and kernel 0 if it has no blocks."""
    prefix = f"MainLayers.{place}.Layers."
    if count == 1:
        name = f"{prefix}0.LinearLayer.Layer.weight" if place else _FIRST
        return {"width": len(_part(weights, name, 4 if place else 3)), "groups": 1, "expansion": 0, "kernel": 0}
    wide, width = _part(weights, f"{prefix}1.LinearLayer1.Layer.weight", 4).shape[:2]
    grouped = _part(weights, f"{prefix}1.LinearLayer2.Layer.weight", 4)
    return {
        "width": width, "groups": wide // grouped.shape[1], "expansion": wide // width, "kernel": grouped.shape[2],
    }  # fmt: skip


def _same(name: str, shapes: list[dict[str, int]], usual: int) -> int:
    """What all stages have in common."""
    found = {shape[name] for shape in shapes} - {0} or {usual}
    if len(found) > 1:
        raise BadInput(f"The stages of this R3GAN differ in their {name}.", _HINT)
    return found.pop()


def _part(weights: Arrays, name: str, dimensions: int) -> np.ndarray:
    """A tensor that must be there, with that many dimensions, none of them empty."""
    values = weights.get(name)
    if values is None or values.ndim != dimensions or not values.size:
        raise BadInput(f"This R3GAN lacks its {name!r}.", _HINT)
    return values
