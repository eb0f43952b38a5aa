"""Directions in the latent space of a generator, found without a single label.

Two ways, and which of them fits is a matter of what a generator can do:

- where its layers read styles by matrices, the eigenvectors of AᵀA are what moves pictures most
  (Shen & Zhou 2021, "Closed-Form Factorization of Latent Semantics in GANs");
- otherwise, and in w beside it, principal components (Härkönen et al. 2020, "GANSpace"): of the styles themselves, or
  of the pictures that sampled latents make, with the latents regressed on them.

A model that was trained with codes (Chen et al. 2016, "InfoGAN") has these beside what is found: coordinates of z.

All is deterministic: samples come from a fixed seed, and the largest entry of every vector is positive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from studio.errors import BadInput, Damaged
from studio.families.base import Generator
from studio.features.fitting import coloured, fitted
from studio.ops.seeds import labels, latents, stream
from studio.options import to_json
from studio.paths import write_file

LARGE_PX = 128
"""Models of larger pictures are slow where there is no GPU, and looked at less long."""
_SAMPLES = 1024
_FIRST_SEED = 1000
_PICTURES, _PICTURES_OF_LARGE = 512, 192
_SEEN_PX = 32
_BATCH = 32
_THUMBNAIL_PX = 16
_LEAST_LAYERS_FOR_RANGES = 6
_LARGEST_FILE_BYTES = 64_000_000
_ABOUT = ("name", "title", "scale", "kind", "space", "first_layer", "last_layer", "origin", "check")


_FADED = 0.4
_CHANGED = 0.4


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a direction of a base does to a model that was trained from it, measured on pictures.

    Attributes:
        strength: the size of the change it makes, relative to the base's.
        likeness: the mean cosine of both changes, -1 to 1.
    """

    strength: float
    likeness: float

    @property
    def mark(self) -> str:
        """One word: "faded" if it hardly changes anything, "changed" if it does something else, else "kept"."""
        if self.strength < _FADED:
            return "faded"
        return "changed" if self.likeness < _CHANGED else "kept"


@dataclass(frozen=True, kw_only=True, eq=False)
class Direction:
    """A way to go in the space of styles, or in that of latents.

    Attributes:
        name: what edits call it; stable for a model.
        title: what people read.
        vector: [style_dim], or [z_dim] in z; length 1.
        scale: the standard deviation of sampled styles or latents along it, so that an edit of 1 goes that far.
        kind: how it was found: "sefa", "styles" or "pictures"; "code" was taught.
        space: "w", among the styles, or "z": then the styles are those that the moved latent maps to.
        first_layer: the layers it acts on, first to last, included; None is the last of the model.
        origin: the title of the model that it was found in, if it is inherited; see `studio.latent.lineage`.
        check: what an inherited one still does.
    """

    name: str
    title: str
    vector: Tensor
    scale: float
    kind: str
    space: str = "w"
    first_layer: int = 0
    last_layer: int | None = None
    origin: str = ""
    check: Check | None = None


def find(generator: Generator, *, samples: int = _SAMPLES) -> dict[str, Direction]:
    """The directions that suit a generator, by name: at least eight, or as many as its styles are wide.

    Without style matrices, `samples` of its pictures are looked at, which takes a while."""
    if not generator.style_matrices():
        return components(*look(generator, wanted(generator)[:samples]))
    found = sefa(generator, count=12, samples=samples)
    if generator.num_styles >= _LEAST_LAYERS_FOR_RANGES:
        for name, first, last in _ranges(generator.num_styles):
            found += sefa(generator, count=4, samples=samples, first_layer=first, last_layer=last, name=name)
    found += style_components(generator, count=8, samples=samples)
    return {direction.name: direction for direction in found}


def codes(generator: Generator, count: int) -> dict[str, Direction]:
    """The first `count` coordinates of z, or as many as there are, by name: those of a model that was taught them."""
    axes = torch.eye(generator.z_dim)[:count]
    found = [
        Direction(name=f"code-{place}", title=f"Code {place}", vector=axis, scale=1.0, kind="code", space="z")
        for place, axis in enumerate(axes, start=1)
    ]
    return {direction.name: direction for direction in found}


