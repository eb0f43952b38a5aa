"""The shelf: every model with its picture, what it is, and what it was trained on."""

from __future__ import annotations

from typing import Any

from studio.families.base import FAMILIES
from studio.options import from_json, to_json
from studio.services.imports import About
from studio.services.studio import Studio
from studio.ui.calls import Visitor
from studio.weights.shelf import ShelfEntry


def models(studio: Studio, visitor: Visitor) -> list[dict[str, Any]]:
    """Every model on the shelf, broken ones with the sentence that says why."""
    return [_told(entry) for entry in studio.shelf.list()]


def _told(entry: ShelfEntry) -> dict[str, Any]:
    kind = FAMILIES.get(entry.card.family) if entry.card else None
    return {
        "id": entry.id,
        "card": to_json(entry.card),
        "shipped": entry.shipped,
        "problem": entry.problem,
        "has_preview": entry.preview is not None,
        "family_title": kind.title if kind else "",
        "trains": kind is not None and kind.trains,
    }


def rename_model(studio: Studio, visitor: Visitor, id: str, title: str) -> None:
    """Give one of the artist's own models another title."""
    studio.policy.require("shelf")
    studio.shelf.rename(id, title)
    studio.engine.forget(id)


def name_class(studio: Studio, visitor: Visitor, id: str, place: int, name: str) -> str:
    """Call a class of one of the artist's own models otherwise; answers the name as it is kept."""
    studio.policy.require("shelf")
    card = studio.shelf.name_class(id, place, name)
    studio.engine.forget(id)
    return card.classes[place]


def delete_model(studio: Studio, visitor: Visitor, id: str) -> None:
    """Take one of the artist's own models off the shelf; `restore_model` brings it back."""
    studio.policy.require("shelf")
    studio.shelf.delete(id)
    studio.engine.forget(id)


def restore_model(studio: Studio, visitor: Visitor, id: str) -> None:
    """Undo `delete_model`."""
    studio.policy.require("shelf")
    studio.shelf.restore(id)


# ── bringing a model ──


def begin_import(studio: Studio, visitor: Visitor, path: str = "") -> str:
    """A new import: of the file or folder that lies at `path` on this machine, or waiting for files that are sent."""
    studio.policy.require("import")
    return studio.imports.open_path(path) if path else studio.imports.begin()


def look_at_hub(studio: Studio, visitor: Visitor, address: str, revision: str = "") -> str:
    """Ask the Hub what a repository holds; answers the id of the job, whose result is the listing and an import's id."""
    studio.policy.require("import")
    return studio.imports.start_listing(address, revision)


def download_import(studio: Studio, visitor: Visitor, id: str, weights: list[str]) -> str:
    """Download what was listed and look at it; answers the id of the job."""
    studio.policy.require("import")
    return studio.imports.start_download(id, tuple(weights))


def look_at_import(studio: Studio, visitor: Visitor, id: str, choice: str = "") -> str:
    """Find out what was sent, and draw it; answers the id of the job."""
    studio.policy.require("import")
    return studio.imports.start_look(id, choice)


def keep_import(studio: Studio, visitor: Visitor, id: str, about: Any, candidate: int = 0) -> str:
    """Put it on the shelf; answers the id of the job, whose result is the model's id."""
    studio.policy.require("import")
    return studio.imports.start_keep(id, from_json(About, about), candidate)


def forget_import(studio: Studio, visitor: Visitor, id: str) -> None:
    """Leave it; what was sent is deleted."""
    studio.policy.require("import")
    studio.imports.forget(id)


_IMPORTING = (begin_import, look_at_hub, download_import, look_at_import, keep_import, forget_import)
CALLS = (models, rename_model, name_class, delete_model, restore_model, *_IMPORTING)
