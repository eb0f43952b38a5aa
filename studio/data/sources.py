"""Where pictures lie: files of a folder, or entries of a zip that stays packed. No picture is opened to list them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.data.archive import Archive, ArchiveLimits, Entry, is_zip
from studio.data.frames import MAX_FILM_BYTES, Film, container_of, named_like_film
from studio.data.glovebox import Request
from studio.data.labels import clean_label, passed_over, unique_labels
from studio.data.pictures import MAX_PICTURE_BYTES
from studio.errors import BadInput, NotFound

MAX_FILES = 100_000


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A file that is not used, and a plain sentence why."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """One file: the name to show, and where it lies.

    Attributes:
        label: cleaned relative path, unique in its list; never used as a path.
        path: the file, or the zip that holds it.
        entry: its number in the zip's directory; None for a plain file.
    """

    label: str
    path: str
    entry: int | None = None


@dataclass(frozen=True, kw_only=True)
class Footage(Place):
    """A film: not a picture itself; `films.take_apart` takes pictures out of it."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A file together with the relative path it had on the artist's disk."""

    path: Path
    label: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What was found: places to open, films, files refused unopened, and how many were passed over silently."""

    places: tuple[Place, ...]
    films: tuple[Footage, ...]
    refused: tuple[Refusal, ...]
    passed_over: int


class Reader:
    """Turns places into glovebox requests and keeps the zips open meanwhile. A context manager."""

    def __init__(self, limits: ArchiveLimits | None = None) -> None:
        self._limits = limits
        self._archives: dict[str, tuple[Archive, dict[int, Entry]]] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for archive, _entries in self._archives.values():
            archive.close()

    def archive(self, path: str) -> Archive:
        """The zip at `path`, opened once.

        Raises:
            BadInput: damaged, hostile or beyond the limits.
        """
        return self._opened(path)[0]

    def request(self, place: Place, header: dict[str, object]) -> Request:
        """The request that opens `place`."""
        entry = place.entry
        if entry is None:
            return Request(header=header, path=Path(place.path))
        path = place.path
        return Request(header=header, fetch=lambda: self._fetch(path, entry))

    def _opened(self, path: str) -> tuple[Archive, dict[int, Entry]]:
        if path not in self._archives:
            archive = Archive(Path(path), self._limits)
            self._archives[path] = (archive, {entry.index: entry for entry in archive.entries})
        return self._archives[path]

    def _fetch(self, path: str, index: int) -> bytes:
        archive, entries = self._opened(path)
        if index not in entries:
            raise BadInput("This file is no longer in its zip.")
        return archive.read(entries[index])


def list_places(source: Path | Sequence[Named], reader: Reader, film: Film | None = None) -> Listing:
    """List a folder, a zip or files with names, in the order of their labels. Zips among the files are looked into.

    Args:
        film: says whether animated pictures are films.

    Raises:
        BadInput: too many files, or `source` is a bad zip (a bad zip among other files is only refused).
        NotFound: there is no such folder or file.
    """
    film = film or Film()
    if isinstance(source, Path) and source.is_file():
        if is_film(source, film):
            return _finish(_list_file(Named(path=source, label=clean_label(source.name)), reader, film), 0)
        if not is_zip(source):
            raise BadInput(
                "This is neither a folder of pictures nor a zip nor a film.", "Choose a folder, a zip or a film."
            )
        return _finish(_list_zip(source, "", reader, film), 0)
    named = _named_below(source) if isinstance(source, Path) else iter(source)
    found: list[Place | Refusal] = []
    skipped = 0
    for one in named:
        if passed_over(one.label):
            skipped += 1
        else:
            found += _list_file(one, reader, film)
        if len(found) > MAX_FILES:
            raise BadInput(f"There are more than {MAX_FILES:,} files.", "Choose a smaller folder.")
    return _finish(found, skipped)


def is_film(file: Path, film: Film) -> bool:
    """True if a file starts as films do, or is an animated picture by name where those are taken apart."""
    with open(file, "rb") as raw:
        start = raw.read(16)
    return bool(container_of(start)) or (film.animations and named_like_film(file.name, film))


def _finish(found: Iterable[Place | Refusal], skipped: int) -> Listing:
    found = list(found)
    places = sorted((one for one in found if isinstance(one, Place)), key=lambda place: place.label)
    labels = unique_labels(place.label for place in places)
    renamed = [replace(place, label=label) for label, place in zip(labels, places, strict=True)]
    return Listing(
        places=tuple(place for place in renamed if not isinstance(place, Footage)),
        films=tuple(place for place in renamed if isinstance(place, Footage)),
        refused=tuple(one for one in found if isinstance(one, Refusal)),
        passed_over=skipped,
    )


def _named_below(folder: Path) -> Iterator[Named]:
    if not folder.is_dir():
        raise NotFound(f"There is no folder {str(folder)!r}.", "Check its name.")
    for top, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = Path(top) / file
            yield Named(path=path, label=clean_label(path.relative_to(folder).as_posix()))


def _list_file(one: Named, reader: Reader, film: Film) -> Iterable[Place | Refusal]:
    try:
        about = one.path.lstat()
        if not stat.S_ISREG(about.st_mode):
            return [Refusal(file=one.label, reason="This is a link or a device, not a file.")]
        if about.st_size and is_zip(one.path):
            return _list_zip(one.path, one.label, reader, film)
        if is_film(one.path, film):
            return [_film_or_refusal(one, about.st_size)]
    except BadInput as refusal:
        return [Refusal(file=one.label, reason=str(refusal))]
    except OSError as error:
        return [Refusal(file=one.label, reason=f"This file cannot be read ({error.strerror}).")]
    if about.st_size > MAX_PICTURE_BYTES:
        return [Refusal(file=one.label, reason=f"This file is larger than {MAX_PICTURE_BYTES // 10**6} MB.")]
    return [Place(label=one.label, path=str(one.path))]


def _film_or_refusal(one: Named, size_bytes: int) -> Footage | Refusal:
    if size_bytes > MAX_FILM_BYTES:
        return Refusal(file=one.label, reason=f"This film is larger than {MAX_FILM_BYTES // 10**9} GB.")
    return Footage(label=one.label, path=str(one.path))


def _list_zip(path: Path, label: str, reader: Reader, film: Film) -> list[Place | Refusal]:
    archive = reader.archive(str(path))
    prefix = f"{label.removesuffix('.zip').removesuffix('.ZIP')}/" if label else ""
    places = [
        (Footage if named_like_film(entry.label, film) else Place)(
            label=prefix + entry.label, path=str(path), entry=entry.index
        )
        for entry in archive.entries
    ]
    return [*places, *(Refusal(file=prefix + name, reason=reason) for name, reason in archive.refused)]
