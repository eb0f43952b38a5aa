"""NVIDIA's persistent objects and other programs' models with hostile text, hooks and arguments in them.

What reads past the hostile part may open these: nothing in it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from tests.weights.hostile.assembler import Built, Call, Global, New, call, pickled
from tests.weights.hostile.genuine import (
    STYLEGAN2,
    TENSORFLOW,
    dcgan_arrays,
    dcgan_safetensors,
    dcgan_zip,
    nvlabs,
    random,
    tensorflow_tree,
)
from tests.weights.hostile.hostile import Hostile, Trap
from tests.weights.hostile.zips import torch_state, torch_zip

KIND = "sources"


def attacks(trap: Trap) -> Iterator[Hostile]:
    yield from _source_texts(trap)
    for label, meta in _metas(trap).items():
        content = pickled({"G_ema": call("torch_utils.persistence", "_reconstruct_persistent_obj", *meta)}, 4)
        yield Hostile(kind=KIND, name=f"meta-{label}.pkl", content=content)
    for label, extra in _planted(trap).items():
        yield Hostile(kind=KIND, name=f"planted-{label}.pkl", content=nvlabs(extra=extra), acceptable=True)
    for label, arguments in _arguments().items():
        yield Hostile(kind=KIND, name=f"arguments-{label}.pkl", content=nvlabs(**arguments), acceptable=True)
    for label, state in _tensorflow(trap).items():
        content = pickled(tensorflow_tree(**state), 4)
        yield Hostile(kind=KIND, name=f"tensorflow-{label}.pkl", content=content, acceptable=True)
    yield from _namespaces(trap)
    yield from _configurations()
    yield from _state_dicts()


def _source_texts(trap: Trap) -> Iterator[Hostile]:
    texts = {
        "writes-a-file": lambda name: trap.source(name),
        "runs-a-command": lambda name: f"import os\nos.system({trap.shell(name)!r})\n",
        "class-with-metaclass": lambda name: f"class Generator(metaclass=lambda *a: {trap.source(name)}): pass",
        "coding-line": lambda name: f"# -*- coding: rot13 -*-\n{trap.source(name)}",
        "megabytes": lambda name: "#" * 2_000_000,
        "nested-brackets": lambda name: "(" * 100_000,
    }
    for label, text in texts.items():
        name = f"source-{label}.pkl"
        yield Hostile(kind=KIND, name=name, content=nvlabs(source=text(name)), acceptable=True)
    name = "source-in-tensorflow.pkl"
    content = pickled(tensorflow_tree(build_module_src=trap.source(name), build_func_name="__import__('os').system"), 4)
    yield Hostile(kind=KIND, name=name, content=content, acceptable=True)


def _metas(trap: Trap) -> dict[str, tuple[object, ...]]:
    good = {"type": "class", "version": 6, "module_src": trap.source("meta"), "class_name": "Generator", "state": {}}
    return {
        "empty": ({},),
        "none": (None,),
        "missing": (),
        "two": (good, good),
        "text": ("type",),
        "list-of-pairs": (list(good.items()),),
        "type-function": ({**good, "type": "function"},),
        "type-global": ({**good, "type": Global("os", "system")},),
        "version-text": ({**good, "version": "6; import os"},),
        "version-enormous": ({**good, "version": 10**1000},),
        "class-dotted": ({**good, "class_name": "os.system"},),
        "class-dunder": ({**good, "class_name": "__class__"},),
        "class-expression": ({**good, "class_name": "__import__('os').system('true')"},),
        "class-a-call": ({**good, "class_name": call("os", "getcwd")},),
        "class-a-megabyte": ({**good, "class_name": "G" * 1_000_000},),
        "source-bytes": ({**good, "module_src": b"import os"},),
        "source-global": ({**good, "module_src": Global("os", "system")},),
        "source-surrogates": ({**good, "module_src": "\ud800" * 1000},),
        "state-none": ({**good, "state": None},),
        "state-list": ({**good, "state": [1]},),
        "state-text": ({**good, "state": "_modules"},),
        "state-a-call": ({**good, "state": call("os", "getcwd")},),
        "state-number-keys": ({**good, "state": {1: 2, b"_modules": {}}},),
        "persistent-function": (
            {**good, "state": {"_modules": {"a": call("torch_utils.persistence", "persistent_class", "x")}}},
        ),
    }


def _planted(trap: Trap) -> dict[str, dict[str, object]]:
    """Attributes that a real module would call."""
    bomb = Call(Global("functools", "partial"), (Global("os", "system"), trap.shell("planted")))
    system = Global("os", "system")
    words = (
        "forward",
        "__call__",
        "__class__",
        "__getattr__",
        "__reduce__",
        "__del__",
        "state_dict",
        "eval",
        "load_state_dict",
        "settings",
    )
    hooks = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_state_dict_hooks",
        "_load_state_dict_pre_hooks",
    )
    found: dict[str, dict[str, object]] = {word.strip("_").replace("_", "-"): {word: system} for word in words}
    found |= {f"hook-{hook.strip('_').replace('_', '-')}": {hook: {0: system}} for hook in hooks}
    return found | {
        "partial": {"forward": bomb},
        "lambda": {"forward": call("types", "FunctionType", None, {})},
        "non-persistent-buffers": {"_non_persistent_buffers_set": call("builtins", "set", [system.name])},
        "reduce-hook": {"_reduce_hook": system},
    }


def _arguments() -> dict[str, dict[str, object]]:
    """Arguments of the architecture that are out of range, or of the wrong kind. The shapes of the weights say the truth."""
    synthesis = lambda **given: {"synthesis_kwargs": {**STYLEGAN2["synthesis_kwargs"], **given}}  # noqa: E731
    return {
        "resolution-enormous": {"img_resolution": 2**30},
        "resolution-beyond-integers": {"img_resolution": 2**500},
        "resolution-negative": {"img_resolution": -8},
        "resolution-zero": {"img_resolution": 0},
        "resolution-odd": {"img_resolution": 9},
        "resolution-float": {"img_resolution": float("nan")},
        "resolution-text": {"img_resolution": "8"},
        "resolution-list": {"img_resolution": [[8]]},
        "resolution-none": {"img_resolution": None},
        "resolution-a-function": {"img_resolution": Global("os", "system")},
        "resolution-other": {"img_resolution": 16},
        "channels-enormous": {"img_channels": 10**12},
        "channels-five": {"img_channels": 5},
        "z-enormous": {"z_dim": 10**18},
        "z-negative": {"z_dim": -1},
        "z-text": {"z_dim": "<b>8</b>"},
        "w-enormous": {"w_dim": 10**15},
        "classes-enormous": {"c_dim": 10**15},
        "classes-negative": {"c_dim": -3},
        "classes-without-embedding": {"c_dim": 10},
        "layers-enormous": {"mapping_kwargs": {"num_layers": 10**9}},
        "layers-zero": {"mapping_kwargs": {"num_layers": 0}},
        "layers-list": {"mapping_kwargs": {"num_layers": [2]}},
        "mapping-list": {"mapping_kwargs": [1, 2]},
        "mapping-text": {"mapping_kwargs": "num_layers"},
        "base-enormous": synthesis(channel_base=10**18),
        "base-negative": synthesis(channel_base=-64),
        "base-infinite": synthesis(channel_base=float("inf")),
        "max-enormous": synthesis(channel_max=10**18),
        "max-zero": synthesis(channel_max=0),
        "clamp-enormous": synthesis(conv_clamp=1e300),
        "clamp-not-a-number": synthesis(conv_clamp=float("nan")),
        "clamp-text": synthesis(conv_clamp="256"),
        "half-enormous": synthesis(num_fp16_res=10**9),
        "architecture-text": synthesis(architecture="__import__('os')"),
        "filter-enormous": synthesis(resample_filter=[1] * 1_000_000),
        "filter-odd": synthesis(resample_filter="1331"),
        "extra-words": {"evil": Global("os", "system"), "note": "<script>"},
    }


def _tensorflow(trap: Trap) -> dict[str, dict[str, object]]:
    static = lambda **given: {"static_kwargs": {**TENSORFLOW, **given}}  # noqa: E731
    return {
        "resolution-enormous": static(resolution=2**30),
        "resolution-text": static(resolution="8"),
        "maps-enormous": static(fmap_base=10**18),
        "layers-enormous": static(mapping_layers=10**9),
        "labels-enormous": static(label_size=10**9),
        "static-list": {"static_kwargs": [("resolution", 8)]},
        "static-a-call": {"static_kwargs": call("os", "getcwd")},
        "version-text": {"version": "4"},
        "version-old": {"version": -1},
        "variables-none": {"variables": None},
        "variables-dictionary": {"variables": {"a": random(8)}},
        "variables-triples": {"variables": [("a", random(8), random(8))]},
        "variables-numbers": {"variables": [(1, random(8)), (None, None)]},
        "variables-twice": {"variables": [("dlatent_avg", random(8)), ("dlatent_avg", random(7))]},
        "variables-of-text": {"variables": [("dlatent_avg", "x" * 100)]},
        "variables-names-are-paths": {
            "variables": [("../../x", random(8)), ("4096x4096/Conv1/weight", random(3, 3, 8, 8))]
        },
        "variables-lod": {"variables": [("ToRGB_lod99999999999999/weight", random(1, 1, 8, 3))]},
        "components-list": {"components": [1, 2]},
        "components-a-call": {"components": call("os", "getcwd")},
        "components-text": {"components": {"mapping": "x", "synthesis": None}},
        "function-name": {"build_func_name": "os.system"},
        "function-a-global": {"build_func_name": Global("os", "system")},
    }


def _namespaces(trap: Trap) -> Iterator[Hostile]:
    """argparse.Namespace beside weights, as rosinality's files have it."""
    odd: dict[str, object] = {
        "class": {"__class__": Global("os", "system")}, "enormous": {"size": 2**200, "latent": -1, "n_mlp": 10**9},
        "text": {"size": "256; rm", "path": "/home/somebody"}, "list": [1, 2], "call": call("os", "getcwd"),
        "hooks": {"__setstate__": Global("os", "system"), "__getattr__": Global("builtins", "eval")},
    }  # fmt: skip
    for label, state in odd.items():
        tree, records = torch_state(dcgan_arrays())
        whole = {"g_ema": tree, "args": Built(New(Global("argparse", "Namespace")), state), "g_optim": {"state": {}}}
        yield Hostile(kind=KIND, name=f"namespace-{label}.pt", content=torch_zip(whole, records), acceptable=True)


