"""Hostile files against the reader of foreign weights: is anything executed, does anything crash, what does each cost?

    python -m benchmarks.hostile [--every 1] [--workers 2] [--kind bombs]

Each file is read as the studio reads it, by a confined child whose time and memory are measured; then again under an audit hook
that sees everything which a process does besides reading; what could be opened is built. A control opens the same files with
pickle.load and torch.load and must be caught. Ends with 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.weights.hostile import driver  # noqa: E402
from tests.weights.hostile.corpus import TRAP, Case, make  # noqa: E402
from tests.weights.hostile.judging import broken, too_slow, unnoticed  # noqa: E402
from tests.weights.hostile.reader import Verdict  # noqa: E402

Verdicts = Mapping[str, Verdict]
HEAD = f"{'kind':<12}{'files':>7}{'executed':>10}{'crashed':>9}{'opened':>8}{'slowest':>10}{'largest':>10}"


def line(kind: str, cases: Sequence[Case], confined: Verdicts, watched: Verdicts) -> str:
    """One line of the table."""
    both = [verdicts[case.name] for case in cases for verdicts in (confined, watched)]
    executed = sum(bool(watched[case.name].trips) for case in cases)
    crashed = len({verdict.name for verdict in both if verdict.outcome == "crashed"})
    opened = sum(confined[case.name].outcome == "opened" for case in cases)
    seconds = max(confined[case.name].seconds for case in cases)
    megabytes = max(confined[case.name].megabytes for case in cases)
    return f"{kind:<12}{len(cases):>7}{executed:>10}{crashed:>9}{opened:>8}{seconds:>8.1f} s{megabytes:>7.0f} MB"


def report(cases: Sequence[Case], confined: Verdicts, watched: Verdicts) -> None:
    """The table, the slowest and the largest."""
    print(HEAD)
    for kind in dict.fromkeys(case.kind for case in cases):
        print(line(kind, [case for case in cases if case.kind == kind], confined, watched))
    print(line("all", cases, confined, watched))
    slowest = max(confined.values(), key=lambda verdict: verdict.seconds)
    largest = max(confined.values(), key=lambda verdict: verdict.megabytes)
    print(f"slowest: {slowest.name}; largest: {largest.name}")


def complaints(cases: Sequence[Case], confined: Verdicts, *others: Verdicts) -> list[str]:
    """Every broken promise."""
    found = []
    for case in cases:
        verdicts = [readings[case.name] for readings in (confined, *others) if case.name in readings]
        found += [f"{case.kind}/{case.name} {wrong}" for verdict in verdicts for wrong in broken(case, verdict)]
        if too_slow(confined[case.name]):
            found.append(f"{case.kind}/{case.name} took {confined[case.name].seconds:.1f} s")
    return found


def control(cases: Sequence[Case], workers: int, trap: Path) -> list[str]:
    """How the usual loaders fare, and the names of payloads that the hook missed."""
    executable = [case for case in cases if case.runs]
    caught = driver.run("unsafe", executable, workers)
    missed = unnoticed(caught.values(), trap)
    print(f"control: pickle.load and torch.load executed {len(caught) - len(missed)} of {len(executable)} files")
    return [f"the hook did not see {name} under an unsafe loader" for name in missed]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take one file of so many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kind", help="only this kind of attack")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trap = Path(folder) / TRAP
        cases = make(Path(folder), chosen.every, lambda hostile: chosen.kind in (None, hostile.kind))
        confined = driver.run("confined", cases, chosen.workers)
        watched = driver.run("watched", cases, chosen.workers)
        opened = [case for case in cases if confined[case.name].outcome == "opened"]
        built = driver.run("built", opened, chosen.workers)
        report(cases, confined, watched)
        wrong = complaints(cases, confined, watched, built)
        wrong += [f"{mark.name} was left by a payload" for mark in trap.iterdir()]
        wrong += control(cases, chosen.workers, trap)
    for sentence in wrong:
        print(f"BROKEN: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
