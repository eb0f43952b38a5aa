"""How fast networks learn: the studio's step beside the plain one, same networks, same losses, in turns.

python -m benchmarks.training                                StyleGAN2 and FastGAN at 32 to 256 px, DCGAN and MLP at 64
python -m benchmarks.training stylegan2 --sizes 64 --width 64 --batch 16

Plain is float32 as published: pictures channel by channel, filters slid over each channel, Adam weight by weight. The
studio's is what the plan chooses on this machine, with as many processes. A step is G, D and its share of the lazy
penalties; the peak is what a 3 x 3 convolution of 128 channels at 32 px reaches here, measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from studio.training.process import QUICKER, processes

if not QUICKER.keys() <= os.environ.keys():  # the C library reads them once, at the start
    os.execve(sys.executable, [sys.executable, "-m", "benchmarks.training", *sys.argv[1:]], {**QUICKER, **os.environ})

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from benchmarks import plain
from studio.data.info import DatasetInfo
from studio.families import stylegan2
from studio.families.base import FAMILIES
from studio.training import distributed
from studio.training.bench import Bench
from studio.training.config import TrainConfig
from studio.training.distributed import ALONE, World
from studio.training.opening import process_threads
from studio.training.plan import plan
from studio.training.state import TrainState, compute_dtype, new_state, pick_device
from studio.training.step import train_step

_PICTURES = 256
_MINUTES = 30.0
_SECONDS = 20.0
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 12
_ALL = (("stylegan2", (32, 64, 128, 256)), ("fastgan", (32, 64, 128, 256)), ("dcgan", (64,)), ("mlp", (64,)))


def main() -> None:
    """Print one table, with the help of as many processes as the plans have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", choices=[*FAMILIES, []], default=[])
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--width", type=int, default=0, help="channels at full size; 0: as planned for half an hour")
    parser.add_argument("--batch", type=int, default=0, help="0: as planned")
    chosen = parser.parse_args()
    wanted = [(name, chosen.sizes or [64]) for name in chosen.families] or _ALL
    configs = [planned(name, size, chosen.width, chosen.batch) for name, sizes in wanted for size in sizes]
    most = max(config.processes for config in configs)
    again = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:]]
    leads = processes() == 1
    with distributed.hired(most, again) if leads else distributed.joined(distributed.from_environment()) as world:
        measure(configs, world)


def measure(configs: Sequence[TrainConfig], world: World) -> None:
    """The table; processes that do not lead work in steps that they share."""
    torch.manual_seed(0)
    device = pick_device(TrainConfig())
    dtype = compute_dtype(TrainConfig(), device)
    peak = 0.0
    if world.rank == 0:  # the others wait, or they would take part of the peak
        peak = convolution_peak(device, dtype)
        here = f"{os.cpu_count()} cores, {device}, torch {torch.__version__}"
        print(f"{here}; peak of a convolution in {dtype}: {peak / 1e12:.2f} TFLOP/s")
    world.agree()
    for config in configs:
        compare(config, device, dtype, peak, world)


def planned(name: str, size: int, width: int, batch: int) -> TrainConfig:
    """What the studio would do in half an hour with some hundred colour pictures of this size."""
    info = DatasetInfo(id="x", title="x", resolution=size, channels=3, count=_PICTURES, labels=(), fingerprint="x")
    config = replace(plan(_MINUTES, info, family=name).config, augment_start_p=0.3)
    settings = dict(config.settings) | {"resolution": size}
    if width and "channel_base" in settings:
        settings |= {"channel_base": width * size, "channel_max": min(512, 4 * width)}
    elif width:
        settings |= {"width": width}
    return replace(config, settings=settings, batch=batch or config.batch)


def compare(config: TrainConfig, device: torch.device, dtype: torch.dtype, peak: float, world: World) -> None:
    """One line: pictures a second, plain and as the studio does it, and its share of the peak."""
    shares = world if config.processes == world.size else ALONE
    if world.rank and shares is ALONE:
        return
    ours = step_of(config, device, dtype, world=shares)
    published = nothing if world.rank else step_of(config, device, torch.float32, plainly=True)
    seconds = in_turns({"plain": published, "studio": ours}, config, shares)
    if world.rank:
        return
    work = operations(step_of(config, torch.device("cpu"), torch.float32), config)
    rates = {name: config.batch / value for name, value in seconds.items()}
    width = config.settings.get("width") or config.settings.get("channel_base", 0) // config.settings["resolution"]
    print(
        f"{config.family} {config.settings['resolution']:4d} px width {width:3d} batch {config.batch:2d} "
        f"by {shares.size}:  "
        f"plain {rates['plain']:7.1f}/s  studio {rates['studio']:7.1f}/s  {rates['studio'] / rates['plain']:4.1f}x  "
        f"{work / config.batch / 1e9:5.1f} GFLOP a picture, {work / seconds['studio'] / 1e12:.2f} TFLOP/s, "
        f"{work / seconds['studio'] / peak:.0%} of the peak",
        flush=True,
    )


