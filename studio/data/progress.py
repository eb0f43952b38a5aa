"""How long work tells how far it is, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

Cancel = Callable[[], bool]
"""Asked now and then; True means stop."""


class Cancelled(Exception):
    """The artist stopped it. Nothing half-done is left behind."""


def silent(done: int, total: int) -> None:
    """A Progress that tells nobody."""


def never() -> bool:
    """A Cancel that never stops."""
    return False
