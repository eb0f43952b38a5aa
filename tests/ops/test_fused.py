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


def frozen_operators(images, weight, bias, stride, clips):
    """Padding as TensorFlow has it, convolution and ReLU6, one after the other."""
    size, groups = weight.shape[2], len(weight) if weight.shape[1] == 1 else 1
    before = (size - stride) // 2
    padded = F.pad(images, (before, size - stride - before) * 2) if stride > 1 else F.pad(images, (size // 2,) * 4)
    made = F.conv2d(padded, weight, bias, stride, groups=groups)
    return F.relu6(made) if clips else made


@pytest.mark.parametrize("clips", [True, False])
@pytest.mark.parametrize("size, stride", [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_frozen_convolution_is_three_operators(kind, each, size, stride, clips):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 6, 8, 8), (6, 1, size, size) if each else (5, 6, size, size), (6 if each else 5,))
    images, weight, bias = (3 * torch.randn(shape, dtype=kind, generator=generator) for shape in shapes)
    images.requires_grad_(True)
    expected = frozen_operators(images, weight, bias, stride, clips)
    made = fused.convolve_frozen(images, weight, bias, stride=stride, clips=clips)
    torch.testing.assert_close(made, expected)
    slope = torch.randn(expected.shape, dtype=kind, generator=generator)
    torch.testing.assert_close(*(torch.autograd.grad(each, images, slope)[0] for each in (made, expected)))


def test_a_frozen_convolution_has_second_slopes():
    generator = torch.Generator().manual_seed(0)
    images, weight, bias = (
        torch.randn(s, dtype=torch.float64, generator=generator) for s in ((1, 2, 4, 4), (2, 1, 3, 3), (2,))
    )
    images.requires_grad_(True)
    assert torch.autograd.gradgradcheck(
        lambda x: fused.convolve_frozen(x, weight, bias, stride=2, clips=True), (images,)
    )
