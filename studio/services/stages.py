"""What a run leaves on its way, for those who watch it: a film of its pictures, a stage for the shelf, the likeness of a
picture to those that it learned from, and what sets it apart from another run. The disk is the truth.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import BadInput, NotFound, StudioError
from studio.options import Checked, Option, option, options, to_json
from studio.paths import explain_disk, new_id, put_in_place, temporary_beside
from studio.services.datasets import Datasets
from studio.services.exports import Exports
from studio.services.jobs import Job, JobCancelled
from studio.services.runs import Runs
from studio.training.config import TrainConfig
from studio.weights.card import read_card, write_card
from studio.weights.shelf import Shelf

if TYPE_CHECKING:
    from studio.media.growth import Sheets

_REST_SECONDS = 1.5
_LARGEST_PICTURE_PX = 256
_NOT_TOLD = {"title", "dataset", "base_model"}


@dataclass(frozen=True, kw_only=True)
class GrowthSettings(Checked):
    """How a training becomes a film."""

    seconds: float = option(12.0, help="How long the film is.", low=5, high=30, unit="seconds", label="Length")
    fps: int = option(30, help="Pictures in a second.", low=10, high=60, label="Pictures per second")
    size_px: int = option(1080, help="The longer side of the film.", low=128, high=2160, unit="px", label="Size")
    seeds: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        """Frames of the whole film."""
        return round(self.seconds * self.fps)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One setting in which two runs differ, in words."""

    label: str
    here: str
    there: str


