"""How a run can start from a model: what becomes of its networks, and what cannot be done. No weights are read here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from studio.data.info import DatasetInfo
from studio.errors import BadInput
from studio.families.base import NetworkSettings, family, settings_from
from studio.options import to_json
from studio.training.config import TrainConfig
from studio.weights.card import DISCRIMINATOR_FILE, ModelCard

_SMALLEST_CUT_PX = 8
_WARMUP_SHARE = {"kept": 0.0, "partly": 0.01, "new": 0.03}
_MOST_WARMUP_KIMG = 0.5
_CAUTION = 0.5


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a model becomes to learn from some pictures.

    Attributes:
        settings: of the family, for the networks that train.
        critic: "kept" as it was; "partly", where some of its layers are new; or "new" altogether.
        reasons: a sentence for each thing that had to change.
    """

    settings: dict[str, Any]
    critic: str
    reasons: tuple[str, ...]

    def manners(self, kimg: float, planned: dict[str, Any]) -> dict[str, Any]:
        """What a critic that is not the base's asks of a run of `kimg` thousand pictures, instead of what was `planned`.

        It catches up alone, as its first slopes would spoil the forger; then the forger learns at half the rate.
        Random layers are not frozen."""
        if self.critic == "kept":
            return {}
        warmup = min(_MOST_WARMUP_KIMG, kimg * _WARMUP_SHARE[self.critic])
        slower = planned["g_learning_rate"] * (_CAUTION if self.critic == "new" else 1.0)
        return {"critic_warmup_kimg": round(warmup, 2), "g_learning_rate": slower, "freeze_d_layers": 0}


def fit(card: ModelCard, info: DatasetInfo, size_px: int = 0) -> Fit:
    """What becomes of a model when it learns from pictures of another size, other colours or other classes.

    Where the run has time for pictures of `size_px` and they are as large, a smaller model that `can_grow` does.

    Raises:
        BadInput: training cannot go on from it.
    """
    kind = family(card.family)
    if not (kind.trains and settings_from(card.family, card.settings).trains):
        raise BadInput(
            f"{card.title} can be played but not trained: the studio has no discriminator for such a {kind.title}.",
            "Start from another model, or from nothing.",
        )
    changes = {
        "resolution": (card.resolution, _resolution(card, info, size_px)),
        "channels": (card.channels, _channels(card, info)),
        "classes": (len(card.classes), len(info.labels) or len(card.classes)),
    }
    settings = dict(card.settings) | {name: new for name, (old, new) in changes.items() if old != new}
    if card.settings.get("layers") and changes["channels"][0] != changes["channels"][1]:
        *others, last = card.settings["layers"]
        settings["layers"] = [*others, {**last, "width": settings["channels"]}]
    critic = _critic(card, settings)
    return Fit(settings=settings, critic=critic, reasons=(*_reasons(card, info, settings), *_of_critic(card, critic)))


def can_grow(card: ModelCard, size_px: int = 0, *, least: int = 0) -> bool:
    """Whether it can have further layers for pictures of `size_px` (0: twice its size) and keep all others.

    These must have room for its colours, and `least` features at full size.
    """
    size, settings = size_px or 2 * card.resolution, settings_from(card.family, card.settings)
    if card.family == "stylegan2":
        features = getattr(settings, "channel_base", 0) // size
    elif getattr(settings, "projected", False):
        from studio.families.fastgan import CHANNELS

        features = int(getattr(settings, "width", 0) * CHANNELS.get(size, 0))
    else:
        return False
    return bool(features >= max(least, card.channels))


def require_fit(card: ModelCard, info: DatasetInfo, config: TrainConfig | None = None) -> None:
    """Raise BadInput, with the sentence that says why, if training cannot go on from a model.

    Args:
        card: of the model.
        info: the pictures.
        config: of the run, where it is settled already; its network must then be what `fit` makes of the model's, or
            learn all classes as one, or see grey pictures in the colours of the model.
    """
    if config is not None:
        info = _as_planned(card, info, settings_from(config.family, config.settings))
    found = fit(card, info, int(config.settings.get("resolution", 0)) if config else 0)
    if config is not None:
        _require_reachable(card, info, found, config)


def _as_planned(card: ModelCard, info: DatasetInfo, settings: NetworkSettings) -> DatasetInfo:
    """The pictures as the networks of a run see them: grey ones may come in colour, and classes may count as one."""
    if info.channels == 1 and settings.channels == card.channels:
        info = replace(info, channels=card.channels)
    if not settings.classes and not card.classes:
        info = replace(info, labels=())
    return info


