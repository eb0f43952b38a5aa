import pytest
import torch
from stand_ins import make_config

from studio import paths
from studio.errors import BadInput, Damaged, NoSpace
from studio.training import checkpoint
from studio.training.state import new_state, set_rates, tensors_of
from studio.training.step import NotFinite

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "pictures")


def state_at(config, step):
    state = new_state(config, CPU)
    state.step, state.images, state.augment_p = step, step * 4, 0.1 + 0.2
    for weight in state.generator.parameters():
        weight.grad = torch.full_like(weight, 0.5)
    state.g_optimizer.step()
    return state


def test_it_holds_everything_bit_for_bit(tmp_path, config):
    state = state_at(config, 7)
    checkpoint.save(tmp_path / "c", state, config)
    fresh = new_state(make_config(tmp_path / "pictures", seed=99), CPU)
    restored = checkpoint.restore(tmp_path / "c", fresh, config)
    assert restored.file == "00000007.safetensors" and not restored.damaged and not restored.other_settings
    assert (fresh.step, fresh.images, fresh.augment_p) == (7, 28, 0.1 + 0.2)
    before, after = tensors_of(state), tensors_of(fresh)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_two_newest_are_kept(tmp_path, config):
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path / "c", state_at(config, step), config)
    assert [file.name for file in checkpoint.found(tmp_path / "c")] == ["00000004.safetensors", "00000003.safetensors"]


@pytest.mark.parametrize("place", [3, 20, 200, -1, "cut", "empty"])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, config, place):
    checkpoint.save(tmp_path / "c", state_at(config, 1), config)
    newest = checkpoint.save(tmp_path / "c", state_at(config, 2), config)
    content = bytearray(newest.read_bytes())
    if place == "cut":
        content = content[: len(content) // 2]
    elif place == "empty":
        content = bytearray()
    else:
        content[place] ^= 0x55
    newest.write_bytes(content)
    with pytest.raises(Damaged):
        checkpoint.read(newest)
    state = new_state(config, CPU)
    restored = checkpoint.restore(tmp_path / "c", state, config)
    assert restored.file == "00000001.safetensors" and len(restored.damaged) == 1 and state.step == 1


def test_without_room_the_old_one_stays(tmp_path, config, monkeypatch):
    checkpoint.save(tmp_path / "c", state_at(config, 1), config)

    def full(folder, needed_bytes):
        raise NoSpace("The disk is full.")

    monkeypatch.setattr(paths, "require_space", full)
    with pytest.raises(NoSpace):
        checkpoint.save(tmp_path / "c", state_at(config, 2), config)
    assert [file.name for file in (tmp_path / "c").iterdir()] == ["00000001.safetensors"]


def test_nothing_that_is_not_finite_is_saved(tmp_path, config):
    state = state_at(config, 1)
    next(state.discriminator.parameters()).data.view(-1)[0] = float("nan")
    with pytest.raises(NotFinite):
        checkpoint.save(tmp_path / "c", state, config)
    assert not list((tmp_path / "c").iterdir())


def test_other_pictures_and_other_networks_are_refused(tmp_path, config):
    checkpoint.save(tmp_path / "c", state_at(config, 1), config)
    other = make_config(tmp_path / "pictures", dataset_fingerprint="e" * 64)
    with pytest.raises(BadInput, match="pictures"):
        checkpoint.restore(tmp_path / "c", new_state(other, CPU), other)
    wider = make_config(tmp_path / "pictures", settings={"channel_max": 16, "channel_base": 128})
    with pytest.raises(BadInput, match="settings"):
        checkpoint.restore(tmp_path / "c", new_state(wider, CPU), wider)


def test_other_rates_are_noticed(tmp_path, config):
    checkpoint.save(tmp_path / "c", state_at(config, 1), config)
    other = make_config(tmp_path / "pictures", g_learning_rate=0.1)
    assert checkpoint.restore(tmp_path / "c", new_state(other, CPU), other).other_settings


def test_a_lowered_rate_survives(tmp_path, config):
    state = state_at(config, 1)
    state.rate_scale = 0.5
    checkpoint.save(tmp_path / "c", state, config)
    fresh = new_state(config, CPU)
    checkpoint.restore(tmp_path / "c", fresh, config)
    set_rates(fresh)
    assert fresh.g_optimizer.param_groups[0]["lr"] == state.g_optimizer.param_groups[0]["lr"] / 2


def test_the_healthy_one_is_kept_and_can_be_gone_back_to(tmp_path, config):
    folder = tmp_path / "c"
    for step in (1, 2, 3, 4):
        file = checkpoint.save(folder, state_at(config, step), config)
        if step == 1:
            checkpoint.mark_healthy(folder, file)
    assert [file.stem[-1] for file in checkpoint.found(folder)] == ["4", "3", "1"]
    checkpoint.mark_healthy(folder, checkpoint.found(folder)[1])
    assert [file.stem[-1] for file in checkpoint.found(folder)] == ["4", "3"]
    checkpoint.forget_later(folder, checkpoint.healthy(folder))
    assert [file.stem[-1] for file in checkpoint.found(folder)] == ["3"]
    checkpoint.forget_later(folder, None)
    assert not checkpoint.found(folder) and checkpoint.healthy(folder) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_every_tensor_is_looked_through(config, value):
    tensors = tensors_of(state_at(config, 1))
    checkpoint.require_finite(tensors)
    names = [name for name in tensors if tensors[name].is_floating_point()][::7]
    for name in names:
        whole = tensors[name].clone()
        tensors[name].data[tuple(size // 2 for size in whole.shape)] = value
        with pytest.raises(NotFinite):
            checkpoint.require_finite(tensors)
        tensors[name].data.copy_(whole)
