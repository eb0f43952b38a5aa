"""Writes snapshots as NVIDIA's PyTorch programs do, from networks of ours: whole modules that claim classes of theirs.

Names of classes and functions are written without their modules being there, so nothing of those programs is needed.
"""

import pickle
import re
import types
import typing
from pathlib import Path

import numpy as np
import torch

SOURCE = "raise RuntimeError('the source text in a snapshot must never be run')\n" + "# " + "text " * 4000 + "\n"
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTER = torch.outer(TAPS, TAPS) / 64


class Global:
    """A class or function that only the file's reader would know."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError("this stands for a name")


class Call:
    """What pickle writes for an object that says how to make it anew: a function and its arguments."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Instance:
    """An object of a plain class with a state."""

    def __init__(self, kind, state):
        self.kind, self.state = kind, state


class EasyDict(dict):
    """A dict that claims NVIDIA's class of this name."""


class Pickler(pickle._Pickler):
    """Python's own pickler, which also writes the four above."""

    dispatch: typing.ClassVar = dict(pickle._Pickler.dispatch)

    def save_global(self, obj, name=None):
        module = {"numpy._core.multiarray": "numpy.core.multiarray"}.get(getattr(obj, "__module__", ""))
        if module is None:
            return super().save_global(obj, name)
        return self.save_name(Global(module, obj.__name__), obj)

    def save_name(self, obj, memoized=None):
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj if memoized is None else memoized)

    def save_call(self, obj):
        self.save_reduce(obj.function, obj.arguments, obj=obj)

    def save_instance(self, obj):
        self.save(obj.kind)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.memoize(obj)
        self.save(obj.state)
        self.write(pickle.BUILD)

    def save_easy_dict(self, obj):
        self.save(EASY_DICT)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.memoize(obj)
        self._batch_setitems(obj.items())

    dispatch |= {
        types.FunctionType: save_global,
        Global: save_name,
        Call: save_call,
        Instance: save_instance,
        EasyDict: save_easy_dict,
    }


EASY_DICT = Global("dnnlib.util", "EasyDict")
RECONSTRUCT = Global("torch_utils.persistence", "_reconstruct_persistent_obj")


def write_pickle(path, tree, protocol=4):
    """Write a tree with any of the above in it to a file."""
    with open(path, "wb") as file:
        Pickler(file, protocol).dump(tree)
    return Path(path)


def persistent(name, state):
    """An object of a class whose source text travels with it."""
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": name, "state": state}
    return Call(RECONSTRUCT, meta)


def module_state(parameters=None, buffers=None, modules=None, **attributes):
    """The `__dict__` of a torch module."""
    hooks = (
        "_backward_hooks",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_state_dict_hooks",
        "_load_state_dict_pre_hooks",
    )
    return {
        "training": False, "_parameters": parameters or {}, "_buffers": buffers or {}, "_modules": modules or {},
        "_non_persistent_buffers_set": set(), **{name: {} for name in hooks}, **attributes,
    }  # fmt: skip


def write_stylegan2_ada(
    path, generator, discriminator=None, *, frozen=0, kimg=None, protocol=4, filters=True, critic=None, **extra
):
    """A snapshot of StyleGAN2-ADA.

    Args:
        generator: a Generator of ours; it becomes G_ema, and G is another one.
        discriminator: a Discriminator of ours; D is None without.
        frozen: how many layers of the discriminator lie among the buffers, as Freeze-D leaves them.
        kimg: thousands of pictures seen; only written if given.
        critic: an object that takes the discriminator's place.
        extra: further entries of the snapshot.
    """
    settings = generator.settings
    tree = snapshot(
        stylegan2_generator(generator),
        stylegan2_generator(generator, change=lambda tensor: tensor * 0.5 + 1),
        critic or (discriminator and stylegan2_discriminator(discriminator, frozen)),
        settings.resolution,
    )
    if kimg is not None:
        tree["cur_nimg"] = int(kimg * 1000)
    return write_pickle(path, {**tree, **extra}, protocol)


