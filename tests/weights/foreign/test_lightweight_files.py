import json

import making_lightweight as making
import pytest
import torch

from studio.errors import BadInput
from studio.ops import seeds
from studio.weights.foreign import opening


def opened(folder, saved, name="model_7.pt", config=None, candidate=0):
    folder.mkdir(exist_ok=True)
    torch.save(saved, folder / name)
    if config is not None:
        (folder / ".config.json").write_text(json.dumps(config))
    found = opening.inspect(folder / name, folder / "imported")
    generator, discriminator = opening.build(found, candidate)
    assert found.family == "lightweight" and discriminator is None
    return generator, found


def assert_within(found, expected, share):
    """Equal within a share of the range of the expected numbers."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= share * (expected.max() - expected.min())


@torch.no_grad()
def assert_same_pictures(generator, reference, share=1e-4):
    z = seeds.latents([1, 2], generator.z_dim)
    noise = seeds.noise(5, generator.noise_sizes)
    expected = reference(z, noise) * 2 - 1
    assert_within(generator(z, noise=noise), expected, share)
    assert_within(generator.prepared(torch.float32)(z, noise=noise), expected, share)
    assert_within(generator(z), reference(z) * 2 - 1, share)
    assert bool(noise) != torch.allclose(generator(z), expected, atol=1e-3)


LATER = [
    {}, {"channels": 4, "antialias": True}, {"attention": (8, 16)}, {"frequencies": True, "channels": 1},
    {"attention": (8,), "nearby": False},
]  # fmt: skip


@pytest.mark.parametrize("options", LATER)
def test_the_later_generation_gives_the_authors_pictures(tmp_path, options):
    torch.manual_seed(0)
    averaged, latest = (making.LightweightGAN(128, 24, **options) for _ in range(2))
    generator, found = opened(tmp_path / "a", making.checkpoint(averaged, latest), config={"image_size": 128})
    settings = found.candidates[0].settings
    assert settings["shuffled"] and settings["resolution"] == 128 and settings["channel_max"] == 32
    assert generator.noise_sizes == (8, 16, 32, 64, 128)
    assert (found.arguments, found.warnings) == ({"image_size": 128}, ())
    assert_same_pictures(generator, averaged)


@pytest.mark.parametrize(
    "options", [{}, {"antialias": True}, {"attention": (16,), "nearby": False}, {"frequencies": True}]
)
def test_the_earlier_generation_gives_the_authors_pictures(tmp_path, options):
    torch.manual_seed(1)
    network = making.LightweightGAN(128, 24, later=False, **options)
    state = {f"GE.{key}": value for key, value in network.state_dict().items()}
    generator, found = opened(tmp_path / "a", {"GAN": state}, name="pytorch_model.bin")
    assert not found.candidates[0].settings["shuffled"] and generator.noise_sizes == ()
    assert_same_pictures(generator, network)
    anew, _ = opened(tmp_path / "a", {"GAN": state}, candidate=1)
    assert anew.settings.calibrated


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_beyond_256_px_there_are_three_channels(tmp_path, size):
    torch.manual_seed(2)
    network = making.LightweightGAN(size, 12, coef=10, fmap_max=16)
    generator, _ = opened(tmp_path / "a", making.checkpoint(network, network))
    assert generator.settings.channels_at(256) == 8 and generator.resolution == size
    assert_same_pictures(generator, network, share=1e-3)


def test_older_numbers_and_compiled_names_are_understood(tmp_path):
    torch.manual_seed(3)
    network = making.LightweightGAN(64, 24, later=False)
    state = {}
    for key, value in network.state_dict().items():
        parts = key.split(".")
        if parts[0] == "layers" and parts[2] == "0":
            parts[3] = str(int(parts[3]) - 1)
        state[f"G._orig_mod.{'.'.join(parts)}"] = value
    generator, found = opened(tmp_path / "a", {"GAN": state})
    assert "averaged" in found.warnings[0]
    assert_same_pictures(generator, network)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("layers.1.3.fn.to_q.weight", (2, 2)), ("layers.1.1.net.0.weight", (2, 2, 4, 4)), ("layers.1.2.g", ())],
)
def test_early_versions_are_refused(tmp_path, name, shape):
    state = making.LightweightGAN(64, 8, later=False).state_dict()
    with pytest.raises(BadInput, match="early version"):
        opened(
            tmp_path / "a", {"GAN": {f"GE.{key}": value for key, value in {**state, name: torch.ones(shape)}.items()}}
        )


def test_missing_layers_are_refused(tmp_path):
    state = making.LightweightGAN(64, 8).state_dict()
    del state["out_conv.weight"]
    with pytest.raises(BadInput, match="lacks layers"):
        opened(tmp_path / "a", {"GAN": {f"GE.{key}": value for key, value in state.items()}})
