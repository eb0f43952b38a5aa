"""One operator must be what three are, in values and in derivatives of both orders."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from studio.ops import fused


def operands(kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = ((2, 4, 7, 7), (6, 4, 3, 3), (6,))
    images, weight, bias = (torch.randn(shape, dtype=kind, generator=generator) for shape in shapes)
    return images, weight, bias


def three_operators(images, weight, bias, stride, padding):
    return F.leaky_relu(F.conv2d(images, weight, bias, stride, padding), fused.SLOPE)


@pytest.mark.parametrize("stride, padding", [(1, 1), (2, 0)])
def test_values_are_those_of_three_operators(stride, padding):
    images, weight, bias = operands(torch.float32)
    bent = fused.convolve_bent(images, weight, bias, stride=stride, padding=padding)
    torch.testing.assert_close(bent, three_operators(images, weight, bias, stride, padding))


def test_autocast_chooses_the_type():
    images, weight, bias = operands(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bent = fused.convolve_bent(images, weight, bias, padding=1)
    assert bent.dtype == torch.bfloat16
    torch.testing.assert_close(bent.float(), three_operators(images, weight, bias, 1, 1), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_slopes_are_those_of_three_operators(kind):
    found = []
    for run in (fused.convolve_bent, lambda *of, padding: three_operators(*of, 1, padding)):
        inputs = [tensor.to(kind).requires_grad_() for tensor in operands(torch.float32)]
        weigh = torch.linspace(-1, 1, 2 * 6 * 7 * 7).reshape(2, 6, 7, 7).to(kind)
        found.append(torch.autograd.grad((run(*inputs, padding=1) * weigh).sum(), inputs))
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if kind == torch.float32 else {"rtol": 0.05, "atol": 0.2}
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


def test_derivatives_of_first_and_second_order():
    inputs = [tensor.requires_grad_() for tensor in operands(torch.float64)]
    assert torch.autograd.gradcheck(lambda *of: fused.convolve_bent(*of, padding=1), inputs)
    assert torch.autograd.gradgradcheck(lambda *of: fused.convolve_bent(*of, stride=2), inputs)


def test_nothing_is_computed_that_nobody_asked_for():
    images, weight, bias = operands(torch.float32)
    images.requires_grad_()
    bent = fused.convolve_bent(images, weight, bias, padding=1)
    (slope,) = torch.autograd.grad(bent.sum(), images)
    assert slope.shape == images.shape and weight.grad is None