Step = Callable[[int], None]
"""Does the step of that number."""


def nothing(number: int) -> None:
    """What the others do while the leader does the plain step."""


def step_of(
    config: TrainConfig, device: torch.device, dtype: torch.dtype, *, plainly: bool = False, world: World = ALONE
) -> Step:
    """A step of fresh networks on made-up pictures, which `world` shares; it leaves all cores to others in the end."""
    size = config.settings["resolution"]
    pixels = torch.randint(0, 256, (_PICTURES, config.settings.get("channels", 3), size, size), dtype=torch.uint8)
    numbers = torch.zeros(_PICTURES, dtype=torch.long)
    bench = Bench(
        config=config,
        device=device,
        dtype=dtype,
        count=_PICTURES,
        batch=lambda places: (pixels[places], numbers[places]),
        world=world,
    )
    state = new_state(config, device, None)
    if plainly:
        make_plain(config, state)

    def step(number: int) -> None:
        state.step = number
        torch.set_num_threads(process_threads(config, world))
        world.agree()
        train_step(bench, state)
        world.agree()
        torch.set_num_threads(process_threads(config))
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def make_plain(config: TrainConfig, state: TrainState) -> None:
    """The published arithmetic instead of ours, and torch's plainest optimizer."""
    for network in (state.generator, state.discriminator):
        network.to(memory_format=torch.contiguous_format)
    if isinstance(state.generator, stylegan2.Generator):
        generator, critic = state.generator, cast(stylegan2.Discriminator, state.discriminator)
        generator.synthesize = lambda styles, noise=None: plain.synthesize(generator, styles, noise)  # type: ignore[method-assign]
        critic.forward = lambda images, label=None: plain.judge(critic, images)  # type: ignore[method-assign]
    for name in ("g_optimizer", "d_optimizer"):
        groups = getattr(state, name).param_groups
        weights = [weight for group in groups for weight in group["params"]]
        rate, betas = groups[0]["lr"], tuple(float(beta) for beta in groups[0]["betas"])
        setattr(state, name, torch.optim.Adam(weights, lr=rate, betas=betas, foreach=False))


def in_turns(steps: Mapping[str, Step], config: TrainConfig, world: World) -> dict[str, float]:
    """Seconds of an average step of each: medians of steps with and without the lazy penalties, weighed."""
    interval = config.r1_interval if config.smooths_lazily else 1
    times: dict[tuple[str, bool], list[float]] = {}
    for name, step in steps.items():
        for lazy in (True, False):
            times[name, lazy] = []
            step(0 if lazy else 1)
    end = time.perf_counter() + _SECONDS
    rounds = 0
    while goes_on(world, rounds < _LEAST_ROUNDS or (rounds < _MOST_ROUNDS and time.perf_counter() < end)):
        rounds += 1
        for (name, lazy), taken in times.items():
            begun = time.perf_counter()
            steps[name](0 if lazy else 1)
            taken.append(time.perf_counter() - begun)
    middle = {key: statistics.median(taken) for key, taken in times.items()}
    return {name: (middle[name, True] + (interval - 1) * middle[name, False]) / interval for name in steps}


def goes_on(world: World, wanted: bool) -> bool:
    """Whether the leader wants another round."""
    return bool(world.tell(wanted)) if world.together else wanted


def operations(step: Step, config: TrainConfig) -> float:
    """Floating-point operations of an average step: two for each multiply-add of convolutions and matrix products."""
    interval = config.r1_interval if config.smooths_lazily else 1
    counts = []
    for number in (0, 1):
        with FlopCounterMode(display=False) as counter:
            step(number)
        counts.append(counter.get_total_flops())
    return (counts[0] + (interval - 1) * counts[1]) / interval


@register_flop_formula(torch.ops.mkldnn._convolution_pointwise)
def _pointwise_flop(images: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(2 * out_shape[0] * out_shape[2] * out_shape[3] * weight[0] * weight[1] * weight[2] * weight[3])


def convolution_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the best of a few 3 x 3 convolutions here, channels last."""
    best = 0.0
    for channels, size in ((64, 64), (128, 32), (256, 32), (256, 16)):
        images = torch.randn(16, channels, size, size, device=device, dtype=dtype)
        images = images.contiguous(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        weight = weight.contiguous(memory_format=torch.channels_last)
        taken = [_timed(images, weight) for _ in range(12)][2:]
        best = max(best, 2 * 9 * channels**2 * size**2 * 16 / statistics.median(taken))
    return best


@torch.no_grad()
def _timed(images: Tensor, weight: Tensor) -> float:
    begun = time.perf_counter()
    F.conv2d(images, weight, padding=1)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
