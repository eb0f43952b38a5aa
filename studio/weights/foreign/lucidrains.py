"""The `model_{n}.pt` files of stylegan2-pytorch -> our family of that generator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Candidate, Contents, Imported, tensors
from studio.weights.foreign.lightweight import generator_weights, numbered

_RATES = (0.1, 1.0)
_AVERAGED = 4096
_SLOPE = 0.2
_UNSCALED = 0.3
_ARGUMENTS = (
    "image_size", "network_capacity", "lr_mlp", "transparent", "fq_layers", "fq_dict_size", "attn_layers", "no_const",
)  # fmt: skip
_KNOWN = tuple(
    re.compile(pattern)
    for pattern in (
        r"S\.net\.\d+\.(weight|bias)",
        r"G\.(initial_block|to_initial_block\.weight|initial_conv\.(weight|bias))",
        r"G\.blocks\.\d\.(to_style|to_noise)[12]\.(weight|bias)",
        r"G\.blocks\.\d\.(conv[12]\.weight|to_rgb\.conv\.weight|to_rgb\.to_style\.(weight|bias))",
        r"G\.attns\.\d\.[01]\.fn\.norm\.[gb]",
        r"G\.attns\.\d\.0\.fn\.fn\.(to_q\.weight|to_kv\.net\.[01]\.weight|to_out\.(weight|bias))",
        r"G\.attns\.\d\.1\.fn\.fn\.[02]\.(weight|bias)",
    )
)

Arrays = dict[str, np.ndarray]


def read(contents: Contents) -> Imported | None:
    """The generator of a stylegan2-pytorch model; None if there is none.

    Raises:
        BadInput: it is one, but incomplete or of an early version with other layers.
    """
    found = generator_weights(contents.tree, "blocks.0.to_style1.", "blocks.0.to_noise1.")
    if found is None:
        return None
    synthesis, averaged = found
    mapping = tensors(_state(contents.tree), "SE." if averaged else "S.")
    blurred = any(name.endswith(".f") for name in synthesis)
    weights = {f"S.{name.replace('_orig_mod.', '', 1)}": value for name, value in mapping.items()}
    weights |= {f"G.{name}": value for name, value in synthesis.items() if not name.endswith(".f")}
    _refuse_unknown(weights)
    settings = _settings(weights) | {"blurred": blurred}
    rates = _rates(weights, contents.config.get("lr_mlp"))
    weights["w_avg"] = _mean_style(weights, settings, rates[0])
    return Imported(
        family="lucidrains",
        format="StyleGAN2 (stylegan2-pytorch by Phil Wang)",
        candidates=tuple(
            Candidate(title=f"Mapping layers at a rate of {rate:g}", settings=settings | {"mapping_rate": rate})
            for rate in rates
        ),
        generator=weights,
        arguments={name: contents.config[name] for name in _ARGUMENTS if name in contents.config},
        warnings=() if averaged else ("It holds no averaged weights, so the latest ones are used.",),
    )


def _state(tree: object) -> object:
    return tree.get("GAN", tree) if isinstance(tree, dict) else tree


def _refuse_unknown(weights: Mapping[str, np.ndarray]) -> None:
    strange = [name for name in weights if not any(pattern.fullmatch(name) for pattern in _KNOWN)]
    if strange or "G.initial_conv.weight" not in weights:
        raise BadInput(
            f"This StyleGAN2 of stylegan2-pytorch is of an early version, with layers ({(strange or ['none'])[0][:60]}) "
            "that came out of use.", "Train or convert it with version 1.0 or later.",
        )  # fmt: skip
    if "S.net.0.weight" not in weights:
        raise BadInput("This StyleGAN2 of stylegan2-pytorch lacks its mapping network.", "Download it again.")


def _settings(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the shapes say."""
    blocks = numbered(weights, "G.blocks.")
    kernels = [weights.get(f"G.blocks.{place}.conv1.weight") for place in range(blocks)]
    widths = [0 if kernel is None or kernel.ndim != 4 else kernel.shape[0] for kernel in kernels]
    picture, first = weights.get(f"G.blocks.{blocks - 1}.to_rgb.conv.weight"), weights["S.net.0.weight"]
    if 0 in widths or picture is None or picture.ndim != 4 or first.ndim != 2:
        raise BadInput("This StyleGAN2 of stylegan2-pytorch lacks layers.", "Download it again.")
    largest, capacity = max(widths), max(widths[-1] // 2, 1)
    if widths != [min(capacity << power, largest) for power in range(blocks, 0, -1)]:
        raise BadInput("The layers of this StyleGAN2 do not have the widths of its author's.", "Ask its author.")
    return {
        "resolution": 2 << blocks,
        "channels": picture.shape[0],
        "z_dim": first.shape[1],
        "mapping_layers": sum(re.fullmatch(r"S\.net\.\d+\.weight", name) is not None for name in weights),
        "capacity": capacity,
        "channel_max": largest,
        "learned_start": "G.initial_block" in weights,
        "attention": [place for place in range(blocks) if f"G.attns.{place}.0.fn.norm.g" in weights],
    }


def _rates(weights: Mapping[str, np.ndarray], stated: object) -> tuple[float, ...]:
    """The rate of the mapping layers, which the file itself does not say: from its configuration, else both customary
    ones. Weights near a deviation of 1 were never scaled, so they need the small one."""
    if isinstance(stated, (int, float)) and not isinstance(stated, bool) and 1e-6 <= stated <= 100:
        return (float(stated),)
    return _RATES if float(weights["S.net.0.weight"].std()) > _UNSCALED else _RATES[::-1]


def _mean_style(weights: Mapping[str, np.ndarray], settings: Mapping[str, Any], rate: float) -> np.ndarray:
    """[z_dim], what truncation pulls towards: the mean over fixed latents."""
    hidden: np.ndarray = np.random.RandomState(0).standard_normal((_AVERAGED, settings["z_dim"])).astype(np.float32)
    hidden /= np.maximum(np.linalg.norm(hidden, axis=1, keepdims=True), 1e-12)
    for layer in range(settings["mapping_layers"]):
        weight, bias = (weights.get(f"S.net.{2 * layer}.{kind}") for kind in ("weight", "bias"))
        if weight is None or bias is None or weight.shape != (settings["z_dim"],) * 2 or bias.shape != weight.shape[:1]:
            raise BadInput("The mapping network of this StyleGAN2 does not fit together.", "Download it again.")
        hidden = hidden @ (weight.T * rate) + bias * rate
        hidden = np.where(hidden < 0, hidden * np.float32(_SLOPE), hidden)
    return np.asarray(hidden.mean(axis=0), np.float32)
