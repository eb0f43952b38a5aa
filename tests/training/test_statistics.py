"""Parts of a batch that are normalised by themselves must be just that, in values, slopes and what is kept for play."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from studio.training.distributed import ALONE, World
from studio.training.statistics import GhostBatches, SharedStatistics, normalising


def one_by_one(images, norm, parts):
    """Each part by torch's own operator; rows come back where they were."""
    found = torch.empty_like(images)
    for part in range(parts):
        found[part::parts] = F.batch_norm(images[part::parts], None, None, norm.weight, norm.bias, True)
    return found


@pytest.mark.parametrize("shape", [(8, 3, 4, 4), (8, 3)])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_are_normalised_by_themselves(shape, last, parts):
    torch.manual_seed(0)
    images = torch.randn(shape)
    if last and len(shape) == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    images.requires_grad_(True)
    norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1])
    nn.init.normal_(norm.weight)
    expected, slope = one_by_one(images, norm, parts), torch.randn(shape)
    with GhostBatches(parts):
        made = norm(images)
    torch.testing.assert_close(made, expected)
    assert made.stride() == images.stride(), "what follows walks through memory in the same order"
    wanted = (images, norm.weight, norm.bias)
    torch.testing.assert_close(*(torch.autograd.grad(each, wanted, slope) for each in (made, expected)))
    assert torch.allclose(norm.running_mean, 0.1 * images[::parts].transpose(0, 1).flatten(1).mean(1))


def test_what_cannot_be_parted_is_left_together_and_play_is_left_alone():
    images, norm = torch.randn(6, 3, 2, 2), nn.BatchNorm2d(3)
    with GhostBatches(4):
        torch.testing.assert_close(norm(images), F.batch_norm(images, None, None, training=True))
        played = norm.eval()(images)
    torch.testing.assert_close(played, norm(images))


@pytest.mark.parametrize(
    ("parts", "size", "expected"), [(1, 1, None), (2, 2, None), (4, 2, 2), (2, 1, 2), (1, 2, "all"), (2, 4, "all")]
)
def test_parts_are_dealt_out_to_the_processes(parts, size, expected):
    world = World(size=size) if size > 1 else ALONE
    bench = SimpleNamespace(config=SimpleNamespace(ghost_batches=parts), world=world)
    state = SimpleNamespace(generator=nn.Sequential(nn.BatchNorm2d(2)), discriminator=nn.Conv2d(1, 1, 1))
    found = normalising(bench, state)
    if expected == "all":
        assert isinstance(found, SharedStatistics)
    elif expected:
        assert isinstance(found, GhostBatches) and found._parts == expected
    else:
        assert not isinstance(found, (SharedStatistics, GhostBatches))
    state.generator = nn.Conv2d(1, 1, 1)
    assert not isinstance(normalising(bench, state), (SharedStatistics, GhostBatches)), "nobody looks at a batch"
