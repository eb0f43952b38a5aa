"""The step with StyleGAN3 in the place of StyleGAN2."""

import pytest
import torch
from stand_ins import make_config, make_dataset

from studio.data.dataset import open_dataset
from studio.training.state import new_state
from studio.training.step import Bench, train_step

CPU = torch.device("cpu")


@pytest.mark.parametrize(("kind", "dtype"), [("t", torch.float32), ("r", torch.bfloat16)])
def test_it_learns_and_follows_its_means(tmp_path, kind, dtype):
    torch.set_num_threads(1)
    pictures = make_dataset(tmp_path / "pictures", resolution=16)
    config = make_config(
        pictures, family="stylegan3", settings={"resolution": 16, "config": kind}, path_length_weight=0.0,
        style_mixing=0.0, augment="none",
    )  # fmt: skip
    dataset = open_dataset(pictures)
    bench = Bench(config=config, device=CPU, dtype=dtype, batch=dataset.batch, count=len(dataset))
    state = new_state(config, CPU)
    before = {name: value.clone() for name, value in state.generator.state_dict().items()}
    told = [train_step(bench, state) for _ in range(2)]
    assert all(value.isfinite() for metrics in told for value in metrics.values()) and "r1" in told[0]
    changed = {name for name, value in state.generator.state_dict().items() if not torch.equal(before[name], value)}
    still = {name for name in before if name.endswith(("_filter", "freqs", "phases", "transform"))}
    assert changed == set(before) - still
    assert not state.average.training and state.average.state_dict().keys() == before.keys()
    layer = next(name for name in before if name.endswith("magnitude_ema"))
    assert torch.equal(state.average.state_dict()[layer], state.generator.state_dict()[layer])
    picture = state.average(torch.randn(1, 8))
    assert picture.shape == (1, 3, 16, 16) and picture.isfinite().all()
