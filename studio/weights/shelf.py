"""The shelf: the shipped models (read-only) and the artist's own, listed without loading any of them.

The disk is the truth. What is remembered here is forgotten as soon as a folder's files change.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import BadInput, Forbidden, NotFound, StudioError
from studio.paths import bring_back, new_id, safe_name, set_aside
from studio.weights.card import CONFIG_FILE, PREVIEW_FILE, WEIGHTS_FILE, ModelCard, read_card, write_card

_LONGEST_TITLE, _LONGEST_CLASS = 120, 60
_Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class ShelfEntry:
    """One folder of the shelf. `problem` says in plain words why it cannot be played; empty if it can."""

    card: ModelCard | None
    folder: Path
    shipped: bool
    problem: str = ""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def title(self) -> str:
        return self.card.title if self.card else self.folder.name

    @property
    def preview(self) -> Path | None:
        """The picture of the model, if it has one."""
        path = self.folder / PREVIEW_FILE
        return path if path.is_file() else None


class Shelf:
    """The models in two folders: `bundled` is only read, `own` belongs to the artist. A shipped id wins."""

    def __init__(self, bundled: Path, own: Path) -> None:
        self._bundled = bundled
        self._own = own
        self._known: dict[Path, tuple[_Stamp, ShelfEntry]] = {}

    def list(self) -> tuple[ShelfEntry, ...]:
        """All models: the artist's own, the newest first, then the shipped ones, the largest pictures first.

        A broken folder is listed with its problem, behind the others of its part."""
        found = [self._entry(folder, shipped=True) for folder in _folders(self._bundled)]
        shipped = {entry.id for entry in found}
        for folder in _folders(self._own):
            entry = self._entry(folder, shipped=False)
            if entry.id in shipped:
                entry = dataclasses.replace(entry, problem="A shipped model has the same name. Rename this folder.")
            found.append(entry)
        found.sort(key=lambda entry: (entry.title.casefold(), entry.id))
        own = sorted((entry for entry in found if not entry.shipped), key=_age, reverse=True)
        return (*own, *sorted((entry for entry in found if entry.shipped), key=_smallness))

    def folder(self, model_id: str) -> Path:
        """The folder of a model. Raises NotFound if no such folder is on the shelf."""
        safe_name(model_id)
        for place in (self._bundled, self._own):
            if (place / model_id).is_dir():
                return place / model_id
        raise NotFound(f"There is no model {model_id!r} on the shelf.", "Choose another one; it may have been deleted.")

    def entry(self, model_id: str) -> ShelfEntry:
        """One model by its id. Raises NotFound."""
        folder = self.folder(model_id)
        return self._entry(folder, shipped=folder.parent == self._bundled)

    def place_for(self, title: str) -> Path:
        """A folder name of the artist's own that nothing has yet, made from a title; nothing is created."""
        return self._own / new_id(title)

    def rename(self, model_id: str, title: str) -> ModelCard:
        """Give one of the artist's own models another title; its id stays. Returns the new card."""
        return self._change(model_id, lambda card: {"title": _name(title, "model", _LONGEST_TITLE)})

    def name_class(self, model_id: str, place: int, name: str) -> ModelCard:
        """Call a class of one of the artist's own models otherwise. Returns the new card.

        Raises:
            BadInput: no such class, or another one has that name.
        """
        name = _name(name, "class", _LONGEST_CLASS)

        def renamed(card: ModelCard) -> dict[str, Any]:
            others = [*card.classes[:place], *card.classes[place + 1 :]]
            if not 0 <= place < len(card.classes):
                raise BadInput(f"{card.title} has no such class.", "Reload the page.")
            if name in others:
                raise BadInput(f"Another class is called {name!r}.", "Choose a different name.")
            return {"classes": (*others[:place], name, *others[place:])}

        return self._change(model_id, renamed)

    def delete(self, model_id: str) -> None:
        """Take one of the artist's own models from the shelf. `restore` brings it back until it is purged."""
        set_aside(self._own_folder(model_id))

    def restore(self, model_id: str) -> None:
        """Undo `delete`. Raises NotFound if nothing of that id was deleted, BadInput if another took its name."""
        bring_back(self._own / safe_name(model_id))

    def _change(self, model_id: str, changes: Callable[[ModelCard], dict[str, Any]]) -> ModelCard:
        """Write the card of one of the artist's own models anew."""
        folder = self._own_folder(model_id)
        card = read_card(folder)
        card = dataclasses.replace(card, **changes(card))
        write_card(folder, card)
        return card

    def _own_folder(self, model_id: str) -> Path:
        folder = self.folder(model_id)
        if folder.parent != self._own:
            raise Forbidden("This model came with the studio and stays as it is.", "Change one of your own models.")
        return folder

    def _entry(self, folder: Path, *, shipped: bool) -> ShelfEntry:
        stamp = _stamp(folder)
        known = self._known.get(folder)
        if known is None or known[0] != stamp:
            known = (stamp, _read_entry(folder, shipped=shipped))
            self._known[folder] = known
        return known[1]


def _name(text: str, what: str, most: int) -> str:
    """The text in one line. Raises BadInput: it is empty or too long."""
    name = " ".join(text.split())
    if not 1 <= len(name) <= most:
        raise BadInput(f"A {what} needs a name of 1 to {most} characters.", "Choose a shorter one.")
    return name


def _age(entry: ShelfEntry) -> str:
    return entry.card.created if entry.card else ""


def _smallness(entry: ShelfEntry) -> int:
    return -entry.card.resolution if entry.card else 0


def _folders(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_entry(folder: Path, *, shipped: bool) -> ShelfEntry:
    try:
        safe_name(folder.name)
        card = dataclasses.replace(read_card(folder), id=folder.name)
    except StudioError as error:
        return ShelfEntry(card=None, folder=folder, shipped=shipped, problem=str(error))
    missing = not (folder / WEIGHTS_FILE).is_file()
    problem = f"The weights of {card.title!r} are missing. Import it again, or delete it." if missing else ""
    return ShelfEntry(card=card, folder=folder, shipped=shipped, problem=problem)


def _stamp(folder: Path) -> _Stamp:
    """What changes when the folder's files do."""
    return (*_file_stamp(folder), *_file_stamp(folder / CONFIG_FILE), int((folder / WEIGHTS_FILE).is_file()))


def _file_stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
