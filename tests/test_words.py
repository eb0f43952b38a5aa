"""One thing is not many."""

from __future__ import annotations

from studio.words import counted


def test_one_and_many() -> None:
    assert [counted(number, "minute") for number in (0, 0.5, 1, 1.0, 2)] == [
        "0 minutes", "0.5 minutes", "1 minute", "1 minute", "2 minutes",
    ]  # fmt: skip
    assert counted(1, "class", "classes") == "1 class" and counted(1200, "class", "classes") == "1,200 classes"
