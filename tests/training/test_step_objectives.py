"""A recorded loss curve for every objective, and two classes that a tiny conditional run must tell apart."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import make_config, make_dataset

from studio.data.dataset import open_dataset
from studio.training.bench import Bench
from studio.training.config import OBJECTIVES
from studio.training.state import new_state
from studio.training.step import train_step

GOLDEN = Path(__file__).parents[1] / "golden" / "objective_losses.json"
"""{objective: [[loss of G, loss of D], …]}, 20 steps in float32 on one thread; remade by `curve` when a step changes."""
TOLERANCE = 2e-3
STEPS = 20
CPU = torch.device("cpu")
ADAM = {
    "g_learning_rate": 0.001, "d_learning_rate": 0.001, "beta1": 0.5, "beta2": 0.99, "augment": "none",
    "r1_gamma": 0.0, "path_length_weight": 0.0, "style_mixing": 0.0,
}  # fmt: skip


def run_of(folder, family, **changes):
    """A bench and a fresh state. `stand_ins` has StyleGAN2's settings, which these families do not know."""
    own = {"resolution": 8, "channels": 3, "z_dim": 8} | changes.pop("settings", {})
    config = make_config(folder, **{**ADAM, **changes})
    config = type(config)(**{**vars(config), "family": family, "settings": own})
    dataset = open_dataset(folder)
    bench = Bench(config=config, device=CPU, dtype=torch.float32, batch=dataset.batch, count=len(dataset))
    return bench, new_state(config, CPU)


def curve(folder, objective):
    """The losses [20, 2] of both players with one objective."""
    torch.set_num_threads(1)
    bound = {"gradient_penalty": 10.0} if objective == "wasserstein" else {}
    bench, state = run_of(folder, "mlp", objective=objective, settings={"width": 32, "depth": 2}, batch=8, **bound)
    told = [train_step(bench, state) for _ in range(STEPS)]
    return [[round(float(metrics[name]), 5) for name in ("loss_g", "loss_d")] for metrics in told]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_curve_is_the_recorded_one(tmp_path, objective):
    wanted = json.loads(GOLDEN.read_text())[objective]
    np.testing.assert_allclose(curve(make_dataset(tmp_path / "x"), objective), wanted, rtol=TOLERANCE, atol=TOLERANCE)


def black_and_white(folder):
    """Sixteen pictures of two classes: black ones, and white ones."""
    make_dataset(folder, count=16, classes=2)
    pixels = np.zeros((16, 8, 8, 3), dtype=np.uint8)
    pixels[1::2] = 255
    np.save(folder / "pixels.npy", pixels)
    return folder


@pytest.mark.parametrize(
    ("family", "settings", "changes"),
    [
        ("mlp", {"width": 32, "depth": 2}, {}),
        ("mlp", {"width": 32, "depth": 2}, {"objective": "relativistic", "r1_gamma": 0.1, "r1_interval": 1}),
        ("dcgan", {"width": 4}, {}),
        ("dcgan", {"width": 4, "spectral_norm": True}, {"objective": "hinge"}),
    ],
)
def test_classes_are_learned(tmp_path, family, settings, changes):
    torch.set_num_threads(1)
    bench, state = run_of(
        black_and_white(tmp_path / "x"), family, settings={"classes": 2, **settings},
        batch=8, beta1=0.0, ema_kimg=0.4, g_learning_rate=0.004, d_learning_rate=0.004, **changes,
    )  # fmt: skip
    for _ in range(200):
        train_step(bench, state)
    z = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        black, white = (state.average(z, label.expand(32, 2)).mean() for label in torch.eye(2))
    assert black < -0.3 and white > 0.3
