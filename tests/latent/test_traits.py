"""Traits are read off pictures as eyes would, and directions do what they are called after."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from studio.latent import traits
from studio.latent.directions import look, moved
from studio.ops import seeds

SIDE = 32


def scene(
    *, ground: float = -0.5, light: float = 0.8, x: float = 0.0, y: float = 0.0, w: int = 5, h: int = 5
) -> Tensor:
    """A grey rectangle of half-size w, h around x, y (in shares of the picture) on a plain ground, [3, 32, 32]."""
    picture = torch.full((3, SIDE, SIDE), ground)
    row, column = round(SIDE / 2 - y * SIDE / 2), round(SIDE / 2 + x * SIDE / 2)
    picture[:, row - h : row + h, column - w : column + w] = light
    return picture


def coloured(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue])[:, None, None].expand(3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("title", "less", "more"),
    [
        ("Light", scene(light=0.2), scene(light=0.9)),
        ("Ground", scene(ground=-0.9), scene(ground=-0.1)),
        ("Contrast", scene(ground=0.3), scene(ground=-0.9)),
        ("Colour", coloured(0.1, 0.1, 0.1), coloured(0.8, 0.1, -0.5)),
        ("Warmth", coloured(0, 0, 0.5), coloured(0.5, 0, 0)),
        ("Green", coloured(0.5, 0, 0.5), coloured(0, 0.5, 0)),
        ("Fullness", scene(w=3, h=3), scene(w=8, h=8)),
        ("To the right", scene(x=-0.4), scene(x=0.4)),
        ("Upwards", scene(y=-0.4), scene(y=0.4)),
        ("Breadth", scene(w=3, h=8), scene(w=8, h=3)),
        ("Leaning", torch.eye(SIDE).expand(3, SIDE, SIDE), torch.eye(SIDE).flip(1).expand(3, SIDE, SIDE)),
        ("Detail", scene(), torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1),
        ("Light from above", scene(y=-0.4), scene(y=0.4)),
        ("Light from the right", scene(x=-0.4), scene(x=0.4)),
        ("Symmetry", scene(x=0.4), scene()),
    ],
)
def test_a_trait_is_more_where_eyes_see_more(title: str, less: Tensor, more: Tensor) -> None:
    place = traits.TITLES.index(title)
    low, high = traits.read(torch.stack([less, more]))[:, place]
    assert high > low + 0.05


class Painter:
    """A rectangle that its latent places, sizes and lights: one coordinate each, and four that do nothing."""

    z_dim = style_dim = 8
    num_styles = 1
    resolution = SIDE
    channels = 3
    classes = 0

    def map(self, z: Tensor, label: Any = None) -> Tensor:
        return z[:, None]

    def synthesize(self, styles: Tensor, noise: Any = None) -> Tensor:
        place = torch.linspace(-1, 1, SIDE)
        x, y, size, light = (0.15 * styles[:, 0, one, None, None] for one in range(4))
        inside = torch.sigmoid(20 * (0.4 + size - (place - x).abs())) * torch.sigmoid(
            20 * (0.4 + size - (-place[:, None] - y).abs())
        )
        return (-0.6 + inside * (0.8 + light))[:, None].expand(-1, 3, -1, -1)

    def constant_noise(self) -> tuple[()]:
        return ()


def found_in(generator: Any, count: int = 256) -> dict[str, Any]:
    return traits.find(*look(generator, range(count)))


def test_directions_are_the_coordinates_that_do_it() -> None:
    found = {direction.title: direction for direction in found_in(Painter()).values()}
    assert {"To the right", "Upwards", "Light"} <= set(found)
    for title, places in (("To the right", [0]), ("Upwards", [1]), ("Light", [2, 3])):
        assert float(found[title].vector[places].norm()) > 0.9, title
    assert not {"Colour", "Warmth", "Green"} & set(found)  # all its pictures are grey


def test_a_direction_makes_more_of_its_trait_in_a_model_with_layers(mapped: Any) -> None:
    z = seeds.latents(range(40, 56), mapped.z_dim)
    found = found_in(mapped)
    assert len(found) >= 4
    for name, direction in found.items():
        place = traits.TITLES.index(direction.title)
        low, high = (
            traits.read(mapped.synthesize(moved(mapped, z, direction, amount), mapped.constant_noise()).clamp(-1, 1))
            for amount in (-2, 2)
        )
        assert high[:, place].mean() > low[:, place].mean(), name


def test_what_goes_together_is_found_once_and_always_the_same(mapped: Any) -> None:
    first, second = found_in(mapped), found_in(mapped)
    assert list(first) == list(second)
    assert all(torch.equal(first[name].vector, second[name].vector) for name in first)
    styles = look(mapped, range(256))[0]
    along = [(styles - styles.mean(0)) @ direction.vector.double() for direction in first.values()]
    likeness = torch.corrcoef(torch.stack(along)).fill_diagonal_(0).abs().max()
    assert likeness <= 0.9 + 1e-6


def test_classes_take_turns(classed: Any) -> None:
    styles, pictures = look(classed, range(6))
    assert styles.shape == (6, classed.style_dim) and traits.read(pictures).shape == (6, len(traits.TITLES))
    unlabelled = classed.map(seeds.latents(range(6), classed.z_dim)).mean(dim=1)
    assert not torch.allclose(styles.float(), unlabelled)


def test_a_model_that_makes_one_picture_has_none() -> None:
    generator = Painter()
    generator.synthesize = lambda styles, noise=None: torch.zeros(len(styles), 3, SIDE, SIDE)  # type: ignore[method-assign]
    assert found_in(generator) == {}
