"""Saved pictures: a PNG and its story in `home.gallery`, an index in SQLite, each known only to its owner.

A picture is saved in three steps, each of them whole or not at all: its story `<id>.json`, its bytes `<id>.png`, its
row in the index. What a crash leaves without a row is adopted at the next start, and an index that cannot be read is
built anew from the stories. What is deleted can be restored for thirty days.

The journal mode is DELETE, as a write-ahead log does not work on network file systems.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import BadInput, Busy, Damaged, NoSpace, NotFound, StudioError
from studio.options import from_json, to_json
from studio.paths import Home, safe_name, write_file

_KEEP_DELETED_SECONDS = 30 * 24 * 3600
_WAIT_SECONDS = 30
_THUMBNAIL_PX = 320
_MOST_LISTED = 500
_TITLE_CHARACTERS = 200
_RECIPE_CHARACTERS = 500_000
_PNG = b"\x89PNG\r\n\x1a\n"
_COLUMNS = "id, created, title, model, model_title, recipe, favourite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pictures (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    created REAL NOT NULL,
    title TEXT NOT NULL,
    model TEXT NOT NULL,
    model_title TEXT NOT NULL,
    recipe TEXT NOT NULL,
    favourite INTEGER NOT NULL DEFAULT 0,
    deleted REAL
);
CREATE INDEX IF NOT EXISTS pictures_of_owner ON pictures (owner, number);
"""


@dataclass(frozen=True, kw_only=True)
class SavedPicture:
    """One picture of the gallery.

    Attributes:
        created: seconds since 1970.
        model: the id of the model that made it; `model_title` is what it was called then.
        recipe: the Scene as JSON, from which the picture can be made again.
    """

    id: str
    created: float
    title: str
    model: str
    model_title: str
    recipe: dict[str, Any]
    favourite: bool = False

    @property
    def file(self) -> str:
        """The name of its file in the gallery's folder."""
        return f"{self.id}.png"


@dataclass(frozen=True, kw_only=True)
class _Story:
    """What `<id>.json` says: all that the index needs to know again."""

    owner: str
    picture: SavedPicture


