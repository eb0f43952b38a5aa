"""The composition root: everything that lives as long as the studio does, built once and handed to the page."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path

from studio.latent.point import Scene
from studio.options import to_json
from studio.paths import Home, bundled, put_in_place, temporary_beside
from studio.services.canvas import Canvas
from studio.services.crossing import Crossing
from studio.services.datasets import Datasets, UploadLimits
from studio.services.engine import SNAPSHOT_MARK, Engine
from studio.services.exports import Exports
from studio.services.gallery import Gallery, SavedPicture
from studio.services.imports import Imports
from studio.services.jobs import Jobs
from studio.services.lineage import Lineage
from studio.services.naming import Naming
from studio.services.policy import Policy
from studio.services.runs import Runs
from studio.services.sessions import Sessions
from studio.services.stages import Stages
from studio.services.training_desk import TrainingDesk
from studio.weights.card import WEIGHTS_FILE
from studio.weights.shelf import Shelf

_MOST_CANVASES = 1000


class Studio:
    """The whole studio over one home folder. `start` brings it to life, `close` puts it to rest."""

    def __init__(self, home: Home, policy: Policy) -> None:
        self.home = home.create()
        self.policy = policy
        self.shelf = Shelf(bundled("models"), home.models)
        self.engine = Engine(self.model_folder, home.cache)
        self.jobs = Jobs()
        self.runs = Runs(home)
        self.datasets = Datasets(home, UploadLimits(files=policy.upload_files, bytes=policy.upload_bytes), self.jobs)
        self.desk = TrainingDesk(self.shelf, self.datasets, self.runs, self.jobs)
        self.gallery = Gallery(home)
        self.crossing = Crossing(self.shelf, self.engine)
        self.naming = Naming(self.engine, self.jobs)
        self.lineage = Lineage(self.shelf, self.engine, self.gallery, self.jobs)
        self.exports = Exports(home, self.engine, self.jobs)
        self.stages = Stages(self.runs, self.datasets, self.shelf, self.exports)
        self.imports = Imports(home, self.shelf, self.engine, self.jobs, policy.import_bytes)
        self.sessions = Sessions(policy)
        self._canvases: OrderedDict[str, Canvas] = OrderedDict()

    def start(self) -> None:
        """Wake the engine and pick up the runs that were under way, all in the background."""
        self.engine.warm()
        self.datasets.sweep_uploads()
        self.exports.sweep()
        self.imports.sweep()
        self.runs.recover()

    def close(self) -> None:
        """Save and pause what trains; it goes on at the next start."""
        self.jobs.stop()
        self.runs.close()
        self.engine.close()

    def model_folder(self, model_id: str) -> Path:
        """The folder of a shelf model, or of a snapshot named "run@step". Raises NotFound."""
        if SNAPSHOT_MARK in model_id:
            self.policy.require("train")
            run_id, _, step = model_id.partition(SNAPSHOT_MARK)
            return self.runs.snapshot_folder(run_id, step)
        return self.shelf.folder(model_id)

    def draw_png(self, scene: Scene) -> bytes:
        """The exact picture of a scene as a PNG with its recipe, the model's sha256 and its provenance inside."""
        from studio.media.stills import enlarge, to_png

        picture = self.engine.submit(self.engine.still, scene).result()
        card = self.engine.submit(self.engine.card, scene.model).result()
        if scene.size_px:
            picture = enlarge(picture, scene.size_px)
        recipe = {"scene": to_json(scene), "model_sha256": card.files.get(WEIGHTS_FILE, "")}
        return to_png(picture, recipe, title=card.title, model=card.title)

    def save(self, owner: str, scene: Scene, title: str = "") -> SavedPicture:
        """Draw a scene exactly and keep it in the owner's gallery."""
        picture = self.draw_png(scene)
        card = self.engine.submit(self.engine.card, scene.model).result()
        recipe = to_json(scene)
        return self.gallery.save(
            owner, picture, model=scene.model, recipe=recipe, title=title or card.title, model_title=card.title
        )

    def packed_model(self, model_id: str) -> Path:
        """A zip of the model's folder, which is a Hugging Face Hub repository as it is; made anew when the model changed."""
        folder = self.model_folder(model_id)
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        newest = max(path.stat().st_mtime_ns for path in files)
        packed = self.home.cache / f"{folder.name}-{newest:x}.zip"
        if not packed.is_file():
            temporary = temporary_beside(packed)
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                for path in files:
                    archive.write(path, f"{folder.name}/{path.name}")
            put_in_place(temporary, packed)
        return packed

    def canvas(self, token: str) -> Canvas:
        """The canvas of an open page. Raises Forbidden for an unknown token."""
        self.sessions.owner(token)
        canvas = self._canvases.setdefault(token, Canvas(self.engine))
        self._canvases.move_to_end(token)
        while len(self._canvases) > _MOST_CANVASES:
            self._canvases.popitem(last=False)
        return canvas
