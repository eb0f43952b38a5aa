import numpy as np
import pytest
import torch

from studio.errors import BadInput
from studio.ops import seeds


def test_latents_are_the_numbers_of_nvidias_tools():
    drawn = seeds.latents([0, 85], 512)
    assert drawn.dtype == torch.float32
    for row, seed in zip(drawn, (0, 85), strict=True):
        expected = np.random.RandomState(seed).randn(1, 512).astype(np.float32)
        assert np.array_equal(row.numpy(), expected[0])
    assert drawn[0, :2].tolist() == pytest.approx([1.7640524, 0.4001572])


def test_a_latent_does_not_depend_on_its_batch():
    assert torch.equal(seeds.latents([3, 7, 9], 16)[1:2], seeds.latents([7], 16))
    assert seeds.latents([], 16).shape == (0, 16)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(BadInput, match=str(seed)):
        seeds.latents([seed], 4)


def test_noise_has_a_stream_for_each_place():
    tall = seeds.noise(5, (4, 8, 8, 16))
    assert [tuple(picture.shape) for picture in tall] == [(1, 1, r, r) for r in (4, 8, 8, 16)]
    assert not torch.equal(tall[1], tall[2])
    for short, long in zip(seeds.noise(5, (4, 8, 8)), tall, strict=False):
        assert torch.equal(short, long)
    assert not torch.equal(seeds.noise(6, (4,))[0], tall[0])
    assert abs(seeds.noise(1, (64,))[0].std().item() - 1) < 0.05


def test_noise_is_frozen_for_ever():
    first_row = seeds.noise(0, (4,))[0][0, 0, 0]
    assert first_row.tolist() == pytest.approx([0.177983, -0.580922, -0.612897, 0.233619], abs=1e-5)


def test_streams_depend_on_the_whole_path():
    def draw(*path):
        return torch.rand(4, generator=seeds.stream(*path))

    assert torch.equal(draw(1, 2, "augment"), draw(1, 2, "augment"))
    others = [(1, 2, "noise"), (1, 3, "augment"), (2, 2, "augment"), ("1", 2, "augment"), (12, "augment")]
    assert not any(torch.equal(draw(1, 2, "augment"), draw(*path)) for path in others)
