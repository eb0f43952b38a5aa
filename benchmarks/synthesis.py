"""How fast pictures are made: the engine's forms beside the plain ones, same weights, in turns, a new latent every time.

python -m benchmarks.synthesis                    StyleGAN2 at 64 to 512 px, batch 1 and 8
python -m benchmarks.synthesis --float32          the same as if the processor had no bfloat16 units
python -m benchmarks.synthesis --families         StyleGAN3, FastGAN, R3GAN and DCGAN beside their own float32 forms
python -m benchmarks.synthesis --play             cold load, switching, redrawing what changed, drafts, the shelf's models
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `python -m studio` does

import torch
from torch import Tensor

from benchmarks import plain
from studio.families.base import family, settings_from
from studio.ops.precision import quick_dtype
from studio.synthesis.backend import Span, prepared, run
from studio.synthesis.backends import fastest
from studio.synthesis.openvino import OpenVINO

_SECONDS = 6.0
_LEAST_ROUNDS = 3
_MOST_ROUNDS = 40
_ODD_FAMILIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("stylegan3", {"resolution": 64, "channel_base": 8192, "channel_max": 256}),
    ("stylegan3", {"resolution": 256, "channel_base": 16384}),
    ("fastgan", {"resolution": 256}),
    ("r3gan", {}),
    ("dcgan", {"resolution": 64}),
    ("dcgan", {"resolution": 128}),
)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--families", action="store_true")
    parser.add_argument("--play", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    chosen = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    dtype = torch.float32 if chosen.float32 else quick_dtype()
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, fast forms in {dtype}, medians of interleaved rounds")
    if chosen.families:
        for name, settings in _ODD_FAMILIES:
            compare(name, settings, 1, dtype)
    elif chosen.play:
        play()
    else:
        for batch in chosen.batches:
            for size in chosen.sizes:
                compare("stylegan2", {"resolution": size, "mapping_layers": 2}, batch, dtype)


def network(name: str, settings: dict[str, Any]) -> Any:
    """A generator of random weights whose noise can be seen, as after training."""
    made = family(name).generator(settings_from(name, settings)).eval().requires_grad_(False)
    for parameter, values in made.named_parameters():
        if parameter.endswith("noise_strength"):
            values.fill_(0.1)
    return made


def compare(name: str, settings: dict[str, Any], batch: int, dtype: torch.dtype) -> None:
    """One line: the plain form, the prepared one and the fast one of a network, and how near the last comes to the first."""
    generator = network(name, settings)
    with torch.inference_mode():
        quick = prepared(generator, dtype)
    whole = Span(0, len(quick.stages), batch)
    fast = OpenVINO(generator, quick, dtype=dtype) if not torch.cuda.is_available() else fastest(generator, quick)
    assert fast is not None
    started = time.perf_counter()
    part = fast.part(whole)
    ready = time.perf_counter() - started
    noise = generator.constant_noise()
    own = {"stylegan2": plain.synthesize, "stylegan3": plain.synthesize3}
    plainly = own.get(name, lambda _, styles, noise: generator.synthesize(styles, noise))
    ways: Mapping[str, Callable[[Tensor], Tensor]] = {
        "plain": lambda styles: plainly(generator, styles, noise),
        "prepared": lambda styles: run(quick, whole, (), styles, noise)[-1],
        fast.name: lambda styles: part((), styles, noise)[-1],
    }
    times, likeness = in_turns(ways, lambda: generator.map(torch.randn(batch, generator.z_dim)))
    base = times["plain"]
    shown = "  ".join(f"{way} {1e3 * seconds:7.1f} ms ({base / seconds:4.1f}x)" for way, seconds in times.items())
    print(
        f"{name} {generator.resolution:4d} px batch {batch}:  {shown}  {likeness:.1f} dB, ready in {ready:.1f} s",
        flush=True,
    )


def in_turns(
    ways: Mapping[str, Callable[[Tensor], Tensor]], new_styles: Callable[[], Tensor]
) -> tuple[dict[str, float], float]:
    """Median seconds of each way, each round with styles of its own; and dB between the first and the last of them."""
    first, *_, last = ways.values()
    styles = new_styles()
    likeness = peak_ratio(first(styles), last(styles))
    times: dict[str, list[float]] = {name: [] for name in ways}
    end = time.perf_counter() + _SECONDS
    while (rounds := len(times["plain"])) < _LEAST_ROUNDS or (time.perf_counter() < end and rounds < _MOST_ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way(new_styles())
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in times.items()}, likeness


def peak_ratio(exact: Tensor, other: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1], as they are shown."""
    error = (exact.clamp(-1, 1) - other.clamp(-1, 1)).square().mean().item()
    return 10 * math.log10(4 / max(error, 1e-12))


