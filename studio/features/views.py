"""Two people look at one picture: random crops, turns, colours, blur and holes, for learning without labels.

What the views share is what a network learns to see, what they differ in it learns to pass over (Chen et al. 2020,
A Simple Framework for Contrastive Learning of Visual Representations). Colour and sharpness are changed only a little
here, because the features must still notice when a generator gets them wrong. All randomness comes from a CPU
`torch.Generator`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_SIDE = 0.5
_MOST_TURN = math.radians(20)
_SHADE, _CONTRAST, _SATURATION, _HUE = 0.35, 0.35, 0.7, 0.35


def view(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Pictures float [n, 3, h, w] in [-1, 1] -> as many, each seen in its own way, of the same size and range."""
    seen = recoloured(reframed(pictures, random), random)
    return holed(blurred(seen, random), random).clamp(-1, 1)


def reframed(pictures: Tensor, random: torch.Generator) -> Tensor:
    """A part of each picture, of half its side or more, mirrored half of the time and turned by 20° at most."""
    count = len(pictures)
    side = _between(_LEAST_SIDE, 1.0, count, random)
    stretch = _between(-0.2, 0.2, count, random).exp()
    width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    turn = _between(-_MOST_TURN, _MOST_TURN, count, random) * _often(0.5, count, random)
    mirrored = width * (1 - 2 * _often(0.5, count, random))
    across = _between(-1, 1, count, random) * (1 - width)
    down = _between(-1, 1, count, random) * (1 - height)
    cosine, sine = turn.cos(), turn.sin()
    rows = [mirrored * cosine, -height * sine, across, mirrored * sine, height * cosine, down]
    matrices = torch.stack(rows, dim=1).reshape(count, 2, 3).to(pictures)
    grid = F.affine_grid(matrices, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def recoloured(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Each picture lighter or darker, with more or less contrast and colour, hues turned; one in ten is grey."""
    count = len(pictures)
    changed = _often(0.8, count, random)
    shade = _between(-_SHADE, _SHADE, count, random) * changed
    contrast = (_between(-_CONTRAST, _CONTRAST, count, random) * changed).exp()
    saturation = (_between(-_SATURATION, _SATURATION, count, random) * changed).exp() * (1 - _often(0.1, count, random))
    hue = _between(-_HUE, _HUE, count, random) * changed
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cosine, sine = (saturation * hue.cos())[:, None, None], (saturation * hue.sin())[:, None, None]
    matrices = contrast[:, None, None] * (grey + cosine * (torch.eye(3) - grey) + sine * cross)
    painted = torch.baddbmm(shade[:, None, None].to(pictures), matrices.to(pictures), pictures.flatten(2))
    return painted.reshape(pictures.shape)


def blurred(pictures: Tensor, random: torch.Generator) -> Tensor:
    """A third of the pictures softened by a Gaussian of 0.4 to 1.2 pixels, the same for all of them."""
    chosen = (_often(1 / 3, len(pictures), random) > 0).nonzero().flatten().to(pictures.device)
    sigma = float(_between(0.4, 1.2, 1, random))
    kernel = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma**2)).to(pictures)
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    padded = F.pad(pictures[chosen], (2, 2, 2, 2), mode="replicate")
    softened = F.conv2d(F.conv2d(padded, kernel[:, None, None, :], groups=3), kernel[:, None, :, None], groups=3)
    return pictures.index_copy(0, chosen, softened)


def holed(pictures: Tensor, random: torch.Generator) -> Tensor:
    """A quarter of the pictures with a grey box, of 15 % to 40 % of a side, laid over them."""
    count, _, height, width = pictures.shape
    used = _often(0.25, count, random)
    inside = torch.ones(count, 1, 1, 1, dtype=torch.bool)
    for axis, length in ((2, height), (3, width)):
        half = _between(0.075, 0.2, count, random) * length * used
        middle = _between(0, 1, count, random) * length
        places = torch.arange(length) + 0.5
        shape = [count, 1, 1, 1]
        shape[axis] = length
        inside = inside & ((places[None] - middle[:, None]).abs() < half[:, None]).reshape(shape)
    fill = _between(-1, 1, count, random)[:, None, None, None].to(pictures)
    return torch.where(inside.to(pictures.device), fill, pictures)


def _between(low: float, high: float, count: int, random: torch.Generator) -> Tensor:
    return torch.rand(count, generator=random) * (high - low) + low


def _often(chance: float, count: int, random: torch.Generator) -> Tensor:
    """[count] of 0 and 1."""
    return (torch.rand(count, generator=random) < chance).float()
