"""Model folders survive a round trip and every kind of damage is told in a plain sentence."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from studio.errors import BadInput, Damaged, NotFound
from studio.families.base import family, settings_from
from studio.options import to_json
from studio.weights.card import CONFIG_FILE, WEIGHTS_FILE, ModelCard, write_card
from studio.weights.store import (
    build_empty,
    load_card,
    load_discriminator,
    load_generator,
    load_weights,
    save_model,
    save_weights,
)

SETTINGS = {"resolution": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}


def card_of(**changes) -> ModelCard:
    settings = to_json(settings_from("stylegan2", SETTINGS))
    card = ModelCard(id="tiny", title="Tiny <b>", family="stylegan2", settings=settings, resolution=8)
    return replace(card, **changes)


def networks():
    torch.manual_seed(0)
    chosen = settings_from("stylegan2", SETTINGS)
    return family("stylegan2").generator(chosen), family("stylegan2").discriminator(chosen)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator, discriminator = networks()
    save_model(tmp_path / "tiny", generator, card_of(), discriminator=discriminator, preview=b"webp")
    return tmp_path / "tiny"


def rewrite(folder: Path, change) -> None:
    """Change the weights and put the right checksum into the card, as a hostile author would."""
    path = folder / WEIGHTS_FILE
    content = change(path.read_bytes())
    path.write_bytes(content)
    card = load_card(folder)
    write_card(folder, replace(card, files={**card.files, WEIGHTS_FILE: hashlib.sha256(content).hexdigest()}))


def change_tensors(change):
    def apply(content: bytes) -> bytes:
        tensors = safetensors.torch.load(content)
        change(tensors)
        return safetensors.torch.save(tensors)

    return apply


def test_full_precision_comes_back_bit_for_bit(tmp_path: Path) -> None:
    generator, discriminator = networks()
    saved = save_model(tmp_path / "tiny", generator, card_of(), discriminator=discriminator, half=False)
    loaded, card = load_generator(tmp_path / "tiny")
    critic = load_discriminator(tmp_path / "tiny")
    assert card == saved and card.sha256 == hashlib.sha256((tmp_path / "tiny" / WEIGHTS_FILE).read_bytes()).hexdigest()
    assert not loaded.training and critic is not None
    for network, other in ((generator, loaded), (discriminator, critic)):
        assert network.state_dict().keys() == other.state_dict().keys()
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


def test_half_precision_is_near_and_makes_the_same_pictures(folder: Path) -> None:
    generator, _ = networks()
    loaded, _ = load_generator(folder)
    z = torch.randn(2, 8)
    assert all(value.dtype == torch.float32 for value in loaded.state_dict().values())
    assert torch.allclose(loaded.synthesize(loaded.map(z)), generator.synthesize(generator.map(z)), atol=0.05)
    assert (folder / WEIGHTS_FILE).stat().st_size < 4 * sum(v.numel() for v in generator.state_dict().values())


def test_values_beyond_half_precision_stay_float32(tmp_path: Path) -> None:
    big = {"big": torch.tensor([70000.0]), "small": torch.tensor([1.0])}
    save_weights(tmp_path / "x.safetensors", big, half=True)
    stored = safetensors.torch.load_file(tmp_path / "x.safetensors")
    assert stored["big"].dtype == torch.float32 and stored["small"].dtype == torch.float16
    assert load_weights(tmp_path / "x.safetensors", big, title="x")["big"] == 70000.0


def test_values_that_are_not_numbers_are_never_saved(tmp_path: Path) -> None:
    generator, _ = networks()
    generator.synthesis.b4.const.data[0, 0, 0] = float("nan")
    with pytest.raises(BadInput, match="not numbers"):
        save_model(tmp_path / "tiny", generator, card_of())
    assert list(tmp_path.iterdir()) == []


def test_a_card_of_another_network_is_refused(tmp_path: Path) -> None:
    generator, _ = networks()
    with pytest.raises(BadInput):
        save_model(tmp_path / "tiny", generator, card_of(resolution=16))
    with pytest.raises(BadInput):
        save_model(tmp_path / "tiny", generator, card_of(settings={**SETTINGS, "w_dim": 9}))


def test_saving_again_replaces_and_leaves_nothing_behind(folder: Path) -> None:
    generator, _ = networks()
    save_model(folder, generator, card_of(title="Second"))
    assert load_card(folder).title == "Second"
    assert load_discriminator(folder) is None
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    before = torch.get_rng_state()
    load_generator(folder)
    assert torch.equal(before, torch.get_rng_state())


def test_an_empty_network_keeps_its_constants() -> None:
    network = build_empty(lambda: torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)))
    assert torch.equal(network[1].running_var, torch.ones(3)) and torch.equal(network[0].weight, torch.zeros(3, 3))


def test_a_loaded_generator_can_be_trained_further(folder: Path) -> None:
    generator, _ = load_generator(folder)
    generator.synthesize(generator.map(torch.randn(1, 8))).sum().backward()
    assert generator.synthesis.b4.const.grad is not None


DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "web page": lambda content: b"<!doctype html><title>Sign in</title>",
    "huge header": lambda content: struct.pack("<Q", 2**60) + content[8:],
    "garbled header": lambda content: content[:8] + b"\x00" * 64 + content[72:],
    "missing tensor": change_tensors(lambda tensors: tensors.pop("mapping.w_avg")),
    "unknown tensor": change_tensors(lambda tensors: tensors.update(extra=torch.zeros(1))),
    "wrong shape": change_tensors(lambda tensors: tensors.update({"mapping.w_avg": torch.zeros(9)})),
    "wrong kind": change_tensors(lambda tensors: tensors.update({"mapping.w_avg": torch.zeros(8, dtype=torch.int64)})),
    "not finite": change_tensors(lambda tensors: tensors.update({"mapping.w_avg": torch.full((8,), float("inf"))})),
    "too large": lambda content: content + b"\x00" * 20_000_000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_even_with_a_right_checksum(folder: Path, damage: str) -> None:
    rewrite(folder, DAMAGES[damage])
    with pytest.raises(Damaged, match="'Tiny <b>' is damaged") as refusal:
        load_generator(folder)
    assert refusal.value.hint.endswith(".")


@pytest.mark.parametrize("place", [0, 9, -1])
def test_one_changed_byte_is_noticed(folder: Path, place: int) -> None:
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[place] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(Damaged, match="changed"):
        load_generator(folder)


def test_a_missing_file_and_a_missing_folder(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(Damaged, match="missing"):
        load_generator(folder)
    with pytest.raises(NotFound):
        load_generator(folder.parent / "other")


@pytest.mark.parametrize(
    "change", [{"family": "os.system"}, {"resolution": 16}, {"files": {}}, {"settings": {"resolution": 9}}]
)
def test_a_card_that_lies_is_damaged(folder: Path, change: dict) -> None:
    data = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**data, **change}))
    with pytest.raises(Damaged):
        load_generator(folder)


def test_a_generator_loads_under_inference_mode(folder: Path) -> None:
    with torch.inference_mode():
        generator, _ = load_generator(folder)
        assert generator.synthesize(generator.map(torch.randn(1, 8))).shape == (1, 3, 8, 8)
