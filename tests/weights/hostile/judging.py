"""The promises of the reader of foreign weights, and which of them a verdict breaks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.weights.hostile.corpus import Case
from tests.weights.hostile.hostile import Trap
from tests.weights.hostile.reader import Verdict

MOST_SECONDS = 10.0
MOST_MEGABYTES = 1000.0


def broken(case: Case, verdict: Verdict) -> list[str]:
    """What is wrong with the reading of one hostile file, in a few words each; empty if every promise was kept."""
    found = []
    if verdict.outcome == "crashed":
        found.append(f"crashed: {verdict.message}")
    if verdict.trips:
        found.append(f"did more than read: {verdict.trips[0]}")
    if verdict.outcome == "opened" and not case.acceptable:
        found.append(f"was opened as {verdict.message}")
    if verdict.outcome == "refused" and not _is_plain(verdict):
        found.append(f"was refused without a plain sentence: {verdict.message!r} {verdict.hint!r}")
    if verdict.megabytes > MOST_MEGABYTES:
        found.append(f"took {verdict.megabytes:.0f} MB")
    return found


def too_slow(verdict: Verdict) -> bool:
    """Whether it took longer than promised. Asked by the benchmark alone: in tests, other tests run beside it."""
    return verdict.seconds > MOST_SECONDS


def unnoticed(verdicts: Iterable[Verdict], trap: Path) -> list[str]:
    """The files whose payload, under an unsafe loader, neither tripped the hook nor left its mark."""
    return [verdict.name for verdict in verdicts if not verdict.trips and not Trap(trap).mark(verdict.name).exists()]


def _is_plain(verdict: Verdict) -> bool:
    sentences = (verdict.message, verdict.hint)
    return all(len(sentence) > 0 and sentence.isprintable() for sentence in sentences) and verdict.message.endswith(".")
