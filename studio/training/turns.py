"""What has its turn between two steps: figures, the sentinel, sheets, snapshots with their scores, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from torch import Tensor

from studio import paths
from studio.errors import NoSpace, StudioError
from studio.families.base import Generator
from studio.training import checkpoint, events, publish, remedy, rescue, sheet
from studio.training.health import Alarm, diversity
from studio.training.opening import next_checkpoint
from studio.training.scoring import scored
from studio.training.sitting import Sitting, progress, warned
from studio.training.state import tensors_of

PROGRESS_SECONDS = 0.4
PROGRESS_SLOWEST_SECONDS = 2.0
PREVIEW_SHARE = 0.03
PREVIEW_SLOWEST_SECONDS = 60.0
CHECK_SECONDS = 5.0
"""Weights, averages and optimizers are looked through so often: averages have no slopes that would tell."""


def take_turns(sitting: Sitting) -> Iterator[events.RunEvent]:
    """What the clock asks for after a step. Raises NotFinite."""
    state, due = sitting.state, sitting.due
    if state.seconds >= due.check:
        due.check = state.seconds + CHECK_SECONDS
        checkpoint.require_finite(tensors_of(state))
    if state.seconds >= due.preview:
        yield from preview(sitting)
    if due.snapshots and state.seconds >= due.snapshots[0]:
        due.snapshots = [seconds for seconds in due.snapshots if seconds > state.seconds]
        begun = sitting.clock()
        yield from snapshot(sitting)
        sitting.pace.rest(sitting.clock() - begun)
    if state.seconds >= due.progress:
        due.progress = state.seconds + min(PROGRESS_SLOWEST_SECONDS, PROGRESS_SECONDS + state.seconds / 600)
        yield progress(sitting)
        yield from examine(sitting)
    if sitting.state.seconds >= due.checkpoint:
        yield from save(sitting)


def examine(sitting: Sitting) -> Iterator[events.RunEvent]:
    """What the sentinel says to the newest figures; what is grave is mended at once."""
    for alarm in sitting.sentinel.examine(sitting.vitals()):
        if alarm.grave:
            yield from rescue.roll_back(sitting, alarm)
            return
        yield _tell(sitting, alarm)
    if sitting.sentinel.calm:
        rescue.recover(sitting)
    else:
        sitting.trail.doubt()


def _tell(sitting: Sitting, alarm: Alarm) -> events.Warned:
    offered = remedy.first_possible(alarm.remedies, sitting.config)
    return warned(sitting, alarm.topic, alarm.message, alarm.hint, remedy=offered.words if offered else "")


def save(sitting: Sitting) -> Iterator[events.RunEvent]:
    """A checkpoint, or a warning if there is no room: the run goes on and the older ones stay."""
    sitting.due.checkpoint = next_checkpoint(sitting.config, sitting.state.seconds)
    if sitting.saved_step == sitting.state.step:
        return
    try:
        file = rescue.save(sitting)
    except FileNotFoundError:
        return  # the run was deleted since the last wish; the next one says so
    except NoSpace as error:
        yield warned(sitting, "space", error.message, error.hint)
        return
    yield events.Checkpoint(file=file, **sitting.stamp())


def snapshot(sitting: Sitting, *, last: bool = False) -> Iterator[events.RunEvent]:
    """The averaged generator as a playable model folder, with its scores if it is time for some or if it is the last."""
    state, name = sitting.state, f"{sitting.state.step:08d}"
    checkpoint.require_finite({f"average.{key}": value for key, value in state.average.state_dict().items()})
    folder = sitting.folder.snapshots / name
    if not folder.is_dir():
        try:
            with sitting.bench.quick():
                publish.save_snapshot(folder, sitting.config, sitting.dataset.info, state)
        except NoSpace as error:
            yield warned(sitting, "space", error.message, error.hint)
            return
    sitting.bench.beat()
    yield events.Snapshot(name=name, **sitting.stamp())
    if sitting.scoring.due(state.seconds, last=last):
        yield from score(sitting, name)


def score(sitting: Sitting, name: str) -> Iterator[events.RunEvent]:
    """How good the snapshot is; what that cost decides when the next one is judged."""
    begun = sitting.clock()
    pictures = _drawn(sitting, range(sitting.scoring.wanted))
    try:
        fields = sitting.scoring.judge(pictures, name, sitting.bench.beat)
    except StudioError as error:
        sitting.scoring.off()
        yield warned(sitting, "scores", f"The stages cannot be scored: {error.message}", error.hint)
        return
    sitting.scoring.took(sitting.state.seconds, sitting.clock() - begun)
    sitting.scores = fields
    yield scored(fields, sitting.stamp())


def preview(sitting: Sitting) -> Iterator[events.RunEvent]:
    """A sheet of fixed seeds; the next one waits so long that sheets take three hundredths of the time at most."""
    config, state, begun = sitting.config, sitting.state, sitting.clock()
    seeds = tuple(range(config.preview_rows * config.preview_columns))
    pictures = _drawn(sitting, seeds)
    file = f"{state.step:08d}.webp"
    try:
        paths.write_file(sitting.folder.previews / file, sheet.encode(pictures, config.preview_columns))
    except NoSpace as error:
        yield warned(sitting, "space", error.message, error.hint)
        return
    cost = sitting.clock() - begun
    usual = min(config.preview_seconds, 1 + state.seconds / 4)
    longest = min(state.seconds / 100, PREVIEW_SLOWEST_SECONDS)
    sitting.due.preview = state.seconds + max(usual, longest, cost / PREVIEW_SHARE)
    sitting.diversity, sitting.diversity_is_new = diversity(pictures), True
    state.diversity = max(state.diversity, sitting.diversity)
    yield events.Preview(
        file=file,
        seeds=seeds,
        rows=config.preview_rows,
        columns=config.preview_columns,
        size_px=pictures.shape[2],
        **sitting.stamp(),
    )


def _drawn(sitting: Sitting, seeds: Sequence[int]) -> Tensor:
    """Pictures [n, c, h, w] of the averaged generator, as quickly as the run computes."""
    bench = sitting.bench
    with bench.quick():
        return sheet.draw(cast(Generator, sitting.state.average), seeds, bench.device, bench.beat)
