"""Where a run is ordered: pictures and one dial in, a training run out.

`plan` says beforehand what would be done and why. `start` prepares the pictures, plans with what they really hold, and
puts the run in line; all of it in the background, so that the page has its answer at once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.data.info import DatasetInfo
from studio.data.prepare import RESOLUTIONS, PrepareSettings
from studio.data.scan import FEWEST
from studio.errors import BadInput
from studio.services.datasets import Datasets
from studio.services.jobs import Job, Jobs
from studio.services.runs import Runs
from studio.training.config import TrainConfig
from studio.weights.card import ModelCard
from studio.weights.shelf import Shelf
from studio.words import counted

if TYPE_CHECKING:
    from studio.training.plan import Plan

_COLOURS = {1: "grey", 3: "rgb", 4: "rgba"}
_LONGEST_TITLE = 80
_BUSY_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Pictures that were looked through but not prepared yet.

    Attributes:
        id: of the upload.
        title: a name to show.
        count: good pictures.
        classes: names of the sub-folders.
    """

    id: str
    title: str = ""
    count: int = 0
    classes: tuple[str, ...] = ()


CHOICE = ":auto"
"""Instead of a model's id: the plan chooses what a run starts from. No model can have that id."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an artist asks for.

    Attributes:
        pictures: a scanned upload, or the id of a prepared dataset.
        prepare: how an upload is prepared.
        minutes: the dial.
        base: the id of a model on the shelf to start from; "" is from nothing, `CHOICE` leaves it to the plan.
        family: the architecture, where there is no base to decide it; "" leaves it to the plan.
        title: of the run; "" takes that of the pictures.
        changes: settings of `TrainConfig` that are not as planned; "settings" may name only some of the network's.
    """

    pictures: Upload | str
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    minutes: float = 30.0
    base: str = ""
    family: str = ""
    title: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


