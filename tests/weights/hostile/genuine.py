"""Small files of random weights in the formats that people have, written as their programs write them: what attacks vary."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import numpy as np

from tests.weights.hostile.assembler import (
    Built,
    Call,
    Global,
    New,
    TensorOf,
    call,
    legacy,
    pickled,
    section,
    storage,
    tensor_of,
)
from tests.weights.hostile.zips import torch_state, torch_zip

Arrays = dict[str, np.ndarray]

SOURCE = "import torch\n\nclass Generator(torch.nn.Module):\n    pass\n"
STYLEGAN2 = {
    "z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 8, "img_channels": 3,
    "mapping_kwargs": {"num_layers": 2}, "synthesis_kwargs": {"channel_base": 64, "channel_max": 8, "num_fp16_res": 0},
}  # fmt: skip
HOOKS = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")
TENSORFLOW = {
    "num_channels": 3, "resolution": 8, "label_size": 0, "latent_size": 8, "dlatent_size": 8, "mapping_layers": 2,
    "mapping_fmaps": 8, "fmap_base": 32, "fmap_max": 8,
}  # fmt: skip


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 from N(0, 1), by shape alone."""
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32), np.float32)


def stylegan2_arrays() -> Arrays:
    """A StyleGAN2 generator for 8 px under its authors' names."""
    arrays = {f"mapping.fc{i}.weight": random(8, 8) for i in range(2)}
    arrays |= {f"mapping.fc{i}.bias": random(8) for i in range(2)} | {"mapping.w_avg": random(8)}
    arrays["synthesis.b4.const"] = random(8, 4, 4)
    for size in (4, 8):
        block = f"synthesis.b{size}"
        arrays[f"{block}.resample_filter"] = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
        for layer in ("conv1",) if size == 4 else ("conv0", "conv1"):
            arrays |= {f"{block}.{layer}.{name}": array for name, array in _layer(size).items()}
        arrays |= {f"{block}.torgb.{name}": array for name, array in _affine().items()}
        arrays |= {f"{block}.torgb.weight": random(3, 8, 1, 1), f"{block}.torgb.bias": random(3)}
    return arrays


def _layer(size: int) -> Arrays:
    noise = {"noise_strength": random(), "noise_const": random(size, size)}
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
    return {"weight": random(8, 8, 3, 3), "bias": random(8), "resample_filter": kernel, **noise, **_affine()}


def _affine() -> Arrays:
    return {"affine.weight": random(8, 8), "affine.bias": random(8)}


def persistent(class_name: str, state: object, source: str = SOURCE, **changed: object) -> Call:
    """One of NVIDIA's persistent objects; `changed` replaces members of its meta."""
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": state, **changed}
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)


def parameter(array: np.ndarray) -> Call:
    return call("torch._utils", "_rebuild_parameter", TensorOf(array), True, call("collections", "OrderedDict"))


def module_state(arrays: Mapping[str, np.ndarray], source: str = SOURCE, **attributes: object) -> dict[object, object]:
    """An nn.Module's `__dict__`: dots in the names of `arrays` are children. `attributes` add to it or replace."""
    own = {name: array for name, array in arrays.items() if "." not in name}
    children: dict[str, Arrays] = {}
    for name, array in arrays.items():
        if "." in name:
            child, _, rest = name.partition(".")
            children.setdefault(child, {})[rest] = array
    constant = {name for name in own if name in ("resample_filter", "noise_const", "w_avg")}
    return {
        "training": False,
        "_parameters": {name: parameter(array) for name, array in own.items() if name not in constant},
        "_buffers": {name: TensorOf(own[name]) for name in own if name in constant},
        "_modules": {name: persistent(_class_of(name), module_state(part, source), source) for name, part in children.items()},
        **{hook: call("collections", "OrderedDict") for hook in HOOKS},
        **attributes,
    }  # fmt: skip


def _class_of(name: str) -> str:
    known = {"mapping": "MappingNetwork", "synthesis": "SynthesisNetwork", "torgb": "ToRGBLayer"}
    beginnings = {"b": "SynthesisBlock", "f": "FullyConnectedLayer", "a": "FullyConnectedLayer", "c": "SynthesisLayer"}
    return known.get(name) or beginnings[name[0]]


