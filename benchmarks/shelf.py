"""The models that ship: their previews drawn anew and compared, finished runs put on the shelf, and the shelf as a picture.

python -m benchmarks.shelf                        # draw every preview anew, from weights and seeds; compare with what ships
python -m benchmarks.shelf --poster models/shelf.webp --crossing docs/crossing.webp
python -m benchmarks.shelf --directions           # look for the directions of every model, and let them ship
python -m benchmarks.shelf --take ~/LatentStudio/models/letters-261129-0835-1a2b --as letters

`--take` gives a model that the studio has published (with its critic) its place in models/, with the words of `CARDS` on its
card. How its set is made: benchmarks/sets.py.
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.families.base import Generator
from studio.latent import traits
from studio.latent.cross import Cross
from studio.latent.crossing import crossed
from studio.latent.directions import components, find, look, save_directions, wanted
from studio.paths import bundled
from studio.training import sheet
from studio.weights.card import DIRECTIONS_FILE, TRAITS_FILE
from studio.weights.store import load_card, load_discriminator, load_generator, save_model

MODELS = bundled("models")
_COLUMNS = 3
_ALIKE = 6.0
"""Mean difference, of 255, up to which two previews show the same: WebP and other processors differ by less."""
_CELL_PX = 128
_POSTER_COLUMNS = 9
_PAINTINGS = (
    "1,193 paintings by Claude Monet, in the public domain by age, from the CycleGAN authors' WikiArt collection"
    " (tdude92/CycleGAN-Style-Transfer, data/monet2photo/A)."
)
_CROSSED_SEEDS = (83, 65, 35, 53, 2, 49, 16, 57)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the shelf says of a model that it cannot say itself, the names of its classes (if they have none that say
    anything), and the seeds of its preview."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    title: str = ""
    trained_on: str = ""
    origin: str = ""
    summary: str = ""
    weaknesses: str = ""
    command: str = ""
    licence: str = "Apache-2.0"
    classes: tuple[str, ...] = ()


CARDS: dict[str, Shown] = {
    "herbarium": Shown(seeds=(2, 9, 36, 45, 52, 11)),
    "naturalist": Shown(
        seeds=(0, 31, 5, 58, 53, 87),
        title="Naturalist",
        trained_on="519 natural history plates by Audubon, Haeckel, Merian, Gould and Redouté, in the public domain by age;"
        " collected in thisElazar/ledarcade (assets/, MIT).",
        origin="Trained by the trainer of Latent Studio for 107 minutes on one core of an EPYC (Zen 5) that had other work"
        " as well, from nothing, before the projected critic.",
        summary="Birds on twigs, blossoms on old paper and glass forms in the dark, 64 px, dreamt from a few hundred plates."
        " What a run of FastGAN starts from.",
        weaknesses="Birds are postures rather than birds, and edges are sharper than a pen's. KID 0.12, precision 0.64 and"
        " coverage 0.36 beside its set by the studio's small feature network; none of 512 pictures counted as a copy. The"
        " critic's frozen eyes know ImageNet, the critic itself only the plates.",
        command="python -m studio train naturalist64.zip --title Naturalist --family fastgan --from scratch --prepare"
        " resolution=64 --set minutes=107 --set threads=1 --set processes=1 --network width=24",
    ),
    "avatars": Shown(),
    "faces-and-things": Shown(
        seeds=(45, 3, 11, 69, 31, 39),
        title="Faces and things",
        trained_on="1,683 emoji of googlefonts/noto-emoji (artwork Apache-2.0, © Google), without copies in other skin tones.",
        origin="Trained by the trainer of Latent Studio for 30 minutes on one core of an EPYC (Zen 5) beside other work, from"
        " nothing, before the projected critic.",
        summary="Masks, pumpkins, vases and little temples in flat bold colours, 64 px, that no set of emoji has.",
        weaknesses="Faces have the eyes and mouths that they like; letters and flags became temples. KID 0.25, precision"
        " 0.65 and coverage 0.22 beside its set by the studio's small feature network; none of 512 pictures counted as a"
        " copy. It ships without its critic, and its kinds cannot be asked for.",
        command="python -m studio train emoji128.zip --title 'Faces and things' --family fastgan --from scratch --prepare"
        " resolution=64 --set minutes=30 --set threads=1 --set processes=1 --network width=16",
    ),
    "lineage": Shown(
        seeds=(8, 41, 57, 58, 38, 68),
        title="Lineage",
        trained_on=_PAINTINGS,
        origin="Trained by the trainer of Latent Studio for 20 minutes on one core of an EPYC (Zen 5) beside other work,"
        " starting from Naturalist.",
        summary="Poplars, boats on evening water and autumn woods that Monet did not paint, 64 px, grown out of a naturalist's"
        " plates. Cross it with Naturalist: shapes of the one, surfaces of the other.",
        weaknesses="Brush strokes stand out as if embossed, skies have faint columns, and what was a plate of glass forms is"
        " rows of boats now. KID 0.21, precision 0.84 and coverage 0.37 beside all paintings by the studio's small feature"
        " network; 1 % of 512 pictures counted as near copies, and 5 % is what new pictures of such a set have.",
        command="python -m studio train monet256.zip --title Lineage --from naturalist --prepare resolution=64 --set minutes=20"
        " --set threads=1 --set processes=1",
    ),
    "headlands": Shown(
        seeds=(11, 2, 4, 19, 27, 58),
        title="Headlands",
        trained_on=_PAINTINGS,
        classes=(
            "sea",
            "rocks",
            "mist",
            "gardens",
            "water lilies",
            "cliffs",
            "harbours",
            "bridges",
            "orchards",
            "meadows",
        ),
        origin="Trained by the trainer of Latent Studio for 30 minutes on two cores of an EPYC (Zen 5), starting from"
        " Naturalist, grown from 64 to 128 px, on paintings that it had sorted into ten kinds.",
        summary="Cliffs, mist, harbours, orchards and water lilies that Monet did not paint, 128 px, each to be asked for: what"
        " half an hour on a laptop makes of a naturalist's plates and his paintings.",
        weaknesses="Strokes are stamped in places, and some woods are dark bands. KID 0.15, precision 0.80, recall 0.26 and"
        " coverage 0.58 beside all paintings by the studio's small feature network; none of 256 pictures counted as a near copy."
        " The kinds were named by eye.",
        command="python -m studio train monet256.zip --title Headlands --from naturalist --prepare resolution=128 --time"
        " half-hour --set class_pace=0.15",
    ),
    "marks": Shown(
        seeds=(42, 22, 16, 27, 0, 28),
        title="Marks",
        trained_on="4,229 icons, white on black, of game-icons.net (game-icons/icons, CC BY 3.0, some CC0) by Lorc, Delapouite"
        " and its other authors.",
        origin="Trained by the trainer of Latent Studio for 25 of 30 minutes on one core of an EPYC (Zen 5) beside other work,"
        " from nothing, before the projected critic; the best stage by its scores.",
        summary="Hands, skulls, eyes and spears as if cut in lino, white on black, 64 px: for logos, posters and signs.",
        weaknesses="Many marks are built of the same few parts. The run went up and down: a little before and after this stage"
        " its surfaces were grey. KID 0.21, precision 0.52 and coverage 0.21 beside its set by the studio's small"
        " feature network; none of 512 pictures counted as a copy. It ships without its critic.",
        command="python -m studio train icons128.zip --title Marks --family fastgan --from scratch --prepare resolution=64"
        " --prepare colour=grey --set minutes=30 --set threads=1 --set processes=1 --network width=16",
    ),
    "first-steps": Shown(
        seeds=(0, 8, 22, 31, 26, 15),
        title="First steps",
        trained_on="1,200 coloured shapes that a script of the project draws (benchmarks/sets.py).",
        origin="Trained by the trainer of Latent Studio for 7 minutes on one core of an EPYC (Zen 5) that had other work"
        " as well.",
        summary="Circles, crosses, rings, squares, stars and triangles on coloured paper: a conditional DCGAN, small enough"
        " to understand. Choose a shape, then walk through its colours.",
        weaknesses="Corners are round, triangles and stars often come out as blots, and the paper shows a DCGAN's checks. KID"
        " 0.62, precision 0.41 and coverage 0.27 beside its set by the studio's small feature network; none of 128"
        " pictures counted as a copy.",
        command="python -m benchmarks.sets shapes shapes && python -m studio train shapes --title 'First steps'"
        " --from scratch --family dcgan --prepare resolution=32 --set minutes=7 --set threads=1 --set augment=none"
        " --set batch=32 --network width=32",
    ),
    "water-lilies": Shown(seeds=(1, 10, 12, 17, 11, 7)),
    "wardrobe": Shown(
        seeds=(83, 35, 8, 81, 84, 87),
        title="Wardrobe",
        trained_on="The 60,000 training pictures of Fashion-MNIST (zalandoresearch/fashion-mnist, MIT, © 2017 Zalando SE).",
        origin="Trained by the trainer of Latent Studio for 40 minutes on one core of an EPYC (Zen 5) that had other work"
        " as well.",
        summary="Ten kinds of clothes and shoes, grey on black, 32 px. Keep a seed and change the class: the same cut as a"
        " coat, a dress, a boot.",
        weaknesses="Prints and seams are hints at most, and bags look alike. KID 0.040, precision 0.97 and coverage 0.82"
        " beside its set by the studio's small feature network; of 128 pictures 6 % counted as near copies, and 5 % is"
        " what new pictures of such a set have.",
        command="python -m benchmarks.sets wardrobe wardrobe fashion28.zip && python -m studio train wardrobe --title Wardrobe"
        " --from scratch --prepare resolution=32 --prepare colour=grey --set minutes=40 --set threads=1"
        " --set processes=1 --network channel_base=2048 --network channel_max=128 --network z_dim=128"
        " --network w_dim=128",
    ),
}


def main() -> None:
    """Compare, unless something else is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poster", type=Path, help="write the shelf as one picture")
    parser.add_argument("--crossing", type=Path, help="write Lineage crossed with Naturalist as one picture")
    parser.add_argument("--directions", action="store_true", help="find the directions of every model anew")
    parser.add_argument("--take", type=Path, help="a model's folder, as the studio publishes it")
    parser.add_argument("--as", dest="model", choices=sorted(CARDS), help="its name on the shelf")
    chosen = parser.parse_args()
    if chosen.take and not chosen.model:
        parser.error("--take needs --as")
    if chosen.take:
        take(chosen.take, chosen.model)
    elif chosen.directions:
        for model in sorted(CARDS):
            find_directions(model)
    elif chosen.poster or chosen.crossing:
        for picture, place in ((poster, chosen.poster), (crossing, chosen.crossing)):
            if place:
                picture().save(place, "WEBP", quality=88, method=6)
    else:
        differing = [line for line in map(compared, sorted(CARDS)) if line]
        sys.exit("\n".join(differing) or 0)


