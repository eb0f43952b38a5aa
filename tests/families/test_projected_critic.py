"""The projected critic: its shapes, what learns and what does not, classes, transparency, and that it can tell pictures apart."""

import pytest
import torch

from studio.families import base, fastgan
from studio.families.projected_critic import ProjectedCritic


def make(**settings):
    torch.manual_seed(0)
    settings = {"resolution": 32, "critic_width": 4, "width": 4, "z_dim": 8, "projected": True} | settings
    return fastgan.Discriminator(fastgan.FastGANSettings(**settings))


@pytest.mark.parametrize(("resolution", "channels", "seen"), [(8, 3, 128), (32, 1, 128), (64, 4, 128), (256, 3, 256)])
def test_every_size_and_colour(resolution, channels, seen):
    critic = make(resolution=resolution, channels=channels)
    pictures = torch.randn(2, channels, resolution, resolution, requires_grad=True)
    logits = critic(pictures)
    assert critic.side_px == seen and logits.shape == (2, 5) and logits.dtype == torch.float32
    logits.sum().backward()
    assert pictures.grad.abs().sum() > 0
    assert isinstance(critic, base.Featured) and not isinstance(critic, base.Rebuilding)


def test_only_the_heads_learn_and_the_frozen_network_is_not_saved():
    critic = make()
    critic(torch.randn(2, 3, 32, 32)).sum().backward()
    assert {name.split(".")[0] for name, _ in critic.named_parameters()} == {"heads", "opening"}
    assert all(value.grad is not None for value in critic.parameters())
    assert {name.split(".")[0] for name in critic.state_dict()} == {"heads", "mixing", "opening"}


def test_the_mixing_is_part_of_the_state():
    first, pictures = make().eval(), torch.randn(2, 3, 32, 32)
    torch.manual_seed(1)
    second = ProjectedCritic(first.settings).eval()
    assert not torch.allclose(first(pictures), second(pictures))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(pictures), second(pictures))


def test_a_class_changes_what_it_says_and_none_prefers_none():
    critic, pictures = make(classes=3).eval(), torch.randn(3, 3, 32, 32)
    named = critic(pictures, torch.eye(3))
    assert not torch.allclose(named, critic(pictures, torch.eye(3).flip(0)))
    assert torch.allclose(critic(pictures), critic(pictures, torch.full((3, 3), 1 / 3)))


def test_it_learns_to_tell_round_things_from_square_ones():
    critic = make(critic_width=8)
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.002, betas=(0.0, 0.99))
    random = torch.Generator().manual_seed(3)

    def shapes(round_ones):
        across = torch.arange(32.0)
        size, x, y = (torch.rand(16, 1, 1, generator=random) * n + m for n, m in ((6, 6), (8, 12), (8, 12)))
        down, right = (across[:, None] - y).abs(), (across[None, :] - x).abs()
        far = (down**2 + right**2).sqrt() if round_ones else torch.maximum(down, right) * 1.1
        return ((far < size).float() * 2 - 1)[:, None].expand(-1, 3, -1, -1)

    for _ in range(40):
        logits = critic(shapes(True)), critic(shapes(False))
        loss = torch.relu(1 - logits[0]).mean() + torch.relu(1 + logits[1]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (critic(shapes(True)).mean(1) > 0).float().mean() + (critic(shapes(False)).mean(1) < 0).float().mean()
    assert right / 2 > 0.85
