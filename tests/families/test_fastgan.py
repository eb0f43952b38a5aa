import pytest
import torch
import torch.nn.functional as F

from studio.errors import BadInput
from studio.families import fastgan
from studio.families.base import Measured
from studio.ops import seeds


def make(**settings):
    torch.manual_seed(0)
    generator = fastgan.Generator(fastgan.FastGANSettings(**{"resolution": 32, "z_dim": 12, "width": 4} | settings))
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, fastgan.Grain):
                module.weight.fill_(0.3)
    return generator.eval()


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
@torch.no_grad()
def test_every_resolution(resolution):
    generator = make(resolution=resolution)
    pictures = generator(torch.randn(1, 12), noise=seeds.noise(0, generator.noise_sizes))
    assert pictures.shape == (1, 3, resolution, resolution)
    doubled = [size for size in (8, 32, 128, 512) if size <= resolution]
    assert generator.noise_sizes == tuple(size for size in doubled for _ in range(2))


def test_names_and_shapes_are_the_authors():
    generator = make(resolution=256, width=8)
    shapes = {key: tuple(value.shape) for key, value in generator.state_dict().items()}
    assert shapes["init.init.0.weight"] == (12, 256, 4, 4)
    assert shapes["feat_8.1.weight"] == (128, 128, 3, 3) and shapes["feat_8.5.weight"] == (128, 64, 3, 3)
    assert shapes["feat_16.2.running_mean"] == (64,) and shapes["feat_32.6.weight"] == (1,)
    assert shapes["se_64.main.1.weight"] == (16, 128, 4, 4) and shapes["se_256.main.3.weight"] == (4, 4, 1, 1)
    assert shapes["to_big.weight"] == (3, 4, 3, 3) and "to_big.bias" not in shapes


@torch.no_grad()
def test_doubling_and_convolving_are_one_transposed_convolution():
    images, weight = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    expected = F.conv2d(F.interpolate(images, scale_factor=2), weight, padding=1)
    kernel = fastgan.doubling_kernel(weight).transpose(0, 1)
    assert torch.allclose(F.conv_transpose2d(images, kernel, stride=2, padding=1), expected, atol=1e-5)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("doubled", fastgan.CONVOLUTIONS)
@torch.no_grad()
def test_play_folds_everything_and_answers_the_same(doubled, classes):
    generator = make(resolution=64, doubled=doubled, projected=True, classes=classes)
    fastgan.measure_statistics(generator, pictures=16)
    label = torch.eye(3)[:2] if classes else None
    styles = generator.map(seeds.latents([1, 2], 12), label)
    noise = seeds.noise(3, generator.noise_sizes)
    prepared = generator.prepared(torch.float32)
    expected = generator.synthesize(styles, noise)
    assert torch.allclose(prepared.synthesize(styles, noise), expected, atol=1e-5)
    assert torch.allclose(prepared.synthesize(styles), generator.synthesize(styles), atol=1e-5)
    assert not any(isinstance(module, fastgan.Normalisation) for module in prepared.modules())


@torch.no_grad()
def test_projected_latents_are_of_one_length_before_they_are_truncated():
    generator = make(projected=True)
    z = torch.randn(3, 12)
    assert torch.allclose(generator.map(z), generator.map(5 * z))
    assert torch.allclose(generator.map(z, truncation=0.5), generator.map(z) / 2)


@pytest.mark.parametrize("classes", [0, 3])
@torch.no_grad()
def test_calibration_measures_what_batches_of_its_pictures_have(classes):
    generator = make(classes=classes, calibrated=True)
    weights = {key: value.clone() for key, value in generator.named_parameters()}
    generator.calibrate()
    first = {key: value.clone() for key, value in generator.state_dict().items()}
    z = seeds.latents(range(1000, 1064), 12)
    label = torch.eye(3)[torch.arange(64) % 3] if classes else None
    noise = seeds.noise(77, generator.noise_sizes)
    steady = generator(z, label, noise)
    assert not generator.training and not any(module.training for module in generator.modules())
    generator.train()
    batched = generator(z, label, noise)
    assert (steady - batched).square().mean().sqrt() < 0.2 * batched.std()
    assert all(torch.equal(value, weights[key]) for key, value in generator.named_parameters())
    again = make(classes=classes, calibrated=True)
    again.calibrate()
    for key, value in again.state_dict().items():
        assert torch.allclose(value, first[key], atol=1e-6), key


def test_learned_statistics_stay_without_the_wish():
    generator = make()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    generator.calibrate()
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())


def test_odd_sizes_are_refused():
    with pytest.raises(BadInput, match="48"):
        fastgan.FastGANSettings(resolution=48)


@torch.no_grad()
def test_measuring_depends_on_the_weights_alone():
    """What stood there before, how often it is done and who drew random numbers in between plays no part."""
    generator = make(resolution=32)
    assert isinstance(generator, Measured)
    for module in generator.modules():
        if isinstance(module, fastgan.Normalisation):
            module.running_mean.fill_(3)
    generator.measure()
    first = {name: value.clone() for name, value in generator.state_dict().items() if "running" in name}
    torch.randn(5)
    generator.measure()
    assert all(torch.equal(value, generator.state_dict()[name]) for name, value in first.items())
    assert not any(module.training for module in generator.modules())
    assert 0.1 < float(generator(torch.randn(8, 12)).std()) < 1


@torch.no_grad()
@pytest.mark.parametrize("resolution", [16, 64])
def test_training_draws_what_play_draws(resolution):
    """The quick forms of training, for few pixels and for many, against the plain layers with the same statistics."""
    generator = make(resolution=resolution)
    fastgan.measure_statistics(generator, pictures=16)
    z, noise = torch.randn(16, 12), seeds.noise(4, generator.noise_sizes)
    expected = generator(z, noise=noise)
    for module in generator.modules():
        module.training = not isinstance(module, fastgan.Normalisation)
    assert torch.allclose(generator(z, noise=noise), expected, atol=1e-5)
