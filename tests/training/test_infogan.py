"""InfoGAN: the codes can be read off the pictures, the game is the same without them, and a model keeps them as sliders."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from stand_ins import make_config, make_dataset, make_run
from test_step_regularisers import MLP, after, bench_of, config_of, differ

from studio.errors import BadInput
from studio.families.base import FAMILIES
from studio.training import checkpoint, events, pictures
from studio.training.loop import train
from studio.training.recogniser import Recogniser, code_error
from studio.training.state import make_optimizer, new_state, put_tensors, tensors_of
from studio.training.step import generator_step, real_pictures, train_step
from studio.weights.store import load_card
from tests.making import SETTINGS

CPU = torch.device("cpu")
STYLED: dict[str, Any] = {
    "family": "stylegan2",
    "settings": {"resolution": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8},
}


@pytest.fixture
def folder(tmp_path):
    torch.set_num_threads(1)
    return make_dataset(tmp_path / "pictures")


class Answering(torch.nn.Module):
    """A recogniser that answers the same for every picture, with what it may learn."""

    def __init__(self, answer: list[float]) -> None:
        super().__init__()
        self.answer = torch.nn.Parameter(torch.tensor(answer))

    def forward(self, images):
        return self.answer.expand(len(images), -1)


def test_the_error_by_hand():
    read, codes = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 0.0], [0.0, -1.0]])
    assert code_error(read, codes).item() == (1 + 0 + 0 + 9) / 4


def test_the_recogniser_descends_the_gaussians_negative_log_likelihood(folder):
    """d/dμ of λ mean(½ Σ (c - μ)²) is λ (μ - mean(c))."""
    config = config_of(folder, {**MLP, "info_weight": 3.0, "info_codes": 2, "optimizer": "sgd", "g_learning_rate": 0.1})
    bench, answer = bench_of(config), torch.tensor([0.5, -1.0])
    state = new_state(config, CPU)
    state.recogniser = Answering(answer.tolist())
    state.g_optimizer = make_optimizer(config, state.recogniser, generator_side=True)
    codes = pictures.codes_of(bench, state, "generator", 4)
    metrics, _ = generator_step(bench, state, *real_pictures(bench, state, 0))
    torch.testing.assert_close(state.recogniser.answer.detach(), answer - 0.1 * 3 * (answer - codes.mean(dim=0)))
    torch.testing.assert_close(metrics["code_error"], (answer - codes).square().mean())


def test_it_learns_to_show_and_to_read_codes_that_it_has_never_drawn(folder):
    bench = bench_of(config_of(folder, {**MLP, "info_weight": 1.0, "info_codes": 3, "batch": 16}))
    z = torch.randn(256, 8, generator=torch.Generator().manual_seed(99))
    guessing = float(code_error(torch.zeros(256, 3), z[:, :3]))

    @torch.no_grad()
    def held_out(state):
        return float(code_error(state.recogniser(state.generator.synthesize(state.generator.map(z))), z[:, :3]))

    assert held_out(new_state(bench.config, CPU)) > 0.9 * guessing
    state, told = after(bench, 120)
    assert held_out(state) < 0.5 * guessing and told["code_error"] < 0.6


@pytest.mark.parametrize("family", [family.name for family in FAMILIES.values() if family.trains])
def test_every_family_learns_with_it(tmp_path, family):
    torch.set_num_threads(1)
    data = make_dataset(tmp_path / "pictures", resolution=16)
    config = config_of(data, {"family": family, "settings": SETTINGS[family], "style_mixing": 1.0, "info_weight": 1.0})
    before = tensors_of(new_state(config, CPU))
    state, told = after(bench_of(config), 2)
    now = tensors_of(state)
    assert 0 < told["code_error"] < 10 and all(torch.isfinite(value).all() for value in now.values())
    assert not any(torch.equal(before[name], now[name]) for name in before if name.startswith("recogniser."))


def test_the_forger_gets_its_slopes_too(folder):
    config = config_of(folder, {**MLP, "info_weight": 5.0, "optimizer": "sgd"})
    plain = dataclasses.replace(config, info_weight=0.0)
    states = [new_state(one, CPU) for one in (config, plain)]
    assert all(
        torch.equal(tensors_of(states[0])[name], value)
        for name, value in tensors_of(states[1]).items()
        if name.startswith(("generator.", "discriminator."))
    )
    for one, state in zip((config, plain), states, strict=True):
        train_step(bench_of(one), state)
    first, second = (state.generator.state_dict() for state in states)
    assert not any(torch.equal(first[name], second[name]) for name in first if name.endswith("weight"))


def test_off_changes_no_number(folder):
    off, _ = after(bench_of(config_of(folder, {**STYLED, "style_mixing": 1.0, "info_codes": 7})), 3)
    usual, told = after(bench_of(config_of(folder, {**STYLED, "style_mixing": 1.0})), 3)
    assert off.recogniser is None and "code_error" not in told and differ(off, usual) == []
    put_tensors(off, tensors_of(usual))


def test_both_latents_of_a_mixed_picture_have_the_codes_that_are_read(folder, monkeypatch):
    for weight, same in ((1.0, True), (0.0, False)):
        config = config_of(folder, {**STYLED, "style_mixing": 1.0, "info_weight": weight, "info_codes": 3})
        bench, state, seen = bench_of(config), new_state(config, CPU), []
        original = state.generator.map
        monkeypatch.setattr(state.generator, "map", lambda z, *rest, of=original, to=seen: to.append(z) or of(z, *rest))
        _, styles, _ = pictures.make_pictures(bench, state, "generator", 4)
        first, second = seen
        assert not torch.equal(styles[:, 0], styles[:, -1]) and not torch.equal(first[:, 3:], second[:, 3:])
        assert torch.equal(first[:, :3], second[:, :3]) is same
        if same:
            assert torch.equal(pictures.codes_of(bench, state, "generator", 4), first[:, :3])
            assert not torch.equal(pictures.codes_of(bench, state, "discriminator 0", 4), first[:, :3])


def test_more_codes_than_coordinates_are_refused(folder):
    with pytest.raises(BadInput, match="8 coordinates") as refusal:
        new_state(config_of(folder, {**MLP, "info_weight": 1.0, "info_codes": 9}), CPU)
    assert "8 or fewer" in refusal.value.hint
    new_state(config_of(folder, {**MLP, "info_weight": 0.0, "info_codes": 9}), CPU)


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 32, 32), (2, 4, 128, 128)])
def test_it_reads_pictures_of_any_size_and_colours(shape):
    recogniser = Recogniser(5)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    read = recogniser(images)
    (slope,) = torch.autograd.grad(read.sum(), images)
    assert read.shape == (2, 5) and read.dtype == torch.float32 and slope.abs().sum() > 0
    assert all(name.startswith(("hidden.", "out.")) for name in recogniser.state_dict())


def test_a_run_tells_goes_on_bit_for_bit_and_its_models_have_their_codes(tmp_path):
    published = tmp_path / "models" / "moths"
    config = make_config(
        make_dataset(tmp_path / "pictures"), info_weight=1.0, info_codes=3, kimg=0.048, batch=8,
        publish_to=str(published), minutes=0.5,
    )  # fmt: skip
    whole, parts = make_run(tmp_path / "whole", config), make_run(tmp_path / "parts", config)
    told = [event.metrics for event in train(whole) if isinstance(event, events.Progress)]
    assert told and all("code_error" in metrics for metrics in told)
    for kimg in (0.016, 0.048):
        parts.write_config(dataclasses.replace(config, kimg=kimg))
        list(train(parts))
    (expected, _), (found, _) = (checkpoint.read(checkpoint.found(run.checkpoints)[0]) for run in (whole, parts))
    assert "recogniser.out.weight" in expected and found.keys() == expected.keys()
    assert all(torch.equal(found[name], values) for name, values in expected.items())
    snapshots = [load_card(folder) for folder in whole.snapshots.iterdir()]
    assert snapshots and {card.codes for card in (load_card(published), *snapshots)} == {3}
