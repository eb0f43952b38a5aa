"""StyleGAN2-ADA and StyleGAN3 as NVIDIA's programs and their relatives pickle them (projected-gan, DiffAugment).

The file is a dict of whole modules: G, D and G_ema, the mean of G over training, which is the one to play. Each module
comes as an inert record of its `__dict__`. Plain state dicts under the same names are read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign import stylegan2_shape, stylegan3_shape
from studio.weights.foreign.contents import Contents, Imported, Record, module_tensors, tensors
from studio.weights.foreign.stylegan2_shape import Critic

_RATE = 0.01
_LINEAR = frozenset({"embed", "affine", "out", "skip"})
_SNAPSHOT = re.compile(r"network-snapshot-(\d{1,9})\b")
_KEPT_OF_DATA = ("max_size", "use_labels", "xflip", "resolution")
_DEEPEST = 20
_DEEPEST_ARGUMENT = 4
_LARGEST_GROUP = 64
_LARGEST_NUMBER = 1e300
_LONGEST = 200
_HINT = "Open one of the original networks, or train one here."


def read(contents: Contents) -> Imported | None:
    """A StyleGAN2 or StyleGAN3 with its discriminator; None if the file holds neither.

    Raises:
        BadInput: it is one, but of a kind that cannot be played.
    """
    networks = _networks(contents.tree)
    source = networks.get("G" if networks.get("G_ema") is None else "G_ema")
    generator = _tensors(source)
    if "synthesis.b4.const" not in generator and "synthesis.input.freqs" not in generator:
        return None
    if oddity := _oddity(source):
        raise BadInput(f"This generator cannot be played: {oddity}.", _HINT)
    critic, clamp, seen = _critic(networks.get("D")), _clamp(source), kimg(contents)
    arguments = _arguments(source, contents.tree)
    title = f"(NVIDIA's PyTorch), {contents.container}"
    if "synthesis.b4.const" in generator:
        return stylegan2_shape.assemble(
            generator,
            critic,
            format=f"StyleGAN2 {title}",
            settings={"conv_clamp": clamp},
            kimg=seen,
            arguments=arguments,
        )
    return stylegan3_shape.assemble(
        generator, critic, format=f"StyleGAN3 {title}", given=_given(source), conv_clamp=clamp, kimg=seen,
        arguments=arguments,
    )  # fmt: skip


def kimg(contents: Contents) -> float:
    """Thousands of pictures seen in training, by the file's own count or by its name; 0 if neither tells."""
    tree = contents.tree if isinstance(contents.tree, dict) else {}
    progress = tree.get("progress")
    for source in (tree, progress if isinstance(progress, dict) else {}):
        count = number(source.get("cur_nimg"))
        if count is not None and 0 <= count < 1e15:
            return count / 1000
    name = _SNAPSHOT.search(contents.file_name)
    return float(name[1]) if name else 0.0


def number(value: object) -> float | None:
    """A finite number, also if it comes as an array of one element; None for anything else."""
    if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, (int, float)) and -_LARGEST_NUMBER < value < _LARGEST_NUMBER:
        return float(value)
    return None


def group_size(value: object) -> int:
    """How many pictures a discriminator compares at a time; None means the whole batch, which is the most we allow."""
    return int(min(max(number(value) or _LARGEST_GROUP, 1), _LARGEST_GROUP))


def members(value: object) -> dict[str, Any]:
    """The entries of a dict, or of a record that stands for one."""
    if isinstance(value, Record):
        value = value.state
    return {name: entry for name, entry in value.items() if isinstance(name, str)} if isinstance(value, dict) else {}


