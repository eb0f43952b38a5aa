"""Films, each known only to its owner. Those of a walk: frames one at a time through the engine's gate, so that play
goes on meanwhile; others are written by whoever begins them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.errors import BadInput, NotFound
from studio.latent.point import Scene
from studio.latent.timeline import Timeline
from studio.options import Checked, option, to_json
from studio.paths import Home, new_id, safe_name
from studio.services.engine import Engine
from studio.services.jobs import Job, JobCancelled, Jobs

if TYPE_CHECKING:
    import numpy as np

_MOST_FRAMES = 20_000
_KEEP_SECONDS = 7 * 86_400


@dataclass(frozen=True, kw_only=True)
class FilmSettings(Checked):
    """How a walk becomes a film."""

    format: str = option(
        "mp4", help="MP4 plays everywhere; WebP loops by itself on web pages.", choices=("mp4", "webp")
    )
    fps: int = option(30, help="Pictures in a second.", low=1, high=60, label="Pictures per second")
    size_px: int = option(512, help="Width and height of the film.", low=32, high=2048, unit="px", label="Size")


class Exports:
    """Films under way and done, as files in `home.exports`, each known only to its owner."""

    def __init__(self, home: Home, engine: Engine, jobs: Jobs) -> None:
        self._folder = home.exports
        self._engine = engine
        self._jobs = jobs
        self._owners: dict[str, str] = {}

    def sweep(self) -> None:
        """Remove films of a week ago; whoever wanted one has downloaded it."""
        for path in self._folder.iterdir():
            if time.time() - path.stat().st_mtime > _KEEP_SECONDS:
                path.unlink(missing_ok=True)

    def start(self, owner: str, model: str, timeline: Timeline, settings: FilmSettings) -> str:
        """Begin a film; returns the id of its job, whose result is the name of the file."""
        count = timeline.count_frames(settings.fps)
        if count > _MOST_FRAMES:
            raise BadInput(
                f"This film would have {count:,} pictures.", "Make the walk shorter, or take fewer a second."
            )

        def write(path: Path, job: Job) -> str:
            return self.write(model, timeline, settings, path, report=job.progress, cancelled=job.cancelled)

        return self.begin(owner, f"{new_id('walk')}.{settings.format}", count, write)

    def begin(self, owner: str, name: str, count: int, write: Callable[[Path, Job], str]) -> str:
        """Begin any film of `count` frames that `write(path, job)` writes to its path; returns the id of its job."""
        self._owners[name] = owner

        def work(job: Job) -> str:
            job.stage("Drawing", total=count)
            return write(self._folder / name, job)

        return self._jobs.start(work)

    def write(
        self,
        model: str,
        timeline: Timeline,
        settings: FilmSettings,
        path: Path,
        *,
        report: Callable[[int, int], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> str:
        """Draw every frame and write the film to `path`; returns its file name. `report` hears (done, of how many).

        Raises:
            JobCancelled: `cancelled()` said so; nothing is left behind.
        """
        from studio.media import video
        from studio.media.provenance import Mark

        count = timeline.count_frames(settings.fps)
        write = video.write_mp4 if settings.format == "mp4" else video.write_webp
        written = write(
            self._frames(model, timeline, settings.fps),
            path,
            settings.fps,
            size_px=settings.size_px,
            mark=Mark(title="Walk", model=model, recipe={"model": model, "timeline": to_json(timeline)}),
            progress=lambda done: report(done, count),
            cancelled=cancelled,
        )
        if not written:
            raise JobCancelled
        return path.name

    def _frames(self, model: str, timeline: Timeline, fps: int) -> Iterator[np.ndarray]:
        for point in timeline.frames(fps):
            yield self._engine.submit(self._engine.frame, Scene(model=model, point=point)).result()

    def file(self, owner: str, name: str) -> Path:
        """The finished film `name`. Raises NotFound for another owner's, or one that is not there."""
        path = self._folder / safe_name(name)
        if self._owners.get(name) != owner or not path.is_file():
            raise NotFound("There is no such film.", "Export the walk again.")
        return path
