import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.families import stylegan3

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = {"z_dim": 8, "w_dim": 12, "channel_base": 128, "channel_max": 16}
TINY = stylegan3.StyleGAN3Settings(resolution=16, **SIZES)


@pytest.fixture(scope="module", params=["t", "r"])
def reference(request):
    """The authors' numbers, and our network with the authors' weights."""
    with np.load(GOLDEN / f"stylegan3_{request.param}_64.npz") as file:
        numbers = {key: torch.from_numpy(file[key]) for key in file if key != "config"}
        config = json.loads(str(file["config"]))
    torch.set_num_threads(1)
    assert config.pop("use_radial_filters") == (request.param == "r") and config.pop("c_dim") == 0
    assert config.pop("conv_kernel") == {"t": 3, "r": 1}[request.param]
    generator = stylegan3.Generator(stylegan3.StyleGAN3Settings(config=request.param, **config)).eval()
    fresh = {key: value.clone() for key, value in generator.state_dict().items()}
    generator.load_state_dict({key[2:]: value for key, value in numbers.items() if key.startswith("G.")})
    return generator, numbers, fresh


def assert_within(found, expected, share):
    """Equal within a share of the range of the expected numbers."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= share * (expected.max() - expected.min())


@torch.no_grad()
def test_w_equals_the_reference(reference):
    generator, numbers, _ = reference
    assert_within(generator.map_w(numbers["z"]), numbers["w"], 1e-6)
    assert torch.equal(generator.map(numbers["z"])[:, 3], generator.map_w(numbers["z"]))
    half = torch.lerp(numbers["G.mapping.w_avg"], numbers["w"], 0.5)
    assert_within(generator.map(numbers["z"], truncation=0.5)[:, 15], half, 1e-6)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_pictures_equal_the_reference(reference, dtype):
    generator, numbers, _ = reference
    styles = generator.map(numbers["z"])
    network = generator if dtype is None else generator.prepared(dtype)
    assert_within(network.synthesize(styles), numbers["image"], 5e-6)
    moved = network.synthesize(network.placed(styles, numbers["transform"]))
    assert_within(moved, numbers["image_transformed"], 5e-6)


@torch.no_grad()
def test_half_precision_stays_close_to_the_reference(reference):
    generator, numbers, _ = reference
    found = generator.prepared(torch.bfloat16).synthesize(generator.map(numbers["z"]))
    error = (found - numbers["image"]).square().mean().sqrt()
    assert found.dtype == torch.float32
    assert 20 * math.log10((numbers["image"].max() - numbers["image"].min()) / error) > 40


def test_designed_filters_equal_the_reference(reference):
    _, numbers, fresh = reference
    names = [name for name in fresh if name.endswith("_filter")]
    assert len(names) == 28
    for name in names:
        assert torch.allclose(fresh[name], numbers[f"G.{name}"], atol=1e-6), name


def test_layers_are_those_of_the_paper():
    """Table of sizes for 1024 px in the authors' release: 16 margins aside, rates 16 to 1024."""
    bands = stylegan3.plan_bands(stylegan3.StyleGAN3Settings(resolution=1024))
    sizes = [36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024, 1024]
    assert [band.size for band in bands] == sizes
    assert [band.channels for band in bands[-5:]] == [81, 51, 32, 32, 3]
    assert bands[0].cutoff == 2 and bands[-1].cutoff == pytest.approx(512)
    doubled = stylegan3.StyleGAN3Settings(resolution=256, config="r", channel_base=65536, channel_max=1024)
    assert stylegan3.plan_bands(doubled)[0].channels == 1024
    assert (doubled.critic.channel_base, doubled.critic.channel_max) == (32768, 512)
    given = stylegan3.StyleGAN3Settings(discriminator_channel_base=1024, discriminator_channel_max=24)
    assert (given.critic.channel_base, given.critic.channel_max) == (1024, 24)


def moved(generator, styles, x=0.0, y=0.0, turn=0.0):
    """The picture when the signal is read elsewhere."""
    cosine, sine = math.cos(turn), math.sin(turn)
    matrix = torch.tensor([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]])
    return generator.synthesize(generator.placed(styles, matrix))


