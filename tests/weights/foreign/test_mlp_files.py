"""Fully connected generators as people have saved them make the same pictures here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from studio.weights.foreign import mlp, opening
from tests.weights.foreign import making_dcgan as making
from tests.weights.foreign.test_dcgan_files import agreeing, contents, read

Z = 16


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


class Attributes(nn.Module):
    """Layers as attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(Z, 32), nn.Linear(32, 64)
        self.fc3, self.out = nn.Linear(64, 128), nn.Linear(128, 28 * 28)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        for layer in (self.fc1, self.fc2, self.fc3):
            z = torch.nn.functional.leaky_relu(layer(z), 0.2)
        return torch.tanh(self.out(z)).view(-1, 1, 28, 28)


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


FOUND_AT_ONCE = {
    "plain": lambda: making.plain_mlp((Z, 32, 32, 784)),
    "colour": lambda: making.plain_mlp((Z, 32, 64, 3 * 32**2), activation=leaky, channels=3),
    "transparent": lambda: making.plain_mlp((Z, 32, 64, 4 * 24**2), activation=leaky, channels=1),
    "batch": lambda: making.plain_mlp((Z, 32, 64, 784), activation=leaky, norm=nn.BatchNorm1d),
    "layer": lambda: making.plain_mlp((Z, 32, 64, 784), activation=leaky, norm=nn.LayerNorm),
    "collection": lambda: making.FullyConnected(28, Z),
    "attributes": Attributes,
}


@pytest.mark.parametrize("name", FOUND_AT_ONCE)
@pytest.mark.parametrize("container", ["torch", "safetensors"])
def test_the_first_candidate_makes_the_same_pictures(name: str, container: str) -> None:
    network = making.enlivened(FOUND_AT_ONCE[name]())
    imported = read(contents(network, container))
    assert imported is not None and imported.family == "mlp"
    assert imported.candidates[0].title in agreeing(imported, network, torch.randn(3, Z))


def test_other_activations_and_ranges_are_candidates() -> None:
    relu = making.enlivened(making.plain_mlp((Z, 32, 64, 784), output=nn.Sigmoid))
    imported = read(contents(relu))
    assert imported is not None
    assert agreeing(imported, relu, torch.randn(3, Z), sigmoid=True) == ["ReLU, values from 0 to 1"]


def test_several_pictures_of_as_many_numbers_are_candidates() -> None:
    imported = mlp.read(contents(making.plain_mlp((Z, 32, 4096))))
    assert imported is not None
    sizes = {(candidate.settings["channels"], candidate.settings["resolution"]) for candidate in imported.candidates}
    assert sizes == {(1, 64), (4, 32)} and imported.candidates[0].settings["channels"] == 1
    told = mlp.read(contents(making.plain_mlp((Z, 32, 4096)), config={"img_size": 32}))
    assert told is not None and told.candidates[0].settings["channels"] == 4


@pytest.mark.parametrize("label_last", [False, True])
def test_labels_lie_before_or_behind_the_latent(label_last: bool) -> None:
    network = making.enlivened(making.FullyConnected(32, Z, 3, classes=10, label_last=label_last))
    imported = read(contents(network))
    assert imported is not None and len(imported.classes) == 10
    assert agreeing(imported, network, torch.randn(3, Z), torch.tensor([0, 9, 4]))


@pytest.mark.parametrize("classes", [0, 10])
def test_files_open_in_the_studio(tmp_path: Path, classes: int) -> None:
    network = making.write_mlp(tmp_path / "generator.pth", classes=classes)
    found = opening.inspect(tmp_path / "generator.pth", tmp_path / "into")
    generator, critic = opening.build(found)
    z, label = torch.randn(2, 20), torch.tensor([3, 7]) if classes else None
    with torch.no_grad():
        made = generator.synthesize(generator.map(z, None if label is None else torch.eye(10)[label]))  # type: ignore[operator]
    assert critic is None and (made - making.pictures(network, z, label)).abs().max() < 1e-5
