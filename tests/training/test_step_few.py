"""FastGAN, with both critics, and R3GAN in the training step: ten steps, and a checkpoint that changes nothing."""

import pytest
import torch
from stand_ins import FINGERPRINT, make_dataset

from studio.data.dataset import open_dataset
from studio.families.fastgan_critic import SpectralConvolution
from studio.training import pictures
from studio.training.config import TrainConfig
from studio.training.state import new_state, put_tensors, tensors_of
from studio.training.step import Bench, train_step

CPU = torch.device("cpu")
RECIPES = {
    "fastgan": {
        "settings": {"resolution": 16, "z_dim": 8, "width": 2, "critic_width": 4}, "objective": "hinge",
        "rebuild_weight": 1.0, "r1_gamma": 0.0, "augment": "diffaugment", "beta1": 0.5, "beta2": 0.999,
    },
    "projected": {
        "settings": {"resolution": 16, "z_dim": 8, "width": 2, "critic_width": 2, "projected": True},
        "objective": "hinge", "r1_gamma": 0.0, "augment": "diffaugment", "beta1": 0.0, "beta2": 0.99,
        "blur_px": 1.0, "blur_kimg": 0.1,
    },
    "r3gan": {
        "settings": {"resolution": 16, "z_dim": 8, "widths": [16, 16, 8], "groups": [4, 4, 2], "blocks": [1, 1, 1]},
        "objective": "relativistic", "r1_gamma": 1.0, "r2_gamma": 1.0, "r1_interval": 1, "augment": "ada",
        "beta1": 0.0, "beta2": 0.99,
    },
}  # fmt: skip


FAMILIES = {"projected": "fastgan"}


def bench_of(folder, family, classes=0, precision="float32", **changes):
    recipe = {**RECIPES[family], **changes}
    settings = {**recipe["settings"], "channels": 3, "classes": classes}
    given = {**recipe, "settings": settings, "path_length_weight": 0.0, "style_mixing": 0.0, "ema_kimg": 0.02}
    config = TrainConfig(
        family=FAMILIES.get(family, family), dataset=str(folder), dataset_fingerprint=FINGERPRINT, batch=4, seed=5,
        threads=1, device="cpu", precision=precision, g_learning_rate=0.001, d_learning_rate=0.001, **given,
    )  # fmt: skip
    dataset = open_dataset(folder)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return Bench(config=config, device=CPU, dtype=dtype, batch=dataset.batch, count=len(dataset))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("family", sorted(RECIPES))
def test_ten_steps_move_everything_and_stay_finite(tmp_path, family, classes, precision):
    torch.set_num_threads(1)
    bench = bench_of(make_dataset(tmp_path / "pictures", resolution=16, classes=classes), family, classes, precision)
    state = new_state(bench.config, CPU)
    before = {name: value.clone() for name, value in tensors_of(state).items()}
    told = [train_step(bench, state) for _ in range(10)]
    assert all(torch.isfinite(value).all() for metrics in told for value in metrics.values())
    assert (family == "fastgan") == ("rebuilding" in told[0]) and (family == "r3gan") == ("r2" in told[0])
    after = tensors_of(state)
    still = [name for name, value in before.items() if name.startswith(("generator.", "discriminator."))
             and ".mixing." not in name and value.is_floating_point() and value.numel() > 1
             and torch.equal(value, after[name])]  # fmt: skip
    assert not still


def test_before_a_critic_without_transparency_each_picture_has_a_ground_of_its_own(tmp_path):
    bench = bench_of(make_dataset(tmp_path / "pictures", resolution=16), "projected")
    state, clear = new_state(bench.config, CPU), torch.full((6, 4, 16, 16), -1.0)
    opaque = torch.cat([torch.rand(6, 3, 16, 16), torch.ones(6, 1, 16, 16)], dim=1)
    first, again, other = (pictures.grounded(bench, state, clear, purpose) for purpose in ("real 0", "real 0", "r1"))
    assert first.shape == (6, 3, 16, 16) and torch.equal(first, again) and not torch.equal(first, other)
    assert len({float(ground[0, 0, 0]) for ground in first}) == 6 and first.abs().max() <= 1
    assert all(len(ground.unique()) == 1 for ground in first)
    assert torch.equal(pictures.grounded(bench, state, opaque, "real 0"), opaque[:, :3])
    assert pictures.varied(bench, state, clear, "real 0").shape[1] == 3


def test_class_layers_learn_at_their_own_pace(tmp_path):
    """A first step of Adam moves every weight by its rate."""
    bench = bench_of(make_dataset(tmp_path / "pictures", resolution=16, classes=2), "projected", 2, class_pace=0.1)
    state = new_state(bench.config, CPU)
    before = {name: weight.detach().clone() for name, weight in state.generator.named_parameters()}
    train_step(bench, state)
    after = {name: weight.detach() for name, weight in state.generator.named_parameters()}
    moved = {name: float((weight - before[name]).abs().max()) for name, weight in after.items()}
    apart = {name for name in moved if name.startswith("embed") or ".gain." in name or ".bias." in name}
    assert len(apart) > 8 and apart < set(moved)
    for name, value in moved.items():
        assert value == pytest.approx(0.0001 if name in apart else 0.001, rel=0.02), name


@pytest.mark.parametrize(
    ("family", "classes", "pace"), [*((name, 0, 1.0) for name in sorted(RECIPES)), ("projected", 2, 0.1)]
)
def test_a_run_goes_on_from_its_tensors_bit_for_bit(tmp_path, family, classes, pace):
    """The vectors of the spectral norm and the statistics of batch normalisation are among them."""
    torch.set_num_threads(1)
    dataset = make_dataset(tmp_path / "pictures", resolution=16, classes=classes)
    bench = bench_of(dataset, family, classes, class_pace=pace)
    whole, half = new_state(bench.config, CPU), new_state(bench.config, CPU)
    for _ in range(3):
        train_step(bench, half)
    saved = {name: value.clone() for name, value in tensors_of(half).items()}
    again = new_state(bench.config, CPU)
    for _ in range(3):
        train_step(bench, again)
    with torch.no_grad():
        for value in again.discriminator.buffers():
            value.zero_() if value.is_floating_point() else value.fill_(9)
    put_tensors(again, saved)
    for state, count in ((whole, 6), (again, 3)):
        for _ in range(count):
            train_step(bench, state)
    expected, found = tensors_of(whole), tensors_of(again)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    kept = [name for name in saved if name.endswith((".left", "running_mean"))]
    assert bool(kept) == any(isinstance(module, SpectralConvolution) for module in whole.discriminator.modules())