class TrainingDesk:
    """Takes orders. It keeps nothing itself: uploads, datasets and runs are on the disk."""

    def __init__(self, shelf: Shelf, datasets: Datasets, runs: Runs, jobs: Jobs) -> None:
        self._shelf = shelf
        self._datasets = datasets
        self._runs = runs
        self._jobs = jobs

    def plan(self, order: Order) -> Plan:
        """The settings that the run would have, and the reasons for them.

        Raises:
            NotFound: no such dataset or model. BadInput: the pictures do not fit the model to start from, or a
            change that no run can have.
        """
        plan = self._plan(order, self._expected(order))
        return dataclasses.replace(plan, reasons=(*plan.reasons, *self._now()))

    def start(self, order: Order) -> str:
        """Prepare and train in the background; returns the id of the job, whose result is the id of the run.

        Raises:
            NotFound, BadInput: as in `plan`.
        """
        self.plan(order)
        return self._jobs.start(lambda job: self._work(order, job))

    def fit_to(self, settings: PrepareSettings, base: str) -> PrepareSettings:
        """The same settings, with the size, colours and classes that the model `base` needs.

        Raises:
            BadInput: pictures cannot be prepared for this model.
        """
        return fitted(settings, self._shelf_card(base)) if base not in ("", CHOICE) else settings

    def needs_of(self, base: str) -> dict[str, Any]:
        """The settings of preparing that the model `base` decides; none for "" and `CHOICE`."""
        if base in ("", CHOICE):
            return {}
        fitting = self.fit_to(PrepareSettings(), base)
        names = ["resolution", "colour"] + ["classes_from_folders"] * bool(self._shelf_card(base).classes)
        return {name: getattr(fitting, name) for name in names}

    def _expected(self, order: Order) -> DatasetInfo:
        """The dataset that there is, or that there will be. Raises as `plan`."""
        pictures = order.pictures
        if not isinstance(pictures, Upload):
            return self._datasets.info(pictures)
        left = self._datasets.count(pictures.id, order.prepare)
        if left < FEWEST:
            are_left = counted(left, "picture is left", "pictures are left")
            raise BadInput(f"Only {are_left}.", f"Take some back: a run needs at least {FEWEST}.")
        return expected(order, dataclasses.replace(pictures, count=left))

    def _now(self) -> Iterator[str]:
        """What stands in the way of a run that would begin now."""
        if self._runs.at_work():
            yield "Another run is learning. This one begins when that is done."
        elif is_busy():
            yield "Other work keeps this machine busy now; unless it ends, the model sees fewer pictures than that."

    def _work(self, order: Order, job: Job) -> str:
        info = self._prepared(order, job)
        job.stop_if_cancelled()
        job.stage("plan", "Planning the run")
        return self._runs.start(self._config(order, info))

    def _prepared(self, order: Order, job: Job) -> DatasetInfo:
        if not isinstance(order.pictures, Upload):
            return self._datasets.info(order.pictures)
        job.stage("prepare", "Cutting your pictures to size")
        return self._datasets.prepare(order.pictures.id, order.prepare, order.title, job.progress, job.cancelled)

    def _plan(self, order: Order, info: DatasetInfo) -> Plan:
        from studio.training.plan import plan

        base = self._base(order, info)
        card = self._shelf_card(base) if base else None
        return plan(order.minutes, info, card, family=order.family, changes=order.changes)

    def _base(self, order: Order, info: DatasetInfo) -> str:
        """The id of the model that the run starts from, or ""."""
        if order.base != CHOICE:
            return order.base
        from studio.training.plan import suggested_base

        cards = {entry.id: entry.card for entry in self._shelf.list() if entry.card is not None and not entry.problem}
        return suggested_base(cards, info, order.minutes, family=order.family)

    def _config(self, order: Order, info: DatasetInfo) -> TrainConfig:
        """The plan with the artist's changes, and the folders filled in."""
        order = dataclasses.replace(order, base=self._base(order, info))
        return dataclasses.replace(
            self._plan(order, info).config,
            title=(order.title.strip() or info.title)[:_LONGEST_TITLE],
            dataset=str(self._datasets.folder(info.id)),
            dataset_fingerprint=info.fingerprint,
            base_model=str(self._shelf.folder(order.base)) if order.base else "",
        )

    def _shelf_card(self, model_id: str) -> ModelCard:
        entry = self._shelf.entry(model_id)
        if entry.card is None or entry.problem:
            raise BadInput(entry.problem or f"The model {model_id!r} cannot be read.", "Start from another model.")
        return entry.card


def is_busy() -> bool:
    """Whether other work leaves hardly any room on this machine; no where that cannot be known."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > _BUSY_SHARE * (os.cpu_count() or 1)


def expected(order: Order, upload: Upload) -> DatasetInfo:
    """What the dataset will say of itself once `upload` is prepared; its folder and fingerprint are not known yet."""
    settings = order.prepare
    labels = upload.classes if settings.classes_from_folders and len(upload.classes) > 1 else ()
    if settings.kinds:
        labels = tuple(map(str, range(settings.kinds_among(upload.count))))
    return DatasetInfo(
        id="",
        title=order.title or upload.title or "Untitled",
        resolution=settings.resolution,
        channels=settings.square.channels,
        count=upload.count,
        labels=labels,
        fingerprint="",
        mirror=settings.mirror,
    )


def fitted(settings: PrepareSettings, card: ModelCard) -> PrepareSettings:
    """The settings with the colours and classes of a model, if it has some, at its size or the next that we prepare.

    Raises BadInput if the model is larger than any picture that we prepare."""
    resolution = next((size for size in RESOLUTIONS if size >= card.resolution), 0)
    if not resolution and card.family != "stylegan2":
        raise BadInput(
            f"Pictures cannot be prepared at {card.resolution} px.", "Start from another model, or from scratch."
        )
    return dataclasses.replace(
        settings,
        resolution=resolution or max(RESOLUTIONS),
        colour=_COLOURS[card.channels],
        classes_from_folders=settings.classes_from_folders or bool(card.classes),
    )