class Gallery:
    """The saved pictures of all owners. Any thread may call; every method sees only what belongs to `owner`."""

    def __init__(self, home: Home) -> None:
        self._folder = home.gallery
        self._database = home.database
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open_index()
        self._forget_old()
        self._adopt()

    def save(
        self,
        owner: str,
        picture: bytes,
        *,
        model: str,
        recipe: Mapping[str, Any],
        title: str = "",
        model_title: str = "",
    ) -> SavedPicture:
        """Keep a PNG. When this returns, no crash can lose it.

        Raises:
            BadInput: it is not a PNG, or its recipe is no JSON or far too long.
            NoSpace: the disk is full; nothing half-saved stays.
        """
        if not picture.startswith(_PNG):
            raise BadInput("Only PNG pictures go into the gallery.", "Save the picture as PNG.")
        saved = SavedPicture(
            id=f"{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(8)}",
            created=time.time(),
            title=" ".join(title.split())[:_TITLE_CHARACTERS],
            model=model,
            model_title=model_title or model,
            recipe=_plain_recipe(recipe),
        )
        try:
            write_file(self._story(saved.id), json.dumps(to_json(_Story(owner=owner, picture=saved))))
            write_file(self._folder / saved.file, picture)
            self._index(owner, saved)
        except StudioError:
            self._remove_files(saved.id)
            raise
        return saved

    def list(
        self, owner: str, limit: int = 60, before: str | None = None, *, favourites: bool = False
    ) -> tuple[SavedPicture, ...]:
        """Pictures, the newest first; `before` is the id of the last one that is known already.

        Raises:
            NotFound: `before` is no picture of this owner.
        """
        limit = max(0, min(int(limit), _MOST_LISTED))
        with self._connect() as connection:
            end = 2**62 if before is None else self._row(connection, owner, before, "number", deleted=None)[0]
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM pictures WHERE owner = ? AND number < ? AND deleted IS NULL"
                " AND favourite >= ? ORDER BY number DESC LIMIT ?",
                (owner, end, int(favourites), limit),
            ).fetchall()
        return tuple(_picture(row) for row in rows)

    def get(self, owner: str, id: str) -> SavedPicture:
        """One picture. Raises NotFound, for another owner's too."""
        with self._connect() as connection:
            return _picture(self._row(connection, owner, id, _COLUMNS))

    def file(self, owner: str, id: str) -> Path:
        """The PNG of a picture. Raises NotFound."""
        path = self._folder / self.get(owner, id).file
        if not path.is_file():
            raise NotFound("The file of this picture is gone.", "Its recipe is still here; save it again.")
        return path

    def thumbnail(self, owner: str, id: str) -> Path:
        """A WebP of at most 320 px, made when it is first asked for. Raises NotFound or Damaged."""
        source = self.file(owner, id)
        path = self._thumbnail(source.stem)
        if not path.is_file():
            write_file(path, _shrink(source))
        return path

    def favourite(self, owner: str, id: str, on: bool = True) -> None:
        """Mark or unmark a picture. Raises NotFound."""
        self._change(owner, id, "favourite = ?", int(on))

    def delete(self, owner: str, id: str) -> None:
        """Take a picture out; `restore` brings it back for thirty days. Raises NotFound."""
        self._change(owner, id, "deleted = ?", time.time())

    def restore(self, owner: str, id: str) -> None:
        """Undo `delete`. Raises NotFound if it is not there, or not deleted."""
        self._change(owner, id, "deleted = ?", None, deleted=True)

    # ── the index ──

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own, committed at the end or not at all; failures in plain words."""
        try:
            with self._open() as connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise _explained(error) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._database, timeout=_WAIT_SECONDS)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                yield connection

    def _open_index(self) -> None:
        """Make the table. An index that is not one is put aside, never deleted; one that is only busy stays."""
        try:
            self._make_index()
        except sqlite3.OperationalError as error:
            raise _explained(error) from error
        except sqlite3.DatabaseError:
            mark = f".damaged-{secrets.token_hex(4)}"
            for path in (self._database, self._database.with_name(f"{self._database.name}-journal")):
                if path.exists():
                    os.replace(path, path.with_name(path.name + mark))
            self._make_index()

    def _make_index(self) -> None:
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("the index is damaged")
            connection.executescript(_SCHEMA)

    def _index(self, owner: str, saved: SavedPicture) -> None:
        values = (saved.id, saved.created, saved.title, saved.model, saved.model_title, json.dumps(saved.recipe))
        with self._connect() as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO pictures (owner, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (owner, *values, int(saved.favourite)),
            )

    def _row(
        self, connection: sqlite3.Connection, owner: str, id: str, columns: str, *, deleted: bool | None = False
    ) -> tuple[Any, ...]:
        """Columns of one picture of this owner; `deleted` None takes both kinds. Raises NotFound."""
        row: tuple[Any, ...] | None = connection.execute(
            f"SELECT {columns} FROM pictures WHERE owner = ? AND id = ? AND (? IS NULL OR (deleted IS NOT NULL) = ?)",
            (owner, str(id), deleted, deleted),
        ).fetchone()
        if row is None:
            raise NotFound("There is no such picture in your gallery.", "Reload the page; it may have been deleted.")
        return row

    def _change(self, owner: str, id: str, assignment: str, value: Any, *, deleted: bool = False) -> None:
        with self._connect() as connection:
            (number,) = self._row(connection, owner, id, "number", deleted=deleted)
            connection.execute(f"UPDATE pictures SET {assignment} WHERE number = ?", (value, number))

    # ── the files ──

    def _story(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _thumbnail(self, id: str) -> Path:
        return self._folder / f"{id}.webp"

    def _remove_files(self, id: str) -> None:
        for path in (self._thumbnail(id), self._folder / f"{id}.png", self._story(id)):
            path.unlink(missing_ok=True)

    def _adopt(self) -> None:
        """Index the pictures that have a story but no row, oldest first. Stories without a picture are removed."""
        with self._connect() as connection:
            known = {id for (id,) in connection.execute("SELECT id FROM pictures")}
        for path in sorted(self._folder.glob("*.json")):
            if path.stem in known:
                continue
            if not path.with_suffix(".png").is_file():
                path.unlink(missing_ok=True)
            elif (story := _read_story(path)) is not None:
                self._index(story.owner, story.picture)

    def _forget_old(self) -> None:
        """Remove for good what was deleted long ago: files first, so that nothing comes back without its row."""
        limit = time.time() - _KEEP_DELETED_SECONDS
        with self._connect() as connection:
            old = [id for (id,) in connection.execute("SELECT id FROM pictures WHERE deleted < ?", (limit,))]
        for id in old:
            self._remove_files(id)
        with self._connect() as connection:
            connection.executemany("DELETE FROM pictures WHERE id = ?", [(id,) for id in old])


def _picture(row: tuple[Any, ...]) -> SavedPicture:
    id, created, title, model, model_title, recipe, favourite = row
    return SavedPicture(
        id=id,
        created=created,
        title=title,
        model=model,
        model_title=model_title,
        recipe=json.loads(recipe),
        favourite=bool(favourite),
    )


def _plain_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as it comes back from JSON, so that what is returned now equals what is read later."""
    try:
        text = json.dumps(to_json(recipe), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise BadInput("The recipe of this picture cannot be kept.", "Draw the picture again.") from None
    if len(text) > _RECIPE_CHARACTERS:
        raise BadInput("The recipe of this picture is far too long.", "Use fewer edits.")
    plain: dict[str, Any] = json.loads(text)
    return plain


def _read_story(path: Path) -> _Story | None:
    """The story in a file, or None if it is not one of ours; such a file is left alone."""
    try:
        story = from_json(_Story, json.loads(path.read_bytes()))
        safe_name(story.picture.id)
    except (OSError, ValueError, RecursionError, BadInput):
        return None
    return story if story.picture.id == path.stem else None


def _shrink(source: Path) -> bytes:
    """A PNG of ours as a small WebP. Raises Damaged."""
    from PIL import Image

    try:
        with Image.open(source, formats=("PNG",)) as image:
            image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
            small = io.BytesIO()
            image.save(small, "WEBP", quality=80)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise Damaged("The file of this picture cannot be read.", "Draw it again from its recipe.") from None
    return small.getvalue()


def _explained(error: sqlite3.DatabaseError) -> StudioError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return NoSpace("The disk is full, so the gallery could not be changed.", "Free some space and try again.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy("The gallery is being changed by another studio.", "Try again in a moment.")
    return Damaged("The gallery cannot be read or written.", "Check the studio's folder, then start the studio again.")
