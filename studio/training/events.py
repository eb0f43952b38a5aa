"""What a run tells: frozen events, one JSON object a line in `events.jsonl`.

The log only grows. A crash can tear its last line: readers stop before it, and the next writer cuts it off.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.errors import Damaged
from studio.options import from_json, to_json


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """Something that happened to a run, at a step of it.

    Attributes:
        step: generator steps done.
        kimg: thousands of real pictures shown to the critic.
        seconds: time trained so far, over all sittings.
    """

    step: int = 0
    kimg: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Started(RunEvent):
    """A sitting begins, from nothing or from a checkpoint.

    `memory_bytes` is the measured estimate of what it needs, `free_bytes` what there was; 0: unknown.
    """

    resumed: bool
    total_seconds: float
    device: str
    precision: str
    batch: int
    g_parameters: int
    d_parameters: int
    memory_bytes: int = 0
    free_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Progress(RunEvent):
    """The newest figures, a few times a second at most."""

    fraction: float
    images_per_second: float
    seconds_left: float
    memory_bytes: int
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Preview(RunEvent):
    """A sheet of pictures of fixed seeds, row by row: `previews/<file>`."""

    file: str
    seeds: tuple[int, ...]
    rows: int
    columns: int
    size_px: int


@dataclass(frozen=True, kw_only=True)
class Snapshot(RunEvent):
    """A playable stage of the model: the folder `snapshots/<name>`."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint(RunEvent):
    """All that resuming needs is safe on the disk."""

    file: str


@dataclass(frozen=True, kw_only=True)
class Warned(RunEvent):
    """Something to know, and the one thing to do about it.

    Attributes:
        topic: a short key of the trouble, such as "divergence".
        remedy: words for a button that does the one thing; empty: there is nothing to click.
        did: what the run has already done by itself; empty: nothing.
    """

    topic: str
    message: str
    hint: str = ""
    remedy: str = ""
    did: str = ""


@dataclass(frozen=True, kw_only=True)
class Scored(RunEvent):
    """How good a snapshot's pictures are beside the dataset, by a fixed feature network.

    Attributes:
        kid: kernel distance, 0 is best; recall and coverage: how much of the dataset is covered, 0 to 1.
        diversity: 1 is as diverse as the dataset.
        copied: share of pictures, 0 to 1, that are nearer to a training picture than is usual among those.
        nearest: the dataset place nearest to each picture of the preview sheet, in the order of its seeds.
        distances: how far that is; 1 is the usual distance of a training picture to its own nearest neighbour.
        snapshot: the name of the snapshot that was judged.
        best: whether it is the best one so far.
    """

    kid: float
    precision: float
    recall: float
    coverage: float
    diversity: float
    copied: float
    nearest: tuple[int, ...]
    distances: tuple[float, ...]
    snapshot: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Paused(RunEvent):
    """The sitting is over and can go on from here. `reason` is "asked" or "interrupted"."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Finished(RunEvent):
    """The run is over. `model` is the folder of the published model, or empty."""

    model: str
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Failed(RunEvent):
    """The run cannot go on by itself."""

    message: str
    hint: str = ""


EVENTS: Mapping[str, type[RunEvent]] = {
    kind.__name__.lower(): kind
    for kind in (Started, Progress, Preview, Snapshot, Checkpoint, Warned, Scored, Paused, Finished, Failed)
}


def to_line(event: RunEvent, at: float) -> bytes:
    """One line of the log. `at` is the time of day in seconds since 1970."""
    record = {"event": type(event).__name__.lower(), "at": round(at, 3), **to_json(event)}
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def from_record(record: Mapping[str, Any]) -> RunEvent:
    """The event of one line's JSON. Raises Damaged for an event that the studio does not know."""
    kind = EVENTS.get(str(record.get("event")))
    if kind is None:
        raise Damaged(
            "The log of the run holds an entry that the studio does not know.", "It may come from a newer version."
        )
    return from_json(kind, {key: value for key, value in record.items() if key not in ("event", "at")})


def read_records(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The complete lines from byte `offset` on, as JSON objects, and the offset to read on from.

    A torn last line is left for later; a line that is not JSON is passed over.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    complete = content[: content.rfind(b"\n") + 1]
    return [record for line in complete.splitlines() if (record := _parse(line)) is not None], offset + len(complete)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.get("event") in EVENTS else None


class EventLog:
    """The writer of a run's log. Only the holder of the run's lock may open one."""

    def __init__(self, path: Path) -> None:
        _cut_torn_line(path)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by __exit__)

    def append(self, event: RunEvent) -> None:
        """Write one line; all but Progress are on the disk when this returns."""
        self._file.write(to_line(event, time.time()))
        if not isinstance(event, Progress):
            os.fsync(self._file.fileno())

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        with open(path, "r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
