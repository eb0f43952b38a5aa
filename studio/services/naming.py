"""Directions that pictures tell of, first of all those with names: found once for a model by looking at a few hundred of
its pictures, while it is played."""

from __future__ import annotations

from studio.latent.cross import Cross
from studio.services.engine import Engine, is_lasting
from studio.services.jobs import Job, Jobs

_SMALL, _LARGE = (16, 2.0), (1, 30.0)
"""How many pictures at once, and for how many seconds a moving hand goes first: one large picture takes a second."""


class Naming:
    """Looks at models' pictures in the background. What it found is the engine's."""

    def __init__(self, engine: Engine, jobs: Jobs) -> None:
        self._engine = engine
        self._jobs = jobs

    def start(self, model_id: str) -> str:
        """Begin to look for the named directions of a model; the id of the job, or "" if they are known.

        Raises:
            NotFound: there is no such model.
        """
        if (
            Cross.read(model_id)
            or self._known(model_id)
            or not (is_lasting(model_id) or self._needs_pictures(model_id))
        ):
            return ""
        return self._jobs.start_once(f"traits of {model_id}", lambda job: self.settle(model_id, job))

    def _known(self, model_id: str) -> bool:
        from studio.latent.directions import kept_directions

        files = (self._engine.traits_file(model_id), self._engine.directions_file(model_id))
        return all(kept_directions(file) is not None for file in files)

    def _needs_pictures(self, model_id: str) -> bool:
        """Whether nothing but its pictures tells of a model's directions."""
        return not self._engine.submit(self._engine.player, model_id).result().exact.style_matrices()

    def settle(self, model_id: str, job: Job) -> int:
        """Look for them now and keep them; returns how many."""
        from torch import cat

        from studio.latent import directions, traits

        generator = self._engine.submit(self._engine.player, model_id).result().exact
        numbers = directions.wanted(generator)
        at_once, patience_seconds = _SMALL if generator.resolution <= directions.LARGE_PX else _LARGE
        job.stage("traits", "Looking at what can be changed", total=len(numbers))
        seen = []
        for first in range(0, len(numbers), at_once):
            job.stop_if_cancelled()
            self._engine.let_the_hand_pass(patience_seconds)
            seen.append(self._engine.submit(directions.look, generator, numbers[first : first + at_once]).result())
            job.progress(first + at_once, len(numbers))
        styles, pictures = (cat(parts) for parts in zip(*seen, strict=True))
        if not generator.style_matrices():
            directions.save_directions(self._engine.directions_file(model_id), directions.components(styles, pictures))
        found = traits.find(styles, pictures)
        directions.save_directions(self._engine.traits_file(model_id), found)
        self._engine.submit(self._engine.forget_directions, model_id).result()
        return len(found)
