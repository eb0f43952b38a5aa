"""The step against its papers, and against a recorded loss curve."""

import json
from pathlib import Path

import pytest
import torch
from stand_ins import make_config, make_dataset

from studio.data.dataset import open_dataset
from studio.training import step as steps
from studio.training.state import new_state
from studio.training.step import Bench, NotFinite, place_in_order, train_step

GOLDEN = Path(__file__).parents[1] / "golden" / "training_losses.json"
TOLERANCE = 2e-3
CPU = torch.device("cpu")


@pytest.fixture
def pictures(tmp_path):
    torch.set_num_threads(1)
    return make_dataset(tmp_path / "pictures")


def bench_of(pictures, **changes):
    config = make_config(pictures, **changes)
    dataset = open_dataset(pictures)
    return Bench(config=config, device=CPU, dtype=torch.float32, batch=dataset.batch, count=len(dataset))


def curve(pictures, count=10):
    bench = bench_of(pictures)
    state = new_state(bench.config, CPU)
    told = [train_step(bench, state) for _ in range(count)]
    shown = ("loss_g", "loss_d", "path_length", "r1")
    rows = [{name: float(metrics[name]) for name in shown if name in metrics} for metrics in told]
    return [*rows, {"augment_p": state.augment_p}]


def test_the_loss_curve_is_the_recorded_one(pictures):
    expected, found = json.loads(GOLDEN.read_text()), curve(pictures)
    assert len(found) == len(expected) and [sorted(row) for row in found] == [sorted(row) for row in expected]
    for wanted, got in zip(expected, found, strict=True):
        assert got == pytest.approx(wanted, rel=TOLERANCE, abs=TOLERANCE)


def test_lazy_parts_come_every_interval(pictures):
    bench = bench_of(pictures, r1_interval=3, path_length_interval=2)
    state = new_state(bench.config, CPU)
    told = [train_step(bench, state) for _ in range(7)]
    assert ["r1" in metrics for metrics in told] == [place % 3 == 0 for place in range(7)]
    assert ["path_length" in metrics for metrics in told] == [place % 2 == 0 for place in range(7)]


def test_lazy_rates_are_corrected(pictures):
    state = new_state(make_config(pictures, r1_interval=16, path_length_interval=4), CPU)
    g_group, d_group = state.g_optimizer.param_groups[0], state.d_optimizer.param_groups[0]
    assert g_group["lr"] == pytest.approx(0.0025 * 4 / 5) and g_group["betas"] == (0.0, pytest.approx(0.99 ** (4 / 5)))
    assert d_group["lr"] == pytest.approx(0.0025 * 16 / 17) and d_group["betas"][1] == pytest.approx(0.99 ** (16 / 17))
    plain = new_state(make_config(pictures, r1_gamma=0.0, path_length_weight=0.0), CPU)
    assert plain.d_optimizer.param_groups[0]["lr"] == plain.g_optimizer.param_groups[0]["lr"] == 0.0025


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_each_player_moves_only_itself(pictures, optimizer):
    bench = bench_of(pictures, optimizer=optimizer)
    state = new_state(bench.config, CPU)
    before = {name: weight.clone() for name, weight in state.discriminator.state_dict().items()}
    real, label = steps.real_pictures(bench, state, 0)
    steps.generator_step(bench, state, real, label)
    assert all(torch.equal(before[name], weight) for name, weight in state.discriminator.state_dict().items())
    g_before = {name: weight.clone() for name, weight in state.generator.named_parameters()}
    steps.discriminator_step(bench, state, steps.Sides.of(bench, state, real, label, 0))
    assert all(torch.equal(g_before[name], weight) for name, weight in state.generator.named_parameters())
    assert not all(torch.equal(before[name], weight) for name, weight in state.discriminator.state_dict().items())


def test_frozen_layers_stay(pictures):
    bench = bench_of(pictures, freeze_d_layers=2)
    state = new_state(bench.config, CPU)
    frozen = {name for name, weight in state.discriminator.named_parameters() if not weight.requires_grad}
    assert frozen == {"b8.fromrgb.weight", "b8.fromrgb.bias", "b8.conv0.weight", "b8.conv0.bias"}
    before = {name: weight.clone() for name, weight in state.discriminator.named_parameters()}
    train_step(bench, state)
    still = {name for name, weight in state.discriminator.named_parameters() if torch.equal(before[name], weight)}
    assert frozen <= still and "b8.conv1.weight" not in still


def test_r1_sees_the_picture_before_it_is_varied(pictures, monkeypatch):
    """Varying by half the contrast must halve the slope, so the penalty falls to a quarter."""
    found = {}
    for factor in (1.0, 0.5):
        bench = bench_of(pictures)
        state = new_state(bench.config, CPU)
        monkeypatch.setattr(steps, "varied", lambda b, s, images, purpose, factor=factor: images * factor + 0.1)
        state.discriminator = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1))
        state.discriminator.forward = lambda images, label, inner=state.discriminator: inner[1](images.flatten(1))
        with torch.no_grad():
            state.discriminator[1].weight.fill_(0.1)
        state.d_optimizer = torch.optim.SGD(state.discriminator.parameters(), lr=0.0)
        real, label = steps.real_pictures(bench, state, 0)
        found[factor] = float(steps.smoothing_step(bench, state, steps.Sides.of(bench, state, real, label, 0))["r1"])
    assert found[1.0] == pytest.approx(0.5 * 192 * 0.01, rel=1e-4)
    assert found[0.5] == pytest.approx(found[1.0] / 4, rel=1e-4)


