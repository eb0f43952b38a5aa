"""FastGAN's critic: its shapes at every size, its spectral norm against a full decomposition, and what it redraws."""

import pytest
import torch

from studio.families import base, fastgan
from studio.families.fastgan_critic import DoublingConvolution, SpectralConvolution, picture_distance


def make(**settings):
    torch.manual_seed(0)
    return fastgan.Discriminator(fastgan.FastGANSettings(**{"resolution": 32, "critic_width": 4} | settings))


def stream(number=0):
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256, 512, 1024])
def test_every_resolution(resolution):
    critic = make(resolution=resolution)
    logits, missed = critic.judge_and_rebuild(torch.randn(2, 3, resolution, resolution), None, stream())
    assert logits.shape == (2, 50 if resolution > 128 else 25) and missed.shape == (2,)
    whole, small = critic.big.blocks, resolution > 128
    assert len(whole) == {16: 1, 32: 2, 64: 3, 128: 4}.get(resolution, 5)
    assert len(critic.big.excitations) == max(0, len(whole) - 2) and hasattr(critic, "small") == small


def test_it_is_what_the_studio_calls_rebuilding_and_featured():
    critic = make()
    assert isinstance(critic, base.Rebuilding) and isinstance(critic, base.Featured)
    found = critic.eval().features(torch.randn(2, 3, 32, 32))
    assert [tuple(features.shape) for features in found] == [(2, 16, 16, 16), (2, 32, 8, 8)]


def test_pictures_of_8_px_cannot_be_trained():
    assert not fastgan.FastGANSettings(resolution=8).trains and fastgan.FastGANSettings(resolution=16).trains


@pytest.mark.parametrize("kind", [SpectralConvolution, DoublingConvolution])
def test_the_weight_has_a_largest_singular_value_of_one(kind):
    torch.manual_seed(0)
    convolution = kind(6, 10, 3, padding=1)
    for _ in range(100):
        convolution(torch.randn(1, 6, 8, 8))
    largest = torch.linalg.matrix_norm(convolution.divided_weight().flatten(1), ord=2)
    assert float(largest.detach()) == pytest.approx(1, abs=1e-3)


def test_the_slope_goes_through_the_singular_value():
    """Dividing by it makes the length of the weight meaningless, so no slope points along the weight."""
    torch.manual_seed(0)
    convolution = SpectralConvolution(3, 4, 3)
    for _ in range(30):
        convolution.largest_singular_value()
    convolution(torch.randn(2, 3, 8, 8)).square().sum().backward()
    weight, slope = convolution.weight.detach(), convolution.weight.grad
    assert slope.norm() > 0 and abs(float((weight * slope).sum())) < 1e-4 * float(weight.norm() * slope.norm())


def test_the_singular_vectors_are_part_of_the_state_and_rest_in_play():
    critic, pictures = make(), torch.randn(2, 3, 32, 32)
    before = critic.narrow[0].left.clone()
    critic(pictures)
    assert not torch.equal(critic.narrow[0].left, before)
    state = {name: value.clone() for name, value in critic.state_dict().items()}
    assert sum(name.endswith("left") for name in state) == sum(
        isinstance(m, SpectralConvolution) for m in critic.modules()
    )
    critic.eval()(pictures)
    assert all(torch.equal(value, state[name]) for name, value in critic.state_dict().items())


def test_one_call_can_follow_another_before_the_slopes_are_taken():
    critic = make()
    first, second = critic(torch.randn(2, 3, 32, 32)), critic(torch.randn(2, 3, 32, 32))
    (first.sum() - second.sum()).backward()
    assert all(p.grad.isfinite().all() for name, p in critic.named_parameters() if not name.startswith("decode"))


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("resolution", [64, 256])
def test_r1_reaches_every_weight_that_judges(resolution, classes):
    critic = make(resolution=resolution, classes=classes)
    images = torch.randn(2, 3, resolution, resolution, requires_grad=True)
    label = torch.eye(3)[:2] if classes else None
    (slope,) = torch.autograd.grad(critic(images, label).sum(), images, create_graph=True)
    slope.square().sum().backward()
    silent = [n for n, p in critic.named_parameters() if p.grad is None and not n.startswith("decode")]
    assert not silent and all(p.grad.isfinite().all() for p in critic.parameters() if p.grad is not None)


def test_the_class_is_judged_where_the_patch_is():
    critic = make(classes=3).eval()
    images = torch.randn(1, 3, 32, 32)
    first, second = critic(images, torch.eye(3)[:1]), critic(images, torch.eye(3)[1:2])
    difference = (first - second).detach()
    assert difference.shape == (1, 25) and difference.std() > 1e-6


def test_a_quarter_is_chosen_by_the_random_numbers_that_are_given():
    critic = make().eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        told = {number: float(critic.judge_and_rebuild(images, None, stream(number))[1]) for number in range(12)}
        again = float(critic.judge_and_rebuild(images, None, stream(3))[1])
    assert again == told[3] and 2 <= len(set(told.values())) <= 4


def test_any_other_distance_can_measure_what_was_redrawn():
    critic, seen = make(resolution=64), []

    def distance(drawn, true):
        seen.append((drawn.shape, true.shape, true.dtype))
        return (drawn - true).square().mean(dim=(1, 2, 3))

    critic.distance = distance
    critic.judge_and_rebuild(torch.randn(2, 3, 64, 64), None, stream())
    assert seen == [((2, 3, 32, 32), (2, 3, 32, 32), torch.float32)] * 2


def test_the_distance_counts_every_scale():
    true = torch.zeros(2, 3, 8, 8)
    assert picture_distance(true, true).tolist() == [0, 0]
    assert picture_distance(true + 0.5, true).tolist() == pytest.approx([1.5, 1.5])
    checks = torch.ones(8, 8)
    checks[::2, ::2] = checks[1::2, 1::2] = -1
    assert picture_distance(true + checks, true).tolist() == pytest.approx([1, 1])


def test_redrawing_is_learned():
    """Thirty steps on one picture, and it is redrawn better: slopes go through decoders and features."""
    torch.manual_seed(0)
    critic, picture = make(resolution=16, critic_width=8), torch.rand(4, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3)
    told = []
    for step in range(30):
        optimizer.zero_grad()
        missed = critic.judge_and_rebuild(picture, None, stream(step))[1].mean()
        missed.backward()
        optimizer.step()
        told.append(float(missed.detach()))
    assert sum(told[-4:]) < 0.8 * sum(told[:4])
