"""StyleGAN2 as rosinality's program saves it, and programs that embed it (pSp, e4e, StyleGAN-NADA and others).

The mathematics are NVIDIA's; names and a few axes differ. The generator to play is `g_ema`, or whatever in the file has
its names behind some prefix. The mean style, `latent_avg`, is there only in files that were converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Contents, Imported, tensors
from studio.weights.foreign.nvlabs import members, plain
from studio.weights.foreign.stylegan2_shape import Critic, assemble

_PLACES = ("g_ema", "state_dict", "g", "generator", "model")
_MARK = "conv1.conv.modulation.weight"
_CONSTANT = re.compile(r".*\.(?:blur|upsample|downsample)\.kernel|.*\.kernel")
_MODULATED = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
}
_CONVOLUTION = {**_MODULATED, "noise.weight": "noise_strength", "activate.bias": "bias"}
_TO_RGB = {**_MODULATED, "bias": "bias"}
_AXES = {
    "weight": 4,
    "affine.weight": 2,
    "affine.bias": 1,
    "noise_strength": 0,
    "bias": 1,
    "noise_const": 2,
    "const": 3,
}
_HINT = "Open a StyleGAN2 by rosinality, NVIDIA or of this studio."
_LARGEST = 9


def read(contents: Contents) -> Imported | None:
    """A StyleGAN2, with its discriminator if it is there; None if the file holds none of this form.

    Raises:
        BadInput: it is one, but of a kind that cannot be played.
    """
    generator = _state(contents.tree)
    if generator is None:
        return None
    if any("iwt" in name.split(".") for name in generator):
        raise BadInput("This is a SWAGAN, a StyleGAN2 that paints wavelets, which the studio does not know.", _HINT)
    saved = members(contents.tree)
    renamed = _generator(generator)
    average = _average(saved.get("latent_avg"))
    if average is not None:
        renamed["mapping.w_avg"] = average
    return assemble(
        renamed,
        _critic(tensors(saved.get("d"))),
        format=f"StyleGAN2 (rosinality), {contents.container}",
        settings={"conv_clamp": 0.0},
        arguments={"training": arguments} if (arguments := plain(saved.get("args"))) else {},
    )


def _state(tree: object) -> dict[str, np.ndarray] | None:
    """The state dict of the generator, without the prefix that it lies behind; None if there is none."""
    saved = members(tree)
    for place in (*(saved.get(name) for name in _PLACES), saved):
        entries = tensors(place)
        for name in entries:
            if name == _MARK or name.endswith(f".{_MARK}"):
                return tensors(entries, name.removesuffix(_MARK))
    return None


def _generator(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A generator's state dict under the names of NVIDIA's PyTorch release."""
    names = dict(_generator_names(state))
    found: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        if name in names:
            found[names[name]] = _squeezed(names[name], tensor)
        elif not _CONSTANT.fullmatch(name):
            raise BadInput(f"This network has parts that the studio does not know, such as {name[:60]!r}.", _HINT)
    return found


def _generator_names(state: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Pairs of rosinality's name and NVIDIA's, for as many sizes as there are."""
    for name in state:
        if match := re.fullmatch(r"style\.([1-9]\d?)\.(weight|bias)", name):
            yield name, f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    yield "input.input", "synthesis.b4.const"
    yield from _layer_names("conv1", "synthesis.b4.conv1", _CONVOLUTION)
    yield from _layer_names("to_rgb1", "synthesis.b4.torgb", _TO_RGB)
    yield "noises.noise_0", "synthesis.b4.conv1.noise_const"
    for place in range(_LARGEST):
        block = f"synthesis.b{8 << place}"
        yield from _layer_names(f"to_rgbs.{place}", f"{block}.torgb", _TO_RGB)
        for half in (0, 1):
            yield from _layer_names(f"convs.{2 * place + half}", f"{block}.conv{half}", _CONVOLUTION)
            yield f"noises.noise_{2 * place + half + 1}", f"{block}.conv{half}.noise_const"


def _layer_names(old: str, new: str, table: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for left, right in table.items():
        yield f"{old}.{left}", f"{new}.{right}"


def _squeezed(name: str, tensor: np.ndarray) -> np.ndarray:
    """The tensor without the leading and trailing axes of length one that NVIDIA's shape does not have."""
    axes = next((count for suffix, count in _AXES.items() if name.endswith(f".{suffix}")), tensor.ndim)
    if name.startswith("mapping."):
        return tensor
    while tensor.ndim > axes and tensor.shape[0] == 1:
        tensor = tensor.reshape(tensor.shape[1:])
    while tensor.ndim > axes and tensor.shape[-1] == 1:
        tensor = tensor.reshape(tensor.shape[:-1])
    return tensor


def _average(value: object) -> np.ndarray | None:
    """The mean style [w_dim], from one row or from equal ones for every layer; None if there is none."""
    if not isinstance(value, np.ndarray) or not value.ndim or not value.size:
        return None
    rows = value.reshape(-1, value.shape[-1])
    return rows[0] if (rows == rows[0]).all() else np.asarray(rows.mean(axis=0), np.float32)


def _critic(state: Mapping[str, np.ndarray]) -> Critic | None:
    """The discriminator, if there is one, under the names of NVIDIA's PyTorch release."""
    blocks = sum(bool(re.fullmatch(r"(?:module\.)?convs\.[1-9]\d?\.skip\.1\.weight", name)) for name in state)
    names = dict(_discriminator_names(4 << min(blocks, _LARGEST)))
    plain_state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    found = {names.get(name, name): tensor for name, tensor in plain_state.items() if not _CONSTANT.fullmatch(name)}
    return Critic(tensors=found, settings={"mbstd_group_size": 4}) if found else None


def _discriminator_names(size: int) -> Iterator[tuple[str, str]]:
    yield "convs.0.0.weight", f"b{size}.fromrgb.weight"
    yield "convs.0.1.bias", f"b{size}.fromrgb.bias"
    for place in range(1, size.bit_length() - 2):
        old, new = f"convs.{place}", f"b{size >> (place - 1)}"
        yield f"{old}.conv1.0.weight", f"{new}.conv0.weight"
        yield f"{old}.conv1.1.bias", f"{new}.conv0.bias"
        yield f"{old}.conv2.1.weight", f"{new}.conv1.weight"
        yield f"{old}.conv2.2.bias", f"{new}.conv1.bias"
        yield f"{old}.skip.1.weight", f"{new}.skip.weight"
    yield "final_conv.0.weight", "b4.conv.weight"
    yield "final_conv.1.bias", "b4.conv.bias"
    for kind in ("weight", "bias"):
        yield f"final_linear.0.{kind}", f"b4.fc.{kind}"
        yield f"final_linear.1.{kind}", f"b4.out.{kind}"
