"""Does the sentinel see what is planted, and is it silent on healthy runs? Prints a table of both.

    python -m benchmarks.health                    every case, about fifty minutes on one core
    python -m benchmarks.health --quick            one case of each kind, shorter
    python -m benchmarks.health --only frozen      the cases whose name holds a word
    python -m benchmarks.health --curves           the figures of each run over time as well

Each case is a real run of the real loop at 32 px. What is done is kept in `--results`: after Ctrl-C the same command
goes on where it stopped. Picture sets are looked for in `--data`; without them the program draws its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageDraw

from studio.training import events, loop, step
from studio.training.config import TrainConfig
from studio.training.folder import RunFolder

SIZE_PX = 32
SECONDS = 45.0
QUICK_SECONDS = 25.0
PROJECTED = 2.0
"""How much longer a FastGAN before the projected critic has: it sees few pictures in a second."""
PLANT_AFTER_SECONDS = 10.0
SEEN_WITHIN_SECONDS = 10.0
MOST_PICTURES = 3000
SETS = ("avatars32", "monsters32", "emoji128", "icons128", "naturalist64", "monet256", "fashion28")
QUIET_TOPICS = frozenset({"space", "damaged", "settings", "memory", "scores"})
"""Topics that are no verdict about the state of the training."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run.

    Attributes:
        plant: what goes wrong, a key of PLANTS; "" is a healthy run.
        family: an architecture; "projected" is a FastGAN before the projected critic.
        pictures: a set of SETS. count: how many of its pictures are used; 0 is all (3,000 at most).
        changes: settings that differ from the family's usual ones.
    """

    name: str
    plant: str = ""
    pictures: str = "avatars32"
    count: int = 0
    family: str = "stylegan2"
    seed: int = 0
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run went: topics of its alarms, seconds from the plant to the first of them, the end, and its figures."""

    topics: tuple[str, ...]
    seen_seconds: float
    ended: str
    kimg: float
    curves: list[dict[str, float]]


# What goes wrong