class Stages:
    """The stages of all runs. It keeps nothing itself. Every id that comes in is checked by the services below."""

    def __init__(self, runs: Runs, datasets: Datasets, shelf: Shelf, exports: Exports) -> None:
        self._runs = runs
        self._datasets = datasets
        self._shelf = shelf
        self._exports = exports

    # The film

    def start_film(self, owner: str, run_id: str, settings: GrowthSettings) -> str:
        """Begin the film of a run's growth; returns the id of its job, whose result is the name of the MP4 file.

        Raises:
            NotFound: no such run. BadInput: it has no pictures yet, or a seed that its sheets do not show.
        """
        self._sheets(run_id, settings.seeds)

        def write(path: Path, job: Job) -> str:
            return self.write_film(run_id, settings, path, report=job.progress, cancelled=job.cancelled)

        return self._exports.begin(owner, f"{new_id(self._runs.config(run_id).title)}.mp4", settings.frames, write)

    def write_film(
        self,
        run_id: str,
        settings: GrowthSettings,
        path: Path,
        *,
        report: Callable[[int, int], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> str:
        """Write the film to `path`; returns its file name. `report` hears (done, of how many) frames.

        Raises:
            NotFound, BadInput: as in `start_film`. JobCancelled: `cancelled()` said so; nothing is left behind.
        """
        from studio.media.growth import dissolve
        from studio.media.provenance import Mark
        from studio.media.video import write_mp4

        sheets, title = self._sheets(run_id, settings.seeds), self._runs.config(run_id).title
        rest = round(_REST_SECONDS * settings.fps)
        mark = Mark(title=f"How {title} learned", model=title, recipe={"run": run_id, "film": to_json(settings)})
        written = write_mp4(
            dissolve(sheets, settings.frames, rest=rest, size_px=settings.size_px),
            path,
            settings.fps,
            size_px=1,
            mark=mark,
            progress=lambda done: report(done, settings.frames),
            cancelled=cancelled,
        )
        if not written:
            raise JobCancelled
        return path.name

    def _sheets(self, run_id: str, seeds: tuple[int, ...]) -> Sheets:
        """The run's sheets that lie like its newest one, without those that a roll-back undid."""
        from studio.media.growth import Sheets

        told = [record for record in self._runs.changes(run_id)[1] if record["event"] == "preview"]
        if not told:
            raise BadInput("This run has drawn no pictures yet.", "Wait for its first ones.")
        last = told[-1]
        alike = [record for record in told if all(record[name] == last[name] for name in ("seeds", "rows", "columns"))]
        order: dict[str, float] = {}
        for record in alike:
            order = {file: kimg for file, kimg in order.items() if kimg < record["kimg"]}
            order[record["file"]] = record["kimg"]
        if missing := [seed for seed in seeds if seed not in last["seeds"]]:
            raise BadInput(f"The run does not draw seed {missing[0]}.", "Choose pictures of its sheet.")
        cells = tuple(last["seeds"].index(seed) for seed in seeds)
        return Sheets(files=self._files(run_id, order), rows=last["rows"], columns=last["columns"], cells=cells)

    def _files(self, run_id: str, names: dict[str, float]) -> tuple[Path, ...]:
        found = []
        for name in names:
            try:
                found.append(self._runs.preview_file(run_id, name))
            except (NotFound, BadInput):
                continue
        return tuple(found)

    # A stage on the shelf

    def keep(self, run_id: str, step: int | str, title: str = "") -> str:
        """Put one stage of a run on the shelf, as a model of its own; returns its id. `Shelf.delete` undoes it.

        Raises:
            NotFound: no such run or stage. NoSpace: the disk is full; the shelf is as it was.
        """
        source, config = self._runs.snapshot_folder(run_id, step), self._runs.config(run_id)
        card = read_card(source)
        shown = " ".join(title.split())[:120] or f"{config.title}, {card.kimg:.3g} kimg"
        place = self._shelf.place_for(shown)
        temporary = temporary_beside(place)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            shutil.copytree(source, temporary)
            write_card(temporary, replace(card, id=place.name, title=shown, created=created))
            put_in_place(temporary, place)
        except OSError as error:
            raise explain_disk(error, place) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return place.name

    # Likeness

    def training_picture(self, run_id: str, place: int, side_px: int = 0) -> bytes:
        """One picture that the run learns from, by its place in the dataset; a WebP of `side_px` (0: as it is).

        Raises:
            NotFound: no such run, dataset or place. BadInput: the dataset is another one by now. Damaged.
        """
        config = self._runs.config(run_id)
        dataset = Path(config.dataset.replace("\\", "/")).name
        if config.dataset_fingerprint not in ("", self._datasets.info(dataset).fingerprint):
            raise BadInput("These pictures were changed since the run began.", "Start a new run with them.")
        return self._datasets.picture(dataset, place, min(side_px, _LARGEST_PICTURE_PX))

    # Two runs

    def differences(self, run_id: str, other_id: str) -> tuple[Difference, ...]:
        """The settings in which two runs differ, in words. Raises NotFound."""
        here, there = self._runs.config(run_id), self._runs.config(other_id)
        told = [
            Difference(label=label, here=_words(mine), there=_words(theirs))
            for label, mine, theirs in (*self._sources(here, there), *_settings(here, there))
            if mine != theirs
        ]
        return tuple(told)

    def _sources(self, here: TrainConfig, there: TrainConfig) -> tuple[tuple[str, str, str], ...]:
        return (
            ("Pictures", self._pictures(here), self._pictures(there)),
            ("Starts from", self._base(here), self._base(there)),
        )

    def _pictures(self, config: TrainConfig) -> str:
        name = Path(config.dataset.replace("\\", "/")).name
        try:
            info = self._datasets.info(name)
        except StudioError:
            return name
        return f"{info.count:,} of {info.title}"

    def _base(self, config: TrainConfig) -> str:
        if not config.base_model:
            return "nothing"
        name = Path(config.base_model.replace("\\", "/")).name
        try:
            return self._shelf.entry(name).title
        except StudioError:
            return name


def _settings(here: TrainConfig, there: TrainConfig) -> list[tuple[str, Any, Any]]:
    """(label, one value, the other value) of every setting, those of the network last."""
    told = [described for described in options(TrainConfig) if described.name not in _NOT_TOLD]
    plain = [(_label(one), getattr(here, one.name), getattr(there, one.name)) for one in told]
    names = sorted({*here.settings, *there.settings})
    network = [
        (f"Network: {name.replace('_', ' ')}", here.settings.get(name), there.settings.get(name)) for name in names
    ]
    return plain + network


def _label(described: Option) -> str:
    said = ("", described.label.lower())
    return described.label if described.unit.lower() in said else f"{described.label} ({described.unit})"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", [], ()):
        return "not set"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(str(part) for part in value) if isinstance(value, (list, tuple)) else str(value)
