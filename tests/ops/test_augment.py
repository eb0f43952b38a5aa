"""ADA and DiffAugment: each operation alone has the paper's statistics, and gradients pass, twice."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from studio.ops.augment import BGC, ada, ada_step, diffaugment
from studio.ops.warp import SYM6, permute, reflect, warp


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, channels: int = 3, size: int = 8, seed: int = 5) -> Tensor:
    return torch.rand(count, channels, size, size, generator=stream(seed)) * 2 - 1


def repeated(count: int, size: int = 8) -> Tensor:
    return pictures(1, size=size).expand(count, -1, -1, -1).contiguous()


def matrices(*rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


IDENTITY = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]


# --- the low-pass and the two ways of moving


def test_sym6_is_orthonormal_and_has_six_vanishing_moments() -> None:
    taps = np.array(SYM6)
    assert taps.sum() == pytest.approx(math.sqrt(2), abs=1e-9)
    for shift in range(0, 12, 2):
        assert (taps[shift:] * taps[: 12 - shift]).sum() == pytest.approx(float(shift == 0), abs=1e-9)
    high_pass = taps * (-1.0) ** np.arange(12)
    for moment in range(6):
        assert (high_pass * np.arange(12.0) ** moment).sum() == pytest.approx(0, abs=1e-5)


def test_reflect_folds_like_a_mirror() -> None:
    assert reflect(torch.arange(-3, 7), 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert reflect(torch.arange(-2, 3), 1).tolist() == [0] * 5


def test_warp_leaves_an_unmoved_picture_and_agrees_with_whole_pixel_moves() -> None:
    images = pictures(3, size=12)
    moves = matrices(IDENTITY, [[1, 0, 2], [0, 1, -3], [0, 0, 1]], [[1, 0, -4], [0, 1, 1], [0, 0, 1]])
    torch.testing.assert_close(warp(images, moves), permute(images, moves), atol=1e-5, rtol=0)
    assert torch.equal(permute(images, moves)[0], images[0])


def test_warp_is_the_resampling_of_the_paper() -> None:
    """Against a slow one, written with padding, zero insertion, convolution and loops."""
    images = pictures(1, channels=1, size=8)
    angle, scale = 0.4, 1.2
    inverse = matrices(
        [
            [scale * math.cos(angle), -math.sin(angle), 0.7],
            [math.sin(angle), scale * math.cos(angle), -1.3],
            [0, 0, 1],
        ]
    )
    torch.testing.assert_close(warp(images, inverse)[0, 0], slow_warp(images, inverse[0]), atol=1e-5, rtol=0)


def slow_warp(image: Tensor, inverse: Tensor) -> Tensor:
    size, margin = image.shape[-1], 7
    taps = torch.tensor(SYM6) / sum(SYM6)
    kernel = torch.outer(taps, taps)[None, None]
    padded = pad(image, (margin,) * 4, mode="reflect")
    fine = torch.zeros(1, 1, 2 * padded.shape[-1], 2 * padded.shape[-1])
    fine[:, :, ::2, ::2] = padded
    fine = conv2d(pad(fine, (6, 5, 6, 5)), kernel.flip(2, 3) * 4)[0, 0]
    read = torch.zeros(2 * (size + 6), 2 * (size + 6))
    for row in range(len(read)):
        for column in range(len(read)):
            place = torch.tensor([column / 2 - 3, row / 2 - 3, 1], dtype=torch.float64)
            place[:2] -= (size - 1) / 2
            x, y = ((inverse @ place)[:2] + (size - 1) / 2 + margin) * 2
            read[row, column] = bilinear(fine, float(x), float(y))
    return conv2d(read[None, None, 1:-1, 1:-1], kernel)[0, 0, ::2, ::2]


def bilinear(image: Tensor, x: float, y: float) -> float:
    left, top = math.floor(x), math.floor(y)
    value = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            value += float(image[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def test_warp_has_two_correct_derivatives() -> None:
    inverse = matrices([[0.9, -0.3, 0.4], [0.3, 1.1, -0.8], [0, 0, 1]])

    def square_of_warp(images: Tensor) -> Tensor:
        return warp(images, inverse).square()

    images = pictures(1, channels=1, size=4).double().requires_grad_()
    assert torch.autograd.gradcheck(square_of_warp, (images,), atol=1e-3, eps=1e-4)
    assert torch.autograd.gradgradcheck(square_of_warp, (images,), atol=1e-3, eps=1e-4)


# --- ADA as a whole


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_p_zero_returns_the_very_pictures(channels: int) -> None:
    images = pictures(4, channels)
    assert ada(images, 0.0, stream()) is images


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("p", [0.3, 1.0, 1.7])
def test_same_stream_same_result_in_float32(channels: int, p: float) -> None:
    images = pictures(6, channels)
    once, again = ada(images, p, stream(3)), ada(images, torch.tensor(p), stream(3))
    assert torch.equal(once, again) and once.shape == images.shape and once.dtype == torch.float32
    assert not torch.equal(once, ada(images, p, stream(4)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(once, ada(images, p, stream(3)))


@pytest.mark.parametrize("augment", [lambda x, g: ada(x, 0.7, g), diffaugment])
def test_a_picture_does_not_depend_on_its_batch_mates(augment: object) -> None:
    images = pictures(9)
    others = torch.cat([images[:5], pictures(12, seed=8)])
    alone = augment(images[:5], stream(2))  # type: ignore[operator]
    for batch in (images, others):
        together = augment(batch, stream(2))  # type: ignore[operator]
        torch.testing.assert_close(together[:5], alone, atol=2e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_r1_passes_through_the_augmentation(channels: int) -> None:
    images = pictures(6, channels).requires_grad_()
    weight = torch.ones((), requires_grad=True)
    logits = (ada(images, 0.8, stream(1)).square() * weight).sum(dim=(1, 2, 3))
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    slope.square().sum().backward()
    # the slope is linear in the weight w, so d/dw of its squared length is 2 * squared length / w
    torch.testing.assert_close(weight.grad, 2 * slope.detach().square().sum())
    assert bool(slope.flatten(1).abs().sum(dim=1).gt(0).all())


def test_an_operation_alone_draws_as_it_does_in_company() -> None:
    images = repeated(40)
    alone = ada(images, 1.0, stream(6), operations=("flip",))
    also = ada(images, 1.0, stream(6), operations=("flip", "brightness"))
    offset = also - alone
    torch.testing.assert_close(offset, offset.mean(dim=(1, 2, 3), keepdim=True).expand_as(offset), atol=1e-5, rtol=0)


@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize("operation", BGC)
def test_each_operation_happens_with_probability_p(operation: str, p: float) -> None:
    count = 2000
    images = repeated(count)
    changed = (ada(images, p, stream(11), operations=(operation,)) - images).abs().amax(dim=(1, 2, 3)) > 1e-6
    # a flip chooses among two, a quarter turn among four; of the shifts, round(-1 … 1 px), a quarter are (0, 0)
    visible = {"flip": 0.5, "luma_flip": 0.5, "rotate90": 0.75, "shift": 0.75}.get(operation, 1.0)
    assert float(changed.float().mean()) == pytest.approx(p * visible, abs=0.045)


# --- ADA's operations one by one, at p = 1


def test_flip_mirrors_half_of_them() -> None:
    images = repeated(400)
    result = ada(images, 1.0, stream(), operations=("flip",))
    mirrored = (result == images.flip(3)).flatten(1).all(dim=1)
    assert bool((mirrored | (result == images).flatten(1).all(dim=1)).all())
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.1)


def test_rotate90_is_exact_and_even() -> None:
    images = repeated(400)
    result = ada(images, 1.0, stream(), operations=("rotate90",))
    turns = torch.stack([(result == images.rot90(k, (2, 3))).flatten(1).all(dim=1) for k in range(4)])
    assert bool((turns.sum(dim=0) == 1).all())
    assert bool(((turns.float().mean(dim=1) - 0.25).abs() < 0.08).all())


def test_shift_is_whole_pixels_up_to_an_eighth_with_reflection() -> None:
    images = repeated(300, size=16)
    result = ada(images, 1.0, stream(), operations=("shift",))
    framed = pad(images[:1], (2, 2, 2, 2), mode="reflect")[0]
    windows = torch.stack([framed[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)])
    found = (result[:, None] == windows[None]).flatten(2).all(dim=2)
    assert bool((found.sum(dim=1) == 1).all())
    assert bool(found.any(dim=0).all()), "some shift never happens"


def disc(count: int, size: int = 32) -> Tensor:
    """A soft bright spot, of deviation 2 px, in the middle of darkness."""
    place = torch.arange(size) - (size - 1) / 2
    spot = torch.exp(-(place[:, None].square() + place[None].square()) / 8)
    return spot.expand(count, 1, size, size).contiguous()


def spread(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre (x, y) and mean squared reach (x, y) of the brightness."""
    mass = images[:, 0] / images[:, 0].sum(dim=(1, 2), keepdim=True)
    place = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    x, y = (mass.sum(dim=1) * place).sum(dim=1), (mass.sum(dim=2) * place).sum(dim=1)
    wide = (mass.sum(dim=1) * (place - x[:, None]).square()).sum(dim=1)
    return x, y, wide, (mass.sum(dim=2) * (place - y[:, None]).square()).sum(dim=1)


