import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from stand_ins import make_config, make_dataset, make_run
from together import lead

from studio.errors import BadInput
from studio.options import to_json
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
    classes = make_dataset(tmp_path / "classes", classes=3)
    base = make_config(classes, settings={"classes": 3}, batch=16, kimg=1.0, r1_interval=2, mirror=True)
    plain = make_config(pictures, batch=8, kimg=1.0, r1_interval=2)
    penalties = {"r1_gamma": 0.0, "gradient_penalty": 10.0, "objective": "relativistic_average", "lecam": 0.3}
    return {
        "stylegan2": dataclasses.replace(base, instance_noise=0.1, r2_gamma=0.5, augment_start_p=0.6, d_steps=2),
        "mlp": dataclasses.replace(other(plain, "mlp"), **penalties, augment="diffaugment"),
        "dcgan": dataclasses.replace(other(plain, "dcgan"), feature_matching=1.0, augment="none", r1_gamma=0.1),
        "fastgan": dataclasses.replace(
            other(plain, "fastgan", width=4, critic_width=4), objective="hinge", r1_gamma=0.0, augment="diffaugment"
        ),
    }


def figures(folder):
    return json.loads((folder.root / "figures.json").read_text())


def test_two_processes_compute_what_one_does(tmp_path):
    configs = kinds(tmp_path)
    ours = {name: make_run(tmp_path / "one" / name, config) for name, config in configs.items()}
    theirs = {name: make_run(tmp_path / "two" / name, config) for name, config in configs.items()}
    process = start(str(HERE / "together.py"), str(STEPS), *(str(folder.root) for folder in theirs.values()))
    for folder in ours.values():
        lead(folder, ALONE, STEPS)
    finish(process)
    for name in configs:
        one, two = figures(ours[name]), figures(theirs[name])
        worst = 0.0
        for before, after in zip(one["steps"], two["steps"], strict=True):
            assert before.keys() == after.keys()
            worst = max(worst, *(abs(before[key] - after[key]) / max(1.0, abs(before[key])) for key in before))
        assert worst < 1e-4, f"{name}: {worst}"
        assert two["weights"] == pytest.approx(one["weights"], rel=1e-4, abs=1e-5)
        assert any(step["p"] != configs[name].augment_start_p for step in two["steps"]) or name != "stylegan2"
