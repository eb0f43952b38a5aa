"""Strides and paddings are in no state dict: which of them lead to a picture of a likely size?

Every layer has a few usual settings for its window, each with a cost that says how unusual it is. Layers with the same
window mostly have the same settings. The cheapest ways to each size are candidates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from studio.weights.foreign.chain import Link

_KEPT = 400
_SMALLEST, _LARGEST = 8, 1024
_UNLIKE = 1.5
_KNOWN: dict[tuple[int, ...], tuple[int, ...]] = {(3, 4, 3, 4): (2, 1, 2, 2), (3, 3, 3, 3, 4): (2, 2, 2, 2, 2)}
"""Strides, without any padding, by the windows of transposed convolutions: the generators of an online course."""

_EARLY = 0.25
_POWERS = {8: 1.5, 16: 0.5, 32: 0.0, 64: 0.0, 128: 0.0, 256: 0.0, 512: 0.3, 1024: 1.0}
_USUAL = {28: 1.0, 96: 1.5, 48: 1.5, 192: 2.0, 384: 2.0, 224: 2.5, 80: 2.5, 160: 2.5}
_ODD_SIZE = 5.0
_TRANSPOSED: dict[int, tuple[tuple[float, int, int, int], ...]] = {
    1: ((0.0, 1, 0, 0),),
    2: ((0.0, 2, 0, 0), (3.0, 1, 0, 0)),
    3: ((0.0, 2, 1, 1), (1.0, 2, 1, 0), (1.0, 1, 1, 0), (2.0, 2, 0, 0), (3.0, 1, 0, 0)),
    4: ((0.0, 2, 1, 0), (3.0, 1, 0, 0), (3.0, 2, 0, 0), (4.0, 1, 1, 0), (4.0, 4, 0, 0), (4.0, 2, 2, 1)),
    5: ((0.0, 2, 2, 1), (1.0, 1, 2, 0), (1.5, 2, 2, 0), (2.0, 2, 1, 0), (3.0, 1, 0, 0), (3.0, 2, 0, 0)),
    6: ((0.0, 2, 2, 0), (3.0, 1, 0, 0), (4.0, 4, 1, 0)),
    7: ((0.0, 1, 3, 0), (1.0, 2, 3, 1), (3.0, 1, 0, 0)),
    8: ((0.0, 2, 3, 0), (1.0, 4, 2, 0), (3.0, 2, 0, 0), (3.0, 1, 0, 0)),
}
"""(cost, stride, padding, output padding) by the width of the window."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where the window of one layer goes."""

    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    enlarge: int = 1


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """One way through a stack: a move for each layer, and the size in pixels that they lead to."""

    moves: tuple[Move, ...]
    resolution: int
    cost: float


def geometries(links: Sequence[Link], *, channels: int, wanted: Collection[int] = ()) -> tuple[Geometry, ...]:
    """The likeliest way to each size that the stack can make, likeliest first.

    Args:
        channels: of the picture; grey ones are often 28 px.
        wanted: sizes that the file names itself; others are then left out.
    """
    ways = [Geometry(moves=(), resolution=1, cost=0.0)]
    for number in range(len(links)):
        further = [longer for way in ways for longer in _extended(way, links, number)]
        ways = sorted(further, key=lambda way: way.cost)[:_KEPT]
    best: dict[int, Geometry] = {}
    for way in [*_known(links), *ways]:
        size = way.resolution
        if _SMALLEST <= size <= _LARGEST and (not wanted or size in wanted):
            best.setdefault(size, replace(way, cost=way.cost + _oddness(size, channels)))
    return tuple(sorted(best.values(), key=lambda way: way.cost))


def _known(links: Sequence[Link]) -> Iterator[Geometry]:
    """The stack as a course teaches it, if its windows are those."""
    strides = _KNOWN.get(tuple(link.kernel for link in links), ())
    if strides and all(link.kind == "transposed" for link in links):
        moves, size = tuple(Move(stride=stride) for stride in strides), 1
        for link, move in zip(links, moves, strict=True):
            size = _size_after(link, move, size)
        yield Geometry(moves=moves, resolution=size, cost=-1.0)


def _oddness(size: int, channels: int) -> float:
    """How unusual pictures of this size are."""
    if channels == 1 and size in (28, 32):
        return 0.0 if size == 28 else 1.2
    if size in _POWERS or size in _USUAL:
        return _POWERS.get(size, _USUAL.get(size, 0.0))
    return _ODD_SIZE - 2 * (size % 16 == 0)


