import dataclasses

import pytest
import torch
from stand_ins import make_config, make_dataset, make_run

from studio.training import memory, opening
from studio.training.events import Finished, Started, Warned
from studio.training.loop import train
from studio.training.memory import Need


def test_the_largest_batch_that_fits():
    need = Need(fixed_bytes=100, picture_bytes=10)
    assert need.bytes(16) == 260
    assert [need.largest_batch(16, free) for free in (1e9, 289, 250, 205, 0)] == [16, 16, 8, 8, 1]


def test_more_pictures_larger_ones_and_wider_networks_need_more(tmp_path):
    small = make_config(tmp_path)
    large = dataclasses.replace(small, settings={**small.settings, "resolution": 16})
    wide = dataclasses.replace(small, settings={**small.settings, "channel_base": 256, "channel_max": 32})
    needs = [memory.measure(config) for config in (small, large, wide)]
    assert needs[0].picture_bytes < min(needs[1].picture_bytes, needs[2].picture_bytes)
    assert needs[0].fixed_bytes < needs[2].fixed_bytes


def test_held_counts_each_storage_once_and_sees_it_go():
    held = memory.Held(set())
    values = torch.ones(1000, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(held.pack, held.unpack):
        (values * 2).square().sum().backward()
        first = held.peak
        (values * 2).square().sum().backward()
    assert 4000 <= first <= 12_000 and held.peak == first


def test_measuring_changes_no_random_number(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    memory.measure(make_config(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_free_memory_heeds_control_groups(tmp_path):
    group = tmp_path / "groups" / "studio"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("1000\n")
    (group / "memory.current").write_text("700\n")
    (group / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    (tmp_path / "own").write_text("0::/studio\n")
    assert memory._group_bytes(tmp_path / "groups", tmp_path / "own") == [500.0]
    (group / "memory.max").write_text("max\n")
    assert memory._group_bytes(tmp_path / "groups", tmp_path / "own") == []
    assert memory._group_bytes(tmp_path / "nothing", tmp_path / "nobody") == []
    assert memory.free_bytes(torch.device("cpu")) > 0


def test_a_run_that_does_not_fit_takes_fewer_pictures_and_says_so(tmp_path, monkeypatch):
    pictures = make_dataset(tmp_path / "pictures")
    config = make_config(pictures, kimg=0.008)
    free = memory.measure(config).bytes(2) / 0.9 + 1
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    told = list(train(make_run(tmp_path / "run", config)))
    begun = next(event for event in told if isinstance(event, Started))
    warned = [event for event in told if isinstance(event, Warned)]
    assert begun.batch == 2 and begun.memory_bytes <= free and isinstance(told[-1], Finished)
    assert [event.topic for event in warned] == ["memory"] and "4 pictures at once do not fit" in warned[0].message


def test_no_memory_even_to_measure_fails_plainly(tmp_path, monkeypatch):
    def full(config):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(opening.memory, "measure", full)
    told = list(train(make_run(tmp_path / "run", make_config(make_dataset(tmp_path / "pictures")))))
    assert len(told) == 1 and "memory" in told[0].message
    assert opening.out_of_memory(MemoryError()) and not opening.out_of_memory(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="other"):
        monkeypatch.setattr(opening.memory, "measure", lambda config: (_ for _ in ()).throw(RuntimeError("other")))
        list(train(make_run(tmp_path / "second", make_config(tmp_path / "pictures"))))