@torch.no_grad()
def test_a_move_by_whole_pixels_moves_the_picture(reference):
    """Up to what the borders let in: the last layers see no margins."""
    generator, numbers, _ = reference
    styles = generator.map(numbers["z"][:1])
    plain = moved(generator, styles)
    assert torch.allclose(plain, generator.synthesize(styles), atol=1e-6)
    there = moved(generator, styles, x=4 / 64, y=-8 / 64)
    inner = slice(16, 48)
    expected = plain[:, :, 8:40, 20:52]
    error = (there[:, :, inner, inner] - expected).square().mean().sqrt() / expected.std()
    unmoved = (plain[:, :, inner, inner] - expected).square().mean().sqrt() / expected.std()
    assert error < 0.2 * unmoved


@torch.no_grad()
def test_each_picture_may_be_placed_on_its_own(reference):
    generator, numbers, _ = reference
    styles = generator.map(numbers["z"])
    matrices = torch.stack([torch.eye(3), numbers["transform"]])
    both = generator.synthesize(generator.placed(styles, matrices))
    assert_within(both[:1], numbers["image"][:1], 5e-6)
    assert_within(both[1:], numbers["image_transformed"][1:], 5e-6)
    half = generator.prepared(torch.float32)
    assert_within(half.synthesize(half.placed(styles, matrices)), both, 5e-6)


def test_every_style_has_its_readers():
    generator = stylegan3.Generator(TINY).eval()
    assert generator.num_styles == 16 and generator.noise_sizes == () and generator.movable
    matrices = generator.style_matrices()
    assert len(matrices) == 16 and matrices[0].shape == (4, 12) and matrices[1].shape == (16, 12)
    with torch.no_grad():
        generator.synthesis.input.affine.weight.normal_()
    styles = generator.map(torch.randn(1, 8)).detach().clone().requires_grad_()
    generator.synthesize(styles).square().sum().backward()
    assert (styles.grad.abs().sum(dim=2) > 0).all()


def test_the_average_w_follows_the_batches():
    generator = stylegan3.Generator(TINY)
    generator.track_w_average(torch.full((4, 12), 3.0, requires_grad=True), beta=0.75)
    assert torch.allclose(generator.mapping.w_avg, torch.full((12,), 0.75))
    assert torch.allclose(generator.map(torch.randn(2, 8), truncation=0.0), torch.tensor(0.75))


def test_magnitudes_are_followed_in_training_alone():
    torch.manual_seed(0)
    generator = stylegan3.Generator(TINY).eval()
    layer = generator.synthesis.layers[3]
    generator(torch.randn(2, 8))
    assert layer.magnitude_ema == 1
    generator.train()(torch.randn(2, 8))
    assert layer.magnitude_ema != 1 and not layer.magnitude_ema.requires_grad


def test_features_keep_their_size_where_magnitudes_are_known(monkeypatch):
    monkeypatch.setattr(stylegan3, "_MAGNITUDE_KEPT", 0.0)
    torch.manual_seed(1)
    generator, seen = stylegan3.Generator(TINY).train(), []
    for layer in generator.synthesis.layers:
        layer.register_forward_hook(lambda module, given, made: seen.append(float(made.detach().std())))
    with torch.no_grad():
        pictures = generator(torch.randn(4, 8))
    assert len(seen) == 15 and all(0.05 < spread < 3 for spread in seen)
    assert 0.05 < pictures.std() < 1


def test_limits_hold():
    settings = stylegan3.StyleGAN3Settings(resolution=16, conv_clamp=0.01, **SIZES)
    assert stylegan3.Generator(settings).eval()(torch.randn(2, 8)).abs().max() <= 0.01 * 0.25


@pytest.mark.parametrize("changes", [{"resolution": 48}, {"resolution": 8}, {"num_critical": 8, "num_layers": 8}])
def test_impossible_shapes_are_refused(changes):
    with pytest.raises(BadInput):
        stylegan3.StyleGAN3Settings(**changes)
