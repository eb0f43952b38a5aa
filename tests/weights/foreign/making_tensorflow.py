"""Writes StyleGAN2 as NVIDIA's TensorFlow programs pickled it, from networks of ours."""

import math
import re

import numpy as np

from tests.weights.foreign.making_nvlabs import EasyDict, Global, Instance, write_pickle

NETWORK = Global("dnnlib.tflib.network", "Network")
SOURCE = "raise RuntimeError('the source text in a network must never be run')\n"


def write_tensorflow(path, generator, discriminator, *, version=4, alone=False, protocol=4, **static):
    """The tuple (G, D, Gs), or Gs alone. G is another generator. `static` adds to the arguments of G and Gs."""
    mean = network_of(generator, version, **static)
    if alone:
        return write_pickle(path, mean, protocol)
    live = network_of(generator, version, change=lambda value: value * 0.5 + 1, **static)
    return write_pickle(path, (live, critic_of(discriminator, version), mean), protocol)


def network_of(generator, version=4, change=lambda value: value, **static):
    """A generator, with its mapping and its synthesis as components."""
    state = {name: change(tensor.numpy()) for name, tensor in generator.state_dict().items()}
    settings = generator.settings
    arguments = {
        "num_channels": settings.channels, "resolution": settings.resolution, "label_size": settings.classes,
        "fmap_base": settings.channel_base // 2, "fmap_max": settings.channel_max, "latent_size": settings.z_dim,
        "dlatent_size": settings.w_dim, "mapping_layers": settings.mapping_layers, "resample_kernel": [1, 3, 3, 1],
        "truncation_psi": 0.5, **static,
    }  # fmt: skip
    if settings.conv_clamp:
        arguments["conv_clamp"] = settings.conv_clamp
    components = {"synthesis": _synthesis(state, arguments, version), "mapping": _mapping(state, arguments, version)}
    variables = [("lod", np.float32(0)), ("dlatent_avg", state["mapping.w_avg"])]
    return _network("G", "G_main", variables, arguments, version, components)


def critic_of(discriminator, version=4):
    """A discriminator."""
    settings = discriminator.settings
    arguments = {
        "num_channels": settings.channels, "resolution": settings.resolution, "label_size": settings.classes,
        "fmap_base": settings.channel_base // 2, "fmap_max": settings.channel_max,
        "architecture": settings.discriminator_architecture, "mbstd_group_size": settings.mbstd_group_size,
    }  # fmt: skip
    if settings.conv_clamp:
        arguments["conv_clamp"] = settings.conv_clamp
    names = {"conv1": "Conv1_down", "conv0": "Conv0", "fromrgb": "FromRGB", "skip": "Skip", "conv": "Conv"}
    variables = []
    for name, tensor in discriminator.state_dict().items():
        value, (first, second, *rest) = tensor.numpy(), name.split(".")
        if name.startswith("mapping.embed"):
            variables.append((f"LabelEmbed/{rest[0]}", value.T))
        elif (first, second) in {("b4", "fc"), ("b4", "out")}:
            variables.append((f"{'4x4/Dense0' if second == 'fc' else 'Output'}/{rest[0]}", value.T))
        else:
            size = first[1:]
            variables.append((f"{size}x{size}/{names[second]}/{rest[0]}", _to_tensorflow(value)))
    return _network("D", "D_stylegan2", variables, arguments, version)


def _to_tensorflow(value, flipped=False):
    """[out, in, height, width] -> [height, width, in, out]; whatever has fewer axes stays."""
    if value.ndim != 4:
        return value
    return np.ascontiguousarray((value[:, :, ::-1, ::-1] if flipped else value).transpose(2, 3, 1, 0))


def _mapping(state, arguments, version):
    variables = []
    for name, value in state.items():
        if match := re.fullmatch(r"mapping\.fc(\d+)\.(\w+)", name):
            variables.append((f"Dense{match[1]}/{match[2]}", np.ascontiguousarray(value.T)))
        elif match := re.fullmatch(r"mapping\.embed\.(\w+)", name):
            variables.append((f"LabelEmbed/{match[1]}", np.ascontiguousarray(value.T)))
    return _network("G_mapping", "G_mapping", variables, {**arguments, "dlatent_broadcast": 10}, version)


def _synthesis(state, arguments, version):
    variables = []
    for name, value in state.items():
        if match := re.fullmatch(r"synthesis\.b(\d+)\.(.*)", name):
            variables.append(_styled(int(match[1]), match[2], value))
    return _network("G_synthesis", "G_synthesis_stylegan2", variables, arguments, version)


def _styled(size, name, value):
    """One variable of the synthesis network, by its name and as it would lie there."""
    scope = f"{size}x{size}"
    if name == "const":
        return f"{scope}/Const/const", value[None]
    layer, _, kind = name.partition(".")
    level = int(math.log2(size))
    if kind == "noise_const":
        number = 0 if size == 4 else 2 * level - (5 if layer == "conv0" else 4)
        return f"noise{number}", value[None, None]
    layer = {"conv0": "Conv0_up", "conv1": "Conv" if size == 4 else "Conv1", "torgb": "ToRGB"}[layer]
    converted = {
        "weight": lambda: ("weight", _to_tensorflow(value, flipped=layer == "Conv0_up")),
        "bias": lambda: ("bias", value),
        "noise_strength": lambda: ("noise_strength", np.float32(value)),
        "affine.weight": lambda: ("mod_weight", np.ascontiguousarray(value.T)),
        "affine.bias": lambda: ("mod_bias", value - np.float32(1)),
    }
    kind, value = converted[kind]()
    return f"{scope}/{layer}/{kind}", value


def _network(name, function, variables, arguments, version, components=None):
    state = {
        "version": version, "name": name, "static_kwargs": EasyDict(arguments), "components": EasyDict(components or {}),
        "build_module_src": SOURCE, "build_func_name": function, "variables": variables,
    }  # fmt: skip
    return Instance(NETWORK, state)
