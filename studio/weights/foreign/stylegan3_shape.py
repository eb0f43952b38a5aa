"""What the tensors of a StyleGAN3, under its authors' names, and its arguments say about its shape.

The names of the layers hold their sizes and widths. They must follow the authors' plan (appendix B of the paper), of which
the arguments are trusted as far as they agree with the names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Candidate, Imported
from studio.weights.foreign.stylegan2_shape import (
    Critic,
    Settings,
    Tensors,
    class_names,
    critic_depth,
    joined,
    layer_shapes,
    mapping_settings,
    mapping_shapes,
    mean_style,
    refuse_misfits,
    shape,
)

_LAYER = re.compile(r"synthesis\.L(\d{1,2})_(\d{1,4})_(\d{1,4})\.weight")
_USUAL = {
    "num_critical": 2, "first_cutoff": 2.0, "first_stopband": 2**2.1, "last_stopband_rel": 2**0.3, "margin_size": 10,
    "output_scale": 0.25,
}  # fmt: skip
_HINT = "Open one of the original networks, or train one here."


def assemble(
    generator: Tensors,
    critic: Critic | None,
    *,
    format: str,
    given: Mapping[str, float],
    conv_clamp: float,
    kimg: float = 0.0,
    arguments: Mapping[str, Any] | None = None,
) -> Imported:
    """An import of family stylegan3 from tensors under the authors' names.

    A discriminator that does not fit is left out, and a warning says so.

    Args:
        given: the arguments that the synthesis was made from, as far as they are numbers.
        conv_clamp: limit of the activations; 0 for none.

    Raises:
        BadInput: the generator does not follow the authors' plan.
    """
    if "mapping.w_avg" not in generator:
        generator = {**generator, "mapping.w_avg": mean_style(generator)}
    found = {**generator_settings(generator, given), "conv_clamp": conv_clamp}
    discriminator, added, told = joined(critic, found, _as_ours)
    return Imported(
        family="stylegan3",
        format=format,
        candidates=(Candidate(title=f"StyleGAN3-{found['config'].upper()}", settings={**found, **added}),),
        generator=generator,
        discriminator=discriminator,
        classes=class_names(found["classes"]),
        kimg=kimg,
        arguments=arguments or {},
        warnings=told,
    )


def generator_settings(tensors: Tensors, given: Mapping[str, float]) -> Settings:
    """The settings of a generator. Raises BadInput for what our network cannot be."""
    layers = sorted(tuple(map(int, match.groups())) for name in tensors if (match := _LAYER.fullmatch(name)))
    if [place for place, _, _ in layers] != list(range(len(layers))) or len(layers) < 3:
        raise BadInput("This StyleGAN3 lacks some of its layers, so the file is incomplete or of another kind.", _HINT)
    count, resolution, channels = layers[-1]
    first = f"synthesis.L0_{layers[0][1]}_{layers[0][2]}"
    kernel = shape(tensors, f"{first}.weight", 4)[-1]
    if kernel not in (1, 3):
        raise BadInput(f"This StyleGAN3 has kernels of {kernel} pixels, and the studio knows 1 and 3.", _HINT)
    plan = {name: type(usual)(given.get(name, usual)) for name, usual in _USUAL.items()}
    settings = {
        "resolution": resolution,
        "channels": channels,
        "config": "r" if kernel == 1 else "t",
        "num_layers": count,
        "filter_size": shape(tensors, f"{first}.up_filter", 1)[0] // 2,
        **mapping_settings(tensors),
        **plan,
        **_rule([width for _, _, width in layers[:-1]], _cutoffs(resolution, count, plan), given),
    }
    refuse_misfits("This StyleGAN3", tensors, dict(_shapes(settings, layers, kernel, tensors)))
    return settings


def _shapes(
    settings: Settings, layers: list[tuple[int, ...]], kernel: int, tensors: Tensors
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of our generator and its shape; that of a filter is whatever it is."""
    w_dim, inputs = settings["w_dim"], layers[0][2]
    yield from mapping_shapes(settings)
    yield from (("synthesis.input.weight", (inputs, inputs)), ("synthesis.input.freqs", (inputs, 2)))
    yield from (("synthesis.input.phases", (inputs,)), ("synthesis.input.transform", (3, 3)))
    yield from layer_shapes("synthesis.input.affine", 4, w_dim)
    for place, size, width in layers:
        name, last = f"synthesis.L{place}_{size}_{width}", place == settings["num_layers"]
        yield from layer_shapes(name, width, inputs, *((1, 1) if last else (kernel, kernel)))
        yield from layer_shapes(f"{name}.affine", inputs, w_dim)
        yield f"{name}.magnitude_ema", ()
        for filter_name in () if last else (f"{name}.up_filter", f"{name}.down_filter"):
            yield filter_name, tensors[filter_name].shape if filter_name in tensors else ()
        inputs = width


def _cutoffs(resolution: int, count: int, plan: Mapping[str, float]) -> list[float]:
    """The frequency that each layer passes."""
    first, steps = plan["first_cutoff"], count - plan["num_critical"]
    if not 0 < first <= resolution or steps <= 0:
        raise BadInput("This StyleGAN3 follows a plan of its own.", _HINT)
    return [first * (resolution / 2 / first) ** min(place / steps, 1) for place in range(count)]


def _rule(widths: list[int], cutoffs: list[float], given: Mapping[str, float]) -> dict[str, int]:
    """channel_base and channel_max, as given or as the widths tell. Raises BadInput if neither leads to the widths."""
    most = max(widths)
    if min(widths) < 1:
        raise BadInput("This StyleGAN3 has layers of no width.", _HINT)
    pairs = list(zip(widths, cutoffs, strict=True))
    lowest = max((width - 0.5) * 2 * cutoff for width, cutoff in pairs)
    told = (given.get("channel_base", 0), given.get("channel_max", 0))
    for base, limit in (told, (2 ** math.ceil(math.log2(lowest)), most), (math.ceil(lowest), most)):
        if all(width == max(1, np.rint(min(base / 2 / cutoff, limit))) for width, cutoff in pairs):
            return {"channel_base": int(base), "channel_max": int(limit)}
    raise BadInput("The widths of this StyleGAN3 follow a rule of their own.", _HINT)


def _as_ours(critic: Mapping[str, Any], generator: Mapping[str, Any]) -> Settings:
    if critic["architecture"] != "resnet":
        raise BadInput("The old one is not residual.")
    widths = {f"discriminator_{name}": critic[name] for name in ("channel_base", "channel_max")}
    return {**widths, **critic_depth(critic)}
