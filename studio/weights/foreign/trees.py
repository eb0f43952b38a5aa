"""Bounds for what a file describes: nested as deeply, and as large once everything shared is unfolded, as a model is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from studio.weights.foreign.contents import Record
from studio.weights.foreign.rebuild import refuse

_DEEPEST = 200
_LARGEST = 1_000_000
_CONTAINERS = (dict, list, tuple, Record)


def settle(tree: object) -> object:
    """Return `tree`, in which what refers back to what holds it has become None.

    A walk over the result ends, and visits at most a million things even where it meets shared ones again and again.

    Raises:
        BadInput: it is too deep or too large for a model.
    """
    if isinstance(tree, _CONTAINERS):
        _Walk().measure(tree, 0)
    return tree


class _Walk:
    """Sizes and heights of containers, each measured once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def measure(self, value: object, depth: int) -> tuple[int, int]:
        """How many things an unfolded walk over a container visits, and how deep it goes."""
        if id(value) not in self._known:
            if depth > _DEEPEST:
                refuse("its parts are nested far deeper than a model's")
            self._open.add(id(value))
            self._known[id(value)] = self._measure_parts(value, depth)
            self._open.discard(id(value))
        return self._known[id(value)]

    def _measure_parts(self, value: object, depth: int) -> tuple[int, int]:
        size, height = 1, 0
        for key, part in _parts(value):
            if not isinstance(part, _CONTAINERS):
                size += 1
            elif id(part) in self._open:
                _cut(value, key)
            else:
                part_size, part_height = self.measure(part, depth + 1)
                size, height = size + part_size, max(height, part_height + 1)
        if size > _LARGEST or height > _DEEPEST:
            refuse("its parts repeat each other endlessly")
        return size, height


def _parts(value: object) -> Iterator[tuple[Any, object]]:
    if isinstance(value, dict):
        yield from list(value.items())
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif isinstance(value, Record):
        yield "arguments", value.arguments
        yield "state", value.state


def _cut(holder: object, key: Any) -> None:
    """Replace a part that refers back by None. What cannot be changed cannot have been made that way by an honest file."""
    if isinstance(holder, (dict, list)):
        holder[key] = None
    elif isinstance(holder, Record) and key == "state":
        object.__setattr__(holder, "state", None)
    else:
        refuse("its parts repeat each other endlessly")