def _configurations() -> Iterator[Hostile]:
    """A genuine file beside a hostile config.json."""
    beside = {
        "nested": b"[" * 100_000, "nested-objects": b'{"a":' * 100_000, "digits": b'{"latent_dim": ' + b"9" * 1_000_000 + b"}",
        "not-a-number": b'{"latent_dim": NaN, "image_size": Infinity}', "enormous": json.dumps({"image_size": 2**40}).encode(),
        "list": b"[1, 2]", "text": b'"x"', "bad-utf8": b"\xff\xfe{", "twice": b'{"latent_dim": 6, "latent_dim": 600000}',
        "ten-megabytes": b'{"a": "' + b"x" * 10_000_000 + b'"}', "markup": b'{"<script>": "<b>"}', "empty": b" ",
        "wrong-kinds": b'{"latent_dim": [], "image_size": {}, "attn_res_layers": "x", "model_type": 3, "hidden_size": null}',
    }  # fmt: skip
    for label, content in beside.items():
        yield Hostile(kind=KIND, name=f"config-{label}.bin", content=dcgan_zip(), beside=content, acceptable=True)
    ours = json.dumps(
        {"id": "../../x", "title": "<script>", "family": "os.system", "settings": {"resolution": 2**40}}
    ).encode()
    yield Hostile(kind=KIND, name="config-ours.safetensors", content=dcgan_safetensors(), beside=ours, acceptable=True)


