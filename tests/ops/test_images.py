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