# ── as the studio plays ──


def play() -> None:
    """Cold load, switching, what changed, drafts; then how near the shelf's models come to their exact pictures."""
    from studio.latent.point import Point, Scene, Seed
    from studio.paths import bundled
    from studio.services.engine import Engine

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        for model in ("first", "second"):
            save(home / model)
        places = {
            path.name: path for path in (*home.iterdir(), *(p for p in bundled("models").iterdir() if p.is_dir()))
        }
        engine = Engine(lambda model: places[model], home / "cache")
        engine.submit(engine._warm).result()

        def scene(model: str, seed: int) -> Scene:
            return Scene(model=model, point=Point(seeds=(Seed(seed=seed),)))

        def draw(model: str, seed: int) -> float:
            started = time.perf_counter()
            engine.submit(engine.frame, scene(model, seed)).result()
            return time.perf_counter() - started

        print(f"first picture of a 256 px StyleGAN2 from a cold load: {draw('first', 1):.2f} s")
        draw("second", 1)
        engine.settle()
        draw("first", 2)
        engine.settle()
        switches = [draw(model, seed) for seed in range(5) for model in ("first", "second")]
        print(f"switching between two that are loaded, with a picture: {1e3 * statistics.median(switches):.0f} ms")
        for model in places:
            draw(model, 0)
            engine.settle()
            pairs = (
                [
                    torch.from_numpy(engine.submit(form, scene(model, seed)).result().copy()).float() / 127.5 - 1
                    for form in (engine.still, engine.frame)
                ]
                for seed in range(16)
            )
            print(f"{model}: {min(peak_ratio(*pair) for pair in pairs):.1f} dB in the worst of 16 pictures")
        for first_layer in (0, 4, 6, 8, 10, 12):
            print(f"a direction on style {first_layer} and after: {1e3 * moving(engine, first_layer):.1f} ms a picture")
        engine.close()


def moving(engine: Any, first_layer: int) -> float:
    """Median seconds of a picture while one direction moves that acts from a layer on."""
    from studio.latent.point import Edit, Point, Scene, Seed

    times = []
    for step in range(30):
        edit = Edit(direction="sefa-1", amount=step / 10, first_layer=first_layer)
        started = time.perf_counter()
        engine.submit(engine.frame, Scene(model="first", point=Point(seeds=(Seed(seed=1),), edits=(edit,)))).result()
        times.append(time.perf_counter() - started)
        if step < 10:
            engine.settle()
    return statistics.median(times[10:])


def save(folder: Path) -> None:
    """A 256 px StyleGAN2 of random weights as a model folder."""
    from studio.options import to_json
    from studio.weights.card import ModelCard
    from studio.weights.store import save_model

    torch.set_grad_enabled(False)
    generator = network("stylegan2", {"resolution": 256, "mapping_layers": 2})
    for block in generator.synthesis.blocks:
        block.torgb.weight.mul_(0.2)  # random weights are too bright to be compared
    card = ModelCard(
        id=folder.name, title=folder.name, family="stylegan2", settings=to_json(generator.settings), resolution=256
    )
    save_model(folder, generator, card)


if __name__ == "__main__":
    main()