def _resolution(card: ModelCard, info: DatasetInfo, size_px: int) -> int:
    """The model's size; for smaller pictures, where its family can leave out its last layers, the next below theirs;
    and where it can have further ones, the size that is asked for."""
    if info.resolution >= card.resolution:
        grows = can_grow(card, size_px) and info.resolution % max(size_px, 1) == 0
        return max(card.resolution, size_px) if grows else card.resolution
    size = 1 << (info.resolution.bit_length() - 1)
    if card.family == "stylegan2" and size >= _SMALLEST_CUT_PX:
        return size
    raise BadInput(
        f"{card.title} makes pictures of {card.resolution} px, and these have only {info.resolution} px.",
        "Prepare the pictures at the size of the model, or start from another model.",
    )


def _channels(card: ModelCard, info: DatasetInfo) -> int:
    if info.channels == 1 and card.channels == 3:
        return 1
    if info.channels <= card.channels:
        return card.channels
    return info.channels if info.channels == 3 or _can_be_opaque(card) else 3


def _can_be_opaque(card: ModelCard) -> bool:
    """Whether a fourth colour can start as a constant 1: the last layer has a bias and nothing bends it."""
    clamp = card.settings.get("conv_clamp", 0.0)
    return card.family in ("stylegan2", "stylegan3", "lightweight") and (clamp == 0 or clamp >= 1)


def _critic(card: ModelCard, settings: dict[str, Any]) -> str:
    if DISCRIMINATOR_FILE not in card.files:
        return "new"
    resized = settings.get("resolution", card.resolution) != card.resolution
    recoloured = settings.get("channels", card.channels) != card.channels
    redraws = card.family == "fastgan" and not settings.get("projected")
    classed = bool(settings.get("classes")) and not card.classes
    return "partly" if resized or classed or (recoloured and redraws) else "kept"


def _of_critic(card: ModelCard, critic: str) -> tuple[str, ...]:
    if critic == "new":
        return (f"{card.title} has no critic, so a new one first learns alone; then the forger follows, slowly.",)
    return () if critic == "kept" else ("The critic's new layers catch up before the forger learns.",)


def _reasons(card: ModelCard, info: DatasetInfo, settings: dict[str, Any]) -> tuple[str, ...]:
    size = settings.get("resolution", card.resolution)
    told = [_colour_reason(card, info, settings.get("channels", card.channels)), _class_reason(card, info)]
    if size > card.resolution:
        told.append(f"{card.title} grows: its pictures begin as enlarged ones and gain the detail of {size} px.")
    if size < card.resolution:
        told.append(
            f"Your pictures are smaller than {card.title}'s, so it goes on without its last layers, at {size} px."
        )
    return tuple(sentence for sentence in told if sentence)


def _colour_reason(card: ModelCard, info: DatasetInfo, channels: int) -> str:
    if info.channels == 4 > channels:
        return f"Your pictures lie on white here, as {card.title} cannot learn transparency any more."
    if channels == 4 != card.channels:
        return f"{card.title} knows no transparency: it begins opaque and learns yours."
    if channels == 1 < card.channels:
        return f"Your pictures are grey: {card.title} begins with the grey of its own."
    if channels != card.channels:
        return f"{card.title} is grey: it begins with equal red, green and blue and learns your colours."
    if info.channels == 1 < channels:
        return f"Your pictures are grey; {card.title} sees them as pictures in colour."
    return f"Your pictures are opaque; {card.title} keeps its transparency." if info.channels < channels else ""


def _class_reason(card: ModelCard, info: DatasetInfo) -> str:
    if card.classes and not info.labels:
        return f"Your pictures have no classes; each is shown under all {len(card.classes)} of {card.title} by turns."
    if info.labels and not card.classes:
        return f"{card.title} knows no classes: under each of yours it begins with the same pictures."
    if len(card.classes) != len(info.labels):
        return f"Classes that {card.title} knows by name go on; the others begin as the mean of its own."
    return ""


def _require_reachable(card: ModelCard, info: DatasetInfo, found: Fit, config: TrainConfig) -> None:
    if card.family != config.family:
        raise BadInput(
            f"{card.title} is of the family {family(card.family).title}, this run of {family(config.family).title}.",
            "Choose the same architecture.",
        )
    wanted, have = (to_json(settings_from(config.family, each)) for each in (config.settings, found.settings))
    differing = next((name for name in wanted if wanted[name] != have[name]), "")
    if differing:
        raise BadInput(
            f"{card.title} is shaped differently inside from what this run trains: its {differing.replace('_', ' ')}.",
            "Take over the settings of the model.",
        )
