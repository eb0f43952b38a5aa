"""The watch over losses and slopes, and the feed of real pictures."""

import pytest
import torch

from studio.training.bench import Feed, NotFinite, Watch

FINE, WRONG = torch.tensor(True), torch.tensor(False)


def adam():
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.full([3], 0.5)
    return weight, torch.optim.Adam([weight], lr=0.1, fused=True)


def test_on_a_processor_it_speaks_at_once():
    watch, (weight, optimizer) = Watch(deferred=False), adam()
    watch.guard(optimizer, FINE, "forger")
    with pytest.raises(NotFinite, match="critic"):
        watch.guard(optimizer, WRONG, "critic")
    watch.settle()
    assert torch.equal(weight, torch.ones(3))


def test_deferred_it_speaks_one_step_late_and_nothing_has_moved_since():
    watch, (weight, optimizer) = Watch(deferred=True), adam()
    watch.guard(optimizer, FINE, "forger")
    optimizer.step()
    watch.ask()
    after, moment = weight.detach().clone(), optimizer.state[weight]["exp_avg"].clone()
    weight.grad = torch.full([3], float("nan"))
    watch.guard(optimizer, WRONG, "critic")
    optimizer.step()
    watch.ask()
    assert torch.equal(weight, after) and torch.equal(optimizer.state[weight]["exp_avg"], moment)
    assert float(optimizer.state[weight]["step"]) == 1
    with pytest.raises(NotFinite, match="critic"):
        watch.ask()
    watch.settle()


def test_settling_waits_for_every_answer():
    watch, (_, optimizer) = Watch(deferred=True), adam()
    watch.guard(optimizer, FINE, "forger")
    watch.guard(optimizer, WRONG, "critic")
    with pytest.raises(NotFinite, match="critic"):
        watch.settle()
    watch.guard(optimizer, FINE, "forger")
    watch.settle()


def test_an_optimizer_that_cannot_skip_is_asked_about_at_once():
    watch = Watch(deferred=True)
    with pytest.raises(NotFinite):
        watch.guard(torch.optim.RMSprop([torch.nn.Parameter(torch.ones(1))]), WRONG, "forger")


def test_the_feed_reads_ahead():
    asked = []

    def batch(places):
        asked.append(places)
        return torch.tensor(places, dtype=torch.uint8), torch.zeros(len(places))

    feed = Feed(batch, pinned=False)
    assert feed.take([1, 2], [3])[0].tolist() == [1, 2]
    assert feed.take([3], [4])[0].tolist() == [3]
    assert feed.take([9], [4])[0].tolist() == [9]
    assert asked[:2] == [[1, 2], [3]] and asked.count([3]) == 1