def compared(model: str) -> str:
    """Print how far a preview drawn anew is from the one that ships; returns a complaint, or ""."""
    anew = Image.open(io.BytesIO(face(load_generator(MODELS / model)[0], CARDS[model].seeds)))
    difference = apart(anew, Image.open(MODELS / model / "preview.webp"))
    print(f"{model:14} {difference:6.2f} of 255")
    return f"The preview of {model} shows something else." if difference > _ALIKE else ""


def apart(first: Image.Image, second: Image.Image) -> float:
    """The mean difference of two pictures, of 255; 255 if they differ in size."""
    if first.size != second.size:
        return 255.0
    ours, theirs = (np.asarray(picture.convert("RGBA"), np.float32) for picture in (first, second))
    seen = [pixels[..., :3] * pixels[..., 3:] / 255 for pixels in (ours, theirs)]
    return float(np.abs(seen[0] - seen[1]).mean())


def face(generator: Generator, seeds: tuple[int, ...]) -> bytes:
    """A preview as the studio makes them."""
    return sheet.encode(drawn(generator, seeds), _COLUMNS)


def drawn(generator: Generator, seeds: tuple[int, ...]) -> Tensor:
    """Pictures [n, c, h, w] of the seeds."""
    return sheet.draw(generator, seeds, torch.device("cpu"))


