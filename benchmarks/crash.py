"""Kill it a hundred times; cut it twenty times. Prints what was lost: it should be nothing.

    python -m benchmarks.crash --kills 100 --cuts 20
    python -m benchmarks.crash --processes 2            a trainer that leads a second process, as planned on processors

Kills: SIGKILL of the trainer or of the studio that watches it, at random moments of a tiny run; counts lost runs,
checkpoints that cannot be read, and trainers too many after the next start. Cuts: a run that is interrupted, or dropped
without saving, at random steps on the CPU must end with the very bits of an unbroken one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from studio.options import to_json
from studio.paths import Home
from studio.training import lock
from studio.training.config import TrainConfig
from studio.training.events import read_records
from studio.training.folder import RunFolder

STEPS = 24
PATIENCE_SECONDS = 90
LONGEST_LIFE_SECONDS = 1.5
LEAVING_SECONDS = 3.0


def main() -> None:
    """Read the counts, run both parts, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.drive:
        drive(Home(chosen.drive))
        return
    begun = time.monotonic()
    rows: list[tuple[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        if chosen.kills:
            rows += kill_often(Path(place), chosen.kills, chosen.processes, random.Random(chosen.seed))
        if chosen.cuts:
            rows += cut_often(Path(place), chosen.cuts, random.Random(chosen.seed))
    for name, value in [*rows, ("seconds", round(time.monotonic() - begun))]:
        print(f"{name:<52}{value}")


def drive(home: Home) -> None:
    """A studio reduced to its runs: it resumes what is there, until it is killed."""
    from studio.services.runs import Runs

    runs = Runs(home, watch_seconds=0.05)
    runs.recover()
    while True:
        for summary in runs.summaries():
            if summary.state == "failed":
                runs.resume(summary.id)
        time.sleep(0.2)


def make_pictures(folder: Path) -> Path:
    """A prepared dataset of 24 pictures of 8 px."""
    folder.mkdir()
    corners = np.random.RandomState(1).randint(0, 256, (24, 2, 2, 3))
    np.save(folder / "pixels.npy", corners.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8))
    info = {"id": "d", "title": "Corners", "resolution": 8, "channels": 3, "count": 24, "fingerprint": "f"}
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def tiny(pictures: Path, **changes: object) -> TrainConfig:
    """A StyleGAN2 of 8 px in float32 on one thread, with everything switched on."""
    settings = {"resolution": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}
    given = {
        "settings": settings, "dataset": str(pictures), "dataset_fingerprint": "f", "batch": 4, "threads": 1, "seed": 5,
        "device": "cpu", "precision": "float32", "r1_interval": 4, "ada_interval": 2, "ada_speed_kimg": 0.2,
        "augment_start_p": 0.3, "minutes": 600.0, "preview_rows": 2, "preview_columns": 2, "mirror": True,
    }  # fmt: skip
    return TrainConfig(**{**given, **changes})


# Kills


def kill_often(place: Path, kills: int, processes: int, chance: random.Random) -> list[tuple[str, object]]:
    """Kill the trainer or the studio at random moments."""
    home = Home(place / "home").create()
    pictures = make_pictures(place / "pictures")
    config = tiny(pictures, checkpoint_seconds=0.1, preview_seconds=0.5, processes=processes)
    folder = RunFolder(home.runs / "tiny")
    folder.root.mkdir()
    folder.write_config(config)
    folder.write_wish("train")
    counts: Counter[str] = Counter()
    studio = open_studio(home)
    reached = 0
    for _ in range(kills):
        wait_until(lambda: lock.holder(folder.lock))
        time.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS) + chance.choice((0, 1.5)) * processes)
        if chance.random() < 0.5:
            counts["trainer"] += kill(lock.holder(folder.lock))
        else:
            counts["studio"] += kill(studio.pid)
            studio.wait()
            studio = open_studio(home)
        newest, torn = look_at_checkpoints(folder)
        saved = [record["step"] for record in read_records(folder.events)[0] if record["event"] == "checkpoint"]
        counts["unreadable"] += torn
        counts["lost"] += bool(saved) and newest < max(saved[-1], reached)
        reached = max(reached, saved[-1] if saved else 0)
        counts["too many"] += too_many(folder.root, processes)
    finished = finish(folder)
    kill(studio.pid)
    studio.wait()
    return [
        ("kills of the trainer", counts["trainer"]),
        ("kills of the studio", counts["studio"]),
        ("lost runs", counts["lost"] + (not finished)),
        ("unreadable checkpoints", counts["unreadable"]),
        ("trainers too many", counts["too many"] + too_many(folder.root, 0)),
        ("steps kept", reached),
        ("half-written files left", sum(1 for _ in folder.root.rglob(".tmp-*"))),
    ]


