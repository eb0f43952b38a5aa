"""The small network and how pictures come into it."""

from __future__ import annotations

import pytest
import torch

from studio.features.fitting import coloured, fitted
from studio.features.network import WIDTHS, SmallNetwork


@pytest.fixture
def network() -> SmallNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SmallNetwork().eval()


def test_grey_is_repeated_and_transparency_put_on_white() -> None:
    grey = torch.rand(2, 1, 5, 4) * 2 - 1
    assert torch.equal(coloured(grey)[:, 2], grey[:, 0])
    clear = torch.cat([torch.full((1, 3, 2, 2), -1.0), torch.full((1, 1, 2, 2), -1.0)], dim=1)
    assert torch.equal(coloured(clear), torch.ones(1, 3, 2, 2))
    half = torch.cat([torch.full((1, 3, 2, 2), -1.0), torch.zeros(1, 1, 2, 2)], dim=1)
    assert torch.equal(coloured(half), torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 2, 8, 8), (1, 5, 8, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pictures"):
        coloured(torch.zeros(shape))


def test_shrinking_does_not_alias() -> None:
    stripes = torch.ones(1, 3, 256, 256)
    stripes[..., ::2] = -1
    assert float(fitted(stripes, 64)[..., 2:-2].abs().max()) < 0.1


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 64, 64), (4, 100, 37)])
def test_maps_and_vectors(network: SmallNetwork, channels: int, height: int, width: int) -> None:
    pictures = torch.rand(2, channels, height, width) * 2 - 1
    maps = network.stages(pictures)
    assert [tuple(each.shape) for each in maps] == [
        (2, wide, side, side) for wide, side in zip(WIDTHS, (32, 16, 8, 4), strict=True)
    ]
    assert network(pictures).shape == (2, network.dim) == (2, 768)


def test_pictures_get_gradients(network: SmallNetwork) -> None:
    for stage in range(4):
        pictures = torch.rand(1, 3, 40, 40, requires_grad=True)
        network.stages(pictures)[stage].sum().backward()  # type: ignore[no-untyped-call]
        assert pictures.grad is not None and int((pictures.grad != 0).sum()) > 1000


def test_bfloat16_says_the_same(network: SmallNetwork) -> None:
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        quick = network(pictures)
    assert quick.dtype == torch.float32
    assert float(torch.cosine_similarity(quick, network(pictures)).detach().min()) > 0.999
