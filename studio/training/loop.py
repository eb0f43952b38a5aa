"""The training loop: a generator of events. It never prints, sleeps, plots, or knows a browser.

    for event in train(folder, wish=…):
        …

It trains until the time is used or the wish changes, and saves before it ends. Killed at any moment, it goes on from
the newest checkpoint with the very numbers that it would have computed. What goes wrong is told in plain words, and what
cannot get better by itself is mended: the run goes back to where it was healthy, a few times at most.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from studio import paths
from studio.errors import NoSpace, StudioError
from studio.training import events, publish, readme, rescue, turns
from studio.training.crew import leading, resting
from studio.training.distributed import ALONE, Lost, World
from studio.training.folder import RunFolder
from studio.training.health import Alarm, NotNumbers, Verdict, Vitals
from studio.training.opening import open_sitting, out_of_memory
from studio.training.sitting import Sitting, fraction, progress, started, warned
from studio.training.step import NotFinite, train_step

Wish = Callable[[], str]


def train(
    folder: RunFolder,
    *,
    wish: Wish = lambda: "train",
    clock: Callable[[], float] = time.monotonic,
    beat: Callable[[], None] = lambda: None,
    world: World = ALONE,
) -> Iterator[events.RunEvent]:
    """Train the run in `folder` and tell what happens.

    Args:
        wish: asked before every step for "train", "pause", "stop", "interrupt" (save, and go on at the
            next start) or "gone" (just end).
        clock: seconds, for the budget of time.
        beat: called whenever some work is done, a few times a step.
        world: the processes that train it together, of which this one leads.

    Yields:
        Started first; Paused, Finished or Failed last.
    """
    try:
        wanted = folder.read_config().batch
        sitting, restored = open_sitting(folder, clock, beat, world)
    except StudioError as error:
        yield events.Failed(message=error.message, hint=error.hint)
        return
    for sentence in restored.damaged:
        yield warned(sitting, "damaged", sentence, "The newest one that is whole was used; a little work is repeated.")
    if restored.other_settings:
        yield warned(sitting, "settings", "Some settings have changed since the last sitting.")
    yield started(sitting, resumed=bool(restored.file))
    if not restored.file and sitting.state.batch < wanted:
        yield warned(sitting, "memory", _smaller(sitting, wanted))
    describe(sitting, "It is being trained.")
    try:
        yield from _go_on(sitting, wish)
    except StudioError as error:
        if isinstance(error, Lost) and world.meeting:
            raise  # whoever watches this process starts it again, and it those that it leads
        describe(sitting, f"It failed: {error.message}")
        yield events.Failed(message=error.message, hint=error.hint, **sitting.stamp())


def _go_on(sitting: Sitting, wish: Wish) -> Iterator[events.RunEvent]:
    """Steps, and all that has its turn between them, until the end."""
    if sitting.state.step == 0:
        yield from turns.snapshot(sitting)
        yield from turns.preview(sitting)
    while True:
        wished = wish()
        if wished == "gone":
            return
        if wished in ("pause", "interrupt"):
            yield from _pause(sitting, "asked" if wished == "pause" else "interrupted")
            return
        if wished == "stop" or fraction(sitting.config, sitting.state) >= 1:
            yield from _finish(sitting)
            return
        if topic := sitting.folder.take_heal():
            yield from rescue.heal(sitting, topic)
        yield from _step(sitting)


def _step(sitting: Sitting) -> Iterator[events.RunEvent]:
    """One step and what follows it; its time counts, whatever comes of it."""
    begun = sitting.clock()
    try:
        with leading(sitting) as is_calm:
            sitting.tally.add(train_step(sitting.bench, sitting.state, calm=is_calm))
        with resting(sitting):
            yield from turns.take_turns(sitting)
    except NotFinite as error:
        yield from rescue.roll_back(sitting, broken(error))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        yield from rescue.shrink(sitting)
    sitting.state.seconds += sitting.clock() - begun


def _pause(sitting: Sitting, reason: str) -> Iterator[events.RunEvent]:
    yield from _save_now(sitting)
    describe(sitting, f"It rests after {sitting.state.seconds / 60:.1f} minutes of training.")
    yield events.Paused(reason=reason, **sitting.stamp())


def _save_now(sitting: Sitting) -> Iterator[events.RunEvent]:
    """Time passed since a checkpoint of this very step: what is said at the end is what it goes on from."""
    sitting.saved_step = -1
    yield from turns.save(sitting)


def _finish(sitting: Sitting) -> Iterator[events.RunEvent]:
    """The last snapshot and sheet, then the model's folder; doing it twice changes nothing."""
    try:
        yield from _save_now(sitting)
    except NotFinite as error:
        yield from rescue.roll_back(sitting, broken(error))
    yield from turns.preview(sitting)
    yield from turns.snapshot(sitting, last=sitting.state.images > 0)
    yield progress(sitting)
    if not sitting.state.images:
        describe(sitting, "It ended before it saw a picture.")
        yield events.Finished(model="", message="Nothing was learned, so no model was made.", **sitting.stamp())
        return
    model = publish.publish(sitting.config, sitting.dataset.info, sitting.state, sitting.folder.root)
    describe(
        sitting, f"It is done: {sitting.state.kimg:g} thousand pictures in {sitting.state.seconds / 60:.1f} minutes."
    )
    yield events.Finished(model=model, message="The training is done.", **sitting.stamp())


def broken(error: NotFinite) -> Alarm:
    """The alarm about a number that is none."""
    return NotNumbers().alarm(Vitals(broken=error.message), Verdict.GRAVE)


def describe(sitting: Sitting, state: str) -> None:
    """Write the folder's README; a full disk is no reason to end."""
    with contextlib.suppress(NoSpace):
        paths.write_file(sitting.folder.readme, readme.text(sitting.folder.root, sitting.config, state))


def _smaller(sitting: Sitting, wanted: int) -> str:
    need, free = sitting.need_bytes / 1e9, sitting.free_bytes / 1e9
    return (
        f"{wanted} pictures at once do not fit into the {free:.1f} GB of free memory, "
        f"so the run takes {sitting.state.batch} ({need:.1f} GB)."
    )
