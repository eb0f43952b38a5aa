import pytest
import torch
import torch.nn.functional as F

from studio.ops import packed


@pytest.fixture
def weight():
    return torch.randn(8, 6, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("count", "size"), [(1, 8), (3, 8), (2, 16)])
def test_packed_weights_convolve_alike_at_any_size(weight, count, size):
    images = torch.randn(count, 6, size, size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        same = packed.convolve(images, packed.pack(weight, up=False, size=8))
        doubled = packed.convolve_transposed(images, packed.pack(weight, up=True, size=8))
    assert torch.allclose(same, F.conv2d(images, weight, padding=1), atol=1e-4)
    assert torch.allclose(doubled, F.conv_transpose2d(images, weight.transpose(0, 1), stride=2), atol=1e-4)


def test_plain_weights_do_as_well(weight, monkeypatch):
    monkeypatch.setattr(packed, "runs_here", lambda weight: False)
    assert torch.equal(packed.pack(weight, up=False, size=8), weight)
    assert torch.equal(packed.pack(weight, up=True, size=8), weight)


def test_other_types_stay_plain(weight):
    assert not packed.pack(weight.double(), up=False, size=8).is_mkldnn
