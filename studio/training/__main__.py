"""The trainer process: `python -m studio.training <run folder>`.

It holds the run's lock, trains, and writes what happens into the run's folder. It ends by itself: when the run is over,
when it is asked to pause or stop, on SIGTERM (after saving), and when its folder is deleted.

Exit codes: 0 ended as told in the log, 2 wrong arguments, 3 another trainer holds the lock, 4 the run failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from studio.errors import NotFound, StudioError
from studio.training import lock
from studio.training.events import EventLog, Failed, Finished, RunEvent
from studio.training.folder import RunFolder
from studio.training.process import processes

if TYPE_CHECKING:
    from studio.training.distributed import World

EXIT_LOCKED = 3
EXIT_FAILED = 4
START_SILENCE_SECONDS = 120.0
SILENCE_SECONDS = 60.0
SLOW_FACTOR = 20.0

Tell = Callable[[RunEvent], None]


def silent(event: RunEvent) -> None:
    """Say nothing: the log is enough."""


class Worker:
    """What the process remembers: whether it was asked to end, and how long its silences are."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.interrupted = False
        self._last_work = self._last_beat = time.monotonic()
        self._longest = 0.0
        folder.beat(START_SILENCE_SECONDS)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: save and end at the next step."""
        self.interrupted = True

    def wish(self) -> str:
        """What the loop should do next."""
        if not self.folder.root.is_dir():
            return "gone"
        wish = self.folder.read_wish()
        if wish == "train" and self.interrupted:
            return "interrupt"
        return wish or ("interrupt" if self.interrupted else "train")

    def beat(self) -> None:
        """Some work is done. What takes long here may take long again, so slow machines promise longer silences."""
        now = time.monotonic()
        self._longest, self._last_work = max(self._longest, now - self._last_work), now
        if now - self._last_beat > 1:
            self._last_beat = now
            self.folder.beat(max(SILENCE_SECONDS, SLOW_FACTOR * self._longest))

    def work(self, world: World | None = None, tell: Tell = silent) -> int:
        """Train, leading the others of `world`; write every event down, and `tell` it. Returns the exit code."""
        from studio.training.distributed import ALONE
        from studio.training.loop import train

        last: RunEvent | None = None
        with EventLog(self.folder.events) as log:
            for last in train(self.folder, wish=self.wish, beat=self.beat, world=world or ALONE):
                if not self.folder.root.is_dir():
                    return 0
                log.append(last)
                tell(last)
                self.beat()
        if isinstance(last, (Finished, Failed)):
            self.folder.write_wish("")
        return EXIT_FAILED if isinstance(last, Failed) else 0


def give_way(niceness: int) -> None:
    """Let other programs go first.

    Linux schedules each process session as a group, and niceness counts only inside its group; a trainer that is a
    session of its own makes its group nice as well (sched(7), "The autogroup feature").
    """
    if hasattr(os, "nice"):
        os.nice(niceness)
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness))


def main(arguments: list[str] | None = None) -> int:
    """Train the run in the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m studio.training", description="Train a run until it is over.")
    parser.add_argument("folder", type=Path, help="the run's folder, with its config.json")
    parser.add_argument("--nice", type=int, default=10, help="how much to give way to other programs [10]")
    chosen = parser.parse_args(arguments)
    folder = RunFolder(chosen.folder.resolve())
    if not folder.config.is_file() and processes() == 1:
        parser.error(f"there is no run in {chosen.folder}")
    return train_together(folder, chosen.nice) if processes() > 1 else train_here(folder, chosen.nice)


def train_here(folder: RunFolder, niceness: int) -> int:
    """Train as the process that keeps the run, with others of this machine if its settings say so. Returns the exit
    code."""
    with contextlib.ExitStack() as stack:
        worker = prepared(folder, niceness, stack)
        return EXIT_LOCKED if worker is None else worker.work(crew_of(folder, stack))


def crew_of(folder: RunFolder, stack: contextlib.ExitStack) -> World:
    """The processes that the run's settings ask for, until the end of `stack`; we alone if they do not come."""
    from studio.training import crew, distributed
    from studio.training.state import pick_device

    try:
        config = folder.read_config()
        if config.processes == 1 or config.batch % config.processes or pick_device(config).type != "cpu":
            return distributed.ALONE
        command = [sys.executable, "-m", "studio.training", str(folder.root)]
        world = stack.enter_context(distributed.hired(config.processes, command))
    except StudioError as error:  # settings that cannot be read are the loop's to tell
        print(error, file=sys.stderr)
        return distributed.ALONE
    stack.callback(crew.dismiss, world)
    return world


def train_together(folder: RunFolder | None = None, niceness: int = 0, tell: Tell = silent) -> int:
    """Train as one of the processes that torchrun started. Only the first needs the folder. Returns the exit code.

    Raises:
        NotFound: there is no run in the folder. Lost: the other processes cannot be reached.
    """
    from studio.training import crew, distributed

    world = distributed.from_environment()
    with distributed.joined(world) as world, contextlib.ExitStack() as stack:
        if world.rank:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            give_way(max(0, niceness))
            return crew.follow(world)
        stack.callback(crew.dismiss, world)
        if folder is None:
            raise NotFound("The first process was given no run to train.")
        folder.read_config()
        worker = prepared(folder, niceness, stack)
        return EXIT_LOCKED if worker is None else worker.work(world, tell)


def prepared(folder: RunFolder, niceness: int, stack: contextlib.ExitStack) -> Worker | None:
    """A worker that holds the run's lock until the end of `stack`, and answers to signals; None if another holds it."""
    held = lock.take(folder.lock)
    if held is None:
        print("Another process trains this run.", file=sys.stderr)
        return None
    stack.enter_context(held)
    worker = Worker(folder)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.interrupt)
    give_way(max(0, niceness))
    return worker


if __name__ == "__main__":
    sys.exit(main())