def test_scale_is_log_normal() -> None:
    _, _, wide, high = spread(ada(disc(300, size=48), 1.0, stream(), operations=("scale",)))
    octaves = torch.log2(wide / 4) / 2
    torch.testing.assert_close(octaves, torch.log2(high / 4) / 2, atol=0.02, rtol=0)
    assert float(octaves.mean()) == pytest.approx(0, abs=0.04)
    assert float(octaves.std()) == pytest.approx(0.2, abs=0.03)


def test_stretch_keeps_the_area() -> None:
    _, _, wide, high = spread(ada(disc(300, size=48), 1.0, stream(), operations=("stretch",)))
    across, down = torch.log2(wide / 4) / 2, torch.log2(high / 4) / 2
    torch.testing.assert_close(across, -down, atol=0.05, rtol=0)
    assert float(across.std()) == pytest.approx(0.2, abs=0.03)


def test_move_is_normal_with_an_eighth_of_the_side() -> None:
    x, y, _, _ = spread(ada(disc(400), 1.0, stream(), operations=("move",)))
    assert float(x.median()) == pytest.approx(0, abs=0.8)
    # half of a normal lies within 0.6745 of its deviation, here 4 px
    assert float(x.abs().median()) == pytest.approx(0.6745 * 4, abs=0.5)
    assert float(y.abs().median()) == pytest.approx(0.6745 * 4, abs=0.5)


