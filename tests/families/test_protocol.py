"""What every family must answer, whatever its architecture."""

import json
import threading

import pytest
import torch

from studio.errors import BadInput
from studio.families import base
from studio.ops import seeds
from studio.options import from_json, to_json
from tests.making import SETTINGS

TINY: dict[str, dict[str, object]] = json.loads(json.dumps(SETTINGS))
FAMILIES = sorted(base.FAMILIES)
TRAINED = [name for name in FAMILIES if base.FAMILIES[name].trains]


def networks(name, *, channels=3, classes=0, resolution=16):
    torch.manual_seed(0)
    sizes = {"resolution": resolution, "channels": channels, "classes": classes}
    settings = base.settings_from(name, TINY[name] | sizes)
    family = base.family(name)
    return family.generator(settings).eval(), family.discriminator(settings) if family.trains else None


def judged(discriminator, pictures, label):
    """Logits, and what redrawing missed where the critic has to redraw."""
    if isinstance(discriminator, base.Rebuilding):
        return discriminator.judge_and_rebuild(pictures, label, torch.Generator().manual_seed(0))
    return discriminator(pictures, label), torch.zeros(len(pictures))


def test_every_family_of_the_table_is_tested():
    assert set(TINY) == set(base.FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("channels", "classes"), [(1, 0), (3, 0), (4, 0), (3, 5)])
def test_shapes(name, channels, classes):
    generator, discriminator = networks(name, channels=channels, classes=classes)
    assert isinstance(generator, base.Generator)
    assert (generator.channels, generator.classes, generator.resolution) == (channels, classes, 16)
    z = seeds.latents([1, 2, 3], generator.z_dim)
    label = torch.eye(5)[:3] if classes else None
    styles = generator.map(z, label)
    assert styles.shape == (3, generator.num_styles, generator.style_dim)
    pictures = generator.synthesize(styles, seeds.noise(0, generator.noise_sizes))
    assert pictures.shape == (3, channels, 16, 16) and pictures.dtype == torch.float32
    assert discriminator is None or discriminator(pictures, label).shape[0] == 3


@pytest.mark.parametrize("name", FAMILIES)
def test_the_label_reaches_picture_and_logit(name):
    generator, discriminator = networks(name, classes=3)
    z = seeds.latents([1], generator.z_dim)
    first, second, none = (generator.synthesize(generator.map(z, label)) for label in (*torch.eye(3)[:2, None], None))
    assert not torch.allclose(first, second, atol=1e-6) and not torch.allclose(first, none, atol=1e-6)
    uniform = torch.full((1, 3), 1 / 3)
    assert torch.equal(none, generator.synthesize(generator.map(z, uniform)))
    if discriminator is not None:
        assert not torch.equal(discriminator.eval()(first, torch.eye(3)[:1]), discriminator(first, torch.eye(3)[1:2]))


@pytest.mark.parametrize("name", FAMILIES)
def test_truncation_zero_forgets_the_seed(name):
    generator, _ = networks(name)
    z = seeds.latents([1, 2], generator.z_dim)
    whole, half, none = (generator.map(z, truncation=psi) for psi in (1.0, 0.5, 0.0))
    assert torch.allclose(none[0], none[1]) and not torch.allclose(whole[0], whole[1])
    assert torch.allclose(half, (whole + none) / 2, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_picture_does_not_depend_on_its_batch(name):
    generator, _ = networks(name)
    styles = generator.map(seeds.latents([4, 5, 6], generator.z_dim))
    noise = seeds.noise(9, generator.noise_sizes)
    assert torch.allclose(generator.synthesize(styles, noise)[1:2], generator.synthesize(styles[1:2], noise), atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_style_matrices_fit_the_styles(name):
    generator, _ = networks(name)
    matrices = generator.style_matrices()
    assert len(matrices) in (0, generator.num_styles)
    assert all(matrix.shape[1] == generator.style_dim and not matrix.requires_grad for matrix in matrices)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("classes", [0, 3])
def test_every_parameter_gets_a_gradient_in_half_precision(name, classes):
    generator, discriminator = networks(name, classes=classes)
    generator.train()
    label = torch.eye(3)[[0, 1, 2, 0]] if classes else None
    noise = seeds.noise(0, generator.noise_sizes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pictures = generator.synthesize(generator.map(seeds.latents(range(4), generator.z_dim), label), noise)
        logits, missed = judged(discriminator, pictures, label)
    assert pictures.dtype == logits.dtype == torch.float32
    (logits.sum() + missed.sum()).backward()
    for network in (generator, discriminator):
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", TRAINED)
def test_the_discriminator_can_be_differentiated_twice(name):
    _, discriminator = networks(name)
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    gradient.square().sum().backward()
    first = next(discriminator.parameters())
    assert first.grad is not None and first.grad.abs().sum() > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_prepared_for_play_gives_the_same_pictures(name):
    generator, _ = networks(name)
    state = {key: value.clone() for key, value in generator.state_dict().items()}
    styles, noise = generator.map(seeds.latents([1, 2], generator.z_dim)), generator.constant_noise() or None
    expected = generator.synthesize(styles, noise)
    exact, half = generator.prepared(torch.float32), generator.prepared(torch.bfloat16)
    assert isinstance(half, base.Generator)
    assert torch.equal(half.map(seeds.latents([1, 2], generator.z_dim)), styles)
    assert torch.allclose(exact.synthesize(styles, noise), expected, atol=1e-5)
    error = (half.synthesize(styles, noise) - expected).square().mean().sqrt() / expected.std()
    assert half.synthesize(styles, noise).dtype == torch.float32 and error < 0.03
    assert not any(parameter.requires_grad for parameter in half.parameters())
    assert all(torch.equal(value, state[key]) for key, value in generator.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_play_changes_nothing_and_threads_agree(name):
    generator, _ = networks(name)
    state = {key: value.clone() for key, value in generator.state_dict().items()}
    z = seeds.latents([1], generator.z_dim)
    found = []

    def play():
        with torch.no_grad():
            found.append(generator.synthesize(generator.map(z, truncation=0.7), generator.constant_noise()))

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(torch.allclose(picture, found[0], atol=1e-6) for picture in found)
    assert all(torch.equal(value, state[key]) for key, value in generator.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_state_dict_comes_back(name):
    generator, discriminator = networks(name, classes=2)
    torch.manual_seed(1)
    for network, fresh in zip((generator, discriminator), networks(name, classes=2), strict=True):
        if network is None:
            continue
        with torch.no_grad():
            for parameter in fresh.parameters():
                parameter.add_(1)
        fresh.load_state_dict(network.state_dict(), strict=True)
    assert all("resample" not in key and "squares" not in key for key in generator.state_dict())


@pytest.mark.parametrize("name", FAMILIES)
def test_settings_travel_as_json(name):
    settings = base.settings_from(name, TINY[name] | {"resolution": 16})
    assert from_json(type(settings), to_json(settings)) == settings
    with pytest.raises(BadInput):
        base.settings_from(name, {"resolution": 100_000})
    with pytest.raises(BadInput):
        base.settings_from(name, {"colour": 3})
