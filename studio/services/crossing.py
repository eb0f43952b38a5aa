"""Models that can be crossed with a model, and a crossed one put on the shelf for good."""

from __future__ import annotations

import time
from dataclasses import replace

from studio.errors import BadInput
from studio.latent.cross import Cross, related
from studio.latent.point import Point, Seed
from studio.services.engine import Engine
from studio.weights.card import ModelCard
from studio.weights.shelf import Shelf

_FACES, _FACES_COLUMNS = 6, 3


class Crossing:
    """What is drawn of a crossed model is the engine's; its name, `Cross.id`, is all there is of it until it is kept."""

    def __init__(self, shelf: Shelf, engine: Engine) -> None:
        self._shelf = shelf
        self._engine = engine

    def relatives(self, card: ModelCard) -> dict[str, str]:
        """The models of the shelf that a model can be crossed with: their titles by their ids."""
        others = {entry.id: entry.card for entry in self._shelf.list() if entry.card is not None and not entry.problem}
        return {id: other.title for id, other in others.items() if related(card, other)}

    def keep(self, cross_id: str, title: str = "") -> str:
        """Put a crossed model on the shelf; returns its id. `Shelf.delete` undoes it.

        Raises:
            BadInput: the name is not that of a crossed model, or its models cannot be crossed. NotFound: one is gone.
            NoSpace: the disk is full; the shelf is as it was.
        """
        if Cross.read(cross_id) is None:
            raise BadInput("This is not a crossed model.", "Choose a model to cross with, and move a slider.")
        return self._engine.submit(self._keep, cross_id, title).result()

    def _keep(self, cross_id: str, title: str) -> str:
        from studio.media.sheets import grid
        from studio.media.stills import to_webp
        from studio.weights.store import save_model

        player = self._engine.player(cross_id)
        shown = " ".join(title.split())[:120] or player.card.title
        place = self._shelf.place_for(shown)
        place.parent.mkdir(parents=True, exist_ok=True)
        faces = self._engine.frames(cross_id, [Point(seeds=(Seed(seed=seed),)) for seed in range(_FACES)])
        preview = to_webp(grid(list(faces), columns=_FACES_COLUMNS, gap=0))
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        card = replace(player.card, id=place.name, title=shown, created=created, files={})
        save_model(place, player.exact, card, preview=preview)  # type: ignore[arg-type]
        return place.name
