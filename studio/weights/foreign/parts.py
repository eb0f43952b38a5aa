"""A state dict of a plain stack, cut into the parts of its network: sums, normalisations, slopes, an embedding.

Names are only used for what they must tell: which network it is, what belongs together, and the order where a file
does not keep it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.weights.foreign.contents import Contents, tensors

Arrays = dict[str, np.ndarray]

_GENERATOR = re.compile(r"(^|[_.])(net|model)?_?(g|gen|generator)([_.\d]|$)", re.IGNORECASE)
_CRITIC = re.compile(r"(^|[_.])(net|model)?_?(d|dis|disc|discriminator|c|critic)([_.\d]|$)", re.IGNORECASE)
_AVERAGE = re.compile(r"ema|average|shadow", re.IGNORECASE)
_OTHER = re.compile(r"optim|opt_|_opt|sched|scaler|loss|history|args|config", re.IGNORECASE)
_WRAPPERS = re.compile(r"(^|(?<=\.))(module|_orig_mod)\.")
_EMBEDDING = re.compile(r"emb|label|class|cond", re.IGNORECASE)
_DEEPEST = 3
_RUNNING = {"running_mean", "running_var", "num_batches_tracked"}
_SPECTRAL = {"weight_orig", "weight_u", "weight_v"}
_SPECTRAL_NEW = {"parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"}
_WEIGHT_NORM = ({"weight_g", "weight_v"}, {"parametrizations.weight.original0", "parametrizations.weight.original1"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What one module of a network holds.

    Attributes:
        name: its dotted name.
        kind: "sum" (linear or convolution), "norm", "slope" (of a PReLU) or "embedding".
        tensors: by their last name.
    """

    name: str
    kind: str
    tensors: Arrays

    @property
    def weight(self) -> np.ndarray:
        return self.tensors["weight"]

    @property
    def parent(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def index(self) -> int | None:
        """Its place in a Sequential, if its name is one."""
        last = self.name.rpartition(".")[2]
        return int(last) if last.isdecimal() and len(last) < 5 else None


def states(contents: Contents, *, critic: bool = False) -> Iterator[Arrays]:
    """The state dicts in a file that may be its generator's (or its critic's), likeliest first, wrappers taken off."""
    wanted, other = (_CRITIC, _GENERATOR) if critic else (_GENERATOR, _CRITIC)
    for name, state in sorted(_flat_states(contents.tree), key=lambda pair: _rank(pair[0], wanted)):
        if not other.search(name):
            yield _of_network(state, wanted, other)


def parts_of(state: Mapping[str, np.ndarray]) -> tuple[Part, ...] | None:
    """The parts in the order of the state dict; None if it holds anything that a plain stack does not."""
    groups: dict[str, Arrays] = {}
    for name, value in state.items():
        module, leaf = _split(name)
        groups.setdefault(module, {})[leaf] = value
    parts = []
    for name, group in groups.items():
        held = _plain_weight(group)
        kind = _kind(name, held)
        if not kind:
            return None
        parts.append(Part(name=name, kind=kind, tensors=held))
    return tuple(parts)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts names as people count: main.2 before main.10."""
    pieces = re.findall(r"\d+|\D+", name)
    return tuple((0, int(piece[:9]), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces)


def _flat_states(tree: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, Arrays]]:
    if not isinstance(tree, dict) or depth > _DEEPEST:
        return
    own = tensors(tree)
    if any(value.ndim in (2, 4) for value in own.values()):
        yield name, own
    for key, value in tree.items():
        if isinstance(key, str) and isinstance(value, dict) and not _OTHER.search(key):
            yield from _flat_states(value, f"{name}.{key}" if name else key, depth + 1)


def _rank(name: str, wanted: re.Pattern[str]) -> tuple[bool, bool]:
    return (not wanted.search(name), not _AVERAGE.search(name))


def _of_network(state: Arrays, wanted: re.Pattern[str], other: re.Pattern[str]) -> Arrays:
    """One network's part of a state dict, where it holds two under names such as generator.* and discriminator.*."""
    state = {_WRAPPERS.sub("", name): value for name, value in state.items()}
    heads = {name.partition(".")[0] for name in state}
    mine = {head for head in heads if wanted.fullmatch(head)}
    if mine and any(other.fullmatch(head) for head in heads):
        best = min(mine, key=lambda head: (not _AVERAGE.search(head), head))
        return {name: value for name, value in state.items() if name.partition(".")[0] == best}
    return state


def _split(name: str) -> tuple[str, str]:
    if ".parametrizations." in name:
        module, _, leaf = name.partition(".parametrizations.")
        return module, f"parametrizations.{leaf}"
    module, _, leaf = name.rpartition(".")
    return module, leaf


def _plain_weight(group: Arrays) -> Arrays:
    """The tensors of a module with spectral or weight normalisation folded into its weight."""
    rest = {name: value for name, value in group.items() if name in ("weight", "bias") or name in _RUNNING}
    if set(group) in (_SPECTRAL, _SPECTRAL | {"bias"}):
        return rest | {"weight": _spectral(*(group[f"weight_{name}"] for name in ("orig", "u", "v")))}
    if set(group) - {"bias"} == _SPECTRAL_NEW:
        return rest | {"weight": _spectral(*(group[name] for name in sorted(_SPECTRAL_NEW, key=_spectral_order)))}
    for gain, direction in (sorted(names) for names in _WEIGHT_NORM):
        if set(group) - {"bias"} == {gain, direction}:
            return rest | {"weight": _weight_normalised(group[gain], group[direction])}
    return group


def _spectral_order(name: str) -> int:
    return ("original", "_u", "_v").index(name.rpartition(".")[2])


def _spectral(weight: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The weight divided by its largest singular value (Miyato et al. 2018), as the stored vectors tell it.

    Transposed convolutions count their outputs along the second axis. Where both fit, the vectors belong to the axis
    along which they find more: they have been turned towards the largest value there.
    """
    if weight.ndim < 2 or left.ndim != 1 or right.ndim != 1 or len(left) * len(right) != weight.size:
        return weight
    turned = (np.moveaxis(weight, axis, 0) for axis in (0, 1) if weight.shape[axis] == len(left))
    values = [left.astype(np.float64) @ each.reshape(len(left), -1).astype(np.float64) @ right for each in turned]
    sigma = float(max(values, key=abs, default=0.0))
    return np.asarray(weight / np.float32(sigma), np.float32) if sigma else weight


def _weight_normalised(gain: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """gain x direction / |direction|, along the axis that the gain keeps (Salimans & Kingma 2016)."""
    if gain.ndim != direction.ndim:
        return direction
    axes = tuple(axis for axis in range(direction.ndim) if gain.shape[axis] == 1)
    length = np.sqrt(np.sum(direction.astype(np.float64) ** 2, axis=axes, keepdims=True))
    return np.asarray(gain * direction / np.maximum(length, 1e-30), np.float32)


def _kind(name: str, held: Mapping[str, Any]) -> str:
    """What a module is, by what it holds; "" if nothing that is known."""
    weight, bias = held.get("weight"), held.get("bias")
    names = set(held)
    if any(tensor.size == 0 for tensor in held.values()):
        return ""
    if {"running_mean", "running_var"} <= names <= _RUNNING | {"weight", "bias"}:
        return "norm" if held["running_mean"].ndim == 1 else ""
    if weight is None or not names <= {"weight", "bias"} or not np.issubdtype(weight.dtype, np.floating):
        return ""
    if weight.ndim == 2 and bias is None and _EMBEDDING.search(name):
        return "embedding"
    if weight.ndim in (2, 4):
        return "sum" if bias is None or bias.ndim == 1 else ""
    if bias is not None and weight.shape == bias.shape and weight.ndim in (1, 3):
        return "norm"
    return "slope" if bias is None and weight.ndim == 1 else ""
