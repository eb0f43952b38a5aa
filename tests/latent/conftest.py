"""Two tiny generators: one with mapped styles, one whose latent is its only style."""

from __future__ import annotations

import pytest
import torch

from studio.families.base import family, settings_from


class PlainGenerator:
    """A latent of width 12 drawn as a picture by one matrix; its first entries matter most. No mapping, no noise."""

    z_dim = style_dim = 12
    num_styles = 1
    resolution = 8
    channels = 3
    classes = 0
    noise_sizes: tuple[int, ...] = ()

    def __init__(self) -> None:
        drawn = torch.randn(12, 3 * 8 * 8, generator=torch.Generator().manual_seed(1))
        rows = torch.linalg.qr(drawn.T)[0].T
        self.matrix = rows * torch.linspace(1, 0.05, 12)[:, None]

    def map(self, z, label=None, truncation=1.0):
        return (truncation * z)[:, None]

    def synthesize(self, styles, noise=None):
        return (0.3 * styles[:, 0] @ self.matrix).view(-1, 3, 8, 8)

    def constant_noise(self):
        return ()

    def style_matrices(self):
        return ()


def mapped_generator(classes: int = 0):
    torch.manual_seed(5)
    shape = {"resolution": 16, "z_dim": 16, "w_dim": 16, "mapping_layers": 2, "channel_base": 128, "channel_max": 8}
    generator = family("stylegan2").generator(settings_from("stylegan2", {**shape, "classes": classes})).eval()
    generator.mapping.w_avg.normal_()
    return generator


@pytest.fixture(scope="module")
def plain() -> PlainGenerator:
    return PlainGenerator()


@pytest.fixture(scope="module")
def mapped():
    return mapped_generator()


@pytest.fixture(scope="module")
def classed():
    return mapped_generator(classes=3)
