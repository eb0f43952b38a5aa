import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.weights.foreign import rosinality
from studio.weights.foreign.contents import Contents
from tests.weights.foreign import making_networks as networks
from tests.weights.foreign import making_rosinality as making


def read(path):
    return rosinality.read(networks.contents(path))


@torch.no_grad()
def test_pictures_and_logits_equal_his_formulation(tmp_path):
    made = networks.stylegan2(conv_clamp=0.0, mapping_layers=3)
    path = making.write_rosinality(tmp_path / "550000.pt", *made)
    generator, discriminator = networks.built(read(path))
    z = torch.randn(4, 10)
    expected = making.paint(making.generator_state(made[0]), z)
    found = generator(z, noise=generator.constant_noise())
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert torch.allclose(generator.map_w(z), making.style(making.generator_state(made[0]), z), atol=1e-5)
    logits = making.judge(making.discriminator_state(made[1]), expected)
    assert torch.allclose(discriminator(expected), logits, atol=1e-4) and logits.std() > 0.01


@pytest.mark.parametrize("options", [
    {}, {"training": False}, {"training": False, "prefix": "decoder."}, {"training": False, "prefix": "module."},
], ids=str)  # fmt: skip
def test_weights_come_back_bit_equal(tmp_path, options):
    generator, discriminator = networks.stylegan2(conv_clamp=0.0)
    found = networks.built(read(making.write_rosinality(tmp_path / "any.pt", generator, discriminator, **options)))
    networks.assert_same(found[0], generator)
    networks.assert_same(found[1], discriminator)


@pytest.mark.parametrize("prefix", ["", "decoder."])
def test_the_studio_opens_it_with_all_its_checks(tmp_path, prefix):
    made = networks.stylegan2(conv_clamp=0.0)
    path = making.write_rosinality(tmp_path / "any.pt", *made, training=not prefix, prefix=prefix)
    found, *opened = networks.opened(path)
    assert found.family == "stylegan2" and found.warnings == ()
    for network, original in zip(opened, made, strict=True):
        networks.assert_same(network, original)


def test_arguments_are_kept_without_paths(tmp_path):
    imported = read(making.write_rosinality(tmp_path / "any.pt", *networks.stylegan2(conv_clamp=0.0)))
    assert imported.arguments["training"] == {"size": 32, "batch": 16, "r1": 10.0}


@torch.no_grad()
def test_a_missing_mean_style_is_taken_anew(tmp_path):
    generator, _ = networks.stylegan2(conv_clamp=0.0, z_dim=64, w_dim=64)
    path = making.write_rosinality(tmp_path / "any.pt", generator, training=False, average=False)
    found = networks.built(read(path))[0].mapping.w_avg
    mean = generator.map_w(torch.randn(20_000, 64)).mean(dim=0)
    assert (found - mean).abs().max() < 0.05 and mean.abs().max() > 0.2


@pytest.mark.parametrize("rows", [1, 18])
def test_the_mean_style_may_be_repeated_for_every_layer(tmp_path, rows):
    generator, _ = networks.stylegan2(conv_clamp=0.0)
    tree = networks.contents(making.write_rosinality(tmp_path / "any.pt", generator)).tree
    tree["latent_avg"] = np.repeat(tree["latent_avg"][None], rows, axis=0)
    imported = rosinality.read(Contents(tree=tree, container="torch"))
    networks.assert_same(networks.built(imported)[0], generator)


@torch.no_grad()
def test_without_noise_pictures_the_layers_are_silent(tmp_path):
    generator, _ = networks.stylegan2(conv_clamp=0.0)
    found, critic = networks.built(read(making.write_rosinality(tmp_path / "any.pt", generator, noise=False)))
    z = torch.randn(2, 10)
    assert critic is None
    assert torch.allclose(found(z, noise=found.constant_noise()), generator(z))
    assert torch.equal(found.synthesis.b8.conv0.noise_strength, generator.synthesis.b8.conv0.noise_strength)


def test_swagan_is_refused_by_its_name(tmp_path):
    tree = networks.contents(making.write_rosinality(tmp_path / "any.pt", networks.stylegan2()[0])).tree
    tree["g_ema"]["to_rgbs.0.iwt.ll"] = np.zeros((2, 2), np.float32)
    with pytest.raises(BadInput, match="SWAGAN"):
        rosinality.read(Contents(tree=tree, container="torch"))


@pytest.mark.parametrize(("name", "value", "words"), [
    ("attention.weight", np.zeros(3), "attention"),
    ("convs.0.conv.weight", np.zeros((2, 16, 16, 3, 3)), "conv0.weight"),
    ("style.1.weight", np.zeros(()), "mapping.fc0.weight"),
])  # fmt: skip
def test_odd_tensors_are_refused_in_words(tmp_path, name, value, words):
    tree = networks.contents(making.write_rosinality(tmp_path / "any.pt", networks.stylegan2()[0])).tree
    tree["g_ema"][name] = value
    with pytest.raises(BadInput, match=words):
        networks.built(rosinality.read(Contents(tree=tree, container="torch")))


@pytest.mark.parametrize("tree", [{}, [], None, {"g_ema": []}, {"g_ema": {"a": np.zeros(3)}}, {"g": 1, "d": {}}])
def test_other_files_are_left_to_others(tree):
    assert rosinality.read(Contents(tree=tree, container="torch")) is None