def test_rotate_turns_by_any_angle() -> None:
    images = torch.roll(disc(400), 6, dims=3)
    x, y, _, _ = spread(ada(images, 1.0, stream(), operations=("rotate",)))
    torch.testing.assert_close((x.square() + y.square()).sqrt(), torch.full((400,), 6.0), atol=0.7, rtol=0)
    quarter = torch.stack([(x > 0) & (y > 0), (x > 0) & (y < 0), (x < 0) & (y > 0), (x < 0) & (y < 0)])
    assert bool(((quarter.float().mean(dim=1) - 0.25).abs() < 0.08).all())


def test_brightness_moves_all_channels_by_a_normal() -> None:
    images = repeated(1000, size=4)
    offset = ada(images, 1.0, stream(), operations=("brightness",)) - images
    shift = offset.mean(dim=(1, 2, 3))
    torch.testing.assert_close(offset, shift[:, None, None, None].expand_as(offset), atol=1e-5, rtol=0)
    assert float(shift.mean()) == pytest.approx(0, abs=0.02)
    assert float(shift.std()) == pytest.approx(0.2, abs=0.015)


def test_contrast_scales_by_a_log_normal() -> None:
    images = repeated(1000, size=4)
    ratio = ada(images, 1.0, stream(), operations=("contrast",)) / images
    factor = ratio.flatten(1).median(dim=1).values
    torch.testing.assert_close(ratio, factor[:, None, None, None].expand_as(ratio), atol=1e-3, rtol=1e-3)
    assert float(torch.log2(factor).std()) == pytest.approx(0.5, abs=0.04)


def test_luma_flip_turns_half_of_the_greys_over_and_keeps_the_colour() -> None:
    images = repeated(400, size=4)
    result = ada(images, 1.0, stream(), operations=("luma_flip",))
    grey, new_grey = images.mean(dim=1, keepdim=True), result.mean(dim=1, keepdim=True)
    torch.testing.assert_close(result - new_grey, images - grey, atol=1e-5, rtol=0)
    flipped = (new_grey + grey).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert float(flipped.float().mean()) == pytest.approx(0.5, abs=0.1)


