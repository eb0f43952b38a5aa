"""How numbers are said to people."""

from __future__ import annotations


def counted(number: float, one: str, many: str = "") -> str:
    """A number and what it counts, in one or in many: "1 minute", "2.5 minutes", "1,200 classes".

    Args:
        many: where it is not `one` with an s.
    """
    said = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{said} {one if number == 1 else many or one + 's'}"


def lasting(minutes: float) -> str:
    """A length of time: "40 seconds", "5 minutes", "2.5 hours"."""
    if minutes < 1:
        return counted(round(minutes * 60), "second")
    return counted(round(minutes, 1), "minute") if minutes < 120 else counted(round(minutes / 60, 1), "hour")
