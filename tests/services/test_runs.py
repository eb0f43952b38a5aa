"""Runs with a small stand-in for the trainer: it obeys wishes, or dies, or hangs, as its settings say."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.errors import BadInput, NotFound
from studio.paths import Home
from studio.services.runs import Runs
from studio.training import lock
from studio.training.config import TrainConfig
from studio.training.events import EventLog, Failed, Warned
from studio.training.folder import RunFolder

PATIENCE_SECONDS = 60
STAND_IN = """
import os, signal, sys, time
from pathlib import Path
from studio.training import events, lock
from studio.training.folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
held = lock.take(folder.lock)
if held is None:
    sys.exit(3)
ended = []
signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
manner, config = folder.read_config().settings["manner"], folder.read_config()
with events.EventLog(folder.events) as log:
    if manner == "dies":
        os._exit(1)
    log.append(events.Started(resumed=False, total_seconds=60.0, device="cpu", precision="float32", batch=1,
                              g_parameters=1, d_parameters=1))
    folder.beat(0.3 if manner == "hangs" else 60.0)
    if manner == "hangs":
        time.sleep(600)
    (folder.root / "checkpoints").mkdir(exist_ok=True)
    for step in range(1, 10**6):
        log.append(events.Progress(step=step, kimg=step / 10, seconds=step / 10, fraction=0.1, images_per_second=5.0,
                                   seconds_left=9.0, memory_bytes=7, metrics={"loss_g": 0.5}))
        (folder.checkpoints / "00000001.safetensors").write_bytes(b"")
        wish = folder.read_wish()
        if not folder.root.is_dir():
            sys.exit(0)
        if wish == "pause" or ended:
            log.append(events.Paused(step=step, reason="interrupted" if ended and wish != "pause" else "asked"))
            sys.exit(0)
        if wish == "stop" or (manner == "quick" and step >= 3 * config.minutes):
            log.append(events.Finished(step=step, model=config.publish_to))
            folder.write_wish("")
            sys.exit(0)
        time.sleep(0.01)
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    return Home(tmp_path / "home").create()


def open_runs(home):
    script = home.root.parent / "stand_in.py"
    return Runs(home, command=lambda root: (sys.executable, str(script), str(root)), watch_seconds=0.02)


@pytest.fixture
def runs(home):
    opened = open_runs(home)
    opened.recover()
    yield opened
    opened.close()


def config(manner="obeys", **changes):
    return TrainConfig(settings={"manner": manner}, dataset="/datasets/leaves", minutes=1.0, **changes)


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def reach(runs, run_id, state):
    wait_for(lambda: runs.summary(run_id).state == state)
    return runs.summary(run_id)


def test_a_run_from_start_to_finish(runs, home):
    run_id = runs.start(config("quick"), "Autumn leaves")
    assert run_id.startswith("autumn-leaves") and runs.summary(run_id).state in ("waiting", "starting")
    summary = reach(runs, run_id, "finished")
    assert (summary.fraction, summary.model_id, summary.title) == (1.0, run_id, "Autumn leaves")
    assert summary.metrics == {"loss_g": 0.5} and summary.dataset == "leaves" and summary.seconds_left == 0
    json.dumps(summary.__dict__)
    version, told = runs.changes(run_id)
    assert told[0]["event"] == "started" and told[-1]["event"] == "finished"
    assert runs.changes(run_id, version) == (version, []) and runs.newest() == run_id


def test_pause_resume_stop(runs, home):
    run_id = runs.start(config())
    reach(runs, run_id, "training")
    runs.pause(run_id)
    reach(runs, run_id, "paused")
    assert lock.holder(home.runs / run_id / "lock") is None
    runs.resume(run_id)
    reach(runs, run_id, "training")
    runs.stop(run_id)
    assert reach(runs, run_id, "finished").model_id == run_id
    with pytest.raises(BadInput):
        runs.pause(run_id)
    with pytest.raises(BadInput):
        runs.resume(run_id)


