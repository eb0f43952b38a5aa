"""The player: the live canvas, the map of seeds, directions, and the strip of points that becomes a walk and a film."""

from __future__ import annotations

import base64
from typing import Any

from studio.latent.point import Point, Scene
from studio.latent.timeline import Timeline
from studio.options import from_json, to_json
from studio.services.exports import FilmSettings
from studio.services.lineage import describe
from studio.services.studio import Studio
from studio.ui.calls import Visitor

_MOST_THUMBNAILS = 64
_MOST_POINTS = 64


def model(studio: Studio, visitor: Visitor, id: str) -> dict[str, Any]:
    """What can be done with a model: its card, styles, noise, what it can be crossed with, and how many favourites there
    are among the pictures of its base (null if that is gone)."""
    about: dict[str, Any] = studio.engine.submit(studio.engine.describe, id).result()
    card = studio.engine.submit(studio.engine.card, id).result()
    favourites = studio.lineage.favourites(visitor.owner, id)
    return {
        **about, "relatives": studio.crossing.relatives(card),
        "favourites_of_base": None if favourites is None else len(favourites),
    }  # fmt: skip


def keep_cross(studio: Studio, visitor: Visitor, id: str) -> dict[str, str]:
    """Put a crossed model on the shelf: {"model", "title"}. `delete_model` undoes it."""
    studio.policy.require("shelf")
    kept = studio.crossing.keep(id)
    return {"model": kept, "title": studio.shelf.entry(kept).title}


def directions(studio: Studio, visitor: Visitor, id: str) -> list[dict[str, Any]]:
    """The directions of a model; the first time they are searched for, which can take a second."""
    return describe(studio.engine.submit(studio.engine.directions, id).result())


def find_traits(studio: Studio, visitor: Visitor, id: str) -> str:
    """Begin to look for the directions of a model that have names; the id of the job, "" if they are known."""
    return studio.naming.start(id)


def inherit(studio: Studio, visitor: Visitor, id: str) -> str:
    """Begin to measure the directions that a model has from its base; the id of the job, "" if that is done or not wished."""
    return studio.lineage.start(id) if studio.policy.allows("shelf") else ""


def inherit_points(studio: Studio, visitor: Visitor, id: str, points: list[Any]) -> list[dict[str, Any]]:
    """Points of the base of a model, and favourites among its pictures, as points of the model."""
    given = [from_json(Point, point) for point in points[:_MOST_POINTS]]
    return [to_json(point) for point in studio.lineage.points(visitor.owner, id, given)[:_MOST_POINTS]]


def thumbnails(studio: Studio, visitor: Visitor, model: str, points: list[Any], size: int = 64) -> dict[str, Any]:
    """Small pictures of many points as one sheet in a row: {"sheet": data URL, "size": pixels of a tile}."""
    places = [from_json(Point, point) for point in points[:_MOST_THUMBNAILS]]
    size = max(16, min(int(size), 128))
    sheet = studio.engine.sheet(model, places, size)
    return {"sheet": "data:image/png;base64," + base64.b64encode(sheet).decode(), "size": size}


def walk(studio: Studio, visitor: Visitor, model: str, timeline: Any) -> dict[str, Any]:
    """Set the walk that this page's later wishes name by a time; answers its duration in seconds."""
    parsed = from_json(Timeline, timeline)
    studio.canvas(visitor.token).set_timeline(model, parsed)
    return {"duration": parsed.duration}


def film(studio: Studio, visitor: Visitor, model: str, timeline: Any, settings: Any) -> str:
    """Begin to export a walk; answers the id of the job."""
    return studio.exports.start(visitor.owner, model, from_json(Timeline, timeline), from_json(FilmSettings, settings))


def job(studio: Studio, visitor: Visitor, id: str) -> dict[str, Any]:
    """How far a job is."""
    return studio.jobs.status(id)


def cancel(studio: Studio, visitor: Visitor, id: str) -> None:
    """Ask a job to end; what it had half done is removed."""
    studio.jobs.cancel(id)


def save(studio: Studio, visitor: Visitor, scene: Any, time: float | None = None) -> dict[str, Any]:
    """Draw a scene, or the walk at a time, exactly and keep it in the gallery, its recipe inside."""
    wish = from_json(Scene, scene) if time is None else studio.canvas(visitor.token).scene_at(time)
    saved: dict[str, Any] = to_json(studio.save(visitor.owner, wish))
    return saved


CALLS = (
    model, keep_cross, directions, find_traits, inherit, inherit_points, thumbnails, walk, film, job, cancel, save,
)  # fmt: skip
