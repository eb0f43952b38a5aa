"""Learning without labels, small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from studio.errors import BadInput
from studio.features.network import SmallNetwork
from studio.features.train import Lesson, contrast, main, read_folder, save, settle, teach
from tests.making import draw_shapes


def test_a_folder_is_read_evenly_and_on_white(tmp_path: Path) -> None:
    for index in range(10):
        Image.new("L", (9, 5), index * 20).save(tmp_path / f"{index}.png")
    (tmp_path / "deep").mkdir()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "deep" / "clear.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = read_folder(tmp_path, 100)
    assert found.shape == (11, 3, 64, 64) and found.dtype == torch.uint8
    assert found[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 255]
    assert len(read_folder(tmp_path, 4)) == 4


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no pictures"):
        read_folder(tmp_path, 10)


def test_partners_that_agree_cost_nothing() -> None:
    vectors = torch.eye(8)
    assert float(contrast(vectors, vectors, 0.05)) < 1e-6
    assert float(contrast(vectors, vectors.roll(1, 0), 0.05)) > 10
    assert float(contrast(vectors, torch.ones(8, 8), 0.1)) > 1


def test_the_loss_falls_and_the_vectors_are_standard(tmp_path: Path) -> None:
    folders = [read_folder(draw_shapes(tmp_path, 24), 100)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SmallNetwork()
    losses = [loss for _, loss in teach(network, folders, Lesson(steps=14, batch=24))]
    assert len(losses) == 14
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    settle(network, folders, pictures=256)
    assert not network.training
    with torch.no_grad():
        vectors = network(folders[0].float() / 127.5 - 1)
    assert float(vectors.mean().abs()) < 0.3 and 0.5 < float(vectors.std()) < 1.5


def test_it_ends_when_the_minutes_are_over(tmp_path: Path) -> None:
    folders = [torch.zeros(4, 3, 64, 64, dtype=torch.uint8)]
    assert len(list(teach(SmallNetwork(), folders, Lesson(steps=50, batch=4, minutes=1e-6)))) <= 1


def test_the_command_writes_a_file_that_fits(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    draw_shapes(tmp_path / "pictures", 6)
    state = torch.random.get_rng_state()
    main([str(tmp_path / "pictures"), "--out", str(tmp_path / "small.safetensors"), "--steps", "1", "--batch", "6"])
    torch.random.set_rng_state(state)
    weights = load_file(tmp_path / "small.safetensors")
    network = SmallNetwork()
    network.load_state_dict({name: value.to(network.state_dict()[name].dtype) for name, value in weights.items()})
    assert (tmp_path / "small.safetensors").stat().st_size < 10_000_000


def test_halves_are_only_the_convolutions(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    save(SmallNetwork(), tmp_path / "network.safetensors")
    for value in load_file(tmp_path / "network.safetensors").values():
        assert (value.dtype == torch.float16) == (value.ndim == 4)