def open_studio(home: Home) -> subprocess.Popen[bytes]:
    """A studio process over `home`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return subprocess.Popen([sys.executable, __file__, "--drive", str(home.root)], env=environment)


def kill(process: int | None) -> int:
    """SIGKILL, if there is such a process. Returns how many were killed."""
    if not process:
        return 0
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def look_at_checkpoints(folder: RunFolder) -> tuple[int, int]:
    """The newest good step, and how many checkpoints cannot be read; one that rotates away meanwhile is fine."""
    from studio.errors import Damaged
    from studio.training import checkpoint

    newest, torn = 0, 0
    for file in checkpoint.found(folder.checkpoints):
        try:
            newest = max(newest, checkpoint.read(file)[1]["step"])
        except Damaged:
            torn += file.exists()
    return newest, torn


def trainers(root: Path) -> list[int]:
    """Live trainer processes of one run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"studio.training" in words and str(root).encode() in words:
            found.append(int(entry.name))
    return found


def too_many(root: Path, expected: int) -> int:
    """How many more than `expected` processes train a run; one that nobody leads any more may take a moment to end."""
    deadline = time.monotonic() + LEAVING_SECONDS
    while len(found := trainers(root)) > expected and time.monotonic() < deadline:
        time.sleep(0.02)
    return max(0, len(found) - expected)


def finish(folder: RunFolder) -> bool:
    """Ask for the end, and see whether it comes."""
    folder.write_wish("stop")
    wait_until(lambda: not folder.read_wish() and not trainers(folder.root))
    return bool(read_records(folder.events)[0][-1]["event"] == "finished")


def wait_until(condition: object) -> None:
    """Wait for something that should happen soon."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit("The run did not come back: it is lost.")
        time.sleep(0.02)


# Cuts


def cut_often(place: Path, cuts: int, chance: random.Random) -> list[tuple[str, object]]:
    """Interrupt or drop runs at random steps, resume them, and compare the bits at the end."""
    config = tiny(make_pictures(place / "cut pictures"), kimg=STEPS * 4 / 1000, checkpoint_seconds=5.0)
    whole = make_run(place / "whole", config)
    train_until(whole, None, drop=False)
    equal = 0
    for number in range(cuts):
        parts = make_run(place / f"parts {number}", config)
        for cut in sorted(chance.sample(range(1, STEPS), 2)):
            train_until(parts, cut, drop=chance.random() < 0.5)
        train_until(parts, None, drop=False)
        equal += same_bits(whole, parts)
    return [("cut and resumed runs", cuts), ("of them equal bit for bit to the unbroken one", equal)]


def make_run(root: Path, config: TrainConfig) -> RunFolder:
    root.mkdir()
    folder = RunFolder(root)
    folder.config.write_text(json.dumps(to_json(config)))
    return folder


def train_until(folder: RunFolder, cut: int | None, *, drop: bool) -> None:
    """Train to step `cut` (None: the end); there save and end, or just stop without a word."""
    from studio.training.loop import train

    seconds = iter(range(10**6))
    step = [0]
    for event in train(
        folder,
        clock=lambda: float(next(seconds)),
        wish=lambda: "train" if cut is None or step[0] < cut else ("gone" if drop else "interrupt"),
    ):
        step[0] = event.step


def same_bits(whole: RunFolder, parts: RunFolder) -> bool:
    """Whether weights, averages, optimizers, p, its statistics and the path length are the same."""
    import torch

    from studio.training import checkpoint

    (expected, about), (found, told) = (checkpoint.read(checkpoint.found(run.checkpoints)[0]) for run in (whole, parts))
    counters = ("step", "images", "augment_p", "sign_count")
    alike = expected.keys() == found.keys() and all(about[name] == told[name] for name in counters)
    return alike and all(torch.equal(expected[name], found[name]) for name in expected)


if __name__ == "__main__":
    main()