def test_one_at_a_time_first_come_first_served(runs):
    first, second, third = (runs.start(config()) for _ in range(3))
    reach(runs, first, "training")
    assert [runs.summary(run).state for run in (second, third)] == ["waiting", "waiting"]
    runs.pause(second)
    assert runs.summary(second).state == "paused"
    runs.stop(first)
    reach(runs, third, "training")
    runs.resume(second)
    assert runs.summary(second).state == "waiting"
    runs.pause(third)
    reach(runs, second, "training")
    assert {summary.id for summary in runs.summaries()} == {first, second, third}


def test_stopping_before_anything_was_learned(runs):
    first, second = runs.start(config()), runs.start(config())
    runs.stop(second)
    assert reach(runs, second, "finished").model_id == ""
    runs.stop(first)


def test_more_time(runs):
    run_id = runs.start(config("quick"))
    steps = reach(runs, run_id, "finished").step
    runs.continue_run(run_id, 2.0)
    with pytest.raises(BadInput, match="waits for its turn"):
        runs.continue_run(run_id, 2.0)
    wait_for(lambda: runs.summary(run_id).state == "finished" and runs.summary(run_id).step > steps)
    assert runs.config(run_id).minutes == pytest.approx(2.0, abs=0.1), "from where it ended, not from what it was given"


def test_a_trainer_that_dies_is_started_again_three_times(runs, home):
    run_id = runs.start(config("dies"))
    summary = reach(runs, run_id, "failed")
    assert "four times" in summary.message and summary.hint
    assert RunFolder(home.runs / run_id).read_wish() == ""
    run = RunFolder(home.runs / run_id)
    run.write_config(config("quick", publish_to="/m/x"))
    runs.resume(run_id)
    assert reach(runs, run_id, "finished").model_id == "x"


def test_a_killed_trainer_goes_on(runs, home):
    run_id = runs.start(config())
    reach(runs, run_id, "training")
    pid = lock.holder(home.runs / run_id / "lock")
    os.kill(pid, 9)
    wait_for(lambda: lock.holder(home.runs / run_id / "lock") not in (None, 0, pid))
    reach(runs, run_id, "training")


def test_a_hanging_trainer_is_killed(runs, home):
    run_id = runs.start(config("hangs"))
    wait_for(lambda: [event["event"] for event in runs.changes(run_id)[1]].count("started") >= 2)
    runs.delete(run_id)


def test_delete(runs, home):
    run_id = runs.start(config())
    reach(runs, run_id, "training")
    runs.delete(run_id)
    assert not (home.runs / run_id).exists() and runs.summaries() == ()
    with pytest.raises(NotFound):
        runs.summary(run_id)
    runs.restore(run_id)
    assert runs.summary(run_id).state == "paused"
    runs.resume(run_id)
    reach(runs, run_id, "training")
    runs.delete(run_id)


def test_closing_interrupts_and_the_next_start_goes_on(home):
    runs = open_runs(home)
    run_id, waiting = runs.start(config()), runs.start(config())
    reach(runs, run_id, "training")
    runs.close()
    assert lock.holder(home.runs / run_id / "lock") is None
    assert runs.summary(run_id).state == "interrupted"
    again = open_runs(home)
    again.recover()
    reach(again, run_id, "training")
    assert again.summary(waiting).state == "waiting"
    again.close()


def test_a_trainer_that_outlives_its_studio_is_adopted(home):
    runs = open_runs(home)
    run_id, paused = runs.start(config()), runs.start(config())
    runs.pause(paused)
    reach(runs, run_id, "training")
    runs.close(graceful=False)
    pid = lock.holder(home.runs / run_id / "lock")
    assert pid
    again = open_runs(home)
    again.recover()
    assert reach(again, run_id, "training") and lock.holder(home.runs / run_id / "lock") == pid
    assert again.summary(paused).state == "paused"
    again.pause(run_id)
    reach(again, run_id, "paused")
    again.close()


