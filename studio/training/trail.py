"""Which checkpoint is known to be healthy: the newest one after which the run went on well for a while."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SURVIVED_SECONDS = 20.0
SURVIVED_STEPS = 20
"""What goes wrong shows within this time: in the planted failures it took less than ten seconds."""


@dataclass(kw_only=True)
class Trail:
    """The checkpoint on probation: its file, or None, with the step and the trained seconds at which it was saved.

    One at a time, so that slow runs with frequent checkpoints get to the end of it.
    """

    file: Path | None = None
    step: int = 0
    seconds: float = 0.0

    def saved(self, file: Path, step: int, seconds: float) -> None:
        """A checkpoint was saved; its probation begins if no other one's is under way."""
        if self.file is None:
            self.file, self.step, self.seconds = file, step, seconds

    def survivor(self, step: int, seconds: float) -> Path | None:
        """The checkpoint that has passed its probation, once; None: there is none now."""
        if self.file is None or seconds - self.seconds < SURVIVED_SECONDS or step - self.step < SURVIVED_STEPS:
            return None
        file, self.file = self.file, None
        return file if file.exists() else None

    def doubt(self) -> None:
        """Something is wrong: what was saved lately proves nothing."""
        self.file = None
