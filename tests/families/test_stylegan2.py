import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from studio.errors import BadInput
from studio.families import stylegan2
from studio.ops import resample

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = stylegan2.StyleGAN2Settings(resolution=16, z_dim=8, w_dim=12, mapping_layers=2, channel_base=128, channel_max=16)


@pytest.fixture(scope="module", params=["unconditional", "conditional"])
def reference(request):
    """The authors' numbers, and our networks with the authors' weights."""
    with np.load(GOLDEN / f"stylegan2_{request.param}_32.npz") as file:
        numbers = {key: torch.from_numpy(file[key]) for key in file if key != "config"}
        config = json.loads(str(file["config"]))
    settings = stylegan2.StyleGAN2Settings(
        classes=config.pop("c_dim"), conv_clamp=float(config.pop("conv_clamp")), **config
    )
    generator, discriminator = stylegan2.Generator(settings).eval(), stylegan2.Discriminator(settings).eval()
    for prefix, network in (("G.", generator), ("D.", discriminator)):
        network.load_state_dict({key[2:]: value for key, value in numbers.items() if key.startswith(prefix)})
    label = numbers["c"] if settings.classes else None
    return generator, discriminator, label, numbers


def assert_within(found, expected, share=1e-4):
    """Equal within a share of the range of the expected numbers."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= share * (expected.max() - expected.min())


@torch.no_grad()
def test_w_equals_the_reference(reference):
    generator, _, label, numbers = reference
    assert_within(generator.map_w(numbers["z"], label), numbers["w"])
    assert torch.equal(generator.map(numbers["z"], label)[:, 3], generator.map_w(numbers["z"], label))


@torch.no_grad()
@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_pictures_equal_the_reference(reference, truncation):
    generator, _, label, numbers = reference
    expected = numbers["image" if truncation == 1 else "image_truncation_0_5"]
    styles = generator.map(numbers["z"], label, truncation)[: len(expected)]
    assert_within(generator.synthesize(styles, generator.constant_noise()), expected)


@torch.no_grad()
def test_pictures_without_noise_equal_the_reference(reference):
    generator, _, label, numbers = reference
    expected = numbers["image_no_noise"]
    assert_within(generator.synthesize(generator.map(numbers["z"], label)[: len(expected)]), expected)


@torch.no_grad()
def test_logits_equal_the_reference(reference):
    _, discriminator, label, numbers = reference
    assert_within(discriminator(numbers["image"], label), numbers["logits"])


@torch.no_grad()
def test_half_precision_stays_close_to_the_reference(reference):
    generator, discriminator, label, numbers = reference
    prepared = generator.prepared(torch.bfloat16)
    assert_within(prepared.map_w(numbers["z"], label), numbers["w"])
    found = prepared.synthesize(prepared.map(numbers["z"], label), prepared.constant_noise())
    assert_within(found, numbers["image"], share=0.03)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_within(discriminator(numbers["image"], label), numbers["logits"], share=0.1)
        assert_within(generator.map_w(numbers["z"], label), numbers["w"])


def test_every_style_has_its_readers():
    generator = stylegan2.Generator(TINY).eval()
    assert generator.num_styles == 6 and generator.noise_sizes == (4, 8, 8, 16, 16)
    rows = [matrix.shape[0] for matrix in generator.style_matrices()]
    assert rows == [16, 16 + 16, 16, 16 + 16, 8, 8]
    readers = [reader for block in generator.synthesis.blocks for reader in block.readers]
    assert [index for index, _ in readers] == [0, 1, 1, 2, 3, 3, 4, 5]
    styles = generator.map(torch.randn(1, 8)).detach().clone().requires_grad_()
    generator.synthesize(styles).sum().backward()
    assert (styles.grad.abs().sum(dim=2) > 0).all()


def test_the_average_w_follows_the_batches():
    generator = stylegan2.Generator(TINY)
    w = torch.full((4, 12), 3.0, requires_grad=True)
    generator.track_w_average(w, beta=0.75)
    assert torch.allclose(generator.mapping.w_avg, torch.full((12,), 0.75))
    assert not generator.mapping.w_avg.requires_grad
    assert torch.allclose(generator.map(torch.randn(2, 8), truncation=0.0), torch.tensor(0.75))


def test_noise_enters_by_its_strength():
    generator = stylegan2.Generator(TINY).eval()
    styles = generator.map(torch.randn(1, 8))
    assert torch.equal(generator.synthesize(styles, generator.constant_noise()), generator.synthesize(styles))
    with torch.no_grad():
        generator.synthesis.b8.conv1.noise_strength.fill_(0.5)
    assert not torch.allclose(generator.synthesize(styles, generator.constant_noise()), generator.synthesize(styles))


def test_fresh_networks_make_sane_numbers():
    torch.manual_seed(3)
    generator, discriminator = stylegan2.Generator(TINY), stylegan2.Discriminator(TINY)
    w = generator.map_w(torch.randn(64, 8))
    pictures = generator(torch.randn(16, 8))
    assert 0.3 < w.std() < 3 and 0.3 < pictures.std() < 10
    assert 0.05 < discriminator(torch.randn(16, 3, 16, 16)).abs().mean() < 10


def test_path_length_can_be_differentiated():
    generator = stylegan2.Generator(TINY)
    styles = generator.map(torch.randn(2, 8))
    pictures = generator.synthesize(styles, generator.constant_noise())
    (gradient,) = torch.autograd.grad((pictures * torch.randn_like(pictures)).sum(), styles, create_graph=True)
    gradient.square().sum().backward()
    assert generator.synthesis.b8.conv0.weight.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["orig", "skip"])
def test_critics_that_are_not_residual_read_pictures_in_their_way(architecture):
    settings = dataclasses.replace(TINY, discriminator_architecture=architecture)
    discriminator = stylegan2.Discriminator(settings).eval()
    for tensor in discriminator.parameters():
        tensor += torch.randn_like(tensor) * 0.1
    pictures = torch.randn(4, 3, 16, 16)
    features, smaller = plain_layer(pictures, discriminator.b16.fromrgb), pictures
    for block, below in ((discriminator.b16, discriminator.b8), (discriminator.b8, discriminator.b4)):
        features = plain_layer(features, block.conv0)
        features = plain_layer(features, block.conv1, convolve_down)
        smaller = resample.downsample(smaller)
        if architecture == "skip":
            features = features + plain_layer(smaller, below.fromrgb)
    assert torch.allclose(discriminator(pictures), discriminator.b4(features), atol=1e-5)


def convolve_down(images, weight, bias):
    return functional.conv2d(resample.blur(images), weight, bias, stride=2)


def plain_layer(images, layer, convolve=None):
    """An equalised convolution with leaky ReLU and its gain, one step after the other."""
    weight = layer.weight / layer.weight[0].numel() ** 0.5
    convolve = convolve or functools.partial(functional.conv2d, padding="same")
    return functional.leaky_relu(convolve(images, weight, layer.bias), 0.2) * 2**0.5


def test_limits_hold():
    settings = stylegan2.StyleGAN2Settings(
        resolution=8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, conv_clamp=0.01
    )
    pictures = stylegan2.Generator(settings)(torch.randn(2, 8))
    assert pictures.abs().max() <= 0.01 * 3


def test_odd_sizes_are_refused():
    with pytest.raises(BadInput, match="48 px"):
        stylegan2.StyleGAN2Settings(resolution=48)


@torch.no_grad()
@pytest.mark.parametrize("classes", [0, 3])
def test_sets_judged_together_are_judged_as_alone(classes):
    discriminator = stylegan2.Discriminator(dataclasses.replace(TINY, classes=classes))
    sets = torch.randn(2, 8, 3, 16, 16).unbind()
    labels = torch.eye(3)[torch.randint(3, (2, 8))].unbind() if classes else (None, None)
    together = discriminator.judge_sets(sets, labels)
    for logits, pictures, label in zip(together, sets, labels, strict=True):
        torch.testing.assert_close(logits, discriminator(pictures, label), rtol=1e-4, atol=1e-5)