def test_nothing_moves_when_a_slope_is_no_number(pictures):
    bench = bench_of(pictures)
    state = new_state(bench.config, CPU)
    weight = torch.nn.Parameter(torch.ones(3))
    state.d_optimizer = torch.optim.SGD([weight], lr=1.0)
    for loss in (weight.sum() * float("nan"), (weight - 1).sqrt().sum()):
        with pytest.raises(NotFinite):
            steps.descend(bench, state, "d", loss)
    assert torch.equal(weight, torch.ones(3)) and state.step == 0


def test_every_epoch_shows_every_picture_once_in_another_order(pictures):
    bench = bench_of(pictures)
    epochs = [[place_in_order(bench, number) for number in range(start, start + 24)] for start in (0, 24, 48)]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs) and epochs[0] != epochs[1] != epochs[2]
    assert [place_in_order(bench, number) for number in range(24)] == epochs[0]


def test_weights_are_clipped(pictures):
    bench = bench_of(
        pictures, objective="wasserstein", weight_clip=0.01, optimizer="rmsprop", augment="none", r1_gamma=0.0
    )
    state = new_state(bench.config, CPU)
    train_step(bench, state)
    assert max(float(weight.detach().abs().max()) for weight in state.discriminator.parameters()) <= 0.01


def test_gradient_penalty_counts(pictures):
    given = {"objective": "wasserstein", "augment": "none", "r1_gamma": 0.0}
    losses = []
    for weight in (1e-6, 10.0):
        bench = bench_of(pictures, gradient_penalty=weight, **given)
        losses.append(float(train_step(bench, new_state(bench.config, CPU))["gradient_penalty"]))
    assert losses[1] > losses[0] + 1


def test_styles_mix_at_one_place_for_the_whole_batch(pictures):
    bench = bench_of(pictures, style_mixing=1.0)
    state = new_state(bench.config, CPU)
    _, styles, _ = steps.make_pictures(bench, state, "x", 4)
    same = (styles == styles[:, :1]).all(dim=2)
    cutoff = int(same[0].sum())
    assert 1 <= cutoff < styles.shape[1] and (same == same[:1]).all() and same[0, :cutoff].all()
    plain = bench_of(pictures, style_mixing=0.0)
    _, styles, _ = steps.make_pictures(plain, state, "x", 4)
    assert (styles == styles[:, :1]).all()


def test_ada_looks_every_interval(pictures):
    bench = bench_of(pictures, ada_interval=3, ada_target=0.0, ada_speed_kimg=1.0)
    state = new_state(bench.config, CPU)
    state.step, state.sign_sum, state.sign_count, state.augment_p = 1, torch.tensor(10.0), 12, 0.5
    steps.update_augmentation(bench.config, state)
    assert state.augment_p == 0.5
    state.step = 2
    steps.update_augmentation(bench.config, state)
    assert state.augment_p == pytest.approx(0.512) and state.sign_mean == pytest.approx(10 / 12)
    assert state.sign_count == 0


def test_the_average_follows(pictures):
    bench = bench_of(pictures, ema_kimg=0.0)
    state = new_state(bench.config, CPU)
    train_step(bench, state)
    pairs = zip(state.average.parameters(), state.generator.parameters(), strict=True)
    assert all(torch.allclose(average, weight) for average, weight in pairs)
    slow = bench_of(pictures, ema_kimg=1e4, ema_rampup=0.0)
    state = new_state(slow.config, CPU)
    before = [weight.clone() for weight in state.average.parameters()]
    train_step(slow, state)
    assert all(torch.allclose(old, new, atol=1e-5) for old, new in zip(before, state.average.parameters(), strict=True))


def test_bfloat16_learns_like_float32(pictures):
    losses = []
    for precision in (torch.float32, torch.bfloat16):
        bench = bench_of(pictures)
        bench = Bench(config=bench.config, device=CPU, dtype=precision, batch=bench.batch, count=bench.count)
        state = new_state(bench.config, CPU)
        losses.append(float(train_step(bench, state)["loss_d"]))
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.03)


def test_the_critic_can_judge_the_pictures_that_the_forger_learned_from(pictures, monkeypatch):
    drawn = []
    original = steps.make_pictures

    def counted(bench, state, purpose, *rest):
        drawn.append(purpose)
        return original(bench, state, purpose, *rest)

    monkeypatch.setattr(steps, "make_pictures", counted)
    for shared, expected in ((False, ["generator", "discriminator 0"]), (True, ["generator"])):
        bench = bench_of(pictures, share_pictures=shared, path_length_weight=0.0)
        assert train_step(bench, new_state(bench.config, CPU))["loss_d"].isfinite()
        assert drawn == expected
        drawn.clear()
