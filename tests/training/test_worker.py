"""The trainer as a process: locks, signals, and deaths of every kind."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from stand_ins import make_config, make_dataset, make_run

from studio.training import checkpoint, lock
from studio.training.events import read_records
from studio.training.process import Trainer, trainer_command, without_secrets

PATIENCE_SECONDS = 120


@pytest.fixture
def pictures(tmp_path):
    return make_dataset(tmp_path / "pictures")


def endless(pictures, **changes):
    return make_config(pictures, kimg=0.0, checkpoint_seconds=0.2, preview_seconds=1.0, **changes)


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def kinds(folder):
    return [record["event"] for record in read_records(folder.events)[0]]


def launch(folder):
    return Trainer.launch(folder, trainer_command(folder.root))


def test_it_trains_to_the_end_and_takes_the_wish_back(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures, kimg=0.012))
    folder.write_wish("train")
    trainer = launch(folder)
    assert trainer.wait(PATIENCE_SECONDS) and trainer.code == 0, folder.log.read_text()
    assert kinds(folder)[-1] == "finished" and folder.read_wish() == "" and folder.heartbeat.is_file()
    assert folder.log.read_text() == "" and lock.holder(folder.lock) is None


def test_a_second_trainer_goes_away_and_sigterm_saves(tmp_path, pictures):
    folder = make_run(tmp_path / "run", endless(pictures))
    trainer = launch(folder)
    wait_for(lambda: "checkpoint" in kinds(folder))
    adopted = Trainer(folder)
    assert adopted.alive() and lock.holder(folder.lock) == trainer._child.pid
    second = Trainer.launch(folder, trainer_command(folder.root))
    assert second.wait(PATIENCE_SECONDS) and second.code == 3
    adopted.terminate()
    assert trainer.wait(10) and trainer.code == 0 and not adopted.alive()
    last = read_records(folder.events)[0][-1]
    assert last["event"] == "paused" and last["reason"] == "interrupted"
    assert checkpoint.read(checkpoint.found(folder.checkpoints)[0])[1]["step"] == last["step"]


def test_a_trainer_whose_folder_is_deleted_ends(tmp_path, pictures):
    folder = make_run(tmp_path / "run", endless(pictures))
    trainer = launch(folder)
    wait_for(lambda: "progress" in kinds(folder))
    os.replace(folder.root, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone", ignore_errors=True)
    assert trainer.wait(30) and not folder.root.exists()


def test_three_kills_lose_nothing(tmp_path, pictures):
    folder = make_run(tmp_path / "run", endless(pictures))
    chance, reached = random.Random(4), 0
    for _ in range(3):
        trainer = launch(folder)
        before = len(kinds(folder))
        wait_for(lambda before=before: "started" in kinds(folder)[before:])
        time.sleep(chance.uniform(0, 0.6))
        trainer.kill()
        steps = [record["step"] for record in read_records(folder.events)[0] if record["event"] == "checkpoint"]
        if steps:
            found = checkpoint.read(checkpoint.found(folder.checkpoints)[0])[1]["step"]
            assert found >= steps[-1] >= reached
            reached = steps[-1]
    folder.write_wish("stop")
    trainer = launch(folder)
    assert trainer.wait(PATIENCE_SECONDS) and kinds(folder)[-1] == "finished" and not list(folder.root.rglob(".tmp-*"))


def test_a_failure_has_its_own_code(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures, settings={"channels": 1}))
    folder.write_wish("train")
    trainer = launch(folder)
    assert trainer.wait(PATIENCE_SECONDS) and trainer.code == 4
    assert kinds(folder) == ["failed"] and not folder.read_wish()


def test_no_token_reaches_the_trainer():
    kept = without_secrets({"HF_TOKEN": "x", "MY_SECRET": "y", "AWS_ACCESS_KEY_ID": "z", "PATH": "/bin", "LANG": "C"})
    assert {"PATH", "LANG"} < set(kept) and not {"HF_TOKEN", "MY_SECRET", "AWS_ACCESS_KEY_ID"} & set(kept)


def test_silence_is_noticed(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    trainer = Trainer(folder, child)
    folder.beat(0.2)
    assert not trainer.hangs()
    wait_for(trainer.hangs)
    folder.beat(0.2)
    assert not trainer.hangs()
    trainer.kill()
    assert trainer.code == -signal.SIGKILL
