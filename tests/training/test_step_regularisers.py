"""Every regulariser changes the numbers as its paper says, and a resumed run with it stays equal bit for bit."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import make_config, make_dataset

from studio.data.dataset import open_dataset
from studio.errors import BadInput
from studio.families.base import Featured
from studio.options import from_json, to_json
from studio.training import checkpoint, pictures, regularisers
from studio.training import step as steps
from studio.training.bench import Bench, NotFinite
from studio.training.config import OBJECTIVES, TrainConfig
from studio.training.state import TrainState, new_state, tensors_of
from studio.training.step import train_step

CPU = torch.device("cpu")
MLP = {"family": "mlp", "settings": {"resolution": 8, "z_dim": 8, "width": 16, "depth": 2}}
DCGAN = {"family": "dcgan", "settings": {"resolution": 8, "z_dim": 8, "width": 4}}
PLAIN = {"augment": "none", "r1_gamma": 0.0, "path_length_weight": 0.0, "style_mixing": 0.0}

REGULARISED = {
    "feature matching": {**DCGAN, "feature_matching": 1.0},
    "minibatch discrimination": {**MLP, "settings": {**MLP["settings"], "minibatch_kernels": 4}},
    "label smoothing": {**MLP, "label_smoothing": 0.1},
    "instance noise": {**MLP, "instance_noise": 0.2, "instance_noise_kimg": 0.03},
    "spectral norm": {**DCGAN, "settings": {**DCGAN["settings"], "spectral_norm": True}},
    "LeCam": {**MLP, "lecam": 0.3},
    "gradient penalty": {**MLP, "gradient_penalty": 10.0, "objective": "wasserstein"},
    "clipping": {**MLP, "weight_clip": 0.05, "objective": "wasserstein"},
    "R1": {**MLP, "r1_gamma": 1.0, "r1_interval": 2},
    "R1 and R2 in each step": {**MLP, "r1_gamma": 1.0, "r2_gamma": 1.0, "r1_interval": 1},
    "pairs": {**DCGAN, "objective": "relativistic", "d_steps": 2},
}


def config_of(folder, changes) -> TrainConfig:
    given = {**PLAIN, **changes}
    settings = {"channels": 3, "classes": 0, **given.pop("settings", {})}
    config = to_json(make_config(folder, **{"family": "mlp"}, settings={})) | given | {"settings": settings}
    return from_json(TrainConfig, config)


def bench_of(config: TrainConfig) -> Bench:
    dataset = open_dataset(Path(config.dataset))
    return Bench(config=config, device=CPU, dtype=torch.float32, batch=dataset.batch, count=len(dataset))


def after(bench: Bench, count: int, state: TrainState | None = None) -> tuple[TrainState, dict[str, float]]:
    state = state or new_state(bench.config, CPU)
    told: dict[str, torch.Tensor] = {}
    for _ in range(count):
        told |= train_step(bench, state)
    return state, {name: float(value) for name, value in told.items()}


def differ(one: TrainState, other: TrainState) -> list[str]:
    mine, theirs = tensors_of(one), tensors_of(other)
    assert mine.keys() == theirs.keys()
    return [name for name in mine if not torch.equal(mine[name], theirs[name])]


@pytest.fixture
def folder(tmp_path):
    torch.set_num_threads(1)
    return make_dataset(tmp_path / "pictures")


@pytest.mark.parametrize("name", REGULARISED)
def test_it_changes_what_is_learned(folder, name):
    plain = {key: value for key, value in REGULARISED[name].items() if key in ("family", "settings")}
    plain["settings"] = {k: v for k, v in plain["settings"].items() if k not in ("spectral_norm", "minibatch_kernels")}
    _, told = after(bench_of(config_of(folder, REGULARISED[name])), 3)
    _, other = after(bench_of(config_of(folder, plain)), 3)
    assert told["loss_d"] != other["loss_d"] and np.isfinite(list(told.values())).all()
    assert {"g_norm", "d_norm"} <= told.keys() and told["g_norm"] > 0 and told["d_norm"] > 0


@torch.no_grad()
def how_far(before, now):
    then, now = ([weight for weight in network.parameters() if weight.ndim > 1] for network in (before, now))
    way = sum(float((a - b).square().sum()) for a, b in zip(now, then, strict=True)) ** 0.5
    return way / sum(float(weight.square().sum()) for weight in now) ** 0.5


def test_how_far_a_step_moved_the_weights_is_told(folder):
    config = config_of(folder, {})
    before, _ = after(bench_of(config), 4)
    state, told = after(bench_of(config), 5)
    for name, network in (("g_moved", "generator"), ("d_moved", "discriminator")):
        assert 0 < told[name] == pytest.approx(how_far(getattr(before, network), getattr(state, network)), rel=1e-4)


@pytest.mark.parametrize("name", REGULARISED)
def test_a_resumed_run_is_bit_equal(folder, tmp_path, name):
    config = config_of(folder, REGULARISED[name])
    whole, _ = after(bench_of(config), 5)
    first, _ = after(bench_of(config), 2)
    checkpoint.save(tmp_path / "checkpoints", first, config)
    second = new_state(config, CPU)
    assert not checkpoint.restore(tmp_path / "checkpoints", second, config).other_settings
    assert differ(first, second) == []
    after(bench_of(config), 3, second)
    assert differ(whole, second) == [] and second.images == whole.images


def test_features_are_matched_on_average():
    real = (torch.tensor([[1.0, 3.0], [3.0, 5.0]]), torch.zeros(2, 1, 2, 2))
    made = (torch.tensor([[0.0, 2.0]]), torch.ones(2, 1, 2, 2))
    assert regularisers.feature_distance(real, made).item() == pytest.approx(((4 + 4) / 2 + 1) / 2)


def test_label_smoothing_is_cross_entropy_with_a_softer_target():
    logits = torch.linspace(-4, 4, 9)[:, None]
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.full_like(logits, 0.9), reduction="none"
    )
    found = torch.nn.functional.softplus(-logits) + regularisers.smoothed(logits, 0.1)
    torch.testing.assert_close(found, wanted)


def test_lecam_by_hand():
    real, fake, means = torch.tensor([[1.0], [3.0]]), torch.tensor([[-1.0], [0.0]]), torch.tensor([2.0, -1.0])
    assert regularisers.lecam(real, fake, means).item() == pytest.approx((4 + 16) / 2 + (9 + 4) / 2)
    first = regularisers.moved_means(torch.zeros(2), real, fake, turns=0)
    assert first.tolist() == [2.0, -0.5]
    later = regularisers.moved_means(first, real + 100, fake, turns=1000)
    assert later.tolist() == pytest.approx([3.0, -0.5])


def test_instance_noise_fades_with_the_pictures_seen(folder):
    bench = bench_of(config_of(folder, {**MLP, "instance_noise": 0.5, "instance_noise_kimg": 2.0}))
    state, still = new_state(bench.config, CPU), torch.zeros(64, 3, 8, 8)
    spreads = []
    for images in (0, 1000, 2000, 5000):
        state.images = images
        spreads.append(float(pictures.varied(bench, state, still, "real 0").std()))
    assert spreads == [pytest.approx(0.5, rel=0.02), pytest.approx(0.25, rel=0.02), 0.0, 0.0]
    state.images = 0
    one, same = (pictures.varied(bench, state, still, "real 0") for _ in range(2))
    assert torch.equal(one, same) and not torch.equal(one, pictures.varied(bench, state, still, "real 1"))


def test_blur_fades_with_the_pictures_seen_and_passes_slopes(folder):
    bench = bench_of(config_of(folder, {**MLP, "blur_px": 2.0, "blur_kimg": 2.0}))
    state, dots = new_state(bench.config, CPU), torch.zeros(2, 3, 17, 17, requires_grad=True)
    dots.data[:, :, 8, 8] = 1
    heights = []
    for images in (0, 1000, 1600, 2000, 5000):
        state.images = images
        heights.append(float(pictures.blurred(bench, state, dots).detach()[0, 0, 8, 8]))
    assert heights[:3] == pytest.approx([1 / (2 * torch.pi * 4), 1 / (2 * torch.pi), 0.8], rel=0.25)
    assert heights == sorted(heights) and heights[3:] == [1, 1]
    state.images = 0
    pictures.blurred(bench, state, dots).sum().backward()
    assert dots.grad.abs().sum() > 0


def test_about_every_second_picture_is_seen_from_closer_and_passes_slopes(folder):
    bench = bench_of(config_of(folder, {**MLP, "closer": True}))
    state = new_state(bench.config, CPU)
    slanted = torch.linspace(-1, 1, 16).expand(200, 3, 16, 16).clone().requires_grad_(True)
    seen = pictures.looked_closer(bench, state, slanted, "real 0")
    assert torch.equal(seen, pictures.looked_closer(bench, state, slanted, "real 0"))
    inner = seen.detach()[:, 0, 8, 5] - seen.detach()[:, 0, 8, 4]
    assert set((inner * 15).round(decimals=3).tolist()) == {1.0, 2.0}, "half as steep, or as it was"
    near = (inner * 15).round() == 1
    assert 70 < near.sum() < 130
    assert len(seen.detach()[near, 0, 8, 8].unique()) > 4, "from anywhere in it"
    seen.sum().backward()
    assert slanted.grad[~near].eq(1).all() and slanted.grad[near].sum(dim=(1, 2, 3)).eq(3 * 16 * 16).all()
    plain = bench_of(config_of(folder, MLP))
    assert pictures.looked_closer(plain, state, slanted, "real 0") is slanted


def test_a_calm_step_is_a_small_one(folder):
    bench = bench_of(config_of(folder, MLP))
    state, rates = new_state(bench.config, CPU), []
    first = [optimizer.param_groups[0]["lr"] for optimizer in (state.g_optimizer, state.d_optimizer)]
    for calm in (False, True, True, False):
        train_step(bench, state, calm=calm)
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in (state.g_optimizer, state.d_optimizer)])
    quarter = [rate / 4 for rate in first]
    assert rates == [first, quarter, quarter, first]
    state.rate_scale = 0.5
    train_step(bench, state, calm=True)
    assert state.g_optimizer.param_groups[0]["lr"] == first[0] / 8, "a run that went back is slower still"


def test_a_run_settles_to_a_quarter_of_its_rates(folder):
    bench = bench_of(config_of(folder, {**MLP, "settle_kimg": 2.0}))
    state = new_state(bench.config, CPU)
    first = [optimizer.param_groups[0]["lr"] for optimizer in (state.g_optimizer, state.d_optimizer)]
    for seen, share in ((0, 1.0), (2000, 0.5), (4000, 1 / 3), (6000, 0.25), (60_000, 0.25)):
        state.images = seen
        train_step(bench, state)
        rates = [optimizer.param_groups[0]["lr"] for optimizer in (state.g_optimizer, state.d_optimizer)]
        assert rates == pytest.approx([rate * share for rate in first])


class Redrawing(torch.nn.Module):
    """A critic that must redraw real pictures, and does it badly by a constant."""

    def __init__(self, critic, missed):
        super().__init__()
        self.critic, self.missed, self.asked = critic, torch.nn.Parameter(torch.tensor(missed)), []

    def forward(self, images, label=None):
        return self.critic(images, label)

    def judge_and_rebuild(self, images, label, random):
        self.asked.append(float(torch.rand([], generator=random)))
        return self.critic(images, label), self.missed.expand(len(images))


def test_a_redrawing_critic_is_asked_for_real_pictures(folder):
    bench = bench_of(config_of(folder, {**MLP, "rebuild_weight": 2.0, "optimizer": "sgd"}))
    state = new_state(bench.config, CPU)
    state.discriminator = Redrawing(state.discriminator, 3.0)
    state.d_optimizer = torch.optim.SGD(state.discriminator.parameters(), lr=0.1)
    told = [train_step(bench, state)["rebuilding"] for _ in range(2)]
    assert [float(value) for value in told] == pytest.approx([6.0, 5.6])
    assert len(set(state.discriminator.asked)) == 2


def test_what_is_compared_one_by_one_shares_its_label(tmp_path):
    data = make_dataset(tmp_path / "classes", classes=3)
    conditional = {**DCGAN, "settings": {**DCGAN["settings"], "classes": 3}}
    for objective, same in (("relativistic", True), ("nonsaturating", False)):
        bench = bench_of(config_of(data, {**conditional, "objective": objective}))
        state = new_state(bench.config, CPU)
        sides = [steps.Sides.of(bench, state, *steps.real_pictures(bench, state, turn), turn) for turn in range(4)]
        assert all(torch.equal(side.label, side.made_label) for side in sides) is same


def test_the_generator_gets_no_slope_through_real_pictures(folder):
    bench = bench_of(config_of(folder, {**MLP, "objective": "relativistic", "optimizer": "sgd"}))
    state = new_state(bench.config, CPU)
    critic = copy.deepcopy(state.discriminator)
    seen = []
    state.discriminator.forward = lambda images, label=None: seen.append(images.requires_grad) or critic(images, label)
    real, label = steps.real_pictures(bench, state, 0)
    steps.generator_step(bench, state, real, label)
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"label_smoothing": 0.1, "objective": "hinge"}, "probability"),
        ({"weight_clip": 0.1, "family": "mlp", "settings": {"spectral_norm": True}}, "same weights"),
        ({"gradient_penalty": 10.0, "family": "dcgan"}, "batch"),
        ({"objective": "wasserstein", "family": "mlp"}, "bound"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(wrong, word):
    with pytest.raises(BadInput, match=word) as refusal:
        TrainConfig(**wrong)
    assert refusal.value.hint
    TrainConfig(objective="wasserstein", family="mlp", settings={"spectral_norm": True})


def test_feature_matching_needs_a_critic_with_features(folder):
    with pytest.raises(BadInput, match="features"):
        regularisers.require_able(config_of(folder, {**MLP, "feature_matching": 1.0}), torch.nn.Linear(1, 1))
    assert isinstance(new_state(config_of(folder, MLP), CPU).discriminator, Featured)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_learns_with_both_players(folder, objective):
    bound = {"gradient_penalty": 10.0} if objective == "wasserstein" else {}
    state, told = after(bench_of(config_of(folder, {**MLP, "objective": objective, **bound})), 2)
    assert np.isfinite(list(told.values())).all() and state.step == 2 and -1 <= state.sign_mean <= 1


def test_the_feed_is_read_ahead_and_tells_what_went_wrong(folder):
    bench = bench_of(config_of(folder, MLP))
    state, dataset = new_state(bench.config, CPU), open_dataset(folder)
    asked = []
    feed = pictures.Bench(
        config=bench.config, device=CPU, dtype=torch.float32, count=24,
        batch=lambda places: asked.append(places) or dataset.batch(places),
    ).feed  # fmt: skip
    first, _ = feed.take([0, 1], [2, 3])
    second, _ = feed.take([2, 3], [99])
    assert torch.equal(first, dataset.batch([0, 1])[0]) and torch.equal(second, dataset.batch([2, 3])[0])
    other, _ = feed.take([5], [6])
    assert torch.equal(other, dataset.batch([5])[0]) and asked[:2] == [[0, 1], [2, 3]]
    feed.take([6], [99])
    with pytest.raises(IndexError):
        feed.take([99], [0])
    assert state.step == 0


def test_a_critic_that_is_no_number_stops_the_step_before_it_moves(folder):
    bench = bench_of(config_of(folder, MLP))
    state = new_state(bench.config, CPU)
    with torch.no_grad():
        state.discriminator.out.weight.fill_(float("nan"))
    before = {name: value.clone() for name, value in state.generator.named_parameters()}
    with pytest.raises(NotFinite):
        train_step(bench, state)
    assert all(torch.equal(before[name], value) for name, value in state.generator.named_parameters())
