"""Who trains this run? A lock on a file that the operating system frees when its process dies, however it dies."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def take(path: Path, wait_seconds: float = 2.0) -> BinaryIO | None:
    """Hold the lock and write our process id into it; None if a live process holds it. Closing the file frees it.

    It waits a moment, because a studio that looks whether the lock is held touches it too.
    """
    deadline = time.monotonic() + wait_seconds
    file = open(path, "a+b")  # noqa: SIM115 (the caller keeps it open)
    while not _try(file):
        if time.monotonic() > deadline:
            file.close()
            return None
        time.sleep(0.02)
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def holder(path: Path) -> int | None:
    """The process id of the live trainer that holds the lock (0 if it has not said so yet); None if nobody does."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        return None
    with file:
        if _try(file, shared=True):
            return None
        text = file.read(20)
    return int(text) if text.isdigit() else 0


def _try(file: BinaryIO, shared: bool = False) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(1000)  # a byte past the text, so that the text stays readable
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
