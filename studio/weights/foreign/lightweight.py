"""The files of lightweight-gan, both generations, and huggan's `pytorch_model.bin` of it -> our lightweight-gan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Candidate, Contents, Imported, tensors

_SHUFFLE = "layers.0.0.0.net.0.weight"
_FINEST_PLAIN = 256
_LARGEST_BASE = 2**24
_ARGUMENTS = (
    "image_size", "latent_dim", "fmap_max", "fmap_inverse_coef", "transparent", "greyscale", "disc_output_size",
    "optimizer", "attn_res_layers", "freq_chan_attn", "syncbatchnorm", "antialias",
)  # fmt: skip
_KNOWN = tuple(
    re.compile(pattern)
    for pattern in (
        r"initial_conv\.(0\.(weight|bias)|1\.\w+)",
        r"out_conv\.(weight|bias)",
        r"layers\.\d\.0\.(0\.net\.0|2|2\.1|[34])\.\w+",
        r"layers\.\d\.1\.(dct_weights|(to_k|net\.[02])\.(weight|bias))",
        r"layers\.\d\.2\.norm\.[gb]",
        r"layers\.\d\.2\.fn\.(to_q|to_lin_q|to_kv|to_out)\.(weight|bias)",
        r"layers\.\d\.2\.fn\.to_(lin_)?kv\.net\.[01]\.weight",
    )
)

Arrays = dict[str, np.ndarray]


def read(contents: Contents) -> Imported | None:
    """The generator of a lightweight-gan; None if there is none.

    Raises:
        BadInput: it is one, but incomplete or of an early version with other layers.
    """
    found = generator_weights(contents.tree, "initial_conv.0.weight", "layers.0.0.")
    if found is None:
        return None
    weights, averaged = found
    blurred = "layers.0.0.1.f" in weights
    weights = {name: value for name, value in weights.items() if not name.endswith(".f")}
    shuffled = _SHUFFLE in weights
    if not shuffled:
        weights = _renumbered(weights)
    _refuse_unknown(weights)
    settings = _settings(weights) | {"shuffled": shuffled, "blurred": blurred}
    candidates = [Candidate(title="Normalised by what was learned", settings=settings)]
    if not shuffled:
        anew = Candidate(title="Normalisation measured anew", settings=settings | {"calibrated": True})
        candidates.append(anew)
    return Imported(
        family="lightweight",
        format=f"lightweight-gan (Phil Wang), {'later' if shuffled else 'earlier'} generation",
        candidates=tuple(candidates),
        generator=weights,
        arguments={name: contents.config[name] for name in _ARGUMENTS if name in contents.config},
        warnings=() if averaged else ("It holds no averaged weights, so the latest ones are used.",),
    )


def generator_weights(tree: object, *beginnings: str) -> tuple[Arrays, bool] | None:
    """The state dict of the generator in a file of this author's, and whether it is the averaged one.

    Averages lie under `GE.`, the latest weights under `G.`; a bare generator counts as averaged.

    Args:
        beginnings: what each must have a tensor's name begin with.
    """
    state = tree.get("GAN", tree) if isinstance(tree, dict) else tree
    for prefix in ("GE.", "G.", ""):
        weights = {name.replace("_orig_mod.", "", 1): value for name, value in tensors(state, prefix).items()}
        if all(any(name.startswith(beginning) for name in weights) for beginning in beginnings):
            return weights, prefix != "G."
    return None


def _renumbered(weights: Arrays) -> Arrays:
    """Before there was a blur, convolution and normalisation had the numbers 1 and 2; now they have 2 and 3."""
    if "layers.0.0.3.running_mean" in weights:
        return weights
    return {
        re.sub(r"^(layers\.\d\.0\.)([12])\.", lambda found: f"{found[1]}{int(found[2]) + 1}.", name): value
        for name, value in weights.items()
    }


def _refuse_unknown(weights: Mapping[str, np.ndarray]) -> None:
    strange = [name for name in weights if not any(pattern.fullmatch(name) for pattern in _KNOWN)]
    pooled = [name for name in weights if name.endswith(".1.net.0.weight") and weights[name].shape[2:] != (1, 1)]
    if strange or pooled:
        raise BadInput(
            f"This lightweight-gan is of an early version, with layers ({(strange + pooled)[0][:60]}) that came out "
            "of use.", "Train or convert it with version 0.15 or later.",
        )  # fmt: skip


def _settings(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the shapes say."""
    depth = numbered(weights, "layers.")
    first, last = weights["initial_conv.0.weight"], weights.get("out_conv.weight")
    if not depth or last is None or last.ndim != 4 or first.ndim != 4:
        raise BadInput("This lightweight-gan file lacks layers.", "Download it again.")
    outputs = {8 << place: _outputs(weights, place) for place in range(depth)}
    return {
        "resolution": 4 << depth,
        "channels": last.shape[0],
        "z_dim": first.shape[0],
        **_channels({size: count for size, count in outputs.items() if size <= _FINEST_PLAIN}),
        "attention": [4 << place for place in range(depth) if f"layers.{place}.2.norm.g" in weights],
        "local_attention": any(".fn.to_lin_q." in name for name in weights),
        "frequencies": any(name.endswith(".dct_weights") for name in weights),
    }


def _outputs(weights: Mapping[str, np.ndarray], place: int) -> int:
    """Channels after the gate of one layer."""
    weight = weights.get(f"layers.{place}.0.2.1.weight", weights.get(f"layers.{place}.0.2.weight"))
    return 0 if weight is None or weight.ndim != 4 else weight.shape[0] // 2


def _channels(outputs: Mapping[int, int]) -> dict[str, int]:
    """The largest count of channels, and the product with the resolution that the finer ones have in common."""
    largest = max(outputs.values())
    base = max(size * count for size, count in outputs.items())
    agree = all(count == min(base // size, largest) for size, count in outputs.items())
    if not agree or not 0 < base <= _LARGEST_BASE:
        raise BadInput("The layers of this lightweight-gan do not have the widths of the author's.", "Ask its author.")
    return {"channel_base": base, "channel_max": largest}


def numbered(names: Iterable[str], beginning: str) -> int:
    """How many there are of `beginning`0, `beginning`1, …"""
    found = {name[len(beginning) :].partition(".")[0] for name in names if name.startswith(beginning)}
    return next(count for count in range(len(found) + 1) if str(count) not in found)
