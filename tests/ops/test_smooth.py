"""Convolutions whose slopes are differentiated again: the same numbers as torch's in float64, and right in bfloat16."""

import contextlib

import pytest
import torch
import torch.nn.functional as F

from studio.ops.smooth import Smoothly, slopes

MANNERS = [(3, 1, 1), (3, 2, 0), (4, 2, 1), (1, 1, 0), (3, (2, 1), (1, 0))]


def tensors(kernel, kind=torch.float64, count=3, inputs=4, outputs=5, size=12):
    random = torch.Generator().manual_seed(0)
    images = torch.randn(count, inputs, size, size, generator=random, dtype=torch.float64)
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=random, dtype=torch.float64) / kernel
    bias = torch.randn(outputs, generator=random, dtype=torch.float64)
    return [value.to(kind).requires_grad_() for value in (images, weight, bias)]


def slopes_of_penalty(context, kernel, stride, padding):
    """What a penalty on the slope at the pictures asks of weight and bias of a bent convolution."""
    images, weight, bias = tensors(kernel)
    with context:
        values = torch.tanh(F.conv2d(images, weight, bias, stride, padding))
    (slope,) = torch.autograd.grad((values**2).sum(), images, create_graph=True)
    return torch.autograd.grad(slope.square().sum(), (images, weight, bias))


@pytest.mark.parametrize(("kernel", "stride", "padding"), MANNERS)
def test_first_and_second_derivatives_are_torchs(kernel, stride, padding):
    found = slopes_of_penalty(Smoothly(), kernel, stride, padding)
    wanted = slopes_of_penalty(contextlib.nullcontext(), kernel, stride, padding)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_every_derivative_passes_the_numeric_check():
    images, weight, _ = tensors(3, count=2, inputs=2, outputs=2, size=5)

    def convolve(images, weight):
        with Smoothly():
            return F.conv2d(images, weight, stride=2, padding=1)

    assert torch.autograd.gradcheck(convolve, (images, weight))
    assert torch.autograd.gradgradcheck(convolve, (images, weight))


def test_slopes_of_a_given_convolution_are_torchs():
    images, weight, bias = tensors(3)
    values = F.conv2d(images, weight, bias, 1, 1)
    at_result = torch.randn_like(values)
    wanted = torch.autograd.grad(values, (images, weight, bias), at_result)
    for mine, theirs in zip(slopes(at_result, images, weight, 1, 1, (True, True, True)), wanted, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert slopes(at_result, images, weight, 1, 1, (False, False, False)) == (None, None, None)


@pytest.mark.parametrize("padding", [0, 1])
def test_in_bfloat16_the_penalty_asks_the_same_of_the_weight(padding):
    """Torch's own is wrong by half here with a border, on processors with bfloat16 units."""
    asked = []
    for kind in (torch.float64, torch.bfloat16):
        images, weight, _ = tensors(3, count=4, inputs=32, outputs=32, size=16)
        with Smoothly():
            values = F.conv2d(images.to(kind), weight.to(kind), padding=padding).double()
        (slope,) = torch.autograd.grad((values**2).sum(), images, create_graph=True)
        asked += torch.autograd.grad(slope.square().sum(), weight)
    assert (asked[0] - asked[1]).norm() < 0.02 * asked[0].norm()


def test_other_convolutions_pass_as_they_are():
    images, weight = torch.randn(1, 4, 8, 8), torch.randn(4, 1, 3, 3)
    with Smoothly():
        torch.testing.assert_close(F.conv2d(images, weight, groups=4), F.conv2d(images, weight, groups=4))
        assert F.conv2d(images, torch.randn(2, 4, 3, 3), padding="same").shape == (1, 2, 8, 8)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert F.conv2d(images, torch.randn(2, 4, 3, 3), torch.zeros(2)).dtype == torch.bfloat16