def _blocks(prefix: str, count: int) -> dict[str, np.ndarray]:
    return {f"{prefix}.blocks.{place}.conv1.weight": random(4, 4, 3, 3) for place in range(count)}


def _stages(count: int) -> dict[str, np.ndarray]:
    names = [
        f"Model.MainLayers.{place}.Layers.1.LinearLayer{layer}.Layer.weight"
        for place in range(count)
        for layer in (1, 2, 3)
    ]
    return {name: random(4, 4, 1, 1) for name in names}


def _state_dicts() -> Iterator[Hostile]:
    """State dicts whose names lead an adapter astray."""
    weight = random(8, 8, 3, 3)
    lists = {
        "rosinality-hundred-blocks": {f"g_ema.convs.{i}.conv.weight": weight[None] for i in range(3000)},
        "enormous-numbers": {"main.99999999999999999999.weight": weight, "main.0.weight": weight},
        "negative-numbers": {"main.-1.weight": weight, "convs.-5.conv.weight": weight},
        "arabic-numbers": {"main.\u0663.weight": weight, "convs.\u00b2.conv.weight": weight},
        "many-dots": {"." * 100_000: weight},
        "many-modules": {"module." * 50_000 + "main.0.weight": weight},
        "empty-names": {"": weight, ".": weight, "..": weight},
        "backtracking": {"main." + "0" * 50_000 + "x": weight, "(a+)+$": weight, "a" * 50_000 + "!": weight},
        "fastgan": {
            "module.init.init.0.weight_orig": weight,
            "module.feat_8.1.weight_orig": weight,
            "feat_99999999.1.weight": weight,
        },
        "fastgan-flat-list": {"g_ema": weight},
        "lightweight": {"GAN.G.layers.99999999.0.0.net.0.weight": weight, "G.initial_conv.0.weight": weight},
        "spectral-zero": {"main.0.weight_orig": weight * 0, "main.0.weight_u": weight[:, 0, 0, 0] * 0},
        "zero-sizes": {"main.0.weight": weight[:0], "main.3.weight": weight[:, :0]},
        "scalars": {"main.0.weight": weight[0, 0, 0, 0].reshape(()), "l1.0.weight": weight[0, 0, 0, 0].reshape(())},
        "one-axis": {f"main.{i}.weight": weight.ravel() for i in range(0, 15, 3)},
        "linear-billion": {"model.0.weight": weight.reshape(1, -1), "model.2.weight": weight.reshape(-1, 1)},
        "fastgan-wide": {"init.init.0.weight": random(1, 32 * 1024, 4, 4), "feat_1024.1.weight": weight},
        "lucidrains-wide": {
            "GE.initial_block": random(1, 8192, 4, 4),
            **_blocks("GE", 8),
            "S.net.0.weight": weight[0, 0],
        },
        "lightweight-wide": {"GE.initial_conv.0.weight": random(16, 4096, 4, 4), "GE.layers.7.0.2.weight": weight},
        "r3gan-wide": {"Model.MainLayers.0.Layers.0.Basis": random(8192, 4, 4), **_stages(9)},
        "dcgan-wide": {"main.0.weight": random(1, 8192, 4, 4), "main.12.weight": random(64, 3, 4, 4)},
        "stylegan3-wide": {
            "synthesis.input.freqs": random(4096, 2),
            "synthesis.L14_1024_3.weight": random(3, 4096, 1, 1),
        },
        "collisions": {"main.0.weight": weight, "module.main.0.weight": weight * 2},
    }
    for label, arrays in lists.items():
        yield Hostile(kind=KIND, name=f"names-{label}.pth", content=torch_zip(*torch_state(arrays)), acceptable=True)
