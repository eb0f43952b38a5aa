import dataclasses

import pytest
import torch
from stand_ins import make_config, make_dataset, make_run

from studio.training import checkpoint
from studio.training.loop import train
from studio.training.state import new_state, put_tensors, tensors_of
from studio.training.watcher import Watcher

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def watcher():
    torch.manual_seed(0)
    return Watcher()


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 32, 32), (2, 4, 128, 128)])
def test_it_judges_pictures_of_any_size_and_colours_and_answers_with_slopes(watcher, shape):
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    logits = watcher(pictures)
    assert logits.shape == (2, 48) and logits.dtype == torch.float32
    (slope,) = torch.autograd.grad(logits.sum(), pictures)
    assert slope.abs().sum() > 0


def test_what_it_sees_with_neither_learns_nor_is_saved(watcher):
    assert all(name.startswith("heads.") for name in watcher.state_dict())
    assert sum(weight.numel() for weight in watcher.parameters()) < 2_000_000
    assert not any(weight.requires_grad for weight in watcher._eyes[0].parameters())


def test_its_heads_can_tell_two_kinds_of_pictures_apart(watcher):
    random = torch.Generator().manual_seed(2)
    flat = torch.rand(8, 3, 1, 1, generator=random).expand(8, 3, 32, 32) * 2 - 1
    noisy = torch.rand(8, 3, 32, 32, generator=random) * 2 - 1
    optimizer = torch.optim.Adam(watcher.parameters(), lr=0.01)
    for _ in range(40):
        loss = torch.nn.functional.softplus(watcher(noisy)).mean() + torch.nn.functional.softplus(-watcher(flat)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert watcher(flat).mean() > watcher(noisy).mean() + 2


def test_a_run_with_it_learns_tells_and_goes_on_bit_for_bit(tmp_path):
    config = make_config(make_dataset(tmp_path / "pictures"), vision_aided=1.0, kimg=0.048, batch=8)
    whole, parts = make_run(tmp_path / "whole", config), make_run(tmp_path / "parts", config)
    events = list(train(whole))
    told = [event.metrics for event in events if type(event).__name__ == "Progress"]
    assert told and all("watcher" in metrics for metrics in told)
    for kimg in (0.016, 0.048):
        parts.write_config(dataclasses.replace(config, kimg=kimg))
        list(train(parts))
    (expected, _), (found, _) = (checkpoint.read(checkpoint.found(run.checkpoints)[0]) for run in (whole, parts))
    assert any(name.startswith("watcher.heads.") for name in expected)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_without_it_there_is_none(tmp_path):
    config = make_config(make_dataset(tmp_path / "pictures"))
    state = new_state(config, CPU)
    assert state.watcher is None
    put_tensors(state, tensors_of(state))
