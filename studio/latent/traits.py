"""Directions that are called after what they do: lighter, warmer, fuller, higher, in any model, without a label.

A trait is a number that can be read off a picture: how light it is, how large the thing on it, where that stands. What
changes it is the linear answer to "which style goes with it", over a few hundred pictures of the model itself. (Shen et
al. 2020, "Interpreting the Latent Space of GANs", do so with attributes that a trained classifier sees.) It is looked
for among the main components of the styles only, so that a direction stays where the model has learned to draw.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.latent.directions import Direction

KIND = "trait"
TITLES = (
    "Light", "Ground", "Contrast", "Colour", "Warmth", "Green", "Fullness", "To the right", "Upwards", "Breadth",
    "Leaning", "Detail", "Light from above", "Light from the right", "Symmetry",
)  # fmt: skip
"""What `read` reads, in that order; a positive edit makes more of it."""

_COMPONENTS = 48
_LEAST_EXPLAINED = 0.3
_ALIKE = 0.9
_THING = 0.5
_GREY = (0.299, 0.587, 0.114)
_TINY = 1e-4


@torch.no_grad()
def find(styles: Tensor, pictures: Tensor) -> dict[str, Direction]:
    """The directions by name, from what `directions.look` saw. Left out is what the pictures do not differ in, what
    styles do not explain, and what goes with one before it."""
    traits = read(pictures).double()
    styles, spread = styles - styles.mean(dim=0), traits.std(dim=0)
    wanted = (traits - traits.mean(dim=0)) / spread.clamp_min(_TINY)
    _, sizes, vectors = torch.linalg.svd(styles, full_matrices=False)
    vectors = vectors[:_COMPONENTS][sizes[:_COMPONENTS] > _TINY * sizes[0]]
    answers = torch.linalg.lstsq(styles @ vectors.T, wanted).solution
    explained = 1 - (wanted - styles @ vectors.T @ answers).var(dim=0)
    found: dict[str, Direction] = {}
    taken: list[Tensor] = []
    for title, answer, share, differs in zip(TITLES, answers.T, explained, spread, strict=True):
        vector = F.normalize(answer @ vectors, dim=0)
        along = styles @ vector
        if differs < _TINY or share < _LEAST_EXPLAINED or any(_correlation(along, one) > _ALIKE for one in taken):
            continue
        taken.append(along)
        name = f"{KIND}-{title.lower().replace(' ', '_')}"
        found[name] = Direction(name=name, title=title, vector=vector.float(), scale=float(along.std()), kind=KIND)
    return found


def _correlation(one: Tensor, other: Tensor) -> float:
    return abs(float(F.cosine_similarity(one, other, dim=0)))


def read(pictures: Tensor) -> Tensor:
    """Colour pictures [n, 3, s, s] in [-1, 1] -> their traits [n, 15].

    The thing on a picture is what differs from the mean colour of its border: a share of every pixel.
    """
    red, green, blue = pictures.unbind(dim=1)
    grey = _grey(pictures)
    edge = torch.cat([pictures[:, :, 0], pictures[:, :, -1], pictures[:, :, :, 0], pictures[:, :, :, -1]], dim=2)
    ground = edge.mean(dim=2)
    thing = ((pictures - ground[:, :, None, None]).norm(dim=1) / _THING).clamp(0, 1)
    contrast = grey.std(dim=(1, 2))
    steps = sum(grey.diff(dim=axis).abs().mean(dim=(1, 2)) for axis in (1, 2))
    half = grey.shape[-1] // 2
    found = (
        grey.mean(dim=(1, 2)),
        _grey(ground),
        contrast,
        (pictures.amax(dim=1) - pictures.amin(dim=1)).mean(dim=(1, 2)),
        (red - blue).mean(dim=(1, 2)),
        (green - (red + blue) / 2).mean(dim=(1, 2)),
        thing.mean(dim=(1, 2)),
        *_shape(thing),
        steps / (contrast + _TINY),
        grey[:, :half].mean(dim=(1, 2)) - grey[:, half:].mean(dim=(1, 2)),
        grey[:, :, half:].mean(dim=(1, 2)) - grey[:, :, :half].mean(dim=(1, 2)),
        -(grey - grey.flip(2)).abs().mean(dim=(1, 2)) / (contrast + _TINY),
    )
    return torch.stack(found, dim=1)


def _grey(pictures: Tensor) -> Tensor:
    """Channels [n, 3, …] -> how light they look, [n, …] (ITU-R BT.601)."""
    return sum((weight * pictures[:, place] for place, weight in enumerate(_GREY)), torch.zeros(()))


def _shape(thing: Tensor) -> tuple[Tensor, ...]:
    """A mass [n, s, s] -> where it stands across and up, how broad it is for its height, how far it leans; [n] each."""
    place = torch.linspace(-1, 1, thing.shape[-1], device=thing.device)
    across, up = place, -place[:, None]
    share = (thing + _TINY) / (thing + _TINY).sum(dim=(1, 2), keepdim=True)
    x, y = (share * across).sum(dim=(1, 2)), (share * up).sum(dim=(1, 2))
    beside, above = across - x[:, None, None], up - y[:, None, None]
    broad, tall, both = ((share * product).sum(dim=(1, 2)) for product in (beside**2, above**2, beside * above))
    return x, y, (broad / tall).log(), both / (broad * tall).sqrt()
