"""The names inside a run's folder, and the small files by which the studio and the trainer talk. Needs no torch.

config.json    what is trained             events.jsonl   what happened, one JSON object a line
previews/      sheets of pictures          snapshots/     playable stages, a model folder each
checkpoints/   all that resuming needs     log.txt        what the process wrote
best.json      the best snapshot by its scores    README.md    all of this for people
wish           train, pause or stop; gone once the run has ended
heal           the topic of a warning whose remedy is wanted; gone once it was carried out
lock           held by the live trainer    heartbeat      touched while work is done; says how long a silence may last
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio import paths
from studio.errors import BadInput, NotFound
from studio.options import from_json, to_json
from studio.training.config import TrainConfig

UNKNOWN_SILENCE_SECONDS = 60.0
GONE = ("calm_kimg",)
"""Settings that runs of earlier versions have."""
WISHES = ("train", "pause", "stop")


@dataclass(frozen=True)
class RunFolder:
    """One run on the disk."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def previews(self) -> Path:
        return self.root / "previews"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def wish(self) -> Path:
        return self.root / "wish"

    @property
    def heal(self) -> Path:
        return self.root / "heal"

    @property
    def best(self) -> Path:
        return self.root / "best.json"

    @property
    def readme(self) -> Path:
        return self.root / "README.md"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def heartbeat(self) -> Path:
        return self.root / "heartbeat"

    def prepare(self) -> None:
        """Make the folders inside and sweep what a crash left half-written."""
        for folder in (self.checkpoints, self.snapshots, self.previews):
            folder.mkdir(exist_ok=True)
            paths.sweep(folder)
        paths.sweep(self.root)

    def read_config(self) -> TrainConfig:
        """The configuration. Raises NotFound or BadInput."""
        try:
            told = json.loads(self.config.read_bytes())
            if isinstance(told, dict):
                told = {name: value for name, value in told.items() if name not in GONE}
            return from_json(TrainConfig, told)
        except OSError:
            raise NotFound("This run has no settings.", "Start a new one.") from None
        except ValueError:
            raise BadInput("The settings of this run are garbled.", "Start a new one.") from None

    def write_config(self, config: TrainConfig) -> None:
        """Replace the configuration."""
        paths.write_file(self.config, json.dumps(to_json(config), indent=1) + "\n")

    def read_wish(self) -> str:
        """ "train", "pause" or "stop"; empty if the run has ended or nobody asked for anything."""
        try:
            text = self.wish.read_text().strip()
        except OSError:
            return ""
        return text if text in WISHES else ""

    def write_wish(self, wish: str) -> None:
        """Ask for something; empty takes the wish back."""
        if wish:
            paths.write_file(self.wish, wish)
        else:
            self.wish.unlink(missing_ok=True)

    def take_heal(self) -> str:
        """The topic whose remedy somebody asked for, once; empty: none."""
        try:
            topic = self.heal.read_text().strip()
        except OSError:
            return ""
        self.heal.unlink(missing_ok=True)
        return topic

    def read_best(self) -> dict[str, Any]:
        """What `best.json` says: snapshot (its name), kid and copied; empty without scores."""
        try:
            best = json.loads(self.best.read_bytes())
        except (OSError, ValueError):
            return {}
        return best if isinstance(best, dict) and str(best.get("snapshot", "")).isdigit() else {}

    def beat(self, silence_seconds: float) -> None:
        """Tell that work is being done, and how long the next silence may last. A deleted folder is no error."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self.heartbeat, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, f"{silence_seconds:10.1f}".encode())
                os.utime(self.heartbeat)
            finally:
                os.close(descriptor)

    def heard(self) -> tuple[int, float]:
        """When the heart last beat (file time, nanoseconds), and how many seconds it may be silent."""
        try:
            return self.heartbeat.stat().st_mtime_ns, float(self.heartbeat.read_text())
        except (OSError, ValueError):
            return 0, UNKNOWN_SILENCE_SECONDS
