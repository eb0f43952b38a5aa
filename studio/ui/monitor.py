"""What the monitor of the train room asks for, beyond the runs themselves: a film, a stage for the shelf, a remedy, and
another run to look at beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.options import from_json
from studio.services.stages import Difference, GrowthSettings
from studio.services.studio import Studio
from studio.ui.calls import Visitor


def heal_run(studio: Studio, visitor: Visitor, id: str, topic: str) -> Sequence[Any]:
    """Do the one thing that the newest warning about `topic` offers; answers all runs, as `status` does."""
    studio.policy.require("train")
    studio.runs.heal(id, topic)
    return studio.runs.summaries()


def keep_stage(studio: Studio, visitor: Visitor, id: str, step: int, title: str = "") -> dict[str, str]:
    """Put one stage of a run on the shelf: {"model", "title"}. `delete_model` undoes it."""
    studio.policy.require("train")
    studio.policy.require("shelf")
    model = studio.stages.keep(id, step, title)
    return {"model": model, "title": studio.shelf.entry(model).title}


def growth_film(studio: Studio, visitor: Visitor, id: str, settings: Any) -> str:
    """Begin the film of how a run learned; answers the id of the job, whose result is the name of the file."""
    studio.policy.require("train")
    return studio.stages.start_film(visitor.owner, id, from_json(GrowthSettings, settings))


def differences(studio: Studio, visitor: Visitor, id: str, other: str) -> tuple[Difference, ...]:
    """The settings in which two runs differ, in words."""
    studio.policy.require("train")
    return studio.stages.differences(id, other)


CALLS = (heal_run, keep_stage, growth_film, differences)