def write_stylegan3(path, generator, discriminator=None, *, kimg=None, protocol=4):
    """A snapshot of StyleGAN3, from a Generator of our family stylegan3 and a Discriminator with StyleGAN2's names."""
    tree = snapshot(
        stylegan3_generator(generator),
        stylegan3_generator(generator, change=lambda tensor: tensor * 0.5 + 1),
        discriminator and stylegan2_discriminator(discriminator, 0),
        generator.settings.resolution,
    )
    if kimg is not None:
        tree["progress"] = {"cur_nimg": torch.tensor([int(kimg * 1000)]), "cur_tick": torch.tensor([3])}
    return write_pickle(path, tree, protocol)


def snapshot(mean, live, critic, resolution):
    """The outermost dict."""
    pipe = module_state(buffers={"p": torch.tensor(0.25), "Hz_geom": torch.randn(12)}, xflip=1, _init_args=())
    data = {
        "class_name": "training.dataset.ImageFolderDataset", "path": "/home/someone/secret/pictures.zip",
        "use_labels": False, "max_size": 1336, "xflip": True, "resolution": resolution,
    }  # fmt: skip
    return {
        "training_set_kwargs": data, "G": live, "D": critic, "G_ema": mean,
        "augment_pipe": persistent("AugmentPipe", pipe),
    }  # fmt: skip


def stylegan2_generator(generator, change=None):
    """A StyleGAN2 generator as a persistent object."""
    settings = generator.settings
    given = {
        "z_dim": settings.z_dim, "c_dim": settings.classes, "w_dim": settings.w_dim,
        "img_resolution": settings.resolution, "img_channels": settings.channels,
        "mapping_kwargs": EasyDict(num_layers=settings.mapping_layers),
        "synthesis_kwargs": EasyDict(
            channel_base=settings.channel_base, channel_max=settings.channel_max, num_fp16_res=4,
            conv_clamp=settings.conv_clamp or None,
        ),
    }  # fmt: skip
    attributes = {
        "": {"z_dim": settings.z_dim, "num_ws": 10, "_init_args": (), "_init_kwargs": EasyDict(given)},
        "synthesis": {"block_resolutions": [4, 8], "_init_args": (), "_init_kwargs": {}},
    }
    return _modules(generator, _generator_class, settings.conv_clamp, attributes, change)


def stylegan3_generator(generator, change=None):
    """A StyleGAN3 generator as a persistent object."""
    settings = generator.settings
    given = {
        "z_dim": settings.z_dim, "c_dim": settings.classes, "w_dim": settings.w_dim,
        "img_resolution": settings.resolution, "img_channels": settings.channels,
        "mapping_kwargs": EasyDict(num_layers=settings.mapping_layers), "channel_base": settings.channel_base,
        "channel_max": settings.channel_max, "magnitude_ema_beta": 0.9994, "num_layers": settings.num_layers,
        "num_critical": settings.num_critical, "margin_size": settings.margin_size,
    }  # fmt: skip
    kept = {"num_critical": settings.num_critical, "output_scale": settings.output_scale}
    synthesis = {"w_dim": settings.w_dim, "channel_base": settings.channel_base, "channel_max": settings.channel_max}
    attributes = {
        "": {"_init_args": (), "_init_kwargs": EasyDict(given)},
        "synthesis": {**kept, "layer_names": generator.synthesis.names, "_init_args": (), "_init_kwargs": synthesis},
    }
    return _modules(generator, _stylegan3_class, settings.conv_clamp, attributes, change)


def stylegan2_discriminator(discriminator, frozen=0):
    """A StyleGAN2 discriminator as a persistent object."""
    settings = getattr(discriminator.settings, "critic", discriminator.settings)
    state = discriminator.state_dict()
    layers = dict.fromkeys(
        name.rpartition(".")[0] for name in state if re.match(r"b\d+\.(fromrgb|conv[01]|skip)", name)
    )
    tree = _modules(
        discriminator, _discriminator_class, settings.conv_clamp,
        {"": {"_init_args": (), "_init_kwargs": {"c_dim": settings.classes, "architecture": "resnet"}}},
        frozen=list(layers)[:frozen],
    )  # fmt: skip
    statistics = module_state(group_size=settings.mbstd_group_size, num_channels=1)
    _child(tree, "b4")["_modules"]["mbstd"] = persistent("MinibatchStdLayer", statistics)
    return tree


def _child(tree, name):
    return _state(_state(tree)["_modules"][name])


def _state(call):
    return call.arguments[0]["state"]


