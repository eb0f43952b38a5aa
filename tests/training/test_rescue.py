"""Faults planted in real short runs, and what the run does about them."""

import dataclasses
import json

import pytest
import torch
from stand_ins import make_config, make_dataset, make_run

from studio.training import checkpoint, loop, opening, trail, turns
from studio.training.events import Failed, Finished, Progress, Started, Warned
from studio.training.health import Alarm, Sentinel, Verdict
from studio.training.loop import train


@pytest.fixture
def pictures(tmp_path):
    return make_dataset(tmp_path / "pictures")


def spoil(tensor, value=float("nan")):
    tensor.data[tuple(size // 2 for size in tensor.shape)] = value


def largest(network):
    return max(network.parameters(), key=torch.numel)


def plant(monkeypatch, at, act):
    """Let `act(state)` happen once before the step number `at`."""
    real, done = loop.train_step, []

    def stepping(bench, state, **how):
        if state.step == at and not done:
            done.append(True)
            act(state)
        return real(bench, state, **how)

    monkeypatch.setattr(loop, "train_step", stepping)


FAULTS = {
    "generator": lambda state: spoil(largest(state.generator)),
    "discriminator": lambda state: spoil(largest(state.discriminator)),
    "average": lambda state: spoil(largest(state.average)),
    "infinite average": lambda state: spoil(largest(state.average), float("inf")),
    "first moment": lambda state: spoil(next(iter(state.g_optimizer.state.values()))["exp_avg"]),
    "second moment": lambda state: spoil(next(iter(state.d_optimizer.state.values()))["exp_avg_sq"], float("inf")),
    "slope": lambda state: largest(state.generator).register_hook(lambda slope: slope * float("nan")),
    "loss": lambda state: state.discriminator.register_forward_hook(lambda _, given, answer: answer * float("nan")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_number_is_seen_and_the_run_goes_on(tmp_path, pictures, monkeypatch, fault):
    monkeypatch.setattr(turns, "CHECK_SECONDS", 0.0)
    plant(monkeypatch, 6, FAULTS[fault])
    folder = make_run(tmp_path / "run", make_config(pictures, kimg=0.06, publish_to=str(tmp_path / "model")))
    told = list(train(folder))
    warned = [event for event in told if isinstance(event, Warned)]
    assert [event.topic for event in warned] == ["numbers"] and warned[0].step == 0 and warned[0].did
    assert isinstance(told[-1], Finished) and told[-1].step == 15
    tensors, about = checkpoint.read(checkpoint.found(folder.checkpoints)[0])
    assert all(bool(value.isfinite().all()) for value in tensors.values()) and about["rollbacks"] == 1


def test_everything_is_looked_through_often_enough():
    assert turns.CHECK_SECONDS <= 5


class Sick(Sentinel):
    """Finds something at chosen steps."""

    at: tuple[int, ...] = ()
    left: tuple[int, ...] | list[int] = ()
    grave = True

    def examine(self, vitals):
        if round(vitals.kimg * 250) in self.at and self.left:
            self.left.pop()
            alarm = Alarm(
                topic="divergence", message="It diverges.", hint="Slow down.", remedies=("slower",), grave=self.grave
            )
            return [alarm]
        return []


def sick(monkeypatch, at, times=99, grave=True):
    """Let the sentinel raise an alarm of divergence at a step, so many times, and take a reading at every step."""
    from studio.training import rescue, sitting

    kind = type("SickNow", (Sick,), {"at": (at,), "grave": grave, "left": [0] * times})
    monkeypatch.setattr(rescue, "Sentinel", kind)
    monkeypatch.setattr(sitting.Sitting.__dataclass_fields__["sentinel"], "default_factory", kind)
    monkeypatch.setattr(turns, "PROGRESS_SECONDS", -1e9)
    real = opening.open_sitting

    def opened(*given):
        found = real(*given)
        found[0].sentinel = kind()
        return found

    monkeypatch.setattr(loop, "open_sitting", opened)


def test_it_goes_back_to_the_healthy_checkpoint(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(trail, "SURVIVED_SECONDS", 0.0)
    monkeypatch.setattr(trail, "SURVIVED_STEPS", 3)
    sick(monkeypatch, 12, times=1)
    folder = make_run(tmp_path / "run", make_config(pictures, kimg=0.06, checkpoint_seconds=1.0, snapshot_count=500))
    seconds = iter(range(10**6))
    told = list(train(folder, clock=lambda: float(next(seconds))))
    warned = [event for event in told if isinstance(event, Warned)]
    assert [event.topic for event in warned] == ["divergence"] and 3 < warned[0].step < 12
    assert warned[0].did == f"The run went back to step {warned[0].step} and learns at 50% of the speed."
    assert isinstance(told[-1], Finished) and told[-1].step == 15
    assert checkpoint.healthy(folder.checkpoints) in checkpoint.found(folder.checkpoints)
    assert 2 <= len(checkpoint.found(folder.checkpoints)) <= 4


def test_it_never_loops_for_ever(tmp_path, pictures, monkeypatch):
    sick(monkeypatch, 4)
    folder = make_run(tmp_path / "run", make_config(pictures))
    told = list(train(folder))
    warned = [event for event in told if isinstance(event, Warned)]
    assert len(warned) == 3 and isinstance(told[-1], Failed) and "three times" in told[-1].message
    assert told[-1].step == 0 and [snapshot.name for snapshot in folder.snapshots.iterdir()] == ["00000000"]
    state = checkpoint.read(checkpoint.found(folder.checkpoints)[0])[1]
    assert state["step"] == 0 and state["rollbacks"] == 0 and state["rate_scale"] < 0.02


def test_a_milder_alarm_offers_a_click_and_the_click_is_carried_out(tmp_path, pictures, monkeypatch):
    sick(monkeypatch, 4, times=1, grave=False)
    folder = make_run(tmp_path / "run", make_config(pictures))
    told = []
    for event in train(folder):
        told.append(event)
        if isinstance(event, Warned) and event.remedy:
            folder.heal.write_text(event.topic)
    warned = [event for event in told if isinstance(event, Warned)]
    assert warned[0].remedy == "Halve the learning rates" and not warned[0].did
    assert "halved" in warned[1].message and warned[1].did and not warned[1].remedy
    config = folder.read_config()
    assert config.g_learning_rate == 0.00125 and isinstance(told[-1], Finished) and told[-1].step == 10
    again = list(train(folder))
    assert not any(isinstance(event, Warned) for event in again)


def heal_at_once(folder, topic):
    folder.heal.write_text(topic)
    return list(train(folder))


def test_each_remedy_does_what_it_says(tmp_path, pictures):
    config = make_config(pictures, augment="none")
    folder = make_run(tmp_path / "vary", config)
    heal_at_once(folder, "critic")
    assert folder.read_config().augment == "ada"
    folder = make_run(tmp_path / "smoother", dataclasses.replace(config, augment="ada"))
    heal_at_once(folder, "critic")
    assert folder.read_config().r1_gamma == 4 * config.r1_gamma
    folder = make_run(tmp_path / "quicker", dataclasses.replace(config, d_learning_rate=0.0))
    heal_at_once(folder, "fooled")
    assert folder.read_config().d_learning_rate == config.g_learning_rate
    folder = make_run(tmp_path / "back", config)
    told = heal_at_once(folder, "collapse")
    assert folder.read_config().g_learning_rate == config.g_learning_rate / 2 and isinstance(told[-1], Finished)
    folder = make_run(tmp_path / "finish", config)
    folder.write_wish("train")
    folder.heal.write_text("copies")
    told = list(train(folder, wish=folder.read_wish))
    assert folder.read_wish() == "stop" and told[-1].step == 1
    folder = make_run(tmp_path / "nonsense", config)
    assert isinstance(heal_at_once(folder, "no such topic")[-1], Finished) and folder.read_config() == config


def test_probation():
    watched = trail.Trail()
    assert watched.survivor(100, 100.0) is None
    import pathlib

    here = pathlib.Path(__file__)
    watched.saved(here, 10, 5.0)
    assert watched.survivor(10 + trail.SURVIVED_STEPS, 5.0) is None
    assert watched.survivor(10 + trail.SURVIVED_STEPS, 5.0 + trail.SURVIVED_SECONDS) == here
    assert watched.survivor(10_000, 10_000.0) is None
    watched.saved(here, 10, 5.0)
    watched.saved(here.with_name("later"), 9_999, 9_999.0)
    assert watched.file == here
    watched.doubt()
    assert watched.survivor(10_000, 10_000.0) is None


def test_the_folder_explains_itself(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures))
    told = list(train(folder))
    text = folder.readme.read_text()
    assert (
        "It is done" in text
        and "python -m studio.training run" in text
        and "Learning rate of the forger (generator): **0.0025**" in text
    )
    assert all(f"`{name}`" in text for name in ("config.json", "events.jsonl", "checkpoints/", "snapshots/"))
    begun = next(event for event in told if isinstance(event, Started))
    assert begun.memory_bytes > 0 and begun.free_bytes > 0


def test_figures_tell_the_norms_and_the_diversity(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures))
    figures = [event for event in train(folder) if isinstance(event, Progress)][-1].metrics
    assert {"g_norm", "d_norm", "diversity", "sign", "augment_p", "real_logit", "fake_logit"} <= figures.keys()
    assert Verdict.FINE < Verdict.ILL < Verdict.GRAVE and json.dumps(figures)