def test_failed_runs_are_not_started_by_themselves(home):
    runs = open_runs(home)
    run_id = runs.start(config("dies"))
    reach(runs, run_id, "failed")
    runs.close()
    again = open_runs(home)
    again.recover()
    time.sleep(0.2)
    assert again.summary(run_id).state == "failed"
    again.close()


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "", "a/b", ".."])
def test_names_from_outside_stay_inside(runs, home, name):
    run_id = runs.start(config("quick"))
    with pytest.raises((BadInput, NotFound)):
        runs.preview_file(run_id, name)
    with pytest.raises((BadInput, NotFound)):
        runs.snapshot_folder(run_id, name)
    with pytest.raises((BadInput, NotFound)):
        runs.summary(name)


def test_snapshots_and_previews_are_found(runs, home):
    run_id = runs.start(config("quick"))
    (home.runs / run_id / "snapshots" / "00000012").mkdir(parents=True)
    (home.runs / run_id / "previews").mkdir(exist_ok=True)
    (home.runs / run_id / "previews" / "00000003.webp").write_bytes(b"x")
    assert runs.summary(run_id).snapshots == (12,)
    place = home.runs / run_id / "snapshots" / "00000012"
    assert runs.snapshot_folder(run_id, 12) == runs.snapshot_folder(run_id, "12") == place
    assert runs.preview_file(run_id, "00000003.webp").read_bytes() == b"x"
    for missing in (13, "x", "-1"):
        with pytest.raises(NotFound):
            runs.snapshot_folder(run_id, missing)


def test_a_garbled_run_does_not_hide_the_others(runs, home):
    run_id = runs.start(config("quick"))
    (home.runs / "broken").mkdir()
    (home.runs / "broken" / "config.json").write_text("{")
    assert [summary.id for summary in runs.summaries()] == [run_id]


def test_no_torch_is_needed():
    code = "import sys, studio.services.runs; assert 'torch' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_a_remedy_is_asked_for_by_one_click(runs, home):
    run_id = runs.start(config())
    reach(runs, run_id, "training")
    with pytest.raises(BadInput):
        runs.heal(run_id, "divergence")
    with pytest.raises(NotFound):
        runs.heal("no-such-run", "divergence")
    runs.pause(run_id)
    reach(runs, run_id, "paused")
    folder = RunFolder(home.runs / run_id)
    with EventLog(folder.events) as log:
        log.append(Warned(topic="divergence", message="It diverges.", remedy="Slow down"))
    summary = runs.summary(run_id)
    assert (summary.topic, summary.remedy, summary.message) == ("divergence", "Slow down", "It diverges.")
    runs.heal(run_id, "divergence")
    assert folder.take_heal() == "divergence" and folder.take_heal() == ""
    with EventLog(folder.events) as log:
        log.append(Warned(topic="divergence", message="It is slower now.", did="Done."))
    with pytest.raises(BadInput):
        runs.heal(run_id, "divergence")
    runs.stop(run_id)
    reach(runs, run_id, "finished")
    with pytest.raises(BadInput):
        runs.heal(run_id, "divergence")


def test_a_failed_run_is_resumed_by_its_remedy(runs, home):
    run_id = runs.start(config("dies"))
    reach(runs, run_id, "failed")
    folder = RunFolder(home.runs / run_id)
    with EventLog(folder.events) as log:
        log.append(Warned(topic="divergence", message="It diverges.", remedy="Slow down"))
        log.append(Failed(message="It went wrong."))
    folder.write_config(config("quick", publish_to="/m/x"))
    runs.heal(run_id, "divergence")
    assert reach(runs, run_id, "finished").model_id == "x" and folder.heal.exists()


def test_the_best_stage(runs, home):
    run_id = runs.start(config())
    reach(runs, run_id, "training")
    assert runs.summary(run_id).best == -1
    folder = RunFolder(home.runs / run_id)
    (folder.snapshots / "00000004").mkdir(parents=True)
    folder.best.write_text('{"snapshot": "00000004", "kid": 0.1, "copied": 0.0}')
    assert runs.summary(run_id).best == 4
