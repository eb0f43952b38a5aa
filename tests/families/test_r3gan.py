import pytest
import torch

from studio.errors import BadInput
from studio.families import r3gan
from tests.weights.foreign import making_r3gan as making

SHAPE = {"z_dim": 6, "widths": (12, 12, 8), "groups": (4, 3, 2), "blocks": (1, 2, 1)}


def pair(**changes):
    """A generator and the plain formulas with the same random weights."""
    made = making.make(**changes)
    classes = changes.get("classes", 0)
    settings = r3gan.R3GANSettings(resolution=16, classes=classes, embedding=changes.get("embedding", 0), **SHAPE)
    generator = r3gan.Generator(settings).eval()
    state = {name.removeprefix("Model."): value for name, value in made.state_dict().items() if "Kernel" not in name}
    generator.load_state_dict(state)
    return generator, made


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"classes": 4, "embedding": 3}], ids=str)
@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_pictures_equal_the_plain_formulas(changes, dtype):
    generator, made = pair(**changes)
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    label = torch.eye(4)[[0, 3, 1]] if changes else None
    expected = making.draw(made, z, label)
    styles = generator.map(z, label)
    network = generator if dtype is None else generator.prepared(dtype)
    assert (network.synthesize(styles) - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


@torch.no_grad()
def test_half_precision_stays_close_to_the_plain_formulas():
    generator, made = pair()
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    expected = making.draw(made, z)
    found = generator.prepared(torch.bfloat16).synthesize(generator.map(z))
    assert found.dtype == torch.float32 and (found - expected).square().mean().sqrt() < 0.02 * expected.std()


def test_blocks_begin_as_nothing():
    """Only what leads to each size acts at first, so depth does not change how large the numbers are."""
    torch.manual_seed(0)
    settings = r3gan.R3GANSettings(resolution=16, **SHAPE)
    generator = r3gan.Generator(settings)
    block = generator.MainLayers[1].Layers[1]
    images = torch.randn(2, 12, 8, 8)
    assert torch.equal(block(images), images)
    inner = block.LinearLayer1.Layer.weight
    gain = (2 / 1.04) ** 0.5 * 4**-0.25
    assert float(inner.detach().std()) == pytest.approx(gain / 12**0.5, rel=0.15)
    deep = r3gan.Generator(r3gan.R3GANSettings(resolution=64, widths=(32,) * 5, groups=(4,) * 5, blocks=(1,) * 5))
    assert 0.2 < float(deep(torch.randn(16, 64)).detach().std()) < 3


def test_classes_are_as_wide_as_the_latent_unless_told():
    settings = r3gan.R3GANSettings(resolution=16, classes=3, **SHAPE)
    assert settings.condition == 6
    assert r3gan.Generator(settings).EmbeddingLayer.weight.shape == (6, 3)
    assert r3gan.R3GANSettings(resolution=16, embedding=9, **SHAPE).condition == 0


@pytest.mark.parametrize("changes", [
    {"resolution": 32}, {"groups": (4, 3)}, {"blocks": (1, 2, 1, 1)}, {"groups": (5, 3, 2)}, {"groups": (0, 1, 1)},
    {"widths": ()}, {"kernel_size": 2}, {"blocks": (1, -1, 1)}, {"widths": (12, 100_000, 8)},
], ids=str)  # fmt: skip
def test_impossible_shapes_are_refused(changes):
    with pytest.raises(BadInput):
        r3gan.R3GANSettings(**{"resolution": 16, **SHAPE, **changes})


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"classes": 4, "embedding": 3}], ids=str)
def test_logits_equal_the_plain_formulas(changes):
    made = making.make_critic(**changes)
    classes = changes.get("classes", 0)
    settings = r3gan.R3GANSettings(resolution=16, classes=classes, embedding=changes.get("embedding", 0), **SHAPE)
    critic = r3gan.Discriminator(settings)
    critic.load_state_dict(
        {name.removeprefix("Model."): value for name, value in made.state_dict().items() if "Kernel" not in name}
    )
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    label = torch.eye(4)[[0, 3, 1]] if changes else None
    expected = making.judge(made, images, label)
    found = critic(images, label)
    assert found.shape == (3, 1) and (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert [len(features) for features in critic.features(images)] == [3] * 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = critic(images, label)
    assert half.dtype == torch.float32 and (half - expected).abs().max() < 0.1 * expected.abs().max() + 0.02


def test_the_critic_begins_without_its_blocks():
    """As in the generator, blocks add nothing at first, so depth does not change how steep the critic is."""
    torch.manual_seed(0)
    settings = r3gan.R3GANSettings(resolution=16, **SHAPE | {"blocks": (3, 3, 3)})
    critic, images = r3gan.Discriminator(settings), torch.randn(2, 8, 16, 16)
    assert torch.equal(critic.MainLayers[0].Layers[2](images), images)
    assert 0.02 < float(critic(torch.randn(16, 3, 16, 16)).detach().std()) < 5


def test_half_precision_stays_half_in_training():
    """What the first sum makes float32 would make every block behind it slow."""
    generator, _ = pair()
    seen = []
    for module in generator.modules():
        if isinstance(module, r3gan.ResidualBlock):
            module.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        generator(torch.randn(2, 6))
    assert seen == [torch.bfloat16] * 4
