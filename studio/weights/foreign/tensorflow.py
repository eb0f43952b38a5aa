"""StyleGAN2 and StyleGAN2-ADA as NVIDIA's TensorFlow programs pickle them: three networks, G, D and the mean Gs of G.

Each network arrives as an inert record with a list of named variables and with further networks as its components.
Matrices lie as [in, out] and kernels as [height, width, in, out]; kernels that enlarge are stored rotated by 180
degrees, and the bias of a style is stored without the 1 that is added to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Contents, Imported, Record
from studio.weights.foreign.nvlabs import group_size, kimg, members, number, plain
from studio.weights.foreign.stylegan2_shape import Critic, assemble

_OLDEST = 4
_RATE = 0.01
_DEEPEST = 5
_HINT = "Open a StyleGAN2, in TensorFlow's form or PyTorch's."
_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}
_CRITIC_LAYERS = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip", "Conv": "conv"}
_USUAL = {
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "normalize_latents": True,
    "resample_kernel": [1, 3, 3, 1],
    "use_wscale": True,
}


def read(contents: Contents) -> Imported | None:
    """A StyleGAN2 with its discriminator; None if the file holds no networks of TensorFlow's form.

    Raises:
        BadInput: it is an older StyleGAN, or one that cannot be played.
    """
    networks = contents.tree if isinstance(contents.tree, (tuple, list)) else (contents.tree,)
    if not networks or not all(_is_network(network) for network in networks):
        return None
    source, critic = networks[-1], networks[1] if len(networks) == 3 else None
    variables = _variables(source)
    if (number(source.attribute("version")) or 0) < _OLDEST or "synthesis/4x4/Conv/mod_weight" not in variables:
        raise BadInput(
            "This file holds a network of TensorFlow's form that is older than StyleGAN2, or no generator.", _HINT
        )
    arguments = members(source.attribute("static_kwargs"))
    if oddity := _oddity(arguments) or _label_oddity(variables):
        raise BadInput(f"This generator cannot be played: {oddity}.", _HINT)
    return assemble(
        _generator(variables),
        _critic(critic),
        format="StyleGAN2 (NVIDIA's TensorFlow), pickle",
        settings={"conv_clamp": number(arguments.get("conv_clamp")) or 0.0},
        kimg=kimg(contents),
        arguments={"generator": plain(arguments)},
    )


def _is_network(value: object) -> bool:
    return isinstance(value, Record) and value.name in {"dnnlib.tflib.network.Network", "tfutil.Network"}


def _variables(network: object, prefix: str = "", depth: int = 0) -> dict[str, np.ndarray]:
    """The variables of a network and its components by name, the components' names before theirs."""
    found: dict[str, np.ndarray] = {}
    if not isinstance(network, Record) or depth > _DEEPEST:
        return found
    entries = network.attribute("variables")
    for entry in entries if isinstance(entries, (list, tuple)) else ():
        if isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[0], str):
            name, value = entry
            if isinstance(value, (float, int, np.generic)):
                value = np.asarray(value, np.float32)
            if isinstance(value, np.ndarray):
                found[prefix + name] = value
    for name, component in members(network.attribute("components")).items():
        found |= _variables(component, f"{prefix}{name}/", depth + 1)
    return found