@torch.no_grad()
def moved(generator: Generator, z: Tensor, direction: Direction, amount: float) -> Tensor:
    """The styles [n, num_styles, style_dim] of latents z [n, z_dim], `amount` σ along a direction."""
    layers = slice(direction.first_layer, None if direction.last_layer is None else direction.last_layer + 1)
    shift = (amount * direction.scale * direction.vector).to(z.device)
    styles = generator.map(z).clone()
    if direction.space == "z":
        styles[:, layers] = generator.map(z + shift)[:, layers]
    else:
        styles[:, layers] += shift
    return styles


@torch.no_grad()
def sefa(
    generator: Generator,
    count: int = 12,
    *,
    samples: int = _SAMPLES,
    first_layer: int = 0,
    last_layer: int | None = None,
    name: str = "",
) -> list[Direction]:
    """The eigenvectors of AᵀA with the largest eigenvalues; A are the style matrices of the layers, stacked.

    Args:
        name: of the range of layers, such as "coarse"; it becomes part of the directions' names.

    Raises:
        BadInput: the generator has no style matrices.
    """
    matrices = generator.style_matrices()[first_layer : None if last_layer is None else last_layer + 1]
    if not matrices:
        raise BadInput("This family has no style matrices to factorise.", "Look for directions in its pictures.")
    stacked = torch.cat([matrix.detach().cpu().double() for matrix in matrices])
    _, vectors = torch.linalg.eigh(stacked.T @ stacked)
    chosen = vectors.flip(1).T[:count]
    return _named(
        chosen, _sample(generator, samples)[1], kind="sefa", name=name, first_layer=first_layer, last_layer=last_layer
    )


@torch.no_grad()
def style_components(generator: Generator, count: int = 8, *, samples: int = _SAMPLES) -> list[Direction]:
    """Principal components of sampled styles: where w spreads most (Härkönen et al. 2020, section 2.2)."""
    styles = _sample(generator, samples)[1]
    _, _, vectors = torch.linalg.svd(styles - styles.mean(dim=0), full_matrices=False)
    return _named(vectors[:count], styles, kind="styles")


@torch.no_grad()
def wanted(generator: Generator) -> range:
    """The seeds of the pictures to look at: more than its styles are wide, if nothing else tells of its directions."""
    if not generator.style_matrices():
        count = max(_PICTURES, 2 * generator.style_dim)
    else:
        count = _PICTURES if generator.resolution <= LARGE_PX else _PICTURES_OF_LARGE
    return range(_FIRST_SEED, _FIRST_SEED + count)


