import dataclasses
import json

import pytest

from studio.errors import BadInput
from studio.options import from_json, options, to_json
from studio.training.config import TrainConfig


def test_json_and_back_is_equal():
    config = TrainConfig(settings={"resolution": 32}, minutes=5.0, r1_gamma=0.5, mirror=True, dataset="/pictures")
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(config)))) == config


def test_every_option_has_a_sentence():
    for described in options(TrainConfig):
        assert described.help.endswith("."), described.name


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"r1_gamma": -1.0}, {"optimizer": "magic"}, {"minutes": float("nan")}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(BadInput):
        TrainConfig(**wrong)


def test_wasserstein_needs_a_bound():
    with pytest.raises(BadInput, match="bound"):
        TrainConfig(objective="wasserstein")
    TrainConfig(objective="wasserstein", weight_clip=0.01)


def test_more_time_is_not_another_run_but_another_rate_is():
    config = TrainConfig()
    assert dataclasses.replace(config, minutes=99.0, title="x").numeric_hash() == config.numeric_hash()
    assert dataclasses.replace(config, g_learning_rate=0.1).numeric_hash() != config.numeric_hash()
    assert dataclasses.replace(config, settings={"resolution": 32}).numeric_hash() != config.numeric_hash()
