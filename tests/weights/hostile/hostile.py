"""One hostile file, and the harmless trap that its payload would spring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A file that attacks its reader.

    Attributes:
        kind: the sort of attack, one word.
        name: the file's name, which says what the attack is.
        content: its bytes, or what makes it where a file is not enough (a folder, a pipe).
        runs: the loader that executes its payload: "pickle", "torch", or "" where no common loader does.
        acceptable: whether a reader may open it and come to no harm, because what is hostile in it is never looked at.
        beside: JSON that lies in the same folder under the name config.json.
    """

    kind: str
    name: str
    content: bytes | Callable[[Path], None]
    runs: str = ""
    acceptable: bool = False
    beside: bytes = b""

    def write(self, folder: Path) -> Path:
        """Put it into a folder of its own below `folder`. Returns its path."""
        place = folder / self.kind / self.name.replace(".", "_")
        place.mkdir(parents=True)
        path = place / self.name
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)
        if self.beside:
            (place / "config.json").write_bytes(self.beside)
        return path


@dataclass(frozen=True)
class Trap:
    """Where payloads leave a mark if they run. Nothing else that they do has any effect."""

    folder: Path

    def mark(self, name: str) -> Path:
        return self.folder / f"{name}.sprung"

    def shell(self, name: str) -> str:
        """A command that leaves the mark."""
        return f"touch '{self.mark(name)}'"

    def source(self, name: str) -> str:
        """Python that leaves the mark."""
        return f"open({str(self.mark(name))!r}, 'w').close()"
