"""The gallery: every saved picture, which opens again as the exact place it came from."""

from __future__ import annotations

from typing import Any

from studio.options import to_json
from studio.services.studio import Studio
from studio.ui.calls import Visitor

_PAGE = 60


def gallery(studio: Studio, visitor: Visitor, before: str | None = None) -> list[Any]:
    """Saved pictures, newest first, sixty at a time."""
    return [to_json(item) for item in studio.gallery.list(visitor.owner, limit=_PAGE, before=before)]


def favourite(studio: Studio, visitor: Visitor, id: str, on: bool) -> None:
    """Mark or unmark a saved picture."""
    studio.gallery.favourite(visitor.owner, id, bool(on))


def delete_picture(studio: Studio, visitor: Visitor, id: str) -> None:
    """Take a picture out of the gallery; `restore_picture` brings it back."""
    studio.gallery.delete(visitor.owner, id)


def restore_picture(studio: Studio, visitor: Visitor, id: str) -> None:
    """Undo `delete_picture`."""
    studio.gallery.restore(visitor.owner, id)


CALLS = (gallery, favourite, delete_picture, restore_picture)
