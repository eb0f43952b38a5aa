"""The layers of a plain stack from the parts of its state dict: what each sum is, and what follows it.

A weight [a, b, k, k] is a transposed convolution from a to b maps, or a convolution from b to a; only how it joins its
neighbours tells. Modules without numbers (activations, enlargements) show as gaps in the numbering of a Sequential.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from studio.weights.foreign.parts import Arrays, Part, natural

_MOST_SUMS = 48
_MOST_READINGS = 16
_MOST_TRIALS = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """One layer: a sum and what follows it.

    Attributes:
        kind: "transposed", "convolution" or "linear".
        inputs, outputs: feature maps; of a linear layer numbers.
        kernel: of a convolution; of a linear layer the width in pixels of what it makes, 1 until the next layer tells.
        norm, slope: what follows, if anything does.
        norm_last: whether an activation lies between the sum and the normalisation.
        hidden_before: modules without numbers right before the sum; None if the names cannot tell.
        apart: whether the part before it lies in another Sequential, so that more may be hidden.
        opened: whether the sum follows a normalisation that is the first of its Sequential.
    """

    kind: str
    inputs: int
    outputs: int
    kernel: int
    total: Part
    norm: Part | None = None
    slope: Part | None = None
    norm_last: bool = False
    hidden_before: int | None = None
    apart: bool = False
    opened: bool = False

    @property
    def bias(self) -> bool:
        return "bias" in self.total.tensors

    @property
    def maps(self) -> int:
        """Feature maps that it makes, also where it is linear."""
        return self.outputs // self.kernel**2 if self.kind == "linear" else self.outputs

    @property
    def norm_kind(self) -> str:
        """The studio's word for its normalisation. One without statistics may also be "group": nothing tells."""
        if self.norm is None:
            return "none"
        numbers = self.norm.tensors
        shape = numbers["running_mean" if "running_mean" in numbers else "weight"].shape
        flat = self.kind == "linear" and shape == (self.outputs,)
        if "running_mean" in numbers:
            return "flat_batch" if flat and self.kernel > 1 else "batch"
        return "layer" if len(shape) == 3 or flat else "instance"


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """A whole stack, and what embeds its labels."""

    links: tuple[Link, ...]
    embedding: np.ndarray | None = None

    def names(self, places: int = 3) -> Arrays:
        """All tensors under the names of the studio's own stacks, `places` to a layer."""
        named: Arrays = {} if self.embedding is None else {"label_emb.weight": self.embedding}
        for number, link in enumerate(self.links):
            after = [link.slope, link.norm] if link.norm_last else [link.norm, link.slope]
            if places == 2:
                after.remove(link.norm)
            for place, part in enumerate([link.total, *after], start=places * number):
                tensors = _complete(link) if part is not None and part is link.norm else part and part.tensors
                named |= {f"main.{place}.{name}": tensor for name, tensor in (tensors or {}).items()}
        return named


def chain_of(parts: Sequence[Part], *, ordered: bool) -> Chain | None:
    """The stack that the parts make; None if they do not join to one.

    Args:
        ordered: whether the parts are in the order of the network; else names and shapes must tell it.
    """
    embeddings = [part for part in parts if part.kind == "embedding"]
    rest = [part for part in parts if part.kind != "embedding"]
    if len(embeddings) > 1 or not 1 <= sum(part.kind == "sum" for part in rest) <= _MOST_SUMS:
        return None
    if not ordered:
        rest = sorted(rest, key=lambda part: natural(part.name))
    for attempt in (rest,) if ordered else (rest, _arranged(rest)):
        if links := _linked(attempt):
            return Chain(links=links, embedding=embeddings[0].weight if embeddings else None)
    return None


def _complete(link: Link) -> Arrays:
    """The normalisation's tensors in the shapes of the studio, with a counter, which old files lack or halve."""
    tensors = dict(link.norm.tensors) if link.norm else {}
    if link.norm_kind == "layer":
        return {name: tensor.reshape(link.maps, *_square(tensor, link.maps)) for name, tensor in tensors.items()}
    if "running_mean" in tensors:
        tensors["num_batches_tracked"] = np.zeros((), np.int64)
    return tensors