def _extended(way: Geometry, links: Sequence[Link], number: int) -> Iterator[Geometry]:
    """The way with each usual move of one more layer."""
    link = links[number]
    for cost, move in _moves(links, number, way.resolution):
        size = _size_after(link, move, way.resolution)
        if 1 <= size <= _LARGEST and _norm_allows(link, size):
            before = _before(way, links, number)
            if before is not None:
                cost = 0.0 if _alike(before, move) else cost + _UNLIKE
            elif number == 1 and links[0].kind == "linear" and size == way.resolution:
                cost -= _EARLY
            yield Geometry(moves=(*way.moves, move), resolution=size, cost=way.cost + cost)


def _before(way: Geometry, links: Sequence[Link], number: int) -> Move | None:
    """The move of the last layer with the same window, not counting a first one."""
    link = links[number]
    same = [
        before for before in range(1, number) if (links[before].kind, links[before].kernel) == (link.kind, link.kernel)
    ]
    return way.moves[same[-1]] if link.kind == "transposed" and way.resolution > 1 and same else None


def _alike(one: Move, other: Move) -> bool:
    return (one.stride, one.padding, one.output_padding) == (other.stride, other.padding, other.output_padding)


def _moves(links: Sequence[Link], number: int, size: int) -> Iterator[tuple[float, Move]]:
    """(cost, move) of every usual way in which a layer reads pictures of this size."""
    link = links[number]
    if link.kind == "linear":
        yield 0.0, Move()
    elif link.kind == "convolution":
        yield from _convolution_moves(link, *_enlarging_costs(links, number))
    elif size == 1:
        yield 0.0, Move()
        if link.kernel == 4:
            yield 3.5, Move(stride=2, padding=1)
    else:
        usual = _TRANSPOSED.get(link.kernel, ((2.0, 1, link.kernel // 2, 0), (2.0, 1, 0, 0)))
        for cost, stride, padding, output_padding in usual:
            yield cost, Move(stride=stride, padding=padding, output_padding=output_padding)


def _convolution_moves(link: Link, plain: float, doubled: float) -> Iterator[tuple[float, Move]]:
    """Convolutions keep the size that they read; what is before them may double it."""
    padding = (link.kernel - 1) // 2
    if link.kernel % 2:
        yield plain, Move(padding=padding)
        yield doubled, Move(padding=padding, enlarge=2)
        yield doubled + 4.0, Move(padding=padding, enlarge=4)
        yield plain + 4.0, Move()
    else:
        yield plain + 2.0, Move(padding=padding)
        yield plain + 2.0, Move()


def _enlarging_costs(links: Sequence[Link], number: int) -> tuple[float, float]:
    """How unlikely it is that the input of a convolution is not enlarged, and that it is doubled.

    One hidden module before it is the activation, a second one an enlargement; at the head of a Sequential one will do.
    A Sequential that begins with its convolution may end with an enlargement for the next.
    """
    link, before = links[number], links[number - 1]
    hidden, last = link.hidden_before, number == len(links) - 1
    if any(other.kind == "transposed" for other in links[1:]) and (hidden or 0) < 2:
        return 0.0, 1.5
    if hidden is None:
        return (0.0, 1.0) if last else (0.5, 0.0)
    if link.apart and hidden == 0:
        ending = before.kind == "convolution" and before.apart and before.hidden_before == 0
        return (0.5, 0.0) if ending or (number > 1 and not last) else (0.0, 1.0)
    if link.apart or (link.opened and hidden == 1):
        return (3.5 if link.opened else 1.0), 0.0
    return {0: (0.0, 3.0), 1: (0.0, 1.5)}.get(hidden, (1.0, 0.0))


def _size_after(link: Link, move: Move, size: int) -> int:
    if link.kind == "linear":
        return link.kernel
    if link.kind == "transposed":
        return (size - 1) * move.stride - 2 * move.padding + link.kernel + move.output_padding
    return (size * move.enlarge + 2 * move.padding - link.kernel) // move.stride + 1


def _norm_allows(link: Link, size: int) -> bool:
    """Layer normalisation knows the size of its pictures."""
    shape = link.norm.tensors["weight"].shape if link.norm is not None and link.norm_kind == "layer" else ()
    return len(shape) != 3 or shape[1:] == (size, size)
