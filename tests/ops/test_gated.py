import pytest
import torch
import torch.nn.functional as F

from studio.ops import gated


def test_the_gate_is_torchs():
    images = torch.randn(2, 6, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.allclose(gated.gate(images), F.glu(images, dim=1))
    assert torch.autograd.gradgradcheck(gated.gate, images)


@pytest.mark.parametrize(("count", "size"), [(2, 5), (4, 32)])
def test_doubling_and_convolving_in_one(count, size):
    images = torch.randn(count, 3, size, size, dtype=torch.double, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.double, requires_grad=True)
    expected = F.conv2d(F.interpolate(images, scale_factor=2), weight, padding=1)
    found = gated.convolve_doubled(images, weight)
    assert torch.allclose(found, expected)
    slope = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (images, weight), slope)
    assert all(map(torch.allclose, torch.autograd.grad(found, (images, weight), slope), wanted))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_doubling_kernel_is_the_sum_of_four_shifted_ones(layout):
    weight = torch.randn(4, 5, 3, 3).contiguous(memory_format=layout)
    flipped = weight.flip(2, 3)
    expected = sum(F.pad(flipped, (left, 1 - left, top, 1 - top)) for left in (0, 1) for top in (0, 1))
    assert torch.allclose(gated.doubling_kernel(weight), expected, atol=1e-6)
