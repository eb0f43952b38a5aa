"""Do named directions do what they are called after? On every model of the shelf, or on those that are named.

python -m benchmarks.directions [MODEL_FOLDERS ...]

For each direction, pictures of seeds that it was not found on go from -2 σ to +2 σ along it. *Moved* is how far its own trait
goes, in standard deviations of that trait among the model's pictures; *agree* is the share of seeds that go the right way;
*first* says whether it moves its own trait more than any other.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.latent import traits
from studio.latent.directions import Direction, look, moved, seen, wanted
from studio.ops import seeds
from studio.paths import bundled
from studio.weights.store import load_generator

_SEEDS = range(24)
_REACH = 2.0


def main() -> None:
    """Print a table for each model, and its means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    chosen = parser.parse_args().models or sorted(place.parent for place in bundled("models").glob("*/config.json"))
    torch.set_num_threads(1)  # pictures as small as these lose by a second one
    for folder in chosen:
        generator: Any = load_generator(folder)[0]
        begun = time.perf_counter()
        styles, pictures = look(generator, wanted(generator))
        found = traits.find(styles, pictures)
        print(f"\n**{folder.name}**, {len(found)} directions, found in {time.perf_counter() - begun:.1f} s\n")
        print("| direction | moved | agree | first |\n| --- | --- | --- | --- |")
        rows = [told(generator, direction, traits.read(pictures).std(dim=0)) for direction in found.values()]
        for direction, (size, agree, first) in zip(found.values(), rows, strict=True):
            print(f"| {direction.title} | {size:.1f} | {agree:.2f} | {'yes' if first else 'no'} |")
        if rows:
            sizes, agreeing, firsts = zip(*rows, strict=True)
            print(
                f"| mean | {sum(sizes) / len(rows):.1f} | {sum(agreeing) / len(rows):.2f} | {sum(firsts)} of {len(rows)} |"
            )


@torch.no_grad()
def told(generator: Any, direction: Direction, spread: Tensor) -> tuple[float, float, bool]:
    """How far the direction's own trait goes, the share of seeds that agree, and whether no other trait goes as far."""
    z = seeds.latents(_SEEDS, generator.z_dim)
    less, more = (
        traits.read(seen(generator.synthesize(moved(generator, z, direction, end), generator.constant_noise())))
        for end in (-_REACH, _REACH)
    )
    changes = (more - less) / spread.clamp_min(1e-4)
    own = traits.TITLES.index(direction.title)
    sizes = changes.mean(dim=0)
    return float(sizes[own]), float((changes[:, own] > 0).float().mean()), int(sizes.abs().argmax()) == own


if __name__ == "__main__":
    main()
