"""The penalties against gradients worked out on paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.ops.penalties import gradient_penalty, path_length, r1, r2


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squares(images: Tensor, label: Tensor | None = None) -> Tensor:
    """D(x) = sum x^2, whose slope is 2x."""
    return images.square().flatten(1).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("penalty", [r1, r2])
def test_r1_and_r2_are_half_gamma_times_the_squared_slope(penalty: object) -> None:
    images = torch.randn(3, 2, 4, 4, generator=stream(), requires_grad=True)
    value = penalty(squares(images), images, gamma=10.0)  # type: ignore[operator]
    wanted = 5.0 * (2 * images).square().sum(dim=(1, 2, 3))
    assert value.shape == (3,)
    torch.testing.assert_close(value, wanted)
    value.sum().backward()
    torch.testing.assert_close(images.grad, 5.0 * 8 * images.detach())


def test_r1_reaches_the_weights_of_the_discriminator() -> None:
    weight = torch.tensor([[1.0, -2.0]], requires_grad=True)
    images = torch.ones(1, 2, 1, 1, requires_grad=True)
    value = r1(images.flatten(1) @ weight.T, images, gamma=2.0)
    assert value.item() == pytest.approx(5.0)
    value.backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_r1_is_summed_in_float32() -> None:
    images = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16, requires_grad=True)
    value = r1(squares(images.float()), images, gamma=2.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(4 * 600.0**2)


def test_gradient_penalty_wants_unit_slope() -> None:
    direction = torch.tensor([3.0, 4.0])

    def critic(images: Tensor, label: Tensor | None) -> Tensor:
        return (images.flatten(1) * direction).sum(dim=1, keepdim=True)

    real, fake = torch.randn(5, 2, 1, 1), torch.randn(5, 2, 1, 1)
    value = gradient_penalty(critic, real, fake, weight=10.0, generator=stream())
    torch.testing.assert_close(value, torch.full((5,), 10.0 * (5 - 1) ** 2))


def test_gradient_penalty_looks_between_the_pictures_and_passes_the_label() -> None:
    seen: list[Tensor] = []
    label = torch.eye(4)

    def critic(images: Tensor, given: Tensor | None) -> Tensor:
        assert given is label
        seen.append(images.detach())
        return squares(images)

    real, fake = torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2)
    value = gradient_penalty(critic, real, fake, label, weight=1.0, generator=stream(3))
    share = seen[0][:, 0, 0, 0]
    assert bool(((share > 0) & (share < 1)).all()) and len(share.unique()) == 4
    torch.testing.assert_close(seen[0], share[:, None, None, None].expand(4, 1, 2, 2))
    torch.testing.assert_close(value, (4 * share - 1).square())
    gradient_penalty(critic, real, fake, label, weight=1.0, generator=stream(3))
    assert torch.equal(seen[0], seen[1])


def test_gradient_penalty_of_a_flat_critic_is_finite_and_has_finite_gradients() -> None:
    weight = torch.zeros(4, 1, requires_grad=True)
    real = torch.randn(2, 1, 2, 2)
    value = gradient_penalty(lambda x, _: x.flatten(1) @ weight, real, -real, weight=1.0, generator=stream())
    value.sum().backward()
    torch.testing.assert_close(value.detach(), torch.ones(2))
    assert weight.grad is not None and bool(weight.grad.isfinite().all())


def test_path_length_of_a_linear_generator() -> None:
    """g(w) = w, laid out as a picture: J^T y = y, so the length is that of the noise itself."""
    styles = torch.randn(4, 1, 16, generator=stream(1), requires_grad=True)
    images = styles.reshape(4, 1, 4, 4) * 3
    value, mean = path_length(images, styles, torch.tensor(2.0), decay=0.25, weight=2.0, generator=stream(7))
    noise = torch.randn(4, 1, 4, 4, generator=stream(7)) / 4
    length = 3 * noise.square().sum(dim=(1, 2, 3)).sqrt()
    new_mean = 2.0 + 0.25 * (length.mean() - 2.0)
    torch.testing.assert_close(value, 2.0 * (length - new_mean).square())
    torch.testing.assert_close(mean, new_mean)
    assert not mean.requires_grad and value.shape == (4,)


def test_path_length_averages_over_styles_and_reaches_the_generator() -> None:
    gain = torch.tensor(2.0, requires_grad=True)
    styles = torch.randn(2, 3, 4, generator=stream(1), requires_grad=True)
    images = (styles.sum(dim=1) * gain).reshape(2, 1, 2, 2)
    value, _ = path_length(images, styles, torch.tensor(0.0), decay=0.0, weight=1.0, generator=stream(2))
    noise = torch.randn(2, 1, 2, 2, generator=stream(2)) / 2
    # each of the three styles gets the same slope, so their mean is one of them
    torch.testing.assert_close(value, 4 * noise.square().sum(dim=(1, 2, 3)))
    value.sum().backward()
    torch.testing.assert_close(gain.grad, 4 * noise.square().sum())
