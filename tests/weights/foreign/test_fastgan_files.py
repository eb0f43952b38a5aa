import making_fastgan as making
import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.ops import seeds
from studio.weights.foreign import fastgan, opening
from studio.weights.foreign.contents import Contents, Record


def opened(folder, content, candidate=0):
    folder.mkdir(exist_ok=True)
    path = folder / "network.pkl"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    found = opening.inspect(path, folder / "imported")
    assert found.family == "fastgan" and not found.has_discriminator
    return opening.build(found, candidate)[0], found


def assert_within(found, expected, share):
    """Equal within a share of the range of the expected numbers."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= share * (expected.max() - expected.min())


@torch.no_grad()
def assert_same_pictures(generator, reference, numbers=None, share=1e-4):
    z = seeds.latents([1, 2], generator.z_dim)
    noise = seeds.noise(5, generator.noise_sizes)
    label = None if numbers is None else torch.eye(generator.classes)[numbers]
    expected = reference(z, numbers, noise)
    assert_within(generator(z, label, noise), expected, share)
    assert_within(generator.prepared(torch.float32)(z, label, noise), expected, share)
    assert_within(generator(z, label), reference(z, numbers), share)
    assert bool(noise) != torch.allclose(generator(z, label), expected, atol=1e-3)


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_a_checkpoint_gives_the_authors_pictures(tmp_path, size):
    torch.manual_seed(size)
    network = making.FastGAN(size, z_dim=24, ngf=16)
    generator, found = opened(tmp_path / "a", making.checkpoint(network))
    settings = found.candidates[0].settings
    assert (settings["resolution"], settings["width"], settings["z_dim"]) == (size, 16, 24)
    assert settings["tanh"] == (size == 1024) and found.warnings == ()
    assert_same_pictures(generator, network, share=1e-3 if size == 1024 else 1e-4)


def test_averaged_parameters_without_names_are_found(tmp_path):
    torch.manual_seed(1)
    network = making.FastGAN(256, z_dim=24, ngf=8)
    content = making.checkpoint(network, averaged=True, parallel=False)
    generator, _ = opened(tmp_path / "a", content)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.9)
    assert_same_pictures(generator, network)
    content["g_ema"].pop()
    _, found = opened(tmp_path / "b", content)
    assert "latest weights" in found.warnings[0]


@pytest.mark.parametrize("both", [{8, 32, 128}, {8, 16, 32, 64, 128, 256}, set()])
@pytest.mark.parametrize("classes", [0, 3])
def test_projected_gan_gives_the_authors_pictures(tmp_path, both, classes):
    torch.manual_seed(2)
    network = making.FastGAN(256, z_dim=24, ngf=4, projected=both, classes=classes, embeddings=7)
    content = making.pickled(network, img_resolution=256, c_dim=classes, z_dim=24)
    generator, found = opened(tmp_path / "a", content)
    assert found.kimg == 64 and found.classes == ("0", "1", "2")[:classes]
    assert_same_pictures(generator, network, torch.tensor([2, 0]) if classes else None)


def test_layers_finer_than_the_picture_are_left_out(tmp_path):
    torch.manual_seed(3)
    network = making.FastGAN(128, z_dim=24, ngf=4, projected={8, 32, 128})
    generator, found = opened(tmp_path / "a", making.pickled(network, img_resolution=128))
    assert found.candidates[0].settings["resolution"] == 128
    assert_same_pictures(generator, network)


def test_statistics_can_be_measured_anew(tmp_path):
    content = making.checkpoint(making.FastGAN(256, z_dim=24, ngf=4))
    generators = [opened(tmp_path / "a", content, candidate)[0] for candidate in (0, 1)]
    assert [generator.settings.calibrated for generator in generators] == [False, True]


def test_other_files_are_left_to_others():
    for tree in ({}, [], None, {"g": {}}, {"g": {"conv.weight": np.zeros(1)}}, {"G_ema": Record(name="x.Generator")}):
        assert fastgan.read(Contents(tree=tree, container="torch")) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("module.to_big.weight_orig"), "last layer"),
        (lambda state: state.pop("module.to_big.weight_u"), "spectral"),
        (lambda state: state.update({"module.to_big.weight_u": torch.zeros(9)}), "spectral"),
        (lambda state: state.update({"module.to_big.weight_u": torch.zeros(3)}), "not numbers"),
        (lambda state: state.update({"module.feat_16.5.weight": torch.zeros(1)}), "other places"),
        (lambda state: state.update({"module.init.init.0.weight_orig": torch.zeros(2)}), "fit"),
    ],
)
def test_incomplete_files_are_refused(tmp_path, change, sentence):
    content = making.checkpoint(making.FastGAN(256, z_dim=24, ngf=4))
    change(content["g"])
    with pytest.raises(BadInput, match=sentence):
        opened(tmp_path / "a", content)
