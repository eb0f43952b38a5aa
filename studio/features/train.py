"""Teach the small feature network to see, from folders of pictures, without labels.

    python -m studio.features.train FOLDER... --out small.safetensors

Two random views of one picture shall be told from the views of all other pictures of the batch (SimCLR, Chen et al.
2020: normalised temperature-scaled cross entropy on a projection that is thrown away). Folders take turns by the square
root of their size, so that a large one does not drown a small one.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from studio.errors import BadInput
from studio.features.network import LEAST_SPREAD, SIDE_PX, WIDTHS, SmallNetwork
from studio.features.views import view
from studio.ops.images import from_uint8
from studio.ops.precision import quick_dtype
from studio.paths import write_file

FORMATS = ("PNG", "JPEG", "WEBP")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How the network is taught.

    Attributes:
        steps, batch: at most how many steps of how many pictures; each is seen in two views.
        minutes: it ends earlier when these are over; the learning rate falls with whichever ends first.
        learning_rate: of AdamW, after a short rise and before its cosine falls to zero.
        weight_decay: of AdamW.
        temperature: of the cross entropy; the lower, the more the nearest other pictures count.
        seed: of everything random.
    """

    steps: int = 1500
    batch: int = 256
    minutes: float = 60.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    temperature: float = 0.1
    seed: int = 0


def read_folder(folder: Path, most: int) -> Tensor:
    """The pictures of a folder of one's own, and of those below it, as bytes [n, 3, 64, 64].

    Of more than `most`, evenly spaced ones are taken, in the order of their names. Transparency is put on white.

    Raises:
        BadInput: it holds no pictures.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise BadInput(f"There are no pictures in {folder}.", "Unpack a zip first; PNG, JPEG and WebP are read.")
    chosen = [files[index * len(files) // most] for index in range(most)] if len(files) > most else files
    return torch.stack([_read(path) for path in chosen])


def _read(path: Path) -> Tensor:
    with Image.open(path, formats=FORMATS) as opened:
        picture = opened.convert("RGBA").resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    white = Image.new("RGBA", picture.size, "white")
    colours = Image.alpha_composite(white, picture).convert("RGB")
    flat = torch.frombuffer(bytearray(colours.tobytes()), dtype=torch.uint8)
    return flat.reshape(SIDE_PX, SIDE_PX, 3).permute(2, 0, 1)


def contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Two views' projections [n, d] each -> the loss, a scalar: how badly each finds its partner among 2n - 1 others."""
    vectors = F.normalize(torch.cat([first, second]).float(), dim=1)
    alike = vectors @ vectors.T / temperature
    alike.fill_diagonal_(-math.inf)
    partners = torch.arange(len(vectors), device=vectors.device).roll(len(first))
    return F.cross_entropy(alike, partners)


def teach(network: SmallNetwork, folders: Sequence[Tensor], lesson: Lesson) -> Iterator[tuple[int, float]]:
    """Teach a network in place; after each step answer its number, from 1, and the loss.

    Args:
        folders: bytes [n, 3, 64, 64] of each folder.
    """
    random = torch.Generator().manual_seed(lesson.seed)
    projector = _projector(lesson.seed)
    network.to(memory_format=torch.channels_last).train()
    parameters = [*network.parameters(), *projector.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lesson.learning_rate, weight_decay=lesson.weight_decay, fused=True)
    started = time.monotonic()
    for step in range(1, lesson.steps + 1):
        done = max((step - 1) / lesson.steps, (time.monotonic() - started) / (lesson.minutes * 60))
        if done >= 1:
            return
        optimizer.param_groups[0]["lr"] = lesson.learning_rate * _pace(done)
        pictures = _draw(folders, lesson.batch, random)
        both = torch.cat([view(pictures, random), view(pictures, random)])
        with torch.autocast("cpu", quick_dtype()):
            last = network.stages(both)[-1].mean(dim=(2, 3))
            first, second = projector(last).chunk(2)
        loss = contrast(first, second, lesson.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield step, loss.item()


def _projector(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = WIDTHS[-1]
        return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 128))


def _pace(done: float) -> float:
    """The learning rate's factor after the share `done`: it rises over the first twentieth, then falls as a cosine."""
    return min(done * 20 + 0.05, 1.0) * (1 + math.cos(math.pi * done)) / 2


def _draw(folders: Sequence[Tensor], count: int, random: torch.Generator) -> Tensor:
    """Pictures float [count, 3, 64, 64]; a folder is drawn by the square root of its size."""
    chances = torch.tensor([math.sqrt(len(folder)) for folder in folders])
    which = torch.multinomial(chances, count, replacement=True, generator=random).tolist()
    places = torch.rand(count, generator=random).tolist()
    chosen = [folders[folder][int(place * len(folders[folder]))] for folder, place in zip(which, places, strict=True)]
    return from_uint8(torch.stack(chosen))


@torch.no_grad()
def settle(network: SmallNetwork, folders: Sequence[Tensor], *, pictures: int = 4096, seed: int = 0) -> None:
    """Measure the normalisations anew on whole, unchanged pictures, and then what the vectors are standardised by."""
    random = torch.Generator().manual_seed(seed)
    batches = [_draw(folders, 256, random) for _ in range(max(pictures // 256, 1))]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for batch in batches:
        network.stages(batch)
    for norm in norms:
        norm.momentum = 0.1
    network.eval()
    vectors = torch.cat([network.pooled(batch) for batch in batches])
    network.centre.copy_(vectors.mean(dim=0))
    network.spread.copy_(vectors.std(dim=0).clamp_min(LEAST_SPREAD))


def save(network: SmallNetwork, path: Path) -> None:
    """Write a network as safetensors: convolutions as float16, what was measured as float32."""
    from safetensors.torch import save as to_bytes

    halves = {
        name: (value.half() if value.ndim == 4 else value).contiguous() for name, value in network.state_dict().items()
    }
    write_file(path, to_bytes(halves))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studio.features.train", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="pictures, in folders of any depth")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--steps", type=int, default=Lesson.steps)
    parser.add_argument("--minutes", type=float, default=Lesson.minutes, help="end earlier when these are over")
    parser.add_argument("--batch", type=int, default=Lesson.batch)
    parser.add_argument("--per-folder", type=int, default=6000, help="at most so many pictures of each folder")
    parser.add_argument("--threads", type=int, default=0, help="processor threads; 0 leaves it to torch")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    folders = [read_folder(folder, chosen.per_folder) for folder in chosen.folders]
    torch.manual_seed(chosen.seed)
    network = SmallNetwork()
    lesson = Lesson(steps=chosen.steps, batch=chosen.batch, minutes=chosen.minutes, seed=chosen.seed)
    for step, loss in teach(network, folders, lesson):
        if step % 20 == 0:
            print(f"step {step} of {chosen.steps}: loss {loss:.3f}", flush=True)
    settle(network, folders, seed=chosen.seed)
    save(network, chosen.out)


if __name__ == "__main__":
    main()
