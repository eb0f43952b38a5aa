import collections

import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.families import base
from studio.weights.foreign import r3gan
from studio.weights.foreign.contents import Contents
from tests.weights.foreign import making_networks as networks
from tests.weights.foreign import making_r3gan as making


def as_contents(state):
    return Contents(tree={name: value.numpy() for name, value in state.items()}, container="torch")


@torch.no_grad()
def assert_same_pictures(generator, made):
    z = torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(1))
    label = torch.eye(generator.classes)[:2] if generator.classes else None
    expected = making.draw(made, z, label)
    found = generator(z, label)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert (found - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("shape", [
    {}, {"classes": 3, "embedding": 5}, {"widths": (8, 8), "groups": (16, 2), "blocks": (0, 3)},
    {"widths": (6,), "groups": (1,), "blocks": (2,)}, {"widths": (4, 8), "groups": (1, 1), "blocks": (1, 0)},
], ids=str)  # fmt: skip
def test_a_snapshot_comes_back_bit_equal(tmp_path, shape, protocol):
    made = making.make(**shape)
    path = making.write(tmp_path / "network-snapshot-000777.pkl", made, kimg=12, protocol=protocol)
    imported = r3gan.read(networks.contents(path))
    assert (imported.family, imported.kimg, imported.warnings) == ("r3gan", 12, ())
    assert imported.classes == tuple(map(str, range(shape.get("classes", 0))))
    settings = base.settings_from("r3gan", imported.candidates[0].settings)
    generator = base.family("r3gan").generator(settings).eval()
    generator.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in imported.generator.items()})
    assert torch.equal(generator.MainLayers[0].Layers[0].Basis, made.Model.MainLayers[0].Layers[0].Basis)
    assert_same_pictures(generator, made)


def test_the_studio_opens_it_with_all_its_checks(tmp_path):
    made = making.make(classes=2, embedding=3)
    found, generator, discriminator = networks.opened(making.write(tmp_path / "any.pkl", made))
    assert (found.family, found.classes, discriminator) == ("r3gan", ("0", "1"), None)
    assert_same_pictures(generator, made)


@torch.no_grad()
@pytest.mark.parametrize("shape", [{}, {"classes": 3, "embedding": 5}, {"blocks": (2, 1, 3)}], ids=str)
def test_the_discriminator_comes_along(tmp_path, shape):
    made, critic = making.make(**shape), making.make_critic(**shape)
    found, _, discriminator = networks.opened(making.write(tmp_path / "any.pkl", made, critic=critic))
    assert found.has_discriminator
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    label = torch.eye(3)[:2] if shape.get("classes") else None
    expected = making.judge(critic, images, label)
    assert (discriminator(images, label) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    "shape", [{"blocks": (1, 1, 1)}, {"widths": (12, 8, 8), "groups": (4, 2, 2)}, {"groups": (4, 3, 1)}], ids=str
)
def test_another_discriminator_is_left_out_with_a_word(tmp_path, shape):
    path = making.write(tmp_path / "any.pkl", making.make(), critic=making.make_critic(**shape))
    imported = r3gan.read(networks.contents(path))
    assert imported.discriminator is None and "critic" in imported.warnings[0]


def test_a_state_dict_is_read_with_and_without_its_wrapper():
    made = making.make()
    for network in (made, made.Model):
        imported = r3gan.read(as_contents(network.state_dict()))
        assert imported.candidates[0].settings["widths"] == [12, 12, 8]
        assert not any("Kernel" in name or name.startswith("Model.") for name in imported.generator)


def test_others_are_left_to_others():
    assert r3gan.read(Contents(tree={"G_ema": {"synthesis.b4.const": np.zeros(3)}}, container="torch")) is None
    assert r3gan.read(Contents(tree=[1, 2], container="pickle")) is None


def test_relatives_are_refused_by_name(tmp_path):
    path = making.write(tmp_path / "any.pkl", making.make(), wrapper="DriftGenerator")
    with pytest.raises(BadInput, match="DriftGenerator"):
        r3gan.read(networks.contents(path))


def test_other_filters_are_refused():
    state = making.make().state_dict()
    state["Model.MainLayers.1.Layers.0.Resampler.Kernel"] = torch.ones(2, 2) / 4
    with pytest.raises(BadInput, match="filter"):
        r3gan.read(as_contents(state))


@pytest.mark.parametrize("name", [
    "MainLayers.1.Layers.1.LinearLayer1.Layer.weight", "AggregationLayer.Layer.weight",
    "MainLayers.0.Layers.0.LinearLayer.weight",
])  # fmt: skip
def test_half_a_network_is_refused(name):
    state = collections.OrderedDict(making.make().Model.state_dict())
    del state[name]
    with pytest.raises(BadInput, match="lacks"):
        r3gan.read(as_contents(state))


def test_a_missing_size_is_refused():
    state = {name: value for name, value in making.make().Model.state_dict().items() if "MainLayers.1" not in name}
    with pytest.raises(BadInput, match="sizes"):
        r3gan.read(as_contents(state))
