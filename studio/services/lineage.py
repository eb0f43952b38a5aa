"""What a model inherits from the one that it was trained from: its directions, measured anew, and its points.

A model's inheritance is worked out once, by `settle`, and kept in the model's own folder: it stays when the base is
deleted, and goes where the model goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import Damaged, NotFound, StudioError
from studio.latent.point import OWN_CLASS, Point, Scene
from studio.options import from_json
from studio.services.engine import Engine, is_lasting
from studio.services.gallery import Gallery
from studio.services.jobs import Job, Jobs
from studio.weights.card import INHERITED_FILE, Ancestor, ModelCard
from studio.weights.shelf import Shelf

if TYPE_CHECKING:
    from studio.latent.directions import Direction

_MOST_INHERITED = 128
_MOST_FAVOURITES = 24
_PATIENCE_SECONDS = 2.0
_SMALL_PX = 128


class Lineage:
    """Directions and points on their way from a model to its descendants."""

    def __init__(self, shelf: Shelf, engine: Engine, gallery: Gallery, jobs: Jobs) -> None:
        self._shelf = shelf
        self._engine = engine
        self._gallery = gallery
        self._jobs = jobs

    def start(self, model_id: str) -> str:
        """Begin to work out what a model inherits; the id of the job, or "" if there is nothing to do.

        Raises:
            NotFound: there is no such model.
        """
        if not is_lasting(model_id) or not self._unsettled(model_id):
            return ""
        return self._jobs.start_once(f"inheritance of {model_id}", lambda job: self.settle(model_id, job))

    def settle(self, model_id: str, job: Job) -> int:
        """Measure every direction of the base on the model and keep them in its folder; returns how many."""
        line = self._unsettled(model_id)
        return [self._settle(one, job) for one in reversed(line)][-1] if line else 0

    def favourites(self, owner: str, model_id: str) -> tuple[Point, ...] | None:
        """The places of the owner's favourites among the pictures of the model's base, oldest first; None without a base
        on the shelf."""
        base = self._base(model_id) if is_lasting(model_id) else None
        if base is None:
            return None
        saved = self._gallery.list(owner, limit=500, favourites=True)
        found = [from_json(Scene, one.recipe).point for one in saved if one.model == base.id]
        return tuple(reversed(found[:_MOST_FAVOURITES]))

    def points(self, owner: str, model_id: str, points: Sequence[Point]) -> tuple[Point, ...]:
        """Points of the base, and behind them the owner's favourites among its pictures, as points of the model.

        Raises:
            NotFound: there is no such model, or no base of it on the shelf.
        """
        from studio.latent.lineage import carried_point

        card, base = self._card(model_id), self._base(model_id)
        favourites = self.favourites(owner, model_id)
        if base is None or favourites is None:
            raise NotFound("The model that this one was trained from is gone.", "Start from places of your own.")
        known = self._engine.submit(self._engine.directions, model_id).result()
        classes = _classes(self._card(base.id), card)
        return tuple(
            carried_point(point, sha256=base.sha256, classes=classes, known=known) for point in (*points, *favourites)
        )

    def _settle(self, model_id: str, job: Job) -> int:
        from studio.latent.directions import save_directions

        if (base := self._base(model_id)) is None:
            return 0
        found = self._engine.submit(partial(self._engine.directions, base.id, at_once=True)).result()
        job.stage("inherit", f"Looking at the directions of {base.title}", total=len(found))
        kept: dict[str, Direction] = {}
        for place, direction in enumerate(list(found.values())[:_MOST_INHERITED]):
            job.stop_if_cancelled()
            self._engine.let_the_hand_pass(_PATIENCE_SECONDS)
            travelled = self._engine.submit(self._measure, base, model_id, direction).result()
            if travelled is not None:
                kept[travelled.name] = travelled
            job.progress(place + 1, len(found))
        if kept:
            save_directions(self._file(model_id), kept)
            self._engine.submit(self._engine.forget_directions, model_id).result()
        return len(kept)

    def _measure(self, base: Ancestor, model_id: str, direction: Direction) -> Direction | None:
        """One direction in the child, with what it still does there. Computes in the engine's thread."""
        from dataclasses import replace

        from studio.latent.lineage import SEEDS, inherited, recheck

        parent, child = self._engine.player(base.id).exact, self._engine.player(model_id).exact
        travelled = inherited(direction, child, title=base.title, sha256=base.sha256)
        if travelled is None:
            return None
        seeds = SEEDS if child.resolution <= _SMALL_PX else SEEDS[:3]
        return replace(travelled, check=recheck(parent, child, direction, travelled, seeds))

    def _unsettled(self, model_id: str) -> list[str]:
        """The model and those before it that still have to be worked out; they end where a base is gone."""
        found: list[str] = []
        while model_id not in found and (base := self._base(model_id)) is not None:
            if self._file(model_id).is_file() or self._shelf.entry(model_id).shipped:
                break
            found.append(model_id)
            model_id = base.id
        return found

    def _base(self, model_id: str) -> Ancestor | None:
        """The model that this one was trained from, if it is still on the shelf and the same."""
        lineage = self._card(model_id).lineage
        try:
            return lineage[0] if lineage and self._card(lineage[0].id).sha256 == lineage[0].sha256 else None
        except StudioError:
            return None

    def _card(self, model_id: str) -> ModelCard:
        card = self._shelf.entry(model_id).card
        if card is None:
            raise Damaged("This model cannot be read.", "Import it again, or delete it from the shelf.")
        return card

    def _file(self, model_id: str) -> Path:
        return self._shelf.folder(model_id) / INHERITED_FILE


def _classes(base: ModelCard, card: ModelCard) -> dict[int | None, int]:
    """Numbers of the base's classes -> those of the model: by name, or in order where there are as many. Where the base has
    none, each seed has one of its own."""
    if card.classes and not base.classes:
        return {None: OWN_CLASS}
    if len(base.classes) == len(card.classes):
        return {number: number for number in range(len(card.classes))}
    return {place: card.classes.index(name) for place, name in enumerate(base.classes) if name in card.classes}


def describe(directions: dict[str, Direction]) -> list[dict[str, Any]]:
    """What the page shows of directions; inherited ones come last, with their mark."""
    return [
        {
            "name": name,
            "title": direction.title,
            "group": f"From {direction.origin}" if direction.origin else name.rsplit("-", 1)[0],
            "first_layer": direction.first_layer,
            "last_layer": direction.last_layer,
            "mark": direction.check.mark if direction.check else "",
        }
        for name, direction in directions.items()
    ]
