import pytest
import torch

from studio.ops import images


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bytes_come_back(channels):
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, channels, 16, 16)
    floats = images.from_uint8(pixels)
    assert floats.min() == -1 and floats.max() == 1
    restored = images.to_uint8(floats)
    assert restored.shape == (2, 16, 16, channels) and restored.is_contiguous()
    assert (restored.permute(0, 3, 1, 2).int() - pixels.int()).abs().max() <= 1


def test_what_lies_outside_is_clipped():
    values = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0], dtype=torch.bfloat16).reshape(1, 1, 1, 5)
    assert images.to_uint8(values).flatten().tolist() == [0, 0, 128, 255, 255]


def test_inputs_stay_as_they_are():
    pixels = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    floats = images.from_uint8(pixels)
    images.to_uint8(floats)
    assert (floats == -1).all() and (pixels == 0).all()


def test_blur_is_a_gaussian_that_keeps_flat_pictures():
    dot = torch.zeros(1, 1, 33, 33)
    dot[0, 0, 16, 16] = 1
    soft = images.blur(dot, 2.0)[0, 0]
    assert float(soft.sum()) == pytest.approx(1, abs=1e-3)
    assert float(soft[16, 16]) == pytest.approx(1 / (2 * torch.pi * 4), rel=0.01)
    assert float(soft[16, 18] / soft[16, 16]) == pytest.approx(0.6065, rel=0.01)
    assert torch.allclose(soft, soft.T) and torch.allclose(
        images.blur(torch.ones(2, 3, 8, 8), 5.0), torch.ones(2, 3, 8, 8)
    )


def test_blur_leaves_no_numbers_that_underflow():
    """Processors take a hundred times as long for them."""
    dot = torch.zeros(1, 1, 64, 64)
    dot[0, 0, 0, 0] = 1
    soft = images.blur(dot, 2.0)
    assert not ((soft > 0) & (soft < 1e-20)).any()