def _square(tensor: np.ndarray, maps: int) -> tuple[int, int]:
    side = math.isqrt(tensor.size // maps)
    return side, side


def _linked(parts: Sequence[Part]) -> tuple[Link, ...] | None:
    groups = _grouped(parts)
    if groups is None:
        return None
    for kinds in itertools.islice(_kinds(groups), _MOST_READINGS):
        if links := _fitted(groups, _settled(groups, kinds)):
            return links
    return None


def _grouped(parts: Sequence[Part]) -> list[list[Part]] | None:
    """Each sum with the parts behind it; None if anything precedes the first, or two of a kind follow one."""
    groups: list[list[Part]] = []
    for part in parts:
        if part.kind == "sum":
            groups.append([part])
        elif not groups or any(other.kind == part.kind for other in groups[-1]):
            return None
        else:
            groups[-1].append(part)
    return groups


def _kinds(groups: Sequence[Sequence[Part]]) -> Iterator[tuple[str, ...]]:
    """Every way to read the sums so that each joins the one before. Square weights are "either"."""

    def extended(number: int, entering: int, flat: bool) -> Iterator[tuple[str, ...]]:
        if number == len(groups):
            yield ()
            return
        for kind, inputs, outputs in _readings(groups[number][0]):
            if kind != "convolution" if number == 0 else _joins(entering, flat, inputs, kind):
                for rest in extended(number + 1, outputs, kind == "linear"):
                    yield (kind, *rest)

    return extended(0, 0, True)


def _readings(part: Part) -> Iterator[tuple[str, int, int]]:
    """(kind, inputs, outputs) of each way to read a sum that its bias allows; no more than two, mostly one that joins."""
    shape, bias = part.weight.shape, part.tensors.get("bias")
    if len(shape) == 2:
        readings = [("linear", shape[1], shape[0])]
    elif shape[2] != shape[3] or not all(shape):
        readings = []
    elif shape[0] == shape[1]:
        readings = [("either", shape[0], shape[0])]
    else:
        readings = [("transposed", shape[0], shape[1]), ("convolution", shape[1], shape[0])]
    yield from (reading for reading in readings if bias is None or bias.shape == (reading[2],))


def _settled(groups: Sequence[Sequence[Part]], kinds: Sequence[str]) -> list[str]:
    """The kinds with square weights decided: even windows are transposed, odd ones what other odd ones are."""
    odd = [kind for kind, group in zip(kinds, groups, strict=True) if group[0].weight.shape[-1] % 2 and len(kind) > 6]
    fallback = "transposed" if "transposed" in odd and "convolution" not in odd else "convolution"
    return [
        kind if kind != "either" else fallback if number and group[0].weight.shape[-1] % 2 else "transposed"
        for number, (kind, group) in enumerate(zip(kinds, groups, strict=True))
    ]


def _joins(entering: int, flat: bool, inputs: int, kind: str) -> bool:
    if kind == "linear" or not flat:
        return entering == inputs and (kind != "linear" or flat)
    side = math.isqrt(entering // inputs) if inputs else 0
    return side > 0 and side**2 * inputs == entering


def _fitted(groups: Sequence[Sequence[Part]], kinds: Sequence[str]) -> tuple[Link, ...] | None:
    """The links of one reading; None if a normalisation does not fit its sum."""
    links: list[Link] = []
    for number, (kind, group) in enumerate(zip(kinds, groups, strict=True)):
        link = _link(group, kind)
        if number:
            links[-1] = _widened(links[-1], link)
            link = replace(link, **_gap(groups[number - 1][-1], group[0]))
        links.append(link)
    return tuple(links) if all(_norm_fits(link) for link in links) else None


def _link(group: Sequence[Part], kind: str) -> Link:
    total = group[0]
    first, second = total.weight.shape[:2]
    inputs, outputs = (first, second) if kind == "transposed" else (second, first)
    norm = next((part for part in group if part.kind == "norm"), None)
    slope = next((part for part in group if part.kind == "slope"), None)
    between = norm is not None and norm.parent == total.parent and None not in (norm.index, total.index)
    hidden = between and norm is not None and (norm.index or 0) - (total.index or 0) > 1
    return Link(
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        kernel=1 if kind == "linear" else total.weight.shape[2],
        total=total,
        norm=norm,
        slope=slope,
        norm_last=bool(hidden) or (slope is not None and norm is not None and group.index(slope) < group.index(norm)),
    )


def _widened(link: Link, following: Link) -> Link:
    """A linear link before a convolution makes pictures of the maps that it reads."""
    if link.kind != "linear" or following.kind == "linear":
        return link
    return replace(link, kernel=math.isqrt(link.outputs // following.inputs))


def _gap(before: Part, total: Part) -> dict[str, Any]:
    """What the names tell about the modules without numbers between a part and the sum behind it."""
    if before.parent != total.parent:
        inside = before.name.removeprefix(f"{total.parent}.") if total.parent else before.name
        branch = inside.partition(".")[0] if inside != before.name or not total.parent else ""
        passed = int(branch) + 1 if branch.isdecimal() and len(branch) < 5 else 0
        return {"hidden_before": None if total.index is None else max(0, total.index - passed), "apart": True}
    if total.index is None or before.index is None:
        return {"hidden_before": None}
    opened = before.kind == "norm" and before.index == 0
    return {"hidden_before": total.index - before.index - 1, "opened": opened}


def _norm_fits(link: Link) -> bool:
    if link.slope is not None and link.slope.weight.shape not in ((1,), (link.maps,)):
        return False
    if link.norm is None:
        return True
    lengths = {tensor.shape for tensor in link.norm.tensors.values() if tensor.ndim}
    if len(lengths) != 1:
        return False
    (shape,) = lengths
    return shape in ((link.outputs,), (link.maps,)) or (len(shape) == 3 and shape[0] == link.maps)


def _arranged(parts: Sequence[Part]) -> list[Part]:
    """Parts whose order is unknown, in one that joins: what a name holds stays together, loose norms go where they fit."""
    units = _units(parts)
    loose = [part for unit in units if not _sums(unit) for part in unit]
    order = next(_orders([unit for unit in units if _sums(unit)]), None)
    if order is None:
        return list(parts)
    arranged: list[Part] = []
    for number, (unit, _, outputs) in enumerate(order):
        arranged += unit
        following = order[number + 1][1] if number + 1 < len(order) else outputs
        for kind, length in itertools.product(("norm", "slope"), (outputs, following)):
            fitting = [part for part in loose if part.kind == kind and _length(part) == length]
            if fitting and arranged[-1].kind != kind:
                arranged.append(max(fitting, key=lambda part: _likeness(part.name, arranged[-1].name)))
                loose.remove(arranged[-1])
    return [*arranged, *loose]


def _units(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts by the first word in which their names differ; numbers are one unit, as their order is known."""
    paths = [part.name.split(".") for part in parts]
    shared = next((place for place, words in enumerate(zip(*paths, strict=False)) if len(set(words)) > 1), 0)
    units: dict[str, list[Part]] = {}
    for part, path in zip(parts, paths, strict=True):
        word = path[min(shared, len(path) - 1)]
        units.setdefault("" if word.isdecimal() else word, []).append(part)
    return list(units.values())


def _sums(unit: Sequence[Part]) -> list[Part]:
    return [part for part in unit if part.kind == "sum"]


def _length(part: Part) -> int:
    return int(part.tensors.get("running_mean", part.tensors.get("weight", np.zeros(0))).shape[0])


def _likeness(name: str, other: str) -> tuple[int, bool]:
    """How well two names go together: by how they begin, then by their numbers."""
    pairs = zip(name, other, strict=False)
    alike = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike, re.findall(r"\d+", name) == re.findall(r"\d+", other)


def _orders(units: list[list[Part]]) -> Iterator[list[tuple[list[Part], int, int]]]:
    """Orders in which the units join, the linear ones first; each with its inputs and outputs. Gives up in the end."""
    budget = iter(range(_MOST_TRIALS))

    def extended(left: list[list[Part]], entering: int, flat: bool) -> Iterator[list[tuple[list[Part], int, int]]]:
        if not left:
            yield []
        for number, unit in enumerate(left):
            for inputs, outputs, ends_flat in _passages(_sums(unit), entering, flat, first=len(left) == len(units)):
                if next(budget, None) is None:
                    return
                for tail in extended(left[:number] + left[number + 1 :], outputs, ends_flat):
                    yield [(unit, inputs, outputs), *tail]

    return extended(sorted(units, key=lambda unit: _sums(unit)[0].weight.ndim), 0, True)


def _passages(sums: Sequence[Part], entering: int, flat: bool, *, first: bool) -> Iterator[tuple[int, int, bool]]:
    """(inputs, outputs, whether they are flat) of each way through sums whose order is known."""
    for kind, inputs, outputs in _readings(sums[0]):
        if kind != "convolution" if first else _joins(entering, flat, inputs, kind):
            ends_flat = kind == "linear"
            if len(sums) == 1:
                yield inputs, outputs, ends_flat
            else:
                rest = _passages(sums[1:], outputs, ends_flat, first=False)
                yield from ((inputs, *passage[1:]) for passage in rest)
