import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.weights.foreign import tensorflow
from studio.weights.foreign.contents import Contents, Record
from tests.weights.foreign import making_networks as networks
from tests.weights.foreign import making_tensorflow as making


def read(path):
    return tensorflow.read(networks.contents(path))


@pytest.mark.parametrize("settings", [
    {}, {"conv_clamp": 0.0, "mbstd_group_size": 8}, {"classes": 3, "discriminator_mapping_layers": 0},
    {"discriminator_architecture": "orig"}, {"discriminator_architecture": "skip"}, {"channels": 1},
], ids=str)  # fmt: skip
def test_networks_come_back(tmp_path, settings):
    made = networks.stylegan2(**settings)
    imported = read(making.write_tensorflow(tmp_path / "network-snapshot-010200.pkl", *made))
    assert imported.family == "stylegan2" and imported.kimg == 10_200 and not imported.warnings
    generator, discriminator = networks.built(imported)
    assert discriminator.settings == made[1].settings
    networks.assert_same(discriminator, made[1])
    for name, tensor in made[0].state_dict().items():
        found = generator.state_dict()[name]
        assert torch.equal(found, tensor) or ("affine.bias" in name and torch.allclose(found, tensor, atol=1e-6)), name
    z = torch.randn(2, 10)
    with torch.no_grad():
        pictures, expected = (net(z, noise=net.constant_noise()) for net in (generator, made[0]))
    assert torch.allclose(pictures, expected, atol=1e-5 * float(expected.abs().max()))


def test_the_studio_opens_it_with_all_its_checks(tmp_path):
    made = networks.stylegan2()
    found, generator, discriminator = networks.opened(making.write_tensorflow(tmp_path / "any.pkl", *made))
    assert found.family == "stylegan2" and found.warnings == ()
    assert torch.equal(generator.synthesis.b8.conv0.weight, made[0].synthesis.b8.conv0.weight)
    networks.assert_same(discriminator, made[1])


@torch.no_grad()
def test_an_enlarging_layer_means_what_tensorflow_meant(tmp_path):
    """TensorFlow rotates the kernel and convolves the zero-filled picture, which spreads the stored kernel rotated."""
    made = networks.stylegan2()
    tree = networks.contents(making.write_tensorflow(tmp_path / "any.pkl", *made)).tree
    variables = dict(tree[2].attribute("components")["synthesis"].attribute("variables"))
    stored = variables["8x8/Conv0_up/weight"]
    single = np.zeros((1, 16, 5, 5), np.float32)
    single[0, 3, 2, 2] = 1
    spread = torch.zeros(1, 16, 11, 11)
    spread[:, :, 1::2, 1::2] = torch.from_numpy(single)
    expected = torch.nn.functional.conv2d(spread, torch.from_numpy(stored.transpose(3, 2, 0, 1).copy()), padding=1)
    ours = networks.built(tensorflow.read(Contents(tree=tree, container="pickle")))[0].synthesis.b8.conv0.weight
    found = torch.nn.functional.conv_transpose2d(torch.from_numpy(single), ours.transpose(0, 1), stride=2)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("version", [4, 5])
def test_the_mean_generator_alone_is_enough(tmp_path, version):
    generator, _ = networks.stylegan2()
    imported = read(making.write_tensorflow(tmp_path / "any.pkl", generator, None, alone=True, version=version))
    assert imported.discriminator is None and "new critic" in imported.warnings[0]
    assert torch.equal(networks.built(imported)[0].mapping.w_avg, generator.mapping.w_avg)
    assert imported.arguments["generator"]["truncation_psi"] == 0.5


@pytest.mark.parametrize(("static", "words"), [
    ({"nonlinearity": "relu"}, "nonlinearity"), ({"resample_kernel": None}, "resample_kernel"),
    ({"mapping_lrmul": 0.1}, "mapping_lrmul"), ({"normalize_latents": False}, "normalize_latents"),
], ids=str)  # fmt: skip
def test_what_computes_otherwise_is_refused(tmp_path, static, words):
    with pytest.raises(BadInput, match=words):
        read(making.write_tensorflow(tmp_path / "any.pkl", *networks.stylegan2(), **static))


def test_the_first_stylegan_is_refused_by_its_name(tmp_path):
    with pytest.raises(BadInput, match="older than StyleGAN2"):
        read(making.write_tensorflow(tmp_path / "any.pkl", *networks.stylegan2(), version=3))


@pytest.mark.parametrize(("name", "value"), [
    ("synthesis/8x8/Conv0_up/weight", np.zeros(3)), ("synthesis/noise0", np.zeros(())),
    ("synthesis/8x8/Conv9/weight", np.zeros((3, 3, 16, 16))), ("synthesis/8x8/Conv1/other", np.zeros(3)),
    ("synthesis/8x8/Conv1/noise_strength", np.zeros(3)), ("synthesis/ToRGB_lod0/bias", np.zeros(3)),
    ("surprise", np.zeros(3)), ("synthesis/99999999x99999999/Conv1/bias", np.zeros(3)),
])  # fmt: skip
def test_odd_variables_are_refused_in_words(tmp_path, name, value):
    tree = networks.contents(making.write_tensorflow(tmp_path / "any.pkl", *networks.stylegan2())).tree
    owner = tree[2].attribute("components")["synthesis"] if name.startswith("synthesis/") else tree[2]
    owner.attribute("variables").append((name.removeprefix("synthesis/"), value))
    with pytest.raises(BadInput, match=r"shape|does not know|lacks|last size"):
        tensorflow.read(Contents(tree=tree, container="pickle"))


def test_a_critic_that_learned_its_classes_otherwise_is_left_out(tmp_path):
    made = networks.stylegan2(classes=2, discriminator_mapping_layers=0)
    tree = networks.contents(making.write_tensorflow(tmp_path / "any.pkl", *made)).tree
    tree[1].attribute("static_kwargs")["mapping_layers"] = 2
    imported = tensorflow.read(Contents(tree=tree, container="pickle"))
    assert imported.discriminator is None and "mapping_lrmul" in imported.warnings[0]


@pytest.mark.parametrize("tree", [(), [], {}, None, (1, 2, 3), Record(name="dnnlib.util.EasyDict")])
def test_other_files_are_left_to_others(tree):
    assert tensorflow.read(Contents(tree=tree, container="pickle")) is None
