"""The shelf: every model with its picture, what it is, and what it was trained on."""

from __future__ import annotations

from typing import Any

from studio.options import to_json
from studio.services.studio import Studio
from studio.ui.calls import Visitor


def models(studio: Studio, visitor: Visitor) -> list[dict[str, Any]]:
    """Every model on the shelf, broken ones with the sentence that says why."""
    return [
        {
            "id": entry.id,
            "card": to_json(entry.card),
            "shipped": entry.shipped,
            "problem": entry.problem,
            "has_preview": entry.preview is not None,
        }
        for entry in studio.shelf.list()
    ]


def rename_model(studio: Studio, visitor: Visitor, id: str, title: str) -> None:
    """Give one of the artist's own models another title."""
    studio.policy.require("shelf")
    studio.shelf.rename(id, title)
    studio.engine.forget(id)


def delete_model(studio: Studio, visitor: Visitor, id: str) -> None:
    """Take one of the artist's own models off the shelf; `restore_model` brings it back."""
    studio.policy.require("shelf")
    studio.shelf.delete(id)
    studio.engine.forget(id)


def restore_model(studio: Studio, visitor: Visitor, id: str) -> None:
    """Undo `delete_model`."""
    studio.policy.require("shelf")
    studio.shelf.restore(id)


CALLS = (models, rename_model, delete_model, restore_model)
