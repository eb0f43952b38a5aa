"""What the feature networks see: classes, sets and copies, beside random weights and plain pixels.

    python -m benchmarks.features FOLDER... [--classes FOLDER] [--network FILE] [--torchvision]

Each FOLDER is a set of pictures. `--classes` holds one folder a class; its labels are used here alone. Nearest-neighbour
classes: 5 neighbours by cosine, half of the pictures to be named by the other half. Copies: each picture once more, saved
anew in another way, and looked for among all pictures.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from studio.features import extractor as extractors
from studio.features.network import SmallNetwork
from studio.features.train import read_folder
from studio.ops.distances import unit
from studio.ops.images import from_uint8

Maker = Callable[[Tensor], Tensor]


def resaved(picture: Image.Image) -> Image.Image:
    """At three quarters of its size, as a JPEG of quality 60."""
    side = picture.width
    kept = io.BytesIO()
    picture.resize((side * 3 // 4,) * 2, Image.Resampling.BICUBIC).save(kept, "JPEG", quality=60)
    return Image.open(kept).resize((side, side), Image.Resampling.BICUBIC)


def lightened(picture: Image.Image) -> Image.Image:
    """A tenth lighter, with a tenth less colour."""
    return ImageEnhance.Color(ImageEnhance.Brightness(picture).enhance(1.1)).enhance(0.9)


def trimmed(picture: Image.Image) -> Image.Image:
    """Without a thirtieth at each edge."""
    side = picture.width
    return picture.crop((side // 30, side // 30, side - side // 30, side - side // 30)).resize((side, side))


COPIES = {"saved anew": resaved, "lightened": lightened, "trimmed": trimmed}


def copied(pictures: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Bytes [n, 3, 64, 64] -> the same pictures, changed."""
    made = [change(Image.fromarray(picture.permute(1, 2, 0).numpy())).convert("RGB") for picture in pictures]
    flat = [torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(64, 64, 3) for picture in made]
    return torch.stack(flat).permute(0, 3, 1, 2)


def named(vectors: Tensor, labels: Tensor) -> float:
    """The share of the odd rows that five even rows name rightly."""
    known, asked = vectors[::2], vectors[1::2]
    near = labels[::2][(asked @ known.T).topk(5, dim=1).indices]
    return float((near.mode(dim=1).values == labels[1::2]).float().mean())


def sets_line(extract: Maker, sets: list[Tensor]) -> str:
    """How often a picture's set is told."""
    labels = torch.cat([torch.full((len(each),), index) for index, each in enumerate(sets)])
    return f"which set {100 * named(extract(torch.cat(sets)), labels):5.1f} %"


def copy_lines(extract: Maker, sets: list[Tensor]) -> list[str]:
    """For each way of copying: how often the original is found first, how far it is, and how far others are."""
    pictures = torch.cat(sets)
    originals = extract(pictures)
    apart = (1 - originals @ originals.T).fill_diagonal_(9)
    lowest = apart.amin(dim=1).quantile(torch.tensor([0.01, 0.05, 0.5])).tolist()
    lines = [f"  nearest other picture: 1 % {lowest[0]:.4f}, 5 % {lowest[1]:.4f}, median {lowest[2]:.4f}"]
    for name, change in COPIES.items():
        alike = extract(copied(pictures, change)) @ originals.T
        own = 1 - alike.diagonal()
        found = float((alike.argmax(dim=1) == torch.arange(len(pictures))).float().mean())
        middle, most = own.quantile(torch.tensor([0.5, 0.95])).tolist()
        lines.append(f"  {name}: found first {100 * found:5.1f} %, distance median {middle:.4f}, 95 % {most:.4f}")
    return lines


def makers(file: Path | None, torchvision: bool) -> dict[str, Maker]:
    """Vectors of length one by name: of the trained network, of random weights, and of the pixels of 16 px."""
    small = extractors.load("small")
    if file is not None:
        from safetensors.torch import load_file

        network = SmallNetwork()
        network.load_state_dict(load_file(file))
        small = replace(small, network=network.eval())
    torch.manual_seed(0)
    untaught = replace(small, network=SmallNetwork().eval())
    found: dict[str, Maker] = {
        "small": lambda pictures: unit(small(from_uint8(pictures))),
        "random": lambda pictures: unit(untaught(from_uint8(pictures))),
        "pixels": lambda pictures: unit(torch.nn.functional.avg_pool2d(from_uint8(pictures), 4).flatten(1)),
    }
    if torchvision:
        pretrained = extractors.load("torchvision")
        found["torchvision"] = lambda pictures: unit(pretrained(from_uint8(pictures)))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--classes", type=Path)
    parser.add_argument("--network", type=Path, help="a safetensors file; without it, the one that ships")
    parser.add_argument("--torchvision", action="store_true", help="torchvision's network too, downloaded if need be")
    parser.add_argument("--most", type=int, default=150, help="pictures of each folder")
    parser.add_argument("--most-of-class", type=int, default=300, help="pictures of each class")
    chosen = parser.parse_args()
    sets = [read_folder(folder, chosen.most) for folder in chosen.folders]
    folders = sorted(path for path in chosen.classes.iterdir() if path.is_dir()) if chosen.classes else []
    classes = [read_folder(folder, chosen.most_of_class) for folder in folders]
    print(f"{len(sets)} sets of {[len(each) for each in sets]} pictures, {len(classes)} classes")
    for name, extract in makers(chosen.network, chosen.torchvision).items():
        print(f"{name}: {sets_line(extract, sets)}")
        if classes:
            labels = torch.cat([torch.full((len(each),), index) for index, each in enumerate(classes)])
            print(f"  classes {100 * named(extract(torch.cat(classes)), labels):5.1f} %")
        print("\n".join(copy_lines(extract, sets)), flush=True)


if __name__ == "__main__":
    main()
