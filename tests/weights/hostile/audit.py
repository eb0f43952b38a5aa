"""A hook that sees what a Python process does beyond reading the file that it was given."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIXES = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork", "os.kill", "os.putenv", "os.unsetenv",
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.ch", "os.truncate", "subprocess.", "pty.",
    "socket.", "ctypes.", "import", "exec", "compile", "marshal.", "pickle.", "code.__new__", "shutil.", "urllib.", "http.",
    "ftplib.", "webbrowser.", "sqlite3.", "signal.", "builtins.input", "builtins.breakpoint", "cpython.", "function.__new__",
    "sys.settrace", "sys.setprofile", "tempfile.", "glob.",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Hook:
    """Counts while it is armed. A hook cannot be taken out of a process: one for each."""

    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        self._ignored = ignored
        self._armed = False
        self._output = ""
        self._trips: list[str] = []
        sys.addaudithook(self._hear)

    @contextmanager
    def armed(self, output: Path) -> Iterator[list[str]]:
        """Listen meanwhile; files may be written in `output` alone. Yields the list that what happened is put into."""
        self._trips, self._output, self._armed = [], f"{output}{os.sep}", True
        try:
            yield self._trips
        finally:
            self._armed = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._armed or event in self._ignored:
            return
        if event == "open":
            if self._writes(*arguments[:3]):
                self._trips.append(f"open for writing: {arguments[0]!r}"[:200])
        elif event.startswith(PREFIXES):
            self._armed = False  # what follows runs in the hook itself
            self._trips.append(f"{event} {arguments!r}"[:200])
            self._armed = True

    def _writes(self, path: object, mode: object, flags: object) -> bool:
        writing = (
            any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(int(str(flags or 0)) & WRITING)
        )
        return writing and not os.fsdecode(path if isinstance(path, (str, bytes)) else str(path)).startswith(
            self._output
        )
