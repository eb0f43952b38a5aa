"""Random views of pictures."""

from __future__ import annotations

import pytest
import torch

from studio.features import views


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_seed_is_a_view(pictures: torch.Tensor) -> None:
    first = views.view(pictures, stream())
    assert first.shape == pictures.shape and float(first.abs().max()) <= 1
    assert torch.equal(first, views.view(pictures, stream()))
    assert not torch.equal(first, views.view(pictures, stream(1)))


def test_frames_stay_inside_and_differ() -> None:
    across = torch.linspace(-1, 1, 32).expand(64, 3, 32, 32)
    seen = views.reframed(across, stream())
    assert float(seen.min()) >= -1 and float(seen.max()) <= 1
    left, right = seen[..., 0].mean(dim=(1, 2)), seen[..., -1].mean(dim=(1, 2))
    assert 16 < int((left > right).sum()) < 48
    assert float((right - left).abs().min()) > 0.5


def test_greys_stay_grey_when_recoloured(pictures: torch.Tensor) -> None:
    grey = pictures[:, :1].expand(-1, 3, -1, -1)
    seen = views.recoloured(grey, stream())
    assert float((seen[:, 0] - seen[:, 2]).abs().max()) < 1e-5
    assert float((seen - grey).abs().amax(dim=(1, 2, 3)).median()) > 0.1


def test_some_are_blurred_and_some_have_holes(pictures: torch.Tensor) -> None:
    for change, low, high in ((views.blurred, 4, 20), (views.holed, 2, 16)):
        seen = change(pictures, stream())
        changed = (seen != pictures).flatten(1).any(dim=1)
        assert low <= int(changed.sum()) <= high
    assert float(views.blurred(pictures, stream()).std()) < float(pictures.std())
