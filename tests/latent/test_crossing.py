"""Weights between two models: each third of the way has its own share."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from studio.families.base import family, settings_from
from studio.latent.cross import Cross
from studio.latent.crossing import crossed, crossed_card, depth_of_weights
from studio.ops import seeds
from tests.latent.test_cross import card

SHAPES: dict[str, dict[str, Any]] = {
    "stylegan2": {"z_dim": 16, "w_dim": 16, "mapping_layers": 2, "channel_base": 256, "channel_max": 16},
    "fastgan": {"z_dim": 16, "width": 4, "critic_width": 8, "projected": True},
    "dcgan": {"z_dim": 16, "width": 8},
}


def network(name: str, resolution: int = 64, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return family(name).generator(settings_from(name, {"resolution": resolution, **SHAPES[name]})).eval()


def two(name: str) -> tuple[Any, Any]:
    """A network, and the same with other weights."""
    first, second = network(name), copy.deepcopy(network(name))
    for place, weight in enumerate(second.parameters()):
        weight.data += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(place))
    return first, second


def pictures(generator: Any) -> torch.Tensor:
    with torch.no_grad():
        return generator.synthesize(generator.map(seeds.latents(range(3), generator.z_dim)), generator.constant_noise())


@pytest.mark.parametrize("name", SHAPES)
def test_depths_follow_the_picture_as_it_grows(name: str) -> None:
    depths = depth_of_weights(network(name))
    assert set(depths) == set(network(name).state_dict())
    assert min(depths.values()) == 0 and max(depths.values()) == 1 and len(set(depths.values())) >= 4


def test_depths_of_a_stylegan_are_those_of_its_blocks() -> None:
    depths = depth_of_weights(network("stylegan2"))
    for name, depth in depths.items():
        block = name.split(".")[1]
        wanted = {"b4": 0, "b8": 0.25, "b16": 0.5, "b32": 0.75, "b64": 1}.get(block, 0)
        assert depth == pytest.approx(wanted), name


@pytest.mark.parametrize("name", SHAPES)
def test_all_of_the_second_is_the_second_and_nothing_is_the_first(name: str) -> None:
    first, second = two(name)
    if name == "fastgan":
        for one in (first, second):
            one.measure()
    for share, whole in ((0, first), (100, second)):
        child = crossed(first, second, Cross(first="a", second="b", shapes=share, surfaces=share))
        torch.testing.assert_close(pictures(child), pictures(whole), rtol=1e-4, atol=1e-4)


def test_shapes_are_the_small_layers_and_surfaces_the_large_ones() -> None:
    first, second = two("stylegan2")
    child = crossed(first, second, Cross(first="a", second="b", shapes=100, surfaces=0)).state_dict()
    for name, value in second.state_dict().items():
        if name.startswith(("mapping", "synthesis.b4", "synthesis.b8")):
            assert torch.equal(child[name], value), name
        if name.startswith(("synthesis.b32", "synthesis.b64")):
            assert torch.equal(child[name], first.state_dict()[name]), name
    middle = "synthesis.b16.conv0.weight"
    between = torch.lerp(first.state_dict()[middle], second.state_dict()[middle], 0.5)
    torch.testing.assert_close(child[middle], between)


def test_the_first_model_stays_as_it_is() -> None:
    first, second = two("dcgan")
    before = {name: value.clone() for name, value in first.state_dict().items()}
    crossed(first, second, Cross(first="a", second="b", shapes=50, surfaces=50))
    assert all(torch.equal(before[name], value) for name, value in first.state_dict().items())


def test_the_card_gives_credit_to_both() -> None:
    first = card("child", "base", licence="cc0-1.0", trained_on="paintings")
    second = card("base", licence="cc-by-4.0", trained_on="birds")
    made = crossed_card(first, second, Cross(first="child", second="base", shapes=10, surfaces=20))
    assert made.licence == "cc0-1.0; cc-by-4.0" and made.trained_on == "paintings; birds"
    assert [one.id for one in made.lineage] == ["child", "base"] and "×" in made.title
    other = crossed_card(first, second, Cross(first="child", second="base", shapes=10, surfaces=21))
    assert made.sha256 != other.sha256 and len(made.sha256) == 64
