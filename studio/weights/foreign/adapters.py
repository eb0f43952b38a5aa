"""The closed table of formats: each adapter is asked in order, and the first that knows the names and shapes answers."""

from __future__ import annotations

from collections.abc import Callable

from studio.weights.foreign import (
    dcgan,
    fastgan,
    lightweight,
    lucidrains,
    mlp,
    nvlabs,
    r3gan,
    rosinality,
    tensorflow,
)
from studio.weights.foreign.contents import Contents, Imported

Adapter = Callable[[Contents], Imported | None]
"""None: not of my format. BadInput: of my format, but it cannot be used."""

ADAPTERS: tuple[Adapter, ...] = (
    nvlabs.read,
    tensorflow.read,
    r3gan.read,
    rosinality.read,
    lightweight.read,
    lucidrains.read,
    fastgan.read,
    dcgan.read,
    mlp.read,
)