@torch.no_grad()
def look(generator: Generator, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The styles of seeds [n, style_dim], the mean over the layers, float64, and their pictures as they are seen
    [n, 3, 32, 32], float32.

    Classes, where there are any, take turns.
    """
    device = device_of(generator)
    styles, pictures = [], []
    for part in (numbers[first : first + _BATCH] for first in range(0, len(numbers), _BATCH)):
        label = labels(part, generator.classes)
        z = latents(part, generator.z_dim).to(device)
        every = generator.map(z, None if label is None else label.to(device))
        styles.append(every.mean(dim=1).cpu().double())
        pictures.append(seen(generator.synthesize(every, generator.constant_noise())).cpu())
    return torch.cat(styles), torch.cat(pictures)


def seen(pictures: Tensor) -> Tensor:
    """Pictures [n, c, h, w] as a generator makes them -> small and in colour, [n, 3, 32, 32]."""
    return fitted(coloured(pictures.float().clamp(-1, 1)), _SEEN_PX)


def components(styles: Tensor, pictures: Tensor, count: int = 12) -> dict[str, Direction]:
    """What changes pictures most: principal components of what `look` saw, with the styles regressed on them.

    The k-th direction is the least-squares answer to "which style moves with component k", made orthogonal to those
    before it. (Härkönen et al. 2020 do so with the features of a layer; pictures are what every family has.)
    """
    rows = F.interpolate(pictures, size=(_THUMBNAIL_PX, _THUMBNAIL_PX), mode="area").flatten(1).double()
    rows = rows - rows.mean(dim=0)
    main = torch.linalg.svd(rows, full_matrices=False)[2]
    scores = rows @ main[: min(count, styles.shape[1], len(main))].T
    slopes = torch.linalg.lstsq(styles - styles.mean(dim=0), scores, driver="gelsd").solution
    found = _named(torch.linalg.qr(slopes)[0].T, styles, kind="pictures")
    return {direction.name: direction for direction in found}


def save_directions(path: Path, directions: Mapping[str, Direction]) -> None:
    """Write directions to one safetensors file with the names in its header, whole or not at all."""
    about = [
        {key: to_json(getattr(item, key)) for key in _ABOUT} | {"width": len(item.vector)}
        for item in directions.values()
    ]
    rows = [item.vector for item in directions.values()]
    vectors = pad_sequence(rows, batch_first=True).contiguous() if rows else torch.zeros(0, 0)
    write_file(
        path, safetensors.torch.save({"vectors": vectors}, metadata={"directions": json.dumps(about, allow_nan=False)})
    )


def load_directions(path: Path) -> dict[str, Direction]:
    """Read what `save_directions` wrote. Raises Damaged if it is missing or anything else."""
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise ValueError("too large")
        with safetensors.safe_open(path, framework="pt") as file:
            about: list[dict[str, Any]] = json.loads((file.metadata() or {})["directions"])
            vectors = file.get_tensor("vectors").clone()
        if vectors.shape[0] != len(about) or not torch.isfinite(vectors).all():
            raise ValueError("not vectors")
        loaded = [_read(entry, vector) for entry, vector in zip(about, vectors, strict=True)]
    except (OSError, ValueError, KeyError, TypeError, IndexError, safetensors.SafetensorError):
        raise Damaged("The saved directions of this model cannot be read.", "Look for them again.") from None
    return {direction.name: direction for direction in loaded}


def kept_directions(path: Path) -> dict[str, Direction] | None:
    """The same; None if nothing was kept, or what was cannot be read."""
    try:
        return load_directions(path)
    except Damaged:
        return None


def _read(entry: dict[str, Any], vector: Tensor) -> Direction:
    check, width = entry.get("check"), entry.get("width", len(vector))
    if check is not None:
        check = Check(strength=float(check["strength"]), likeness=float(check["likeness"]))
    about = {key: entry[key] for key in _ABOUT if key in entry}
    return Direction(**{**about, "vector": vector[:width], "check": check})


def find_or_load(generator: Generator, path: Path) -> dict[str, Direction]:
    """The directions saved in `path`, or found now and saved there. Name the file by the model's sha256."""
    found = kept_directions(path)
    if found is None:
        found = find(generator)
        save_directions(path, found)
    return found


def device_of(generator: Generator) -> torch.device:
    """Where the generator's weights are."""
    parameters: Iterable[Tensor] = generator.parameters() if isinstance(generator, nn.Module) else ()
    return next((tensor.device for tensor in parameters), torch.device("cpu"))


def _ranges(num_styles: int) -> Sequence[tuple[str, int, int]]:
    """Coarse, middle and fine layers in the proportions of the StyleGAN paper (4, 4 and 10 of 18 at 1024 px)."""
    coarse = max(2, round(num_styles * 4 / 18))
    middle = max(coarse + 1, round(num_styles * 8 / 18))
    return (("coarse", 0, coarse - 1), ("middle", coarse, middle - 1), ("fine", middle, num_styles - 1))


def _sample(generator: Generator, samples: int) -> tuple[Tensor, Tensor]:
    """Latents z [samples, z_dim] and the styles they become [samples, style_dim], the mean over the layers; float64."""
    z = torch.randn(samples, generator.z_dim, generator=stream("directions", generator.z_dim))
    label = labels(range(samples), generator.classes)
    device = device_of(generator)
    styles = generator.map(z.to(device), None if label is None else label.to(device))
    return z, styles.mean(dim=1).cpu().double()


def _named(
    vectors: Tensor,
    styles: Tensor,
    *,
    kind: str,
    name: str = "",
    first_layer: int = 0,
    last_layer: int | None = None,
) -> list[Direction]:
    """Directions from rows [count, style_dim]: sign and scale fixed, numbered from 1."""
    titles = {"sefa": "Strongest", "styles": "Widest", "pictures": "Most visible"}
    prefix = f"{kind}-{name}" if name else kind
    title = f"{titles[kind]}, {name}" if name else titles[kind]
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    vectors = vectors * torch.sign(largest)
    scales = ((styles - styles.mean(dim=0)) @ vectors.T).std(dim=0)
    return [
        Direction(
            name=f"{prefix}-{place}",
            title=f"{title} {place}",
            vector=vector.float().contiguous(),
            scale=float(scale),
            kind=kind,
            first_layer=first_layer,
            last_layer=last_layer,
        )
        for place, (vector, scale) in enumerate(zip(vectors, scales, strict=True), start=1)
    ]
