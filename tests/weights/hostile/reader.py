"""Readers of hostile files, each a program that is given one case a line and answers one verdict a line.

    python -m tests.weights.hostile.reader confined|watched|built|unsafe FOLDER

confined   the studio's `inspect`, with a fresh child for each file, whose memory is measured
watched    what that child does, done here, under a hook that sees everything
built      `inspect`, and then the networks of what it found
unsafe     the control: pickle.load and torch.load as everybody uses them, under the same hook
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest import mock

from studio.errors import StudioError
from studio.weights.foreign import inside, opening
from tests.weights.hostile.audit import Hook
from tests.weights.hostile.corpus import Case, make_genuine


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one file.

    Attributes:
        outcome: "opened", "refused" or "crashed".
        message, hint: the refusal's sentences, or what crashed.
        trips: what the hook saw.
    """

    name: str
    outcome: str
    message: str = ""
    hint: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    trips: tuple[str, ...] = field(default=())


def confined(case: Case, into: Path) -> Verdict:
    try:
        found = opening.inspect(Path(case.path), into)
    except StudioError as refusal:
        return Verdict(name=case.name, outcome="refused", message=refusal.message, hint=refusal.hint)
    told = {**asdict(found), "folder": ""}
    json.dumps(told, ensure_ascii=False, allow_nan=False).encode()  # as a page would send it
    return Verdict(name=case.name, outcome="opened", message=found.format)


def built(case: Case, into: Path) -> Verdict:
    try:
        found = opening.inspect(Path(case.path), into)
        for candidate in range(len(found.candidates)):
            opening.build(found, candidate)
    except StudioError as refusal:
        return Verdict(name=case.name, outcome="refused", message=refusal.message, hint=refusal.hint)
    return Verdict(name=case.name, outcome="opened", message=found.format)


def watched(hook: Hook, case: Case, into: Path) -> Verdict:
    path = Path(case.path)
    into.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        return Verdict(name=case.name, outcome="refused", message="This is no file.", hint="There is nothing to read.")
    with mock.patch.object(inside.traceback, "print_exc"), hook.armed(into) as trips:  # it compiles lines of our own
        answer = inside.answer({"source": str(path.resolve()), "into": str(into)})
    refused = answer.get("refused", {})
    outcome = "opened" if "found" in answer else "refused"
    return Verdict(
        name=case.name,
        outcome=outcome,
        message=refused.get("message", ""),
        hint=refused.get("hint", ""),
        trips=tuple(trips),
    )


def unsafe(hook: Hook, case: Case, into: Path) -> Verdict:
    """Everything that a payload raises is what the control is for."""
    with hook.armed(into) as trips, open(case.path, "rb") as file:
        try:
            if case.runs == "torch":
                import torch

                torch.load(file, weights_only=False)
            else:
                pickle.load(file)
        except BaseException as error:
            return Verdict(name=case.name, outcome="crashed", message=repr(error)[:300], trips=tuple(trips))
    return Verdict(name=case.name, outcome="opened", trips=tuple(trips))


def apart(read: Callable[[Case, Path], Verdict], case: Case, into: Path) -> Verdict:
    """Read one file in a process of its own, and measure what it and its children took."""
    answers, answering = os.pipe()
    begun = time.perf_counter()
    process = os.fork()
    if not process:
        os.close(answers)
        _answer_from_fork(read, case, into, answering)
    os.close(answering)
    with open(answers, "rb") as stream:
        said = stream.read()
    _, status = os.waitpid(process, 0)
    if not said:
        return Verdict(name=case.name, outcome="crashed", message=f"ended with status {status}")
    members = json.loads(said)
    return Verdict(**{**members, "trips": tuple(members["trips"]), "seconds": time.perf_counter() - begun})


def _answer_from_fork(read: Callable[[Case, Path], Verdict], case: Case, into: Path, answering: int) -> None:
    """Write the verdict and end this process, whatever happens."""
    try:
        try:
            verdict = read(case, into)
        except BaseException:
            verdict = Verdict(name=case.name, outcome="crashed", message=traceback.format_exc()[-1500:])
        kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        os.write(answering, json.dumps({**asdict(verdict), "megabytes": kilobytes / 1000}).encode())
    finally:
        os._exit(0)


def reader(mode: str, folder: Path) -> Callable[[Case, Path], Verdict]:
    """The reader of that name, warmed up: it has imported all that it will ever need."""
    if mode == "confined":
        return lambda case, into: apart(confined, case, into)
    if mode == "built":
        import studio.weights.store
        from studio.families.base import FAMILIES

        for family in FAMILIES.values():
            assert family.settings and studio.weights.store
        return lambda case, into: apart(built, case, into)
    if mode == "watched":
        hook = Hook()
        for place, path in enumerate(make_genuine(folder)):
            watched(hook, Case(kind="", name="", path=str(path)), folder / f"warm-{place}")
        warm = folder / "warm.pkl"
        warm.write_bytes(b"\x80\x02cos\nsystem\n.")
        watched(hook, Case(kind="", name="", path=str(warm)), folder / "warm")
        return lambda case, into: watched(hook, case, into)
    import torch

    assert torch
    hook = Hook(frozenset({"pickle.find_class"}))
    return lambda case, into: apart(lambda case, into: unsafe(hook, case, into), case, into)


def main(mode: str, folder: Path) -> None:
    """Answer until the standard input closes."""
    folder.mkdir(parents=True, exist_ok=True)
    read = reader(mode, folder)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a payload prints must not be taken for an answer
    for place, line in enumerate(sys.stdin):
        case, into = Case(**json.loads(line)), folder / f"out-{place}"
        begun = time.perf_counter()
        try:
            verdict = read(case, into)
        except BaseException:
            verdict = Verdict(name=case.name, outcome="crashed", message=traceback.format_exc()[-1500:])
        shutil.rmtree(into, ignore_errors=True)
        seconds = verdict.seconds or time.perf_counter() - begun
        answers.write(json.dumps({**asdict(verdict), "seconds": seconds}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
