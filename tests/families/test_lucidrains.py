import pytest
import torch

from studio.errors import BadInput
from studio.families import base, lucidrains
from studio.ops import seeds


def make(**settings):
    torch.manual_seed(0)
    tiny = {"resolution": 32, "z_dim": 12, "mapping_layers": 2, "capacity": 4}
    return lucidrains.Generator(lucidrains.LucidrainsSettings(**tiny | settings)).eval()


def test_names_and_shapes_are_the_authors():
    settings = {"resolution": 64, "z_dim": 512, "mapping_layers": 8, "capacity": 16, "channel_max": 128}
    shapes = {key: tuple(value.shape) for key, value in make(**settings, attention=(2,)).state_dict().items()}
    assert shapes["S.net.14.weight"] == (512, 512) and "S.net.16.weight" not in shapes
    assert shapes["G.initial_block"] == (1, 128, 4, 4) and shapes["G.initial_conv.weight"] == (128, 128, 3, 3)
    assert shapes["G.blocks.4.conv1.weight"] == (32, 64, 3, 3) and shapes["G.blocks.4.to_noise1.weight"] == (32, 1)
    assert shapes["G.blocks.4.to_rgb.conv.weight"] == (3, 32, 1, 1) and "G.blocks.5.conv1.weight" not in shapes
    assert shapes["G.attns.2.0.fn.fn.to_kv.net.1.weight"] == (1024, 128, 1, 1)
    assert shapes["G.attns.2.1.fn.fn.0.weight"] == (256, 128, 1, 1) and shapes["w_avg"] == (512,)


@torch.no_grad()
def test_length_of_a_latent_means_nothing():
    generator = make()
    z = torch.randn(2, 12)
    assert torch.allclose(generator.map(z), generator.map(7 * z), atol=1e-5)


@torch.no_grad()
def test_no_noise_is_the_middle_of_the_noise():
    generator = make()
    z = torch.randn(1, 12)
    assert torch.equal(generator(z), generator(z, noise=(torch.zeros(1, 1, 32, 32),)))
    assert torch.equal(generator(z), generator(z, noise=()))


@pytest.mark.parametrize("learned_start", [True, False])
@torch.no_grad()
def test_stages_read_what_they_say(learned_start):
    generator = make(learned_start=learned_start)
    assert isinstance(generator, base.Staged)
    styles, noise = generator.map(seeds.latents([1], 12)).clone(), seeds.noise(2, generator.noise_sizes)
    state, pictures = (), []
    for place, stage in enumerate(generator.stages):
        state = generator.run_stage(
            place, state, generator.modulate(place, styles), noise[: stage.noises] if place == 0 else ()
        )
        assert state[-1].shape[2] == stage.resolution
        pictures.append(state[-1])
    assert torch.equal(pictures[-1], generator.synthesize(styles, noise))
    assert [stage.styles for stage in generator.stages] == ([1, 2, 3, 4] if learned_start else [4] * 4)


def test_every_style_has_its_readers():
    generator = make()
    assert [tuple(matrix.shape) for matrix in generator.style_matrices()] == [
        (64 + 64 + 64, 12), (64 + 32 + 32, 12), (32 + 16 + 16, 12), (16 + 8 + 8, 12)
    ]  # fmt: skip


@torch.no_grad()
def test_calibration_finds_the_mean_style():
    generator = make()
    generator.calibrate()
    mean = generator.map(torch.randn(20_000, 12))[:, 0].mean(dim=0)
    assert (generator.w_avg - mean).abs().max() < 0.1 * generator.map(torch.randn(500, 12))[:, 0].std(dim=0).max()


@pytest.mark.parametrize("wrong", [{"resolution": 48}, {"attention": (9,)}, {"attention": (-1,)}])
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(BadInput):
        lucidrains.LucidrainsSettings(**wrong)