def plain(value: object, depth: int = 0) -> Any:
    """Arguments as JSON: numbers, short words and collections of them; what may be a path, and all else, is left out."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST and not re.search(r"[/\\~]|://", value) else None
    if depth < _DEEPEST_ARGUMENT and isinstance(value, (list, tuple)) and len(value) <= _LONGEST:
        return [plain(entry, depth + 1) for entry in value]
    if depth < _DEEPEST_ARGUMENT and isinstance(value, (dict, Record)):
        kept = {name: plain(entry, depth + 1) for name, entry in list(members(value).items())[:_LONGEST]}
        return {name: entry for name, entry in kept.items() if entry is not None and plain(name) == name}
    return number(value)


def _networks(tree: object) -> dict[str, Any]:
    """The parts of a snapshot; a lone generator counts as its G_ema."""
    if isinstance(tree, dict) and ("G_ema" in tree or "G" in tree):
        return members(tree)
    return {"G_ema": tree}


def _tensors(source: object) -> dict[str, np.ndarray]:
    """The tensors of a module or of a state dict, less the filters that never change."""
    found = module_tensors(source) if isinstance(source, Record) else tensors(source)
    return stylegan2_shape.without_filters(found)


def _critic(source: object) -> Critic | None:
    if source is None:
        return None
    groups = [group_size(layer.attribute("group_size")) for path, layer in _modules(source) if path[-1:] == ("mbstd",)]
    settings = {"conv_clamp": _clamp(source), "mbstd_group_size": groups[0] if groups else 4}
    oddity = _oddity(source)
    return Critic(
        tensors=_tensors(source), settings=settings, problem=f"The old one cannot be used: {oddity}." if oddity else ""
    )


def _modules(source: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Record]]:
    """A module and all below it, each with the names that lead to it."""
    if not isinstance(source, Record):
        return
    yield path, source
    if len(path) < _DEEPEST:
        for name, child in members(source.attribute("_modules")).items():
            yield from _modules(child, (*path, name))


def _given(source: object) -> dict[str, float]:
    """The numbers among the arguments that a synthesis network was made from, and those that it kept."""
    found: dict[str, float] = {}
    for path, layer in _modules(source):
        if path in ((), ("synthesis",)):
            arguments = members(layer.attribute("_init_kwargs"))
            for group in (members(arguments.get("synthesis_kwargs")), arguments, members(layer) if path else {}):
                found |= {name: value for name, entry in group.items() if (value := number(entry)) is not None}
    return found


def _clamp(source: object) -> float:
    """The limit of the activations; 0 for none."""
    limits = [number(layer.attribute("conv_clamp")) for _, layer in _modules(source)]
    return max((limit for limit in limits if limit is not None), default=0.0)


def _oddity(source: object) -> str:
    """What makes a network compute otherwise than ours, in a few words; empty if nothing does."""
    for path, layer in _modules(source):
        last = path[-1] if path else ""
        expected = "linear" if last in _LINEAR else "lrelu"
        activation = layer.attribute("activation")
        if activation is not None and not (isinstance(activation, str) and activation == expected):
            return f"its activation {str(activation)[:20]!r} is not the usual one"
        rate = number(layer.attribute("bias_gain"))
        if rate is not None and not np.isclose(rate, _RATE if re.fullmatch(r"fc\d+", last) else 1):
            return f"its layers learn at {rate:g} of the usual rate"
        if not _is_binomial(members(layer.attribute("_buffers")).get("resample_filter")):
            return "it resizes with a filter of its own"
    return ""


def _is_binomial(values: object) -> bool:
    """Whether a resampling filter, if there is any, is the usual [1, 3, 3, 1] in both directions."""
    if not isinstance(values, np.ndarray):
        return True
    taps = np.array([1.0, 3.0, 3.0, 1.0]) / 8
    return values.shape == (4, 4) and bool(np.allclose(values, np.outer(taps, taps), atol=1e-3))


def _arguments(source: object, tree: object) -> dict[str, Any]:
    """What the network was made from and how it was trained, as far as it is neither a path nor a secret."""
    found: dict[str, Any] = {}
    if isinstance(source, Record) and (given := plain(source.attribute("_init_kwargs"))):
        found["generator"] = given
    snapshot = members(tree)
    data = members(snapshot.get("training_set_kwargs"))
    if kept := {name: plain(data[name]) for name in _KEPT_OF_DATA if name in data}:
        found["data"] = kept
    pipe = snapshot.get("augment_pipe")
    chance = number(members(pipe.attribute("_buffers")).get("p")) if isinstance(pipe, Record) else None
    return found if chance is None else {**found, "augment_p": chance}
