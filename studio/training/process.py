"""A trainer seen from outside: our own child, or one that an earlier studio started and that is still at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from studio.training import lock
from studio.training.folder import RunFolder

START_SILENCE_SECONDS = 120.0
_SECRETS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY")
QUICKER = {
    "GOMP_SPINCOUNT": "20000",  # threads wait awake for microseconds only: longer starves others, not at all costs wake-ups
    "MALLOC_ARENA_MAX": "1",  # glibc keeps large blocks instead of faulting them in at every step;
    "MALLOC_TOP_PAD_": str(256 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # it takes no larger number than this
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
}
"""What makes training quicker and must be in the environment before the process starts."""


def trainer_command(root: Path) -> Sequence[str]:
    """The command line of the trainer of one run."""
    return (sys.executable, "-m", "studio.training", str(root))


def processes(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes torchrun started to train together, on all machines; 1: this one is alone."""
    number = environment.get("WORLD_SIZE", "")
    return max(1, int(number)) if number.isdigit() and "RANK" in environment else 1


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment less what looks like a password; the trainer needs none. It finds this very studio."""
    kept = {name: value for name, value in environment.items() if not any(word in name.upper() for word in _SECRETS)}
    for name, value in QUICKER.items():
        kept.setdefault(name, value)
    house = str(Path(__file__).resolve().parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(part for part in (house, kept.get("PYTHONPATH", "")) if part)
    return kept


class Trainer:
    """One trainer process. An adopted one is known by the lock it holds."""

    def __init__(self, folder: RunFolder, child: subprocess.Popen[bytes] | None = None) -> None:
        self.folder = folder
        self._child = child
        self._heard = (0, time.monotonic())

    @classmethod
    def launch(cls, folder: RunFolder, command: Sequence[str]) -> Trainer:
        """Start a trainer that outlives this process and writes to the run's `log.txt`."""
        folder.beat(START_SILENCE_SECONDS)
        with open(folder.log, "ab") as log:
            child = subprocess.Popen(
                command,
                cwd=folder.root,
                env=without_secrets(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return cls(folder, child)

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None if self._child else lock.holder(self.folder.lock) is not None

    @property
    def code(self) -> int | None:
        """The exit code of a child that has ended; None for an adopted one."""
        return self._child.poll() if self._child else None

    def hangs(self) -> bool:
        """Whether it was silent for longer than promised, by a clock that rests while the machine sleeps."""
        stamp, allowed_seconds = self.folder.heard()
        if stamp != self._heard[0]:
            self._heard = (stamp, time.monotonic())
        return time.monotonic() - self._heard[1] > allowed_seconds

    def terminate(self) -> None:
        """Ask it to save and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self._signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        self.wait(5.0)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most so long. Returns whether it has."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _signal(self, number: int) -> None:
        process = self._child.pid if self._child else lock.holder(self.folder.lock)
        if process and self.alive():
            try:
                os.kill(process, number)
            except ProcessLookupError:
                return
