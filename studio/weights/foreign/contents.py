"""What a foreign file holds, as plain data, and what an adapter makes of it. numpy only; nothing here can be executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

_DEEPEST = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """What stands for anything that is not plain data: an object of a class, or the result of a call that was not made.

    Attributes:
        name: module and qualified name as the file says, such as "training.networks.Generator"; of a persistent object
            of NVIDIA's (whose source text is dropped) the class name alone.
        arguments: what it would have been made from.
        state: what it would have been filled with; of a torch module its `__dict__`.
        persistent: whether it is one of NVIDIA's persistent objects.
        source_sha256: checksum of the source text that came with it and was not looked at; empty if none.
    """

    name: str
    arguments: tuple[object, ...] = ()
    state: object = None
    persistent: bool = False
    source_sha256: str = ""

    @property
    def class_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    def attribute(self, name: str) -> object:
        """What the object's state holds under a name; None if nothing."""
        return self.state.get(name) if isinstance(self.state, dict) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """A parsed file.

    Attributes:
        tree: dict, list, tuple, set, str, int, float, bool, None, bytes, arrays (every tensor, read-only; bfloat16 as
            float32) and records.
        container: "pickle", "torch" or "safetensors".
        config: the JSON that lay beside the file (config.json, .config.json); empty if none.
        file_name: without folders.
    """

    tree: object
    container: str
    config: Mapping[str, object] = field(default_factory=dict)
    file_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to read what the names and shapes cannot tell; the artist picks by eye.

    Attributes:
        title: short and plain, such as "Values from 0 to 1".
        settings: of the family, as JSON.
    """

    title: str
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Imported:
    """What an adapter read: weights under the names of our own family.

    Attributes:
        format: for people, such as "StyleGAN2-ADA (NVIDIA), pickle".
        candidates: at least one; the first is the best guess.
        classes: names of the classes, numbers where the file has none.
        arguments: the original ones that are worth keeping, as JSON, without paths.
        warnings: plain sentences that the artist should read.
    """

    family: str
    format: str
    candidates: tuple[Candidate, ...]
    generator: Mapping[str, np.ndarray]
    discriminator: Mapping[str, np.ndarray] | None = None
    classes: tuple[str, ...] = ()
    kimg: float = 0.0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def tensors(tree: object, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of a flat state dict whose names begin with `prefix`, which is taken off."""
    if not isinstance(tree, dict):
        return {}
    return {
        name[len(prefix) :]: value
        for name, value in tree.items()
        if isinstance(name, str) and name.startswith(prefix) and isinstance(value, np.ndarray)
    }


def is_module(value: object) -> TypeGuard[Record]:
    """Whether a value is a whole torch module: an object, made from nothing but its class, with a module's members."""
    if not isinstance(value, Record) or value.arguments or value.persistent:
        return False
    return isinstance(value.state, dict) and value.state.keys() >= {"_parameters", "_buffers", "_modules"}


def opened_modules(tree: object) -> object:
    """The tree with state dicts in the places of whole torch modules: of itself, or of the entries of a dict.

    Without any it is the same object.
    """
    if is_module(tree):
        return module_tensors(tree)
    if isinstance(tree, dict) and any(is_module(part) for part in tree.values()):
        return {name: module_tensors(part) if is_module(part) else part for name, part in tree.items()}
    return tree


def module_tensors(module: Record, prefix: str = "", depth: int = 0) -> dict[str, np.ndarray]:
    """Parameters and buffers of a torch module and its children by dotted name, from their `__dict__`."""
    found: dict[str, np.ndarray] = {}
    for group in ("_parameters", "_buffers"):
        members = module.attribute(group)
        if isinstance(members, dict):
            found |= {f"{prefix}{name}": value for name, value in members.items() if isinstance(value, np.ndarray)}
    children = module.attribute("_modules")
    if isinstance(children, dict) and depth < _DEEPEST:
        for name, child in children.items():
            if isinstance(child, Record):
                found |= module_tensors(child, f"{prefix}{name}.", depth + 1)
    return found
