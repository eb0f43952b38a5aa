"""What a run's log says so far, folded into its newest figures. Reads only what was added since; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.training.events import read_records


@dataclass(kw_only=True)
class Record:
    """The newest figures of a run.

    `phase` is that of the last event which begins or ends a sitting: new, starting, training, paused, interrupted,
    finished or failed. `topic` is that of the newest warning, `remedies` what the newest of each topic offers.
    """

    offset: int = 0
    phase: str = "new"
    saved_step: int = 0
    message: str = ""
    hint: str = ""
    model: str = ""
    preview: str = ""
    preview_seeds: tuple[int, ...] = ()
    preview_columns: int = 0
    topic: str = ""
    remedies: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def read(self, log: Path) -> None:
        """Take in what the log holds by now."""
        records, self.offset = read_records(log, self.offset)
        for record in records:
            self._take(record)

    def _take(self, record: Mapping[str, Any]) -> None:
        kind = record["event"]
        self.figures |= {key: record[key] for key in ("step", "kimg", "seconds") if key in record}
        if kind == "progress":
            names = ("fraction", "images_per_second", "memory_bytes")
            self.figures |= {name: record[name] for name in names}
            self.figures["end_seconds"] = record["seconds"] + record["seconds_left"]
            self.figures["metrics"] = self.figures.get("metrics", {}) | record["metrics"]
        elif kind == "preview":
            self.preview, self.preview_seeds = record["file"], tuple(record["seeds"])
            self.preview_columns = record["columns"]
        elif kind == "checkpoint":
            self.saved_step = record["step"]
        elif kind == "started":
            self.phase, self.message, self.hint, self.topic = "training", "", "", ""
            self.figures.pop("end_seconds", None)
        elif kind == "paused":
            self.phase = "paused" if record["reason"] == "asked" else "interrupted"
        elif kind in ("finished", "failed", "warned"):
            self._end_or_warn(kind, record)

    def _end_or_warn(self, kind: str, record: Mapping[str, Any]) -> None:
        self.message, self.hint = record["message"], record.get("hint", "")
        self.topic = record.get("topic", "")
        if self.topic:
            self.remedies[self.topic] = record.get("remedy", "")
        if kind != "warned":
            self.phase = kind
        if kind == "finished":
            self.model = record["model"]
