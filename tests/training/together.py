"""Train several runs step by step and write every step's figures down, alone or as processes of torchrun:

together.py STEPS RUN RUN …

Each run's folder gets `figures.json`: a list of name -> value. In the second process, a file `memory` in the
folder plants a lack of it at the step that it names, and a file `hidden` hides the pictures.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import torch

from studio.errors import StudioError
from studio.training import crew, distributed, step
from studio.training.folder import RunFolder
from studio.training.loop import train
from studio.training.opening import open_sitting


def lead(folder: RunFolder, world: distributed.World, steps: int) -> None:
    """Do so many steps and write down what they tell."""
    sitting, _ = open_sitting(folder, lambda: 0.0, lambda: None, world)
    told = []
    for _ in range(steps):
        with crew.leading(sitting) as is_calm:
            metrics = step.train_step(sitting.bench, sitting.state, calm=is_calm)
        told.append({name: float(value) for name, value in metrics.items()} | {"p": sitting.state.augment_p})
    weights = {name: value.double().norm().item() for name, value in sitting.state.average.state_dict().items()}
    write(folder, {"steps": told, "weights": weights})


def break_at(number: int) -> None:
    """Let this process find no memory in its critic's turn of step `number`."""
    real, calls = step.discriminator_step, itertools.count()

    def broken(bench, state, sides):
        if next(calls) == number:
            raise torch.OutOfMemoryError("no")
        return real(bench, state, sides)

    step.discriminator_step = broken


def assist(folder: RunFolder, world: distributed.World) -> None:
    """What the second process does, with what was planted in it."""
    real = crew.open_dataset
    if (folder.root / "memory").exists():
        break_at(int((folder.root / "memory").read_text()))
    if (folder.root / "hidden").exists():
        crew.open_dataset = lambda place: real(place / "elsewhere")
    assert crew.follow(world) == 0
    crew.open_dataset = real


def main(steps: int, roots: list[str]) -> None:
    with distributed.joined(distributed.from_environment()) as world:
        for folder in map(RunFolder, map(Path, roots)):
            if world.rank:
                assist(folder, world)
                continue
            if (folder.root / "memory").exists():
                write(folder, [type(event).__name__ for event in train(folder, world=world)])
            else:
                try:
                    lead(folder, world, steps)
                except StudioError as error:
                    write(folder, str(error))
            crew.dismiss(world)


def write(folder: RunFolder, told: object) -> None:
    (folder.root / "figures.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
