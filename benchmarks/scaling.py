"""What it costs to train in several processes: bytes averaged in each step, and the time of a step beside one alone.

python -m benchmarks.scaling                        two processes of one thread each on this machine, over gloo
python -m benchmarks.scaling --processes 4 --sizes 64 128 --families stylegan2 --steps 16

Every process does its rows of the batch twice, in turns: with the others, and as if it were alone. Both times all
processes work at once, so that the ratio is what talking costs, and no gain or loss of the machine is in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from studio.data.info import DatasetInfo
from studio.families.base import FAMILIES
from studio.training import crew, distributed
from studio.training.bench import Bench
from studio.training.config import TrainConfig
from studio.training.distributed import ALONE, World
from studio.training.plan import plan
from studio.training.process import processes
from studio.training.state import TrainState, compute_dtype, new_state, pick_device
from studio.training.step import train_step

_PICTURES, _MINUTES, _ROUNDS = 64, 30.0, 3
_FAMILIES = ("stylegan2", "fastgan", "dcgan", "mlp")


@dataclass(frozen=True, kw_only=True)
class CountingWorld(World):
    """It notes the size in bytes of each sum over all processes."""

    sizes: list[int] = field(default_factory=list)

    def add_up(self, values: Tensor) -> None:
        self.sizes.append(values.nbytes)
        super().add_up(values)


def main() -> None:
    """Start the processes, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(_FAMILIES))
    parser.add_argument("--sizes", type=int, nargs="+", default=[64])
    parser.add_argument("--steps", type=int, default=8, help="in each of three rounds")
    chosen = parser.parse_args()
    if processes() == 1:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={chosen.processes}",
        ]
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        sys.exit(subprocess.run([*command, "-m", "benchmarks.scaling", *sys.argv[1:]], env=environment).returncode)
    with distributed.joined(distributed.from_environment()) as world:
        torch.set_num_threads(1)
        counting = CountingWorld(**{each.name: getattr(world, each.name) for each in fields(world)})
        if not world.rank:
            print(f"{world.size} processes, {pick_device(TrainConfig())}, torch {torch.__version__}")
            print("| | weights | batch | averaged a step | messages a step | step alone | together | ratio |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for name in chosen.families:
            for size in chosen.sizes:
                measure(planned(name, size, world.size), counting, chosen.steps)


def planned(name: str, size: int, shares: int) -> TrainConfig:
    """What the studio would do in half an hour, with a batch that can be shared; every picture is augmented by chance."""
    info = DatasetInfo(id="x", title="x", resolution=size, channels=3, count=_PICTURES, labels=(), fingerprint="x")
    config = replace(plan(_MINUTES, info, family=name).config, augment_start_p=0.3)
    return replace(config, batch=-(-config.batch // shares) * shares)


def measure(config: TrainConfig, world: CountingWorld, steps: int) -> None:
    """Print one line of the table."""
    alone = prepared(replace(config, batch=config.batch // world.size), ALONE)
    together = prepared(config, world)
    weights = sum(
        weight.numel()
        for network in (together[1].generator, together[1].discriminator)
        for weight in network.parameters()
    )
    best = [float("inf"), float("inf")]
    for number in range(_ROUNDS + 1):  # the first warms up
        world.sizes.clear()
        for place, work in enumerate((alone, together)):
            world.agree()
            begun = time.perf_counter()
            walk(*work, steps)
            world.agree()
            if number:
                best[place] = min(best[place], (time.perf_counter() - begun) / steps)
    if not world.rank:
        sent, messages = sum(world.sizes) / steps / 1e6, len(world.sizes) / steps
        print(
            f"| {config.family}, {config.settings['resolution']} px | {weights / 1e6:.2f} million | {config.batch} "
            f"| {sent:.1f} MB | {messages:.1f} | {best[0] * 1000:.0f} ms | {best[1] * 1000:.0f} ms "
            f"| {best[1] / best[0]:.2f} |",
            flush=True,
        )


def prepared(config: TrainConfig, world: World) -> tuple[Bench, TrainState]:
    """Networks at the start of a run, and a bench of random pictures."""
    device, size = pick_device(config), config.settings["resolution"]
    pixels = torch.randint(256, (_PICTURES, 3, size, size), dtype=torch.uint8)

    def batch(places: list[int]) -> tuple[Tensor, Tensor]:
        return pixels[places], torch.zeros(len(places), dtype=torch.long)

    dtype = compute_dtype(config, device)
    bench = Bench(config=config, device=device, dtype=dtype, batch=batch, count=_PICTURES, world=world)
    return bench, new_state(config, device)


def walk(bench: Bench, state: TrainState, steps: int) -> None:
    """So many steps, as the processes of a run do them."""
    for _ in range(steps):
        if bench.world.together:
            bench.world.order(crew.STEP)
            with crew.in_step(bench.world):
                train_step(bench, state)
        else:
            train_step(bench, state)
    if bench.device.type == "cuda":
        torch.cuda.synchronize(bench.device)


if __name__ == "__main__":
    main()
