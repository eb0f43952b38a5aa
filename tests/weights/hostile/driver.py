"""Sets the readers upon the corpus, several at a time, and starts a fresh one where a file has broken one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue

from tests.weights.hostile.corpus import Case
from tests.weights.hostile.reader import Verdict

ROOT = Path(__file__).parents[3]
SECONDS = 60.0
SPENT = -27
"""SIGPROF: the reader's own limit of processor time."""


def run(mode: str, cases: Iterable[Case], workers: int = 2, seconds: float = SECONDS) -> dict[str, Verdict]:
    """The verdicts of one reader over many cases, by the cases' names."""
    queue: SimpleQueue[Case] = SimpleQueue()
    for case in cases:
        queue.put(case)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as threads:
        parts = [threads.submit(_work, mode, queue, Path(folder) / str(place), seconds) for place in range(workers)]
        return {verdict.name: verdict for part in parts for verdict in part.result()}


def _work(mode: str, queue: SimpleQueue[Case], folder: Path, seconds: float) -> Sequence[Verdict]:
    verdicts: list[Verdict] = []
    starts = 0
    while not queue.empty():
        starts += 1
        with _Reader(mode, folder / str(starts)) as reader:
            while reader.alive:
                try:
                    case = queue.get_nowait()
                except Empty:
                    break
                verdicts.append(reader.ask(case, seconds))
    return verdicts


class _Reader:
    """One reading program. Use as a context manager."""

    def __init__(self, mode: str, folder: Path) -> None:
        self.alive = True
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.weights.hostile.reader", mode, str(folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, case: Case, seconds: float) -> Verdict:
        """The verdict on one case; a reader that dies or hangs over it is one too."""
        assert self._process.stdin is not None and self._process.stdout is not None
        clock = threading.Timer(seconds, self._process.kill)
        clock.start()
        try:
            self._process.stdin.write(json.dumps(asdict(case)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            clock.cancel()
        if line:
            members = json.loads(line)
            return Verdict(**{**members, "trips": tuple(members["trips"])})
        self.alive = False
        code = self._process.wait()
        outcome = "refused" if code == SPENT else "crashed"
        return Verdict(
            name=case.name, outcome=outcome, message=f"The reader ended with {code}.", hint="It was too slow."
        )