def test_hue_keeps_grey_and_chroma_and_turns_evenly() -> None:
    images = repeated(400, size=4)
    result = ada(images, 1.0, stream(), operations=("hue",))
    torch.testing.assert_close(result.mean(dim=1), images.mean(dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.square().sum(dim=1), images.square().sum(dim=1), atol=1e-4, rtol=0)
    chroma = images - images.mean(dim=1, keepdim=True)
    cosine = (result * chroma).sum(dim=(1, 2, 3)) / chroma.square().sum(dim=(1, 2, 3))
    assert float(cosine.square().mean()) == pytest.approx(0.5, abs=0.06)


def test_saturation_scales_the_chroma_by_a_log_normal() -> None:
    images = repeated(1000, size=4)
    result = ada(images, 1.0, stream(), operations=("saturation",))
    torch.testing.assert_close(result.mean(dim=1), images.mean(dim=1), atol=1e-4, rtol=0)
    chroma, new = images - images.mean(dim=1, keepdim=True), result - result.mean(dim=1, keepdim=True)
    factor = (new * chroma).sum(dim=(1, 2, 3)) / chroma.square().sum(dim=(1, 2, 3))
    assert float(torch.log2(factor).std()) == pytest.approx(1.0, abs=0.08)


def test_grey_pictures_know_no_hue_and_transparency_knows_no_colour() -> None:
    grey = pictures(8, channels=1)
    torch.testing.assert_close(ada(grey, 1.0, stream(), operations=("hue", "saturation")), grey, atol=1e-5, rtol=0)
    clear = pictures(8, channels=4)
    colours = ("brightness", "contrast", "luma_flip", "hue", "saturation")
    assert torch.equal(ada(clear, 1.0, stream(), operations=colours)[:, 3], clear[:, 3])
    moved = ada(clear, 1.0, stream(), operations=("rotate",))
    torch.testing.assert_close(moved[:, :3], ada(clear[:, :3], 1.0, stream(), operations=("rotate",)))
    assert not torch.equal(moved[:, 3], clear[:, 3])


# --- the control of p


def test_p_follows_the_sign_of_overfitting() -> None:
    assert ada_step(0.1, 0.9, target=0.6, images=64, speed_kimg=500) == pytest.approx(0.1 + 64 / 500_000)
    assert ada_step(0.1, 0.3, target=0.6, images=64, speed_kimg=500) == pytest.approx(0.1 - 64 / 500_000)
    assert ada_step(0.1, 0.6, target=0.6, images=64, speed_kimg=500) == 0.1
    assert ada_step(0.0, 0.0, target=0.6, images=64, speed_kimg=500) == 0.0
    assert ada_step(0.0, 1.0, target=0.6, images=500_000, speed_kimg=500) == pytest.approx(1.0)


# --- DiffAugment


def test_color_stays_within_the_papers_magnitudes() -> None:
    images = torch.zeros(500, 3, 4, 4)
    shift = diffaugment(images, stream(), ("color",))[:, 0, 0, 0]
    assert float(shift.min()) == pytest.approx(-0.5, abs=0.02) and float(shift.max()) == pytest.approx(0.5, abs=0.02)
    images = repeated(500, size=4)
    result = diffaugment(images, stream(), ("color",))
    contrast = result.mean(dim=1).flatten(1).std(dim=1) / images.mean(dim=1).flatten(1).std(dim=1)
    assert float(contrast.min()) == pytest.approx(0.5, abs=0.02)
    assert float(contrast.max()) == pytest.approx(1.5, abs=0.02)
    chroma = (result - result.mean(dim=1, keepdim=True)).flatten(1).std(dim=1)
    saturation = chroma / (images - images.mean(dim=1, keepdim=True)).flatten(1).std(dim=1) / contrast
    assert float(saturation.min()) < 0.05 and float(saturation.max()) == pytest.approx(2.0, abs=0.05)


def test_translation_moves_up_to_an_eighth_into_black() -> None:
    images = repeated(300, size=16)
    result = diffaugment(images, stream(), ("translation",))
    framed = pad(images[0], (2, 2, 2, 2))
    windows = torch.stack([framed[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)])
    found = (result[:, None] == windows[None]).flatten(2).all(dim=2)
    assert bool((found.sum(dim=1) == 1).all()) and bool(found.any(dim=0).all())


def test_cutout_takes_a_square_of_half_the_side() -> None:
    result = diffaugment(torch.ones(500, 1, 16, 16), stream(), ("cutout",))
    missing = (result == 0).sum(dim=(1, 2, 3))
    assert int(missing.max()) == 64 and int(missing.min()) >= 16
    rows = (result == 0).any(dim=3).sum(dim=2).flatten()
    columns = (result == 0).any(dim=2).sum(dim=2).flatten()
    assert torch.equal(rows * columns, missing)
    assert set(result.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_diffaugment_is_repeatable_differentiable_twice_and_leaves_alpha_values(channels: int) -> None:
    images = pictures(4, channels).requires_grad_()
    result = diffaugment(images, stream(9))
    assert torch.equal(result, diffaugment(images, stream(9))) and result.shape == images.shape
    (slope,) = torch.autograd.grad(result.square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), images)
    assert bool(second.isfinite().all()) and bool(second.abs().sum() > 0)
    if channels == 4:
        assert torch.equal(diffaugment(images, stream(9), ("color",))[:, 3], images[:, 3])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        diffaugment(pictures(1), stream(), ("colour",))
    with pytest.raises(ValueError, match="cutout"):
        ada(pictures(1), 0.5, stream(), operations=("cutout",))
