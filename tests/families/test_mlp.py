import pytest
import torch

from studio.errors import BadInput
from studio.families import mlp


def test_any_size_will_do():
    settings = mlp.MLPSettings(resolution=11, channels=1, z_dim=4, width=16, depth=2)
    pictures = mlp.Generator(settings)(torch.randn(3, 4))
    assert pictures.shape == (3, 1, 11, 11) and pictures.abs().max() <= 1
    assert mlp.Discriminator(settings)(pictures).shape == (3, 1)


def test_depth_counts_hidden_layers():
    for depth in (1, 4):
        network = mlp.Generator(mlp.MLPSettings(resolution=8, depth=depth, width=8))
        assert sum(isinstance(part, torch.nn.Linear) for part in network.main) == depth + 1


def test_variance_survives_the_layers():
    torch.manual_seed(0)
    network = mlp.Discriminator(mlp.MLPSettings(resolution=8, width=256, depth=6))
    assert 0.3 < network.main(torch.randn(64, 3 * 64)).square().mean().sqrt() < 3


def test_large_pictures_are_refused():
    with pytest.raises(BadInput, match="256"):
        mlp.MLPSettings(resolution=256)
