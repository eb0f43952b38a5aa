"""The only module that knows folders, and how to write a file so that no crash can tear it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from studio.errors import BadInput, NoSpace, NotFound

_PACKAGE = Path(__file__).resolve().parent
_TEMPORARY_PREFIX = ".tmp-"
_TEMPORARY = re.compile(r"\.tmp-(\d+)-[0-9a-f]{8}-.*", re.DOTALL)
_LONGEST_WRITING_SECONDS = 86_400.0
_DELETED_PREFIX = ".deleted-"
KEEP_DELETED_DAYS = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def bundled(kind: str) -> Path:
    """The shipped folder `kind` ("models" or "assets"), in a wheel or in a checkout."""
    inside = _PACKAGE / "_bundled" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


@dataclass(frozen=True)
class Home:
    """The artist's own folder: everything that the studio writes lies below `root`."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def gallery(self) -> Path:
        return self.root / "gallery"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def database(self) -> Path:
        return self.root / "studio.sqlite"

    def create(self) -> Home:
        """Make the folders; sweep what a crash left half-written and what was deleted a month ago. Returns itself.

        Raises:
            BadInput: the studio may not write there. NoSpace: the disk is full.
        """
        try:
            for folder in (self.models, self.datasets, self.runs, self.uploads, self.gallery, self.exports, self.cache):
                folder.mkdir(parents=True, exist_ok=True)
                sweep(folder)
                purge(folder)
            write_file(self.cache / "writable", b"")
            (self.cache / "writable").unlink(missing_ok=True)
        except OSError as error:
            said = error.strerror or str(error)
            raise BadInput(
                f"The studio cannot use the folder {self.root}: {said}.", "Choose another with --home."
            ) from error
        return self


def default_home() -> Home:
    """The folder named by STUDIO_HOME, else `~/LatentStudio`."""
    return Home(Path(os.environ.get("STUDIO_HOME") or Path.home() / "LatentStudio").expanduser().resolve())


def safe_name(name: str) -> str:
    """Return `name` if it can be one folder or file name of ours, else raise BadInput.

    It keeps every id that comes from a page from naming a path outside its folder.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith("."):
        raise BadInput(f"{str(name)[:80]!r} is not a name that the studio uses.", "Choose one from the list.")
    return name


def slug(title: str) -> str:
    """A safe name made from a title: lower case, digits and dashes, at most 48 characters."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:48].strip("-") or "untitled"


def new_id(title: str) -> str:
    """A name that no folder has yet: slug, date and four random characters."""
    return f"{slug(title)}-{time.strftime('%y%m%d-%H%M')}-{secrets.token_hex(2)}"


def temporary_beside(path: Path) -> Path:
    """A new name in the folder of `path` that `sweep` recognises; rename it to `path` when it is complete.

    It says which process writes, so that no other one sweeps it meanwhile."""
    return path.with_name(f"{_TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises:
        NoSpace: the disk is full; the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise explain_disk(error, path) from error


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a complete, fsynced temporary file or folder to its name, and make the rename durable."""
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that renames in it survive a power cut. (Windows has no such call.)"""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def explain_disk(error: OSError, path: Path) -> OSError | NoSpace:
    """The plain sentence for a full disk; any other error as it is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(
            f"The disk is full, so {path.name} could not be saved.",
            "Free some space and try again; what was saved before is untouched.",
        )
    return error


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise NoSpace if `folder`'s disk has less than `needed_bytes` free."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise NoSpace(
            f"The disk has {free_bytes / 1e6:.0f} MB free, and {needed_bytes / 1e6:.0f} MB are needed.",
            "Free some space and try again; what was saved before is untouched.",
        )


def set_aside(folder: Path) -> None:
    """Delete a folder so that `bring_back` can undo it; `purge` makes it final."""
    hidden = folder.with_name(_DELETED_PREFIX + folder.name)
    if hidden.exists():
        remove(hidden)
    put_in_place(folder, hidden)
    os.utime(hidden)


def bring_back(folder: Path) -> None:
    """Undo `set_aside` of a folder of that name.

    Raises:
        NotFound: nothing of that name is kept any more.
        BadInput: another one took its name.
    """
    hidden = folder.with_name(_DELETED_PREFIX + safe_name(folder.name))
    if not hidden.is_dir():
        raise NotFound(f"What was called {folder.name!r} is not kept any more.", "It was removed for good.")
    if folder.exists():
        raise BadInput(f"There is another {folder.name!r} now.", "Delete that one first.")
    put_in_place(hidden, folder)


def purge(parent: Path, older_than_days: float = KEEP_DELETED_DAYS) -> None:
    """Remove for good what was set aside in `parent` so long ago."""
    for hidden in parent.glob(f"{_DELETED_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            if time.time() - hidden.stat().st_mtime >= older_than_days * 86_400:
                remove(hidden)


def remove(folder: Path) -> None:
    """Delete a folder for good: gone at once, then emptied. What a crash leaves, the next `sweep` takes."""
    temporary = temporary_beside(folder)
    os.replace(folder, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Delete what a crash left half-written in `folder` (temporary names only, not below it).

    What a live process of this machine is writing stays, unless it was begun a day ago: by then another process may
    have its number.
    """
    for leftover in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        if _is_being_written(leftover):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _is_being_written(temporary: Path) -> bool:
    named = _TEMPORARY.fullmatch(temporary.name)
    try:
        fresh = time.time() - temporary.lstat().st_mtime < _LONGEST_WRITING_SECONDS
    except FileNotFoundError:
        return False
    return named is not None and fresh and _lives(int(named[1]))


def _lives(process: int) -> bool:
    """Whether a process of that number is at work. (Windows has no harmless signal to ask by; there we assume it.)"""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's
    return True
