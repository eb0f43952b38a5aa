"""Genuine files cut short, with bits turned, bytes swapped and pieces repeated. Seeded: the same damage every time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.weights.hostile.genuine import everything
from tests.weights.hostile.hostile import Hostile, Trap

KIND = "damage"
CUTS, FLIPS = 12, 14


def attacks(trap: Trap) -> Iterator[Hostile]:
    for name, content in everything().items():
        stem, _, ending = name.rpartition(".")
        for label, damaged in _damaged(content, len(stem)):
            acceptable = not label.startswith("cut")  # a turned bit may be one of a weight
            yield Hostile(kind=KIND, name=f"{stem}-{label}.{ending}", content=damaged, acceptable=acceptable)


def _damaged(content: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng([seed, len(content)])
    for place in sorted({1, 9, len(content) - 1, *random.integers(10, len(content) - 2, CUTS - 3).tolist()}):
        yield f"cut-at-{place}", content[:place]
    for place in random.integers(0, len(content), FLIPS).tolist():
        bit = int(random.integers(8))
        yield f"bit-{bit}-of-{place}", content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
    for round_ in range(4):
        places = random.integers(0, len(content), 50)
        noisy = np.frombuffer(content, np.uint8).copy()
        noisy[places] = random.integers(0, 256, len(places))
        yield f"noise-{round_}", noisy.tobytes()
    for round_ in range(3):
        first, second = sorted(random.integers(0, len(content), 2).tolist())
        yield f"repeated-{round_}", content[:second] + content[first:]
        yield f"removed-{round_}", content[:first] + content[second:]
    head = np.frombuffer(content, np.uint8).copy()
    head[:400] = np.where(random.random(400) < 0.02, random.integers(0, 256, 400), head[:400])
    yield "noisy-head", head.tobytes()
