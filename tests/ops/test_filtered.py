import math

import pytest
import torch
import torch.nn.functional as F

from studio.ops import filtered

GEOMETRIES = [(9, 8, 2, 2), (11, 16, 4, 2), (12, 6, 2, 4), (14, 8, 2, 2), (7, 7, 1, 1)]
SIZE_OF_FILTER = 6


def plainly(images, up_filter, down_filter, geometry, gain, clamp):
    """The definition, in double precision: zeros between the pixels, one window at a time, every `down`-th of them."""
    images, count = images.double(), geometry.inputs * geometry.up
    spread = images.new_zeros(*images.shape[:2], count, count)
    spread[:, :, :: geometry.up, :: geometry.up] = images
    taps = len(down_filter)
    fine = (geometry.outputs - 1) * geometry.down + taps
    after = fine + len(up_filter) - 1 - count - geometry.padding
    padded = F.pad(spread, (geometry.padding, after, geometry.padding, after))
    risen = slide(padded, torch.outer(up_filter, up_filter) * geometry.up**2) * gain
    bent = torch.where(risen > 0, risen, 0.2 * risen)
    bent = bent.clamp(-clamp, clamp) if clamp else bent
    whole = down_filter if down_filter.dim() == 2 else torch.outer(down_filter, down_filter)
    return slide(bent, whole)[:, :, :: geometry.down, :: geometry.down]


def slide(images, window):
    """True convolution: the window is turned by half."""
    height, width = window.shape
    patches = images.unfold(2, height, 1).unfold(3, width, 1)
    return torch.einsum("nchwij,ij->nchw", patches, window.double().flip(0, 1))


def lopsided(*shape):
    """A filter without any symmetry, of sum 1."""
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return values / values.sum()


def case(size, outputs, up, down, radial):
    taps = SIZE_OF_FILTER * up, SIZE_OF_FILTER * down
    total = (outputs - 1) * down + 1 - size * up + sum(taps) - 2
    geometry = filtered.Geometry(inputs=size, outputs=outputs, up=up, down=down, padding=(total + up) // 2)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return images, lopsided(taps[0]), lopsided(*(taps[1:] * (2 if radial else 1))), geometry


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("clamp", [0.0, 0.3])
@pytest.mark.parametrize("numbers", GEOMETRIES)
def test_it_is_the_definition(numbers, clamp, radial):
    images, up_filter, down_filter, geometry = case(*numbers, radial)
    filters = filtered.prepare(up_filter, down_filter, geometry, gain=math.sqrt(2))
    found = filtered.filtered_leaky_relu(images, filters, clamp=clamp)
    expected = plainly(images, up_filter, down_filter, geometry, math.sqrt(2), clamp)
    assert found.shape == expected.shape and torch.allclose(found.double(), expected, atol=2e-6)


@pytest.mark.parametrize("numbers", [(40, 36, 2, 2), (60, 104, 4, 2), (110, 108, 2, 2)])
def test_layouts_blocks_and_batches_agree(numbers):
    images, up_filter, down_filter, geometry = case(*numbers, True)
    filters = filtered.prepare(up_filter, down_filter, geometry)
    whole = filtered.filtered_leaky_relu(images, filters, clamp=1.0)
    laid = images.contiguous(memory_format=torch.channels_last)
    traced = torch.jit.trace(lambda given: filtered.filtered_leaky_relu(given, filters, clamp=1.0), (laid,))
    assert torch.allclose(traced(laid), whole, atol=1e-6)
    assert torch.allclose(filtered.filtered_leaky_relu(laid[1:], filters, clamp=1.0), whole[1:], atol=1e-6)
    expected = plainly(images, up_filter, down_filter, geometry, 1.0, 1.0)
    assert torch.allclose(whole.double(), expected, atol=2e-6)


def test_products_that_half_precision_loses_are_left_out():
    images, up_filter, _, geometry = case(20, 16, 2, 2, False)
    radial = filtered.design_radial(12, 4.0, 6.0, 32.0)
    exact, half = (
        filtered.prepare(up_filter, radial, geometry, dtype=kind) for kind in (torch.float32, torch.bfloat16)
    )
    assert 1 < len(half.down) < len(exact.down) <= 6
    found = filtered.filtered_leaky_relu(images.bfloat16(), half)
    expected = filtered.filtered_leaky_relu(images, exact)
    assert (found - expected).square().mean().sqrt() < 0.02 * expected.std()


@pytest.mark.parametrize("radial", [False, True])
def test_it_can_be_differentiated_twice(radial):
    images, up_filter, down_filter, geometry = case(6, 5, 2, 2, radial)
    filters = filtered.prepare(up_filter, down_filter, geometry, dtype=torch.float64)
    images = images[:1, :1].double().requires_grad_()
    draw = lambda given: filtered.filtered_leaky_relu(given, filters, clamp=0.5)  # noqa: E731
    assert torch.autograd.gradcheck(draw, images) and torch.autograd.gradgradcheck(draw, images)


def test_what_comes_in_is_left_alone():
    images, up_filter, down_filter, geometry = case(9, 8, 2, 2, False)
    before = images.clone()
    filtered.filtered_leaky_relu(images, filtered.prepare(up_filter, down_filter, geometry), clamp=0.1)
    assert torch.equal(images, before)


def test_half_precision_stays_close():
    images, up_filter, down_filter, geometry = case(20, 16, 2, 2, False)
    filters = filtered.prepare(up_filter, down_filter, geometry)
    exact = filtered.filtered_leaky_relu(images, filters)
    half = filtered.filtered_leaky_relu(images.bfloat16(), filters.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert (half - exact).square().mean().sqrt() < 0.02 * exact.std()


def response(filter_, frequency, rate):
    """What a filter makes of a wave along a row."""
    taps = filter_ if filter_.dim() == 1 else filter_.sum(dim=0)
    place = (torch.arange(len(taps), dtype=torch.float64) - (len(taps) - 1) / 2) / rate
    return float((taps.double() * torch.cos(2 * math.pi * frequency * place)).sum())


@pytest.mark.parametrize("design", [filtered.design, filtered.design_radial])
def test_designed_filters_pass_what_they_should(design):
    filter_ = design(48, 8.0, 4.0, 64.0)
    assert response(filter_, 0, 64) == pytest.approx(1, abs=1e-6)
    assert response(filter_, 4, 64) == pytest.approx(1, abs=0.02)
    assert response(filter_, 8, 64) == pytest.approx(0.5, abs=0.1)
    assert abs(response(filter_, 14, 64)) < 0.01
    assert torch.allclose(filter_, filter_.flip(0), atol=1e-7)


def test_a_radial_filter_is_more_alike_in_all_directions():
    """A wave that goes askew is passed nearly as one that goes along a row; a square filter passes more of it."""
    radial, line = filtered.design_radial(24, 4.0, 4.0, 64.0), filtered.design(24, 4.0, 4.0, 64.0)
    assert torch.allclose(radial, radial.t(), atol=1e-7)
    place = (torch.arange(24) - 11.5) / 64
    askew = torch.cos(2 * math.pi * 3 / math.sqrt(2) * (place[:, None] + place))
    difference = abs(float((radial * askew).sum()) - response(radial, 3, 64))
    assert difference < 0.05 < abs(float((torch.outer(line, line) * askew).sum()) - response(line, 3, 64))
