"""The one thing to change, done by one click: each remedy of the closed list alters a few settings of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.training.config import TrainConfig
from studio.training.health import DETECTORS

_SLOWER = 0.5
_SMOOTHER = 4.0
_QUICK_ADA_KIMG = 50.0
_MOST_D_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """Words for a button and for afterwards, and what it changes.

    Attributes:
        change: the settings that become different. possible: whether it can help a run with these settings.
        back: the run also goes back to where it was healthy. ends: the run ends, and its model is kept.
    """

    words: str
    done: str
    change: Callable[[TrainConfig], dict[str, Any]] = lambda config: {}
    possible: Callable[[TrainConfig], bool] = lambda config: True
    back: bool = False
    ends: bool = False


def _slower(config: TrainConfig) -> dict[str, Any]:
    return {
        "g_learning_rate": config.g_learning_rate * _SLOWER,
        "d_learning_rate": config.d_learning_rate * _SLOWER,
    }


def _quicker_critic(config: TrainConfig) -> dict[str, Any]:
    if config.d_learning_rate < config.g_learning_rate:
        return {"d_learning_rate": config.g_learning_rate}
    return {"d_steps": config.d_steps + 1}


REMEDIES: Mapping[str, Remedy] = {
    "slower": Remedy(
        words="Halve the learning rates", done="The learning rates were halved.", change=_slower
    ),
    "back": Remedy(
        words="Go back and learn more slowly",
        done="The run went back to where it was healthy, with half the learning rates.",
        change=_slower,
        back=True,
    ),
    "vary": Remedy(
        words="Vary the pictures",
        done="The pictures are now varied as strongly as the critic needs (ADA).",
        change=lambda config: {"augment": "ada", "ada_speed_kimg": min(config.ada_speed_kimg, _QUICK_ADA_KIMG)},
        possible=lambda config: config.augment != "ada",
    ),
    "smoother": Remedy(
        words="Keep the critic smoother",
        done="The critic is now kept four times as smooth (R1 gamma).",
        change=lambda config: {"r1_gamma": min(1000.0, config.r1_gamma * _SMOOTHER)},
        possible=lambda config: 0 < config.r1_gamma < 1000,
    ),
    "slower critic": Remedy(
        words="Halve the critic's learning rate",
        done="The critic now learns at half the speed.",
        change=lambda config: {"d_learning_rate": config.d_learning_rate * _SLOWER},
    ),
    "quicker critic": Remedy(
        words="Let the critic learn faster",
        done="The critic now learns faster.",
        change=_quicker_critic,
        possible=lambda config: config.d_learning_rate < config.g_learning_rate or config.d_steps < _MOST_D_STEPS,
    ),
    "finish": Remedy(
        words="End here and keep the model", done="The run ends here.", ends=True
    ),
}  # fmt: skip
"""All remedies. Detectors name them in the order of preference."""

_BY_TOPIC = {detector.topic: detector.remedies for detector in DETECTORS}


def first_possible(names: Iterable[str], config: TrainConfig) -> Remedy | None:
    """The first of these remedies that can help a run with these settings."""
    return next((REMEDIES[name] for name in names if REMEDIES[name].possible(config)), None)


def for_topic(topic: str, config: TrainConfig) -> Remedy | None:
    """The remedy that the alarm of this topic offers now; None: there is none."""
    return first_possible(_BY_TOPIC.get(topic, ()), config)


def applied(remedy: Remedy, config: TrainConfig) -> TrainConfig:
    """The settings after the remedy."""
    return dataclasses.replace(config, **remedy.change(config))
