"""Whether a run can start from a model: asked when it is planned, and once more when it begins."""

from __future__ import annotations

from studio.data.info import DatasetInfo
from studio.errors import BadInput
from studio.families.base import family, settings_from
from studio.options import to_json
from studio.training.config import TrainConfig
from studio.weights.card import ModelCard


def require_fit(card: ModelCard, info: DatasetInfo, config: TrainConfig | None = None) -> None:
    """Raise BadInput, with the sentence that says why, if training cannot go on from a model.

    Args:
        card: of the model.
        info: the pictures. They may be larger than the model's by a whole factor.
        config: of the run, where it is settled already; its network must then be the model's.
    """
    kind = family(card.family)
    if not (kind.trains and settings_from(card.family, card.settings).trains):
        raise BadInput(
            f"{card.title} can be played but not trained: the studio has no discriminator for such a {kind.title}.",
            "Start from another model, or from nothing.",
        )
    if info.resolution % card.resolution:
        raise BadInput(
            f"{card.title} makes pictures of {card.resolution} px, and these are {info.resolution} px.",
            "Prepare the pictures at the size of the model, or start from another model.",
        )
    if info.channels != card.channels:
        raise BadInput(
            f"{card.title} has other colours than these pictures.",
            "Prepare them in its colours, or start from another model.",
        )
    if card.classes and len(card.classes) != len(info.labels):
        raise BadInput(
            f"{card.title} has {len(card.classes)} classes, and these pictures have {len(info.labels) or 'none'}.",
            "Give it a sub-folder for each class, or start from another model.",
        )
    if config is not None:
        _require_same_network(card, config)


def _require_same_network(card: ModelCard, config: TrainConfig) -> None:
    if card.family != config.family:
        raise BadInput(
            f"{card.title} is of the family {family(card.family).title}, this run of {family(config.family).title}.",
            "Choose the same architecture.",
        )
    wanted, have = (to_json(settings_from(config.family, each)) for each in (config.settings, card.settings))
    differing = next((name for name in wanted if wanted[name] != have[name]), "")
    if differing:
        raise BadInput(
            f"{card.title} is shaped differently inside from what this run trains: its {differing.replace('_', ' ')}.",
            "Take over the settings of the model.",
        )