def rates_times_thousand(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(
        config, g_learning_rate=min(1.0, config.g_learning_rate * 1000),
        d_learning_rate=min(1.0, config.d_learning_rate * 1000),
    )  # fmt: skip


def frozen_critic(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(config, d_learning_rate=0.0)


def unvaried(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(config, augment="none")


def spoil(tensor: torch.Tensor) -> None:
    tensor.data[tuple(size // 2 for size in tensor.shape)] = float("nan")


def spoil_weight(network: str) -> Callable[[step.Bench, Any], None]:
    def act(bench: step.Bench, state: Any) -> None:
        spoil(max(getattr(state, network).parameters(), key=torch.numel))

    return act


def spoil_optimizer(bench: step.Bench, state: Any) -> None:
    entry = next(iter(state.d_optimizer.state.values()))
    spoil(entry["exp_avg_sq"])


def spoil_slope(bench: step.Bench, state: Any) -> None:
    weight = max(state.generator.parameters(), key=torch.numel)
    weight.register_hook(lambda slope: slope * float("nan"))


def spoil_loss(bench: step.Bench, state: Any) -> None:
    state.path_mean = state.path_mean * float("nan")
    head = [
        module for module in state.discriminator.modules() if next(module.parameters(recurse=False), None) is not None
    ]
    head[-1].register_forward_hook(lambda module, given, answer: answer * float("nan"))


SETTINGS_PLANTS: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "rates x 1000": rates_times_thousand,
    "frozen critic": frozen_critic,
    "five pictures": unvaried,
}
NUMBER_PLANTS: dict[str, Callable[[step.Bench, Any], None]] = {
    "NaN in forger": spoil_weight("generator"),
    "NaN in critic": spoil_weight("discriminator"),
    "NaN in average": spoil_weight("average"),
    "NaN in optimizer": spoil_optimizer,
    "NaN in slopes": spoil_slope,
    "NaN in loss": spoil_loss,
}


def planted() -> Iterator[Case]:
    """Failures, each in several families and on several sets."""
    for plant in ("rates x 1000", "frozen critic", "five pictures"):
        count = 5 if plant == "five pictures" else 0
        for family, pictures, seed in (
            ("stylegan2", "avatars32", 1), ("stylegan2", "emoji128", 2), ("dcgan", "monsters32", 3), ("mlp", "fashion28", 4),
            ("projected", "emoji128", 5), ("projected", "naturalist64", 6),
        ):  # fmt: skip
            yield Case(
                name=f"{plant}: {family}, {pictures}",
                plant=plant,
                pictures=pictures,
                count=count,
                family=family,
                seed=seed,
            )
    for place, plant in enumerate(NUMBER_PLANTS):
        yield Case(name=f"{plant}: stylegan2", plant=plant, pictures=SETS[place % len(SETS)], seed=place)
    for plant in ("NaN in forger", "NaN in critic"):
        yield Case(name=f"{plant}: dcgan", plant=plant, family="dcgan", seed=9)
        yield Case(name=f"{plant}: projected", plant=plant, family="projected", seed=10)


def healthy() -> Iterator[Case]:
    """Twenty-nine runs that should be left alone."""
    for place, pictures in enumerate(SETS):
        yield Case(name=f"stylegan2, {pictures}", pictures=pictures, seed=place)
    for place, pictures in enumerate(("avatars32", "emoji128", "fashion28", "monet256")):
        yield Case(name=f"dcgan, {pictures}", pictures=pictures, family="dcgan", seed=20 + place)
    for place, pictures in enumerate(("fashion28", "monsters32", "icons128")):
        yield Case(name=f"mlp, {pictures}", pictures=pictures, family="mlp", seed=30 + place)
    for count in (30, 100):
        yield Case(name=f"stylegan2, {count} of monet256", pictures="monet256", count=count, seed=40 + count)
    for place, pictures in enumerate(("emoji128", "icons128", "naturalist64", "monet256")):
        yield Case(name=f"projected, {pictures}", pictures=pictures, family="projected", seed=60 + place)
    for count, pictures in ((30, "monet256"), (30, "emoji128"), (100, "emoji128")):
        yield Case(
            name=f"projected, {count} of {pictures}",
            pictures=pictures,
            count=count,
            family="projected",
            seed=70 + count,
        )
    for place, pictures in enumerate(("monet256", "emoji128")):
        yield Case(
            name=f"projected, both quick and settling, {pictures}",
            pictures=pictures,
            family="projected",
            seed=80 + place,
            changes={"d_learning_rate": 0.0012, "settle_kimg": 1.0},
        )
    yield Case(name="stylegan2, hinge", pictures="monsters32", seed=50, changes={"objective": "hinge"})
    yield Case(
        name="stylegan2, least squares", pictures="avatars32", seed=51,
        changes={"objective": "least_squares", "ada_target": 0.6},
    )  # fmt: skip
    yield Case(
        name="mlp, wasserstein with penalty", pictures="emoji128", family="mlp", seed=52,
        changes={"objective": "wasserstein", "gradient_penalty": 10.0, "d_steps": 3},
    )  # fmt: skip
    yield Case(name="stylegan2, path length", pictures="icons128", seed=53, changes={"path_length_weight": 2.0})


# One run


def make_config(case: Case, dataset: Path, channels: int, seconds: float) -> TrainConfig:
    """The family's usual settings, with networks so small that a run sees some thousand pictures."""
    settings: dict[str, Any] = {"resolution": SIZE_PX, "channels": channels, "classes": 0}
    manners: dict[str, Any] = {"r1_gamma": 0.02, "path_length_weight": 0.0, "style_mixing": 0.5, "ada_speed_kimg": 20.0}
    if case.family == "projected":
        seconds *= PROJECTED
        settings |= {"z_dim": 128, "width": 16, "critic_width": 32, "projected": True}
        manners = {
            "objective": "hinge", "augment": "diffaugment", "path_length_weight": 0.0, "style_mixing": 0.0, "r1_gamma": 0.0,
            "g_learning_rate": 0.0012, "d_learning_rate": 0.0004, "batch": 32, "blur_px": 1.0, "blur_kimg": 1.0,
            "share_pictures": True,
        }  # fmt: skip
    elif case.family == "stylegan2":
        settings |= {"z_dim": 64, "w_dim": 64, "mapping_layers": 2, "channel_base": 512, "channel_max": 48}
    else:
        settings |= {"width": 24} if case.family == "dcgan" else {}
        manners = {
            "augment": "diffaugment", "path_length_weight": 0.0, "style_mixing": 0.0, "r1_gamma": 0.0,
            "g_learning_rate": 0.0002, "d_learning_rate": 0.0002, "beta1": 0.5, "beta2": 0.999,
        }  # fmt: skip
    config = TrainConfig(
        title=case.name, family="fastgan" if case.family == "projected" else case.family, settings=settings,
        dataset=str(dataset), minutes=seconds / 60, seed=case.seed, threads=1, device="cpu", ema_kimg=0.5,
        checkpoint_seconds=8.0, preview_seconds=3.0, snapshot_count=2, **{"batch": 16, **manners, **case.changes},
    )  # fmt: skip
    return SETTINGS_PLANTS.get(case.plant, lambda unchanged: unchanged)(config)


def play(case: Case, seconds: float, data: Path) -> Outcome:
    """Make the pictures, train, and collect the alarms."""
    with tempfile.TemporaryDirectory() as place:
        pixels = load_pixels(data, case)
        dataset = save_dataset(Path(place) / "pictures", pixels)
        folder = RunFolder(Path(place) / "run")
        folder.root.mkdir()
        folder.write_config(make_config(case, dataset, pixels.shape[-1], seconds))
        with mock.patch.object(loop, "train_step", planting(case)):
            return listen(case, folder)


def planting(case: Case) -> Callable[[step.Bench, Any], step.Metrics]:
    """The real step, which goes wrong once after some seconds."""
    plant, done = NUMBER_PLANTS.get(case.plant), []

    def stepping(bench: step.Bench, state: Any, *, calm: bool) -> step.Metrics:
        if plant is not None and not done and state.seconds > PLANT_AFTER_SECONDS:
            done.append(state.step)
            plant(bench, state)
        return step.train_step(bench, state, calm=calm)

    return stepping


def listen(case: Case, folder: RunFolder) -> Outcome:
    topics: list[str] = []
    curves: list[dict[str, float]] = []
    since = PLANT_AFTER_SECONDS if case.plant in NUMBER_PLANTS else 0.0
    seen, last = 0.0, events.RunEvent()
    for last in loop.train(folder):
        if isinstance(last, events.Progress):
            curves.append({"seconds": last.seconds, "kimg": last.kimg, **last.metrics})
        if isinstance(last, events.Warned) and last.topic not in QUIET_TOPICS:
            seen = seen if topics else last.seconds - since
            topics.append(last.topic)
    return Outcome(
        topics=tuple(topics), seen_seconds=round(seen, 1), ended=type(last).__name__, kimg=last.kimg, curves=curves
    )


# Pictures


def load_pixels(data: Path, case: Case) -> np.ndarray:
    """uint8 [n, 32, 32, c], from the set's zip, or drawn."""
    archive = data / f"{case.pictures}.zip"
    random = np.random.default_rng(case.seed)
    count = case.count or MOST_PICTURES
    if not archive.is_file():
        return np.stack([draw(random) for _ in range(min(count, 1000))])
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.lower().endswith((".png", ".jpg")))
        chosen = random.permutation(len(names))[:count]
        pictures = [Image.open(io.BytesIO(opened.read(names[place]))) for place in chosen]
    kind = "L" if all(picture.mode == "L" for picture in pictures[:8]) else "RGB"
    cells = [np.asarray(picture.convert(kind).resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)) for picture in pictures]
    return np.stack(cells).reshape(len(cells), SIZE_PX, SIZE_PX, -1)


def draw(random: np.random.Generator) -> np.ndarray:
    """A disc or a square of a random colour on a random ground."""
    ground, colour = (tuple(int(value) for value in random.integers(0, 256, 3)) for _ in range(2))
    picture = Image.new("RGB", (SIZE_PX, SIZE_PX), ground)
    left, top, side = (int(value) for value in random.integers((2, 2, 8), (12, 12, 18)))
    pencil = ImageDraw.Draw(picture)
    (pencil.ellipse if random.random() < 0.5 else pencil.rectangle)((left, top, left + side, top + side), fill=colour)
    return np.asarray(picture)


def save_dataset(folder: Path, pixels: np.ndarray) -> Path:
    folder.mkdir()
    np.save(folder / "pixels.npy", pixels)
    about = {"id": "d", "title": "Pictures", "resolution": SIZE_PX, "channels": pixels.shape[-1], "count": len(pixels)}
    (folder / "dataset.json").write_text(json.dumps({**about, "fingerprint": ""}))
    return folder


# The table


def main() -> None:
    """Run the cases that are not done yet, and print the table of all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--seconds", type=float, default=0.0, help="of each run, twice for a FastGAN [45; 25 if quick]")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "studio-health.jsonl")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--curves", action="store_true")
    chosen = parser.parse_args()
    seconds = chosen.seconds or (QUICK_SECONDS if chosen.quick else SECONDS)
    cases = [case for case in (*planted(), *healthy()) if chosen.only in case.name]
    if chosen.quick:
        cases = [case for place, case in enumerate(cases) if case.plant not in {it.plant for it in cases[:place]} or
                 (not case.plant and place % 4 == 0)]  # fmt: skip
    if chosen.fresh:
        chosen.results.unlink(missing_ok=True)
    done = read_results(chosen.results)
    for case in cases:
        key = f"{case.name} {seconds:g}"
        if key not in done:
            done[key] = play(case, seconds, chosen.data)
            with open(chosen.results, "a") as file:
                file.write(json.dumps({"key": key, **dataclasses.asdict(done[key])}) + "\n")
        show(case, done[key], curves=chosen.curves)
    summarise(cases, [done[f"{case.name} {seconds:g}"] for case in cases])


def read_results(file: Path) -> dict[str, Outcome]:
    if not file.exists():
        return {}
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return {
        record.pop("key"): Outcome(**{**record, "topics": tuple(record["topics"])}) for record in map(dict, records)
    }


def show(case: Case, outcome: Outcome, *, curves: bool) -> None:
    found = ", ".join(dict.fromkeys(outcome.topics)) or "-"
    when = f"{outcome.seen_seconds:6.1f} s" if outcome.topics else " " * 8
    print(f"{case.name:<44}{found:<36}{when}  {outcome.ended:<9}{outcome.kimg:6.1f} kimg", flush=True)
    for row in outcome.curves[:: max(1, len(outcome.curves) // 14)] if curves else ():
        print("    " + "  ".join(f"{name} {value:.3g}" for name, value in row.items()))


def summarise(cases: list[Case], outcomes: list[Outcome]) -> None:
    pairs = list(zip(cases, outcomes, strict=True))
    failing = [bool(outcome.topics) for case, outcome in pairs if case.plant]
    quiet = [not outcome.topics for case, outcome in pairs if not case.plant]
    numbers = [outcome for case, outcome in pairs if case.plant in NUMBER_PLANTS]
    late = [outcome for outcome in numbers if not outcome.topics or outcome.seen_seconds > SEEN_WITHIN_SECONDS]
    print(f"\nplanted failures alarmed  {sum(failing)} of {len(failing)}")
    print(f"numbers that are none, seen within {SEEN_WITHIN_SECONDS:g} s  {len(numbers) - len(late)} of {len(numbers)}")
    print(f"healthy runs alarmed      {len(quiet) - sum(quiet)} of {len(quiet)}")


if __name__ == "__main__":
    begun = time.monotonic()
    main()
    print(f"seconds                   {time.monotonic() - begun:.0f}")
