import pytest
import torch

from studio.errors import BadInput
from studio.families import dcgan


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256])
def test_every_resolution(resolution):
    settings = dcgan.DCGANSettings(resolution=resolution, z_dim=4, width=2)
    pictures = dcgan.Generator(settings).eval()(torch.randn(1, 4))
    assert pictures.shape == (1, 3, resolution, resolution) and pictures.abs().max() <= 1
    assert dcgan.Discriminator(settings)(pictures.expand(2, -1, -1, -1)).shape == (2, 1)


def test_names_and_shapes_of_the_known_network():
    settings = dcgan.DCGANSettings(resolution=64, z_dim=100, width=64)
    generator, discriminator = dcgan.Generator(settings), dcgan.Discriminator(settings)
    shapes = {key: tuple(value.shape) for key, value in generator.state_dict().items()}
    convolutions = {key: shape for key, shape in shapes.items() if len(shape) == 4}
    assert convolutions == {
        "main.0.weight": (100, 512, 4, 4), "main.3.weight": (512, 256, 4, 4), "main.6.weight": (256, 128, 4, 4),
        "main.9.weight": (128, 64, 4, 4), "main.12.weight": (64, 3, 4, 4),
    }  # fmt: skip
    assert shapes["main.10.running_mean"] == (64,)
    kernels = [key for key, value in discriminator.state_dict().items() if value.ndim == 4]
    assert kernels == [f"main.{place}.weight" for place in (0, 2, 5, 8, 11)]


def test_first_weights_are_small_and_centred():
    generator = dcgan.Generator(dcgan.DCGANSettings(resolution=32))
    weight = generator.main[0].weight
    assert abs(weight.std().item() - 0.02) < 0.001 and abs(weight.mean().item()) < 0.001
    assert abs(generator.main[1].weight.mean().item() - 1) < 0.02


def test_play_leaves_the_statistics_and_training_moves_them():
    generator = dcgan.Generator(dcgan.DCGANSettings(resolution=8, z_dim=4, width=4))
    before = generator.main[1].running_mean.clone()
    generator.eval()(torch.randn(4, 4))
    assert torch.equal(generator.main[1].running_mean, before)
    generator.train()(torch.randn(4, 4))
    assert not torch.equal(generator.main[1].running_mean, before)


def test_odd_sizes_are_refused():
    with pytest.raises(BadInput, match="512"):
        dcgan.DCGANSettings(resolution=512)
