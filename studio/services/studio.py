"""The composition root: everything that lives as long as the studio does, built once and handed to the page."""

from __future__ import annotations

from pathlib import Path

from studio.paths import Home, bundled
from studio.services.canvas import Canvas
from studio.services.datasets import Datasets
from studio.services.engine import Engine
from studio.services.exports import Exports
from studio.services.gallery import Gallery
from studio.services.jobs import Jobs
from studio.services.policy import Policy
from studio.services.runs import Runs
from studio.services.sessions import Sessions
from studio.weights.shelf import Shelf

SNAPSHOT_MARK = "@"


class Studio:
    """The whole studio over one home folder. `start` brings it to life, `close` puts it to rest."""

    def __init__(self, home: Home, policy: Policy) -> None:
        self.home = home.create()
        self.policy = policy
        self.shelf = Shelf(bundled("models"), home.models)
        self.engine = Engine(self.model_folder, home.cache)
        self.jobs = Jobs()
        self.runs = Runs(home)
        self.datasets = Datasets(home, max_files=policy.upload_files, max_bytes=policy.upload_bytes)
        self.gallery = Gallery(home)
        self.exports = Exports(home, self.engine, self.jobs)
        self.sessions = Sessions(policy)
        self._canvases: dict[str, Canvas] = {}

    def start(self) -> None:
        """Wake the engine and pick up the runs that were under way, all in the background."""
        self.engine.warm()
        self.runs.recover()

    def close(self) -> None:
        """Save and pause what trains; it goes on at the next start."""
        self.runs.close()
        self.engine.close()

    def model_folder(self, model_id: str) -> Path:
        """The folder of a shelf model, or of a snapshot named "run@step". Raises NotFound."""
        if SNAPSHOT_MARK in model_id:
            run_id, _, step = model_id.partition(SNAPSHOT_MARK)
            return self.runs.snapshot_folder(run_id, step)
        return self.shelf.folder(model_id)

    def canvas(self, token: str) -> Canvas:
        """The canvas of an open page. Raises Forbidden for an unknown token."""
        self.sessions.owner(token)
        return self._canvases.setdefault(token, Canvas(self.engine))

    def leave(self, token: str) -> None:
        """The page behind `token` was closed."""
        self._canvases.pop(token, None)