def _modules(network, class_of, clamp, attributes, change=None, frozen=()):
    """A network's tensors as nested persistent objects, each with what its class would hold besides."""
    buffers = dict(network.named_buffers())
    root = {}
    for name, tensor in network.state_dict().items():
        path, _, leaf = name.rpartition(".")
        tensor = tensor.clone() if change is None else change(tensor)
        kind = "_buffers" if name in buffers or path in frozen else "_parameters"
        value = tensor if kind == "_buffers" else torch.nn.Parameter(tensor)
        _node(root, path)[kind][leaf] = value
    return _finished(root, "", class_of, clamp, attributes)


def _node(root, path):
    node = root
    for part in ("", *path.split(".")) if path else ("",):
        node = node if part == "" else node["_modules"].setdefault(part, {})
        for group in ("_parameters", "_buffers", "_modules"):
            node.setdefault(group, {})
    return node


def _finished(node, path, class_of, clamp, attributes):
    name = class_of(path)
    children = {
        part: _finished(child, f"{path}.{part}".strip("."), class_of, clamp, attributes)
        for part, child in node["_modules"].items()
    }
    extra, filters = _attributes(name, path, node, clamp)
    if re.fullmatch(r"synthesis\.L\d+_\d+_\d+", path):
        filters = {"up_filter": None, "down_filter": None}
    buffers = {**filters, **node["_buffers"]}
    state = module_state(node["_parameters"], buffers, children, **extra, **attributes.get(path, {}))
    return persistent(name, state)


def _attributes(name, path, node, clamp):
    """Plain attributes and constant buffers of a module of a class."""
    clamp = clamp or None
    filters = {"resample_filter": FILTER.clone()}
    if name == "FullyConnectedLayer":
        rate = 0.01 if re.search(r"mapping\.fc\d+$", path) else 1
        linear = path.rpartition(".")[2] in {"embed", "affine", "out"}
        inputs = node["_parameters"]["weight"].shape[1]
        about = {
            "activation": "linear" if linear else "lrelu",
            "bias_gain": rate,
            "weight_gain": rate / np.sqrt(inputs),
        }
        return {**about, "_init_args": (inputs,), "_init_kwargs": {}}, {}
    if re.fullmatch(r"synthesis\.L\d+_\d+_\d+", path):
        return {"conv_clamp": clamp, "conv_kernel": 3, "in_sampling_rate": np.float64(16), "padding": [1, 0, 1, 0]}, {}
    if name == "SynthesisLayer":
        about = {"activation": "lrelu", "conv_clamp": clamp, "use_noise": True, "act_gain": np.sqrt(2), "padding": 1}
        return about, filters
    if name == "Conv2dLayer":
        linear = path.endswith("skip")
        bias = {"bias": None} if linear else {}
        return {"activation": "linear" if linear else "lrelu", "conv_clamp": None if linear else clamp, **bias}, filters
    if name in {"SynthesisBlock", "DiscriminatorBlock"}:
        return {"use_fp16": True, "channels_last": False}, filters
    return ({"conv_clamp": clamp} if name == "ToRGBLayer" else {}), {}


def _generator_class(path):
    last = path.rpartition(".")[2]
    if path in {"", "mapping", "synthesis"}:
        return {"": "Generator", "mapping": "MappingNetwork", "synthesis": "SynthesisNetwork"}[path]
    if last.startswith("conv"):
        return "SynthesisLayer"
    if re.fullmatch(r"b\d+", last):
        return "SynthesisBlock"
    return "ToRGBLayer" if last == "torgb" else "FullyConnectedLayer"


def _stylegan3_class(path):
    if re.fullmatch(r"synthesis\.L\d+_\d+_\d+", path):
        return "SynthesisLayer"
    return "SynthesisInput" if path == "synthesis.input" else _generator_class(path)


def _discriminator_class(path):
    last = path.rpartition(".")[2]
    if path in {"", "mapping", "b4"}:
        return {"": "Discriminator", "mapping": "MappingNetwork", "b4": "DiscriminatorEpilogue"}[path]
    if re.fullmatch(r"b\d+", last):
        return "DiscriminatorBlock"
    return "Conv2dLayer" if re.match(r"fromrgb|conv|skip", last) else "FullyConnectedLayer"
