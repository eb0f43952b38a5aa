import pytest
import torch
import torch.nn.functional as F

from studio.ops import resample

FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])).double() / 64


def spread(images):
    """One zero after every pixel, along both axes."""
    count, channels, height, width = images.shape
    wide = images.new_zeros(count, channels, height, 2, width, 2)
    wide[:, :, :, 0, :, 0] = images
    return wide.reshape(count, channels, 2 * height, 2 * width)


def blur(images, low, high, gain=1.0):
    """The definition: pad, then filter."""
    channels = images.shape[1]
    padded = F.pad(images, (low, high, low, high))
    return F.conv2d(padded, gain * FILTER.expand(channels, 1, 4, 4), groups=channels)


@pytest.fixture
def images():
    return torch.randn(2, 3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_upsample_is_zeros_then_filter(images):
    torch.testing.assert_close(resample.upsample(images), blur(spread(images), 2, 1, gain=4))


def test_downsample_is_filter_then_every_second_pixel(images):
    torch.testing.assert_close(resample.downsample(images), blur(images, 1, 1)[:, :, ::2, ::2])


def test_convolve_up_spreads_the_kernel_unflipped(images):
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    stuffed = F.pad(spread(images), (2, 1, 2, 1))
    expected = blur(F.conv2d(stuffed, weight.flip(2, 3)), 1, 1, gain=4)
    torch.testing.assert_close(resample.convolve_up(images, weight), expected)


def test_blur_is_the_filter_at_every_place(images):
    torch.testing.assert_close(resample.blur(images), blur(images, 2, 2))


def test_constant_pictures_stay_constant_inside():
    flat = torch.ones(1, 1, 8, 8)
    assert torch.allclose(resample.upsample(flat)[:, :, 1:-1, 1:-1], torch.ones(1, 1, 14, 14))
    assert torch.allclose(resample.downsample(flat)[:, :, 1:-1, 1:-1], torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("operation", ["upsample", "downsample", "convolve_up", "blur"])
def test_derivatives_of_first_and_second_order(operation):
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)]
    if operation.startswith("convolve"):
        inputs.append(torch.randn(2, 2, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True))
    function = getattr(resample, operation)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("operation", ["upsample", "downsample"])
def test_bfloat16_stays_bfloat16(operation):
    exact = torch.randn(1, 4, 8, 8)
    half = getattr(resample, operation)(exact.bfloat16().contiguous(memory_format=torch.channels_last))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), getattr(resample, operation)(exact), atol=0.05, rtol=0.02)
