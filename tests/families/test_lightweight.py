import pytest
import torch

from studio.errors import BadInput
from studio.families import lightweight
from studio.ops import seeds


def make(**settings):
    torch.manual_seed(0)
    tiny = {"resolution": 32, "z_dim": 12, "channel_base": 512, "channel_max": 32}
    return lightweight.Generator(lightweight.LightweightSettings(**tiny | settings)).eval()


@pytest.mark.parametrize("resolution", [8, 64, 128, 256, 512])
@pytest.mark.parametrize("shuffled", [True, False])
@torch.no_grad()
def test_every_resolution(resolution, shuffled):
    generator = make(resolution=resolution, shuffled=shuffled)
    pictures = generator(torch.randn(1, 12), noise=seeds.noise(0, generator.noise_sizes))
    assert pictures.shape == (1, 3, resolution, resolution)
    assert generator.noise_sizes == (generator.settings.resolutions if shuffled else ())


def test_names_and_shapes_are_the_authors():
    settings = {"resolution": 128, "channel_base": 8192, "channel_max": 512, "z_dim": 256, "attention": (32,)}
    shapes = {key: tuple(value.shape) for key, value in make(**settings).state_dict().items()}
    assert shapes["initial_conv.0.weight"] == (256, 512, 4, 4) and shapes["initial_conv.1.running_var"] == (512,)
    assert shapes["layers.0.0.0.net.0.weight"] == (1024, 256, 1, 1) and shapes["layers.0.0.2.1.weight"] == (
        1024,
        256,
        4,
        4,
    )
    assert shapes["layers.1.1.to_k.weight"] == (1, 512, 1, 1) and shapes["layers.1.1.net.2.weight"] == (64, 32, 1, 1)
    assert shapes["layers.3.2.fn.to_lin_kv.net.0.weight"] == (256, 1, 3, 3) and shapes["layers.3.2.norm.g"] == (
        1,
        256,
        1,
        1,
    )
    assert shapes["out_conv.weight"] == (3, 64, 3, 3)
    older = make(**settings | {"shuffled": False, "local_attention": False}).state_dict()
    assert older["layers.0.0.2.weight"].shape == (1024, 256, 3, 3) and "layers.3.2.fn.to_kv.net.1.weight" in older


@torch.no_grad()
def test_what_is_excited_is_eight_times_larger():
    generator = make(resolution=128)
    assert [layer.target for layer in generator.layers] == [0, 128, 0, 0, 0]
    z = torch.randn(1, 12)
    before = generator(z)
    generator.layers[1].get_submodule("1").net[2].bias.fill_(-100)
    after = generator(z)
    assert not torch.allclose(before, after) and after.std() < 1e-6


@torch.no_grad()
def test_blur_keeps_flat_pictures_and_sums():
    assert torch.allclose(lightweight.blur(torch.ones(1, 2, 4, 4)), torch.ones(1, 2, 4, 4))
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 16
    assert lightweight.blur(point)[0, 0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


@torch.no_grad()
def test_calibration_centres_the_features():
    generator = make(shuffled=False, calibrated=True)
    generator.initial_conv[0].bias.fill_(3.0)
    generator.calibrate()
    normalisation = generator.initial_conv[1]
    assert (normalisation.running_mean - 3).abs().max() < 0.5 and not normalisation.training


@pytest.mark.parametrize("wrong", [{"resolution": 48}, {"attention": (5,)}, {"attention": (32,)}])
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(BadInput):
        lightweight.LightweightSettings(**{"resolution": 32} | wrong)
