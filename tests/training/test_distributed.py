import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import make_config, make_dataset, make_run
from together import lead

from studio.errors import BadInput
from studio.training import checkpoint
from studio.training.__main__ import main
from studio.training.distributed import ALONE, World, from_environment
from studio.training.events import read_records
from studio.training.opening import require_shares

HERE = Path(__file__).parent
STEPS = 6
PATIENCE_SECONDS = 120
PLAIN = {"resolution": 16, "channels": 3, "classes": 0, "z_dim": 8, "width": 8}


def start(*arguments, **environment):
    """Two processes of torchrun on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    paths = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process):
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    return said


def other(config, family, **settings):
    return dataclasses.replace(config, family=family, settings={**PLAIN, **settings}, path_length_weight=0.0)


def kinds(tmp_path):
    """A configuration for each kind of thing that a process must not decide by itself."""
    pictures = make_dataset(tmp_path / "pictures", resolution=16)
    pixels = np.random.RandomState(2).randint(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    np.save(pictures / "pixels.npy", pixels)  # flat ones would end up on the corners of leaky ReLUs
    classes = make_dataset(tmp_path / "classes", classes=3)
    base = make_config(classes, settings={"classes": 3}, batch=16, kimg=1.0, r1_interval=2, mirror=True)
    plain = make_config(pictures, batch=8, kimg=1.0, r1_interval=2)
    penalties = {
        "r1_gamma": 0.0,
        "gradient_penalty": 10.0,
        "objective": "relativistic_average",
        "lecam": 0.3,
    }
    projected = dataclasses.replace(
        other(plain, "fastgan", width=4, critic_width=2, projected=True),
        optimizer="sgd",
        r1_gamma=0.0,
        augment="none",
        blur_px=1.0,
        share_pictures=True,
        d_learning_rate=1e-5,
        g_learning_rate=1e-5,
    )
    return {
        "stylegan2": dataclasses.replace(
            base, instance_noise=0.1, r2_gamma=0.5, augment_start_p=0.6, d_steps=2, info_weight=1.0
        ),
        "mlp": dataclasses.replace(
            other(plain, "mlp"), **penalties, augment="diffaugment", closer=True, optimizer="sgd"
        ),
        "dcgan": dataclasses.replace(
            other(plain, "dcgan"), feature_matching=1.0, augment="none", r1_gamma=0.1, calm_share=0.98
        ),
        "fastgan": dataclasses.replace(
            other(plain, "fastgan", width=4, critic_width=4), optimizer="sgd", r1_gamma=0.0, augment="none"
        ),
        "projected": projected,
        "in parts": dataclasses.replace(projected, ghost_batches=2),
        "in smaller parts": dataclasses.replace(projected, ghost_batches=4),
    }


def figures(folder):
    return json.loads((folder.root / "figures.json").read_text())


def test_two_processes_compute_what_one_does_and_fail_together(tmp_path):
    configs = kinds(tmp_path)
    ours = {name: make_run(tmp_path / "one" / name, config) for name, config in configs.items()}
    theirs = {name: make_run(tmp_path / "two" / name, config) for name, config in configs.items()}
    full, blind = (
        make_run(tmp_path / name, planted(tmp_path / f"for {name}", kimg=0.048)) for name in ("full", "blind")
    )
    (full.root / "memory").write_text("2")
    (blind.root / "hidden").touch()
    places = [str(folder.root) for folder in (*theirs.values(), full, blind)]
    process = start(str(HERE / "together.py"), str(STEPS), *places)
    for folder in ours.values():
        lead(folder, ALONE, STEPS)
    finish(process)
    for name in configs:
        must_agree(name, figures(ours[name]), figures(theirs[name]))
    assert any(step["p"] != configs["stylegan2"].augment_start_p for step in figures(theirs["stylegan2"])["steps"])
    one_was_out_of_memory(full)
    message = figures(blind)
    assert "Process 1 on" in message and "under the same path" in message


def must_agree(name, one, two):
    """To rounding in the first step; from there it grows, and faster the sharper the critic sees."""
    apart = []
    for before, after in zip(one["steps"], two["steps"], strict=True):
        assert before.keys() == after.keys()
        apart.append(max(abs(before[key] - after[key]) / max(1.0, abs(before[key])) for key in before))
    most = {"stylegan2": 5e-4, "mlp": 1e-4, "dcgan": 1e-4, "fastgan": 1e-4}.get(name, 3e-3)
    assert apart[0] < 5e-5 and max(apart) < most, f"{name}: {apart}"
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-4, abs=3e-5 if name == "stylegan2" else 1e-5)


def one_was_out_of_memory(folder):
    """All went back to the beginning together, and finished with half the batch."""
    assert "Warned" in figures(folder) and figures(folder)[-1] == "Finished"
    _, about = checkpoint.read(checkpoint.found(folder.checkpoints)[0])
    assert about["batch"] == 4 and about["images"] == 48


def planted(tmp_path, **changes):
    pictures = make_dataset(tmp_path / "pictures", classes=2)
    return make_config(pictures, batch=8, settings={"classes": 2}, r1_interval=2, **changes)


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    config = planted(tmp_path, kimg=0.048)
    whole, parts = make_run(tmp_path / "whole", config), make_run(tmp_path / "parts", config)
    for kimg, processes in ((0.016, 2), (0.032, 1), (0.048, 2)):
        parts.write_config(dataclasses.replace(config, kimg=kimg))
        if processes == 1:
            assert main([str(parts.root), "--nice", "0"]) == 0
        else:
            finish(start("-m", "studio.training", str(parts.root), "--nice", "0"))
    assert main([str(whole.root), "--nice", "0"]) == 0
    (expected, about), (found, about_parts) = (
        checkpoint.read(checkpoint.found(folder.checkpoints)[0]) for folder in (whole, parts)
    )
    assert expected.keys() == found.keys() and about_parts["step"] == about["step"] == 6
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=1e-3, msg=lambda text, name=name: name + text)
    assert about["augment_p"] == pytest.approx(about_parts["augment_p"])
    records = read_records(parts.events)[0]
    told, steps = [record["event"] for record in records], [record["step"] for record in records]
    assert told.count("started") == told.count("finished") == 3 and steps == sorted(steps)


def test_a_killed_process_ends_the_others_in_plain_words(tmp_path):
    folder = make_run(tmp_path / "run", planted(tmp_path, kimg=0.0))
    process = start("-m", "studio.training", str(folder.root), "--nice", "0")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(
        record["event"] == "progress" for record in (read_records(folder.events)[0] if folder.events.exists() else [])
    ):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    leader = int(folder.lock.read_text())
    others = [child for child in children(process.pid) if child != leader]
    assert len(others) == 1
    os.kill(others[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    last = read_records(folder.events)[0][-1]
    assert process.returncode != 0 and last["event"] == "failed", said
    assert "process" in last["message"] and "checkpoint" in last["hint"]


def test_a_run_hires_the_processes_that_its_settings_ask_for(tmp_path):
    config = planted(tmp_path, kimg=0.032)
    lone, led = (
        make_run(tmp_path / "lone", config),
        make_run(tmp_path / "led", dataclasses.replace(config, processes=2)),
    )
    for folder in (lone, led):
        assert main([str(folder.root), "--nice", "0"]) == 0
    expected, found = (checkpoint.read(checkpoint.found(folder.checkpoints)[0])[0] for folder in (lone, led))
    assert any(not torch.equal(found[name], values) for name, values in expected.items()), "it was alone after all"
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=1e-3, msg=lambda text, name=name: name + text)
    lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children(os.getpid())]
    assert not [line for line in lines if str(led.root).encode() in line]


@pytest.mark.parametrize("victim", ["leader", "other"])
def test_a_hired_process_and_its_leader_end_with_each_other_and_leave_the_rest_to_the_studio(tmp_path, victim):
    folder = make_run(tmp_path / "run", planted(tmp_path, kimg=0.0, processes=2))
    command = [sys.executable, "-m", "studio.training", str(folder.root), "--nice", "0"]
    with open(tmp_path / "log", "wb") as log:
        leader = subprocess.Popen(command, stdout=log, stderr=log)
    until(lambda: "progress" in told(folder))
    (other,) = children(leader.pid)
    os.kill({"leader": leader.pid, "other": other}[victim], signal.SIGKILL)
    assert leader.wait(PATIENCE_SECONDS) != 0
    until(lambda: not Path(f"/proc/{other}").exists() or "zombie" in Path(f"/proc/{other}/status").read_text())
    assert "failed" not in told(folder), (tmp_path / "log").read_text()


def told(folder):
    return [record["event"] for record in (read_records(folder.events)[0] if folder.events.exists() else [])]


def until(true):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(parent):
    return [int(text) for text in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def test_a_batch_is_shared_evenly_or_not_at_all():
    require_shares(8, World(size=4))
    with pytest.raises(BadInput, match="8 or 12"):
        require_shares(10, World(size=4))
    with pytest.raises(BadInput, match="batch to 8"):
        require_shares(2, World(size=8))


def test_alone_nothing_is_said_and_nothing_changes():
    assert from_environment({}) is ALONE and from_environment({"RANK": "0", "WORLD_SIZE": "1"}) is ALONE
    found = from_environment({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    assert found == World(rank=3, size=4, local_rank=1, local_size=2)
    with pytest.raises(BadInput):
        from_environment({"RANK": "first", "WORLD_SIZE": "4"})
    values = torch.arange(3.0)
    assert ALONE.mean(values) is values and ALONE.share.of(values) is values
    ALONE.average([values])
    ALONE.agree()
    assert torch.equal(values, torch.arange(3.0))


def test_shares_are_the_rows_of_one_batch():
    drawn = torch.rand(6, 2, generator=torch.Generator().manual_seed(1))
    shares = [World(rank=rank, size=3).share for rank in range(3)]
    rows = [share.draw(torch.rand, (2, 2), torch.Generator().manual_seed(1)) for share in shares]
    assert torch.equal(torch.stack(rows, dim=1).flatten(0, 1), drawn)
