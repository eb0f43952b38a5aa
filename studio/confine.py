"""Child processes that open what strangers made: without tokens, with limits of memory, processor time, files and wall clock.

The parent starts one with `start`, gives it a wall clock with `Alarm` and ends it with `end`; the child limits itself with
`limit_memory` and `processor_budget` before it opens anything. What is *not* limited here is what the account may read.
Where the system has no such limits (Windows), the parent's clock alone guards.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

_KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def clean_environment() -> dict[str, str]:
    """The few variables that Python needs to start: none that hold tokens, names or folders of the artist."""
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)])
    return environment | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"} | dict.fromkeys(_ONE_THREAD, "1")


def start(module: str, *, errors: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Run a module of ours as a child that is asked on its standard input and answers on its standard output.

    Args:
        errors: a file for what it says on its standard error; None drops it.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if errors is None else errors,
        env=clean_environment(),
        cwd=tempfile.gettempdir(),
    )


class Alarm:
    """A wall clock over a child: kills it when `seconds` are over. A context manager; `rang` says whether it did."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self.rang = False
        self._child = child
        self._clock = threading.Timer(seconds, self._ring)
        self._clock.daemon = True

    def __enter__(self) -> Alarm:
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._clock.cancel()

    def _ring(self) -> None:
        self.rang = True
        self._child.kill()


def end(child: subprocess.Popen[bytes]) -> None:
    """Close what leads to a child, kill it and wait until it is gone."""
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    child.kill()
    child.wait()


def ran_out_of_time(code: int | None) -> bool:
    """Whether a child ended because its processor budget was spent (SIGPROF is 27 wherever it exists)."""
    return code == -27


def limit_memory(memory_bytes: int, *, file_bytes: int = 0) -> None:
    """Inside the child: at most so many bytes of address space, files of at most `file_bytes`, no core dumps."""
    if importlib.util.find_spec("resource") is None:
        return
    import resource

    limits = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, value in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def processor_budget(seconds: float) -> None:
    """Inside the child: end this process when so many more seconds of processor time are spent; 0 lifts the limit.

    The default action of SIGPROF does it, even deep inside a decoder.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