def take(folder: Path, model: str) -> None:
    """Save a published model as `models/<model>` with what `CARDS` says of it."""
    generator, card = load_generator(folder)
    shown = CARDS[model]
    said = {name: value for name, value in vars(shown).items() if name != "seeds" and value}
    card = replace(card, id=model, files={}, author="Latent Studio", **said)
    critic = load_discriminator(folder)
    saved = save_model(MODELS / model, generator, card, discriminator=critic, preview=face(generator, shown.seeds))
    find_directions(model)
    size = sum(path.stat().st_size for path in (MODELS / model).iterdir()) / 2**20
    print(f"{MODELS / model}: {saved.kimg:g} thousand pictures seen, {size:.1f} MiB")


def find_directions(model: str) -> None:
    """Put the directions of a model beside it, so that nobody waits for them."""
    generator = load_generator(MODELS / model)[0]
    styles, pictures = look(generator, wanted(generator))
    others = find(generator) if generator.style_matrices() else components(styles, pictures)
    save_directions(MODELS / model / DIRECTIONS_FILE, others)
    found = traits.find(styles, pictures)
    save_directions(MODELS / model / TRAITS_FILE, found)
    print(f"{model:14} {', '.join(direction.title for direction in found.values())}")


def poster() -> Image.Image:
    """A row of pictures of every model, each at 128 px."""
    rows = []
    for model in sorted(CARDS, key=lambda model: -load_card(MODELS / model).resolution):
        seeds = (*CARDS[model].seeds, *range(100, 100 + _POSTER_COLUMNS))[:_POSTER_COLUMNS]
        pictures = drawn(load_generator(MODELS / model)[0], seeds)
        strip = Image.open(io.BytesIO(sheet.encode(pictures, _POSTER_COLUMNS))).convert("RGBA")
        smooth = Image.Resampling.NEAREST if pictures.shape[-1] <= _CELL_PX // 4 else Image.Resampling.LANCZOS
        rows.append(strip.resize((_CELL_PX * _POSTER_COLUMNS, _CELL_PX), smooth))
    whole = Image.new("RGBA", (rows[0].width, _CELL_PX * len(rows)), "#f4f1ea")
    for place, row in enumerate(rows):
        whole.alpha_composite(row, (0, place * _CELL_PX))
    return whole.convert("RGB")


def crossing() -> Image.Image:
    """The same seeds in every row, with more and more of the shapes and surfaces of Naturalist."""
    first, second = (load_generator(MODELS / model)[0] for model in ("lineage", "naturalist"))
    rows = []
    for shapes, surfaces in ((0, 0), (0, 50), (0, 100), (50, 50), (100, 0), (100, 50), (100, 100)):
        cross = Cross(first="lineage", second="naturalist", shapes=shapes, surfaces=surfaces)
        rows.append(drawn(crossed(first, second, cross), _CROSSED_SEEDS))
    whole = Image.open(io.BytesIO(sheet.encode(torch.cat(rows), len(_CROSSED_SEEDS)))).convert("RGB")
    return whole.resize((2 * whole.width, 2 * whole.height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
