"""Groups of pictures that are the same, or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

_BANDS = 4
_BAND_BITS = 16
_MAX_DISTANCE = 3
_MAX_MEAN_DIFFERENCE = 3.0
_COMPARED = 16


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What is compared: the dHash (64 bits) and an 8 x 8 miniature in RGB (192 bytes)."""

    difference_hash: int
    tiny: bytes


def equal_groups(keys: Iterable[Hashable]) -> tuple[tuple[int, ...], ...]:
    """Groups (of two or more) of the positions that have equal keys, in order."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        groups[key].append(position)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def near_groups(signatures: Sequence[Signature], pairs: Iterable[tuple[int, int]] = ()) -> tuple[tuple[int, ...], ...]:
    """Groups of pictures that look nearly the same: at most 3 of 64 bits differ, and colours by 3 of 255 on average.

    Two hashes at most 3 bits apart agree in one of four 16-bit bands, so only neighbours in a band's bucket are
    compared, and each with 16 others at most: O(n), which may miss a few in sets of very similar pictures.

    Args:
        pairs: positions that are known to be nearly the same by other means.
    """
    parents = list(range(len(signatures)))
    for first, second in pairs:
        parents[_root(parents, second)] = _root(parents, first)
    for band in range(_BANDS):
        for bucket in _buckets(signatures, band):
            for place, first in enumerate(bucket):
                for second in bucket[place + 1 : place + 1 + _COMPARED]:
                    if _root(parents, first) != _root(parents, second) and are_near(
                        signatures[first], signatures[second]
                    ):
                        parents[_root(parents, second)] = _root(parents, first)
    roots = [_root(parents, position) for position in range(len(signatures))]
    return equal_groups(roots)


def _buckets(signatures: Sequence[Signature], band: int) -> list[list[int]]:
    buckets: dict[int, list[int]] = defaultdict(list)
    for position, signature in enumerate(signatures):
        buckets[signature.difference_hash >> band * _BAND_BITS & 0xFFFF].append(position)
    return [
        sorted(bucket, key=lambda position: (signatures[position].difference_hash, signatures[position].tiny))
        for bucket in buckets.values()
        if len(bucket) > 1
    ]


def _root(parents: list[int], position: int) -> int:
    while parents[position] != position:
        parents[position] = parents[parents[position]]
        position = parents[position]
    return position


def are_near(first: Signature, second: Signature) -> bool:
    """Whether two pictures look nearly the same: at most 3 of 64 bits differ, and colours by 3 of 255 on average."""
    if (first.difference_hash ^ second.difference_hash).bit_count() > _MAX_DISTANCE:
        return False
    total = sum(abs(a - b) for a, b in zip(first.tiny, second.tiny, strict=True))
    return total <= _MAX_MEAN_DIFFERENCE * len(first.tiny)
