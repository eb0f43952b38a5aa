"""The hostile corpus: more than a thousand files that attack whoever opens foreign weights, made anew each time, always the same.

    python -m tests.weights.hostile.corpus FOLDER

Payloads are harmless: where one runs, it leaves a mark in the folder of the trap.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.weights.hostile import archives, bombs, calls, damage, mistakes, names, opcodes, shapes, sources, tables
from tests.weights.hostile.genuine import everything
from tests.weights.hostile.hostile import Hostile, Trap

ROOMS = (calls, names, opcodes, shapes, bombs, archives, sources, tables, mistakes, damage)
TRAP, FILES, GENUINE = "trap", "files", "genuine"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A hostile file on disk. See `Hostile` for what its members say."""

    kind: str
    name: str
    path: str
    runs: str = ""
    acceptable: bool = False


def attacks(trap: Trap) -> Iterator[Hostile]:
    """Every attack, made one at a time."""
    for room in ROOMS:
        yield from room.attacks(trap)


def make(folder: Path, every: int = 1, chosen: Callable[[Hostile], bool] = lambda hostile: True) -> list[Case]:
    """Write the corpus into an empty folder, or each so manieth of the chosen files, which are of all kinds."""
    trap = Trap(folder / TRAP)
    trap.folder.mkdir(parents=True)
    cases = []
    for place, hostile in enumerate(filter(chosen, attacks(trap))):
        if place % every == 0:
            path = hostile.write(folder / FILES)
            cases.append(
                Case(
                    kind=hostile.kind,
                    name=hostile.name,
                    path=str(path),
                    runs=hostile.runs,
                    acceptable=hostile.acceptable,
                )
            )
    return cases


def make_genuine(folder: Path) -> list[Path]:
    """Write the genuine files that attacks vary. Returns their paths."""
    paths = []
    for name, content in everything().items():
        path = folder / GENUINE / name.replace(".", "_") / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


if __name__ == "__main__":
    made = make(Path(sys.argv[1]))
    sys.stdout.write(f"{len(made)} files of {len({case.kind for case in made})} kinds\n")