def nvlabs_tree(
    source: str = SOURCE, extra: Mapping[str, object] | None = None, **arguments: object
) -> dict[object, object]:
    """A StyleGAN2-ADA snapshot. `arguments` change its constructor's; `extra` adds to the generator's `__dict__`."""
    given = {**STYLEGAN2, **arguments}
    state = module_state(stylegan2_arrays(), source)
    named = {name: given[name] for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")}
    state |= {"_init_args": (), "_init_kwargs": given, **named, **(extra or {})}
    generator = persistent("Generator", state, source)
    return {"training_set_kwargs": {"resolution": 8}, "G_ema": generator, "augment_pipe": None}


def nvlabs(protocol: int = 4, **changed: object) -> bytes:
    return pickled(nvlabs_tree(**changed), protocol)  # type: ignore[arg-type]


def network(name: str, variables: object, components: object = None, **state: object) -> Built:
    """One network of the TensorFlow releases."""
    members = {
        "version": 4, "name": name, "static_kwargs": TENSORFLOW, "components": components or {},
        "build_module_src": "import tensorflow as tf\n", "build_func_name": "G_main", "variables": variables, **state,
    }  # fmt: skip
    return Built(New(Global("dnnlib.tflib.network", "Network")), members)


def tensorflow_tree(**state: object) -> tuple[object, ...]:
    """The TensorFlow releases' three networks; `state` changes the averaged generator's."""
    mapping = [
        (f"Dense{i}/{name}", random(*shape)) for i in range(2) for name, shape in (("weight", (8, 8)), ("bias", (8,)))
    ]
    synthesis = [("4x4/Const/const", random(1, 8, 4, 4)), ("noise0", random(1, 1, 4, 4))]
    for place, size in (("4x4/Conv", 4), ("8x8/Conv0_up", 8), ("8x8/Conv1", 8)):
        synthesis += [(f"{place}/{name}", array) for name, array in _tensorflow_layer().items()]
        synthesis += [(f"noise{1 + ('Conv1' in place)}", random(1, 1, size, size))] if size == 8 else []
    for size in (4, 8):
        synthesis += [(f"{size}x{size}/ToRGB/weight", random(1, 1, 8, 3)), (f"{size}x{size}/ToRGB/bias", random(3))]
        synthesis += [(f"{size}x{size}/ToRGB/{name}", array) for name, array in _modulation().items()]
    parts = {"mapping": network("G_mapping", mapping), "synthesis": network("G_synthesis", synthesis)}
    given = {"variables": [("dlatent_avg", random(8)), ("lod", random())], "components": parts, **state}
    averaged = network("Gs", **given)
    return network("G", []), network("D", []), averaged


def _tensorflow_layer() -> Arrays:
    return {"weight": random(3, 3, 8, 8), "bias": random(8), "noise_strength": random(), **_modulation()}


def _modulation() -> Arrays:
    return {"mod_weight": random(8, 8), "mod_bias": random(8)}


def dcgan_arrays(prefix: str = "main.") -> Arrays:
    """A DCGAN generator for 16 px under the names of PyTorch's example."""
    arrays: Arrays = {}
    for place, shape in ((0, (6, 8, 4, 4)), (3, (8, 4, 4, 4)), (6, (4, 3, 4, 4))):
        arrays[f"{prefix}{place}.weight"] = random(*shape) * np.float32(0.1)
        if place < 6:
            names = ("weight", "bias", "running_mean", "running_var")
            arrays |= {f"{prefix}{place + 1}.{name}": np.abs(random(shape[1])) for name in names}
            arrays[f"{prefix}{place + 1}.num_batches_tracked"] = np.array(7, np.int64)
    return arrays


def dcgan_zip() -> bytes:
    return torch_zip(*torch_state(dcgan_arrays()))


def dcgan_legacy() -> bytes:
    arrays = dcgan_arrays()
    keys = {name: str(place) for place, name in enumerate(arrays)}
    tree = {name: tensor_of(array, storage(array, keys[name], view=None)) for name, array in arrays.items()}
    return legacy(tree, {keys[name]: section(array) for name, array in arrays.items()})


def dcgan_safetensors() -> bytes:
    return safetensors(dcgan_arrays())


def safetensors(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None, **changed: object
) -> bytes:
    """A safetensors file; `changed` adds entries to its header or replaces them."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    body = b""
    for name, array in arrays.items():
        kind = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64"}[array.dtype.name]
        begin, body = len(body), body + array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, len(body)]}
    return headed(json.dumps({**header, **changed}).encode(), body)


def headed(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """Header and body as safetensors has them; `length` is the lie that the first eight bytes tell."""
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def everything() -> dict[str, bytes]:
    """Every genuine file by its name."""
    return {
        "nvlabs.pkl": nvlabs(),
        "nvlabs-protocol-2.pkl": nvlabs(2),
        "tensorflow.pkl": pickled(tensorflow_tree(), 4),
        "dcgan.pth": dcgan_zip(),
        "dcgan-legacy.pth": dcgan_legacy(),
        "dcgan.safetensors": dcgan_safetensors(),
    }
