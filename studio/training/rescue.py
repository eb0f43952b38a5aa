"""What a run does by itself when it goes wrong, and what one click does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from studio import paths
from studio.errors import NoSpace, StudioError
from studio.training import checkpoint, events, remedy
from studio.training.health import Alarm, Sentinel
from studio.training.opening import reload
from studio.training.sitting import Sitting, Tally, warned
from studio.words import counted

ROLLBACK_RATES = (0.5, 0.2, 0.1)
"""What the learning rates are multiplied by at the first, second and third time; after that the run gives up."""


def roll_back(sitting: Sitting, alarm: Alarm) -> Iterator[events.RunEvent]:
    """Back to where the run was healthy, with lower learning rates.

    Raises:
        StudioError: it has happened too often; the checkpoints are those of the healthy state.
    """
    tried = sitting.state.rollbacks
    failed_step = sitting.state.step
    if tried >= len(ROLLBACK_RATES):
        _return(sitting, rollbacks=0, rate=1.0)
        raise StudioError(
            f"{alarm.message} The run went back three times, and it happened again.",
            f"The model as of step {sitting.state.step} is kept. Resume with lower learning rates, or stop the run.",
        )
    _return(sitting, rollbacks=tried + 1, rate=ROLLBACK_RATES[tried], newest=alarm.topic == "numbers" and not tried)
    sitting.failed_step = failed_step
    share = f"{ROLLBACK_RATES[tried]:.0%}"
    did = f"The run went back to step {sitting.state.step} and learns at {share} of the speed."
    yield warned(sitting, alarm.topic, alarm.message, alarm.hint, did=did)


def recover(sitting: Sitting) -> None:
    """A checkpoint proved healthy: the way back is counted anew once the run is past the place where it failed."""
    state = sitting.state
    if survivor := sitting.trail.survivor(state.step, state.seconds):
        checkpoint.mark_healthy(sitting.folder.checkpoints, survivor)
        if state.rollbacks and sitting.failed_step and int(survivor.stem) > sitting.failed_step:
            state.rollbacks = 0


def shrink(sitting: Sitting) -> Iterator[events.RunEvent]:
    """Out of memory: back to the newest checkpoint with half the batch."""
    size = sitting.bench.world.size
    batch = sitting.state.batch // 2 // size * size
    if not batch:
        raise NoSpace("The memory is too small for this model.", "Choose smaller pictures, or close other programs.")
    reload(sitting)
    sitting.state.batch = batch
    yield warned(sitting, "memory", f"The memory was full. The run goes on with {counted(batch, 'picture')} at once.")


def heal(sitting: Sitting, topic: str) -> Iterator[events.RunEvent]:
    """Carry out the remedy of the warning `topic`; the settings are changed for good."""
    chosen = remedy.for_topic(topic, sitting.config)
    if chosen is None:
        return
    if chosen.ends:
        sitting.folder.write_wish("stop")
    else:
        config = remedy.applied(chosen, sitting.config)
        sitting.folder.write_config(config)
        if chosen.back:
            forget_after(sitting, checkpoint.healthy(sitting.folder.checkpoints))
        else:
            save(sitting)
        reload(sitting, config)
        _begin_anew(sitting)
    yield warned(sitting, topic, chosen.done, did=f"Done at step {sitting.state.step}.")


def save(sitting: Sitting) -> str:
    """Write a checkpoint; returns the file's name. Raises NoSpace or NotFinite."""
    sitting.bench.watch.settle()
    file = checkpoint.save(sitting.folder.checkpoints, sitting.state, sitting.config, sitting.trail.file)
    sitting.saved_step = sitting.state.step
    sitting.trail.saved(file, sitting.state.step, sitting.state.seconds)
    sitting.bench.beat()
    return file.name


def _return(sitting: Sitting, *, rollbacks: int, rate: float, newest: bool = False) -> None:
    """To the healthy checkpoint; without one to the beginning, or to the newest one if that may be trusted."""
    found = checkpoint.found(sitting.folder.checkpoints)
    target = checkpoint.healthy(sitting.folder.checkpoints) or (found[0] if newest and found else None)
    scale = sitting.state.rate_scale * rate
    forget_after(sitting, target)
    reload(sitting)
    sitting.state.rollbacks = rollbacks
    sitting.state.rate_scale = scale
    _begin_anew(sitting)


def _begin_anew(sitting: Sitting) -> None:
    """What was seen before proves nothing now; the changed counters and settings are safe at once."""
    sitting.sentinel, sitting.tally = Sentinel(), Tally()
    sitting.diversity_is_new, sitting.scores = False, None
    sitting.trail.doubt()
    try:
        save(sitting)
    except NoSpace:
        return


def forget_after(sitting: Sitting, target: Path | None) -> None:
    """Remove what the run made after the checkpoint `target` (None: the beginning): later checkpoints and snapshots."""
    step = int(target.stem) if target else 0
    checkpoint.forget_later(sitting.folder.checkpoints, target)
    for snapshot in sitting.folder.snapshots.iterdir():
        if snapshot.name.isdigit() and int(snapshot.name) > step:
            paths.remove(snapshot)
    if int(sitting.folder.read_best().get("snapshot", 0)) > step:
        sitting.folder.best.unlink(missing_ok=True)