def _generator(variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The generator's variables under the names of NVIDIA's PyTorch release."""
    found: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if match := re.fullmatch(r"mapping/(LabelEmbed|Dense(\d+))/(weight|bias)", name):
            layer = "embed" if match[2] is None else f"fc{match[2]}"
            found[f"mapping.{layer}.{match[3]}"] = value.T
        elif match := re.fullmatch(r"synthesis/noise(\d{1,2})", name):
            place = int(match[1])
            conv = "conv0" if place % 2 else "conv1"
            found[f"synthesis.b{2 ** ((place + 5) // 2)}.{conv}.noise_const"] = _axes(value, 4, name)[0, 0]
        elif match := re.fullmatch(r"synthesis/(\d+)x\1/(\w+)/(\w+)", name):
            found |= _styled(f"synthesis.b{match[1]}", match[2], match[3], value)
        elif re.fullmatch(r"synthesis/ToRGB_lod\d+/\w+", name):
            raise BadInput(
                "This is a StyleGAN2 that paints at its last size only, which the studio cannot play.", _HINT
            )
        elif name == "dlatent_avg":
            found["mapping.w_avg"] = value
        elif not name.endswith("lod"):
            raise BadInput(f"This network has parts that the studio does not know, such as {name[:60]!r}.", _HINT)
    return found


def _styled(block: str, layer: str, kind: str, value: np.ndarray) -> dict[str, np.ndarray]:
    """One variable of a layer of the synthesis, under its new name."""
    if (layer, kind) == ("Const", "const"):
        return {f"{block}.const": _axes(value, 4, block)[0]}
    if layer not in _LAYERS:
        raise BadInput(f"This network has parts that the studio does not know, such as {layer[:60]!r}.", _HINT)
    convert: Mapping[str, tuple[str, Callable[[], np.ndarray]]] = {
        "weight": ("weight", lambda: _kernel(value, block, rotated=layer in {"Conv0_up", "Skip"})),
        "bias": ("bias", lambda: value),
        "noise_strength": ("noise_strength", lambda: _axes(value, 0, block)),
        "mod_weight": ("affine.weight", lambda: value.T),
        "mod_bias": ("affine.bias", lambda: value + np.float32(1)),
    }
    if kind not in convert:
        raise BadInput(f"This network has parts that the studio does not know, such as {kind[:60]!r}.", _HINT)
    name, converted = convert[kind]
    return {f"{block}.{_LAYERS[layer]}.{name}": converted()}


def _critic(source: object) -> Critic | None:
    """The discriminator, if there is one, under the names of NVIDIA's PyTorch release."""
    if not isinstance(source, Record):
        return None
    arguments = members(source.attribute("static_kwargs"))
    if number(arguments.get("mapping_layers")):
        arguments.setdefault("mapping_lrmul", 0.1)
    else:
        arguments.pop("mapping_lrmul", None)
    oddity = _oddity(arguments)
    group = group_size(arguments.get("mbstd_group_size", 4))
    settings = {"conv_clamp": number(arguments.get("conv_clamp")) or 0.0, "mbstd_group_size": group}
    try:
        tensors = _discriminator(_variables(source))
    except BadInput as refusal:
        return Critic(tensors={}, problem=refusal.message)
    return Critic(
        tensors=tensors, settings=settings, problem=f"The old one cannot be used: {oddity}." if oddity else ""
    )


def _discriminator(variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    size = _size(variables, r"(\d+)x\1/.*")
    dense = {"4x4/Dense0": "b4.fc", "Output": "b4.out", "LabelEmbed": "mapping.embed"}
    found: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        layer, _, kind = name.rpartition("/")
        if kind in {"weight", "bias"} and (layer in dense or re.fullmatch(r"Mapping\d+", layer)):
            found[f"{dense.get(layer) or layer.replace('Mapping', 'mapping.fc')}.{kind}"] = value.T
        elif match := re.fullmatch(r"(\d+)x\1/(\w+)", layer):
            target = _CRITIC_LAYERS.get(match[2], match[2])
            found[f"b{match[1]}.{target}.{kind}"] = _kernel(value, name) if kind == "weight" else value
        elif match := re.fullmatch(r"FromRGB_lod(\d{1,2})", layer):
            if match[1] == "0":
                found[f"b{size}.fromrgb.{kind}"] = _kernel(value, name) if kind == "weight" else value
        elif name != "lod":
            found[name] = value
    return found


def _oddity(arguments: Mapping[str, Any]) -> str:
    """What makes a network compute otherwise than ours, in a few words; empty if nothing does."""
    for name, usual in _USUAL.items():
        if plain(arguments.get(name, usual)) != usual:
            return f"its {name} is unusual"
    rate = number(arguments.get("mapping_lrmul", _RATE))
    return "" if rate is not None and np.isclose(rate, _RATE) else "its mapping_lrmul is unusual"


def _label_oddity(variables: Mapping[str, np.ndarray]) -> str:
    return "it reads classes in the way of the first StyleGAN" if "mapping/LabelConcat/weight" in variables else ""


def _size(variables: Mapping[str, np.ndarray], pattern: str) -> int:
    sizes = [int(match[1]) for name in variables if (match := re.fullmatch(pattern, name)) and len(match[1]) < 5]
    return max(sizes, default=4)


def _kernel(value: np.ndarray, name: str, *, rotated: bool = False) -> np.ndarray:
    """A kernel [height, width, in, out] -> [out, in, height, width]."""
    value = _axes(value, 4, name)
    return (value[::-1, ::-1] if rotated else value).transpose(3, 2, 0, 1)


def _axes(value: np.ndarray, axes: int, name: str) -> np.ndarray:
    if value.ndim != axes or not value.size:
        raise BadInput(f"The file holds {name[:60]!r} in a shape that it cannot have.", "Download the file again.")
    return value
