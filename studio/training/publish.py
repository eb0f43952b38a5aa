"""A run's models: the base it starts from, the snapshots on its way, and what it leaves on the shelf."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from studio.data.info import DatasetInfo
from studio.errors import StudioError
from studio.families.base import Generator, family, settings_from
from studio.ops import seeds
from studio.options import to_json
from studio.paths import safe_name
from studio.training import sheet, transfer
from studio.training.base_model import require_fit
from studio.training.config import TrainConfig
from studio.training.state import TrainState
from studio.weights.card import MOST_ANCESTORS, Ancestor, ModelCard
from studio.weights.store import load_card, load_discriminator, load_generator, save_model
from studio.words import counted, lasting


def load_base(config: TrainConfig, info: DatasetInfo) -> tuple[nn.Module, nn.Module | None] | None:
    """The generator and, if there is one, the discriminator that the run starts from, as networks of the run.

    Raises:
        BadInput: the base does not fit the run or its pictures.
        NotFound, Damaged: the base cannot be read.
    """
    if not config.base_model:
        return None
    folder = Path(config.base_model)
    generator, card = load_generator(folder)
    require_fit(card, info, config)
    return _carried(config, info, card, generator, load_discriminator(folder))


def _carried(
    config: TrainConfig, info: DatasetInfo, card: ModelCard, generator: nn.Module, critic: nn.Module | None
) -> tuple[nn.Module, nn.Module | None]:
    """Both networks with the size, colours and classes of the run; what is new in them is drawn from its seed."""
    kind, wanted = family(config.family), settings_from(config.family, config.settings)
    how: dict[str, Any] = {
        "settings": settings_from(card.family, card.settings),
        "places": transfer.class_places(card.classes, info.labels),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.stream(config.seed, "transfer").initial_seed())
        generator = transfer.carried(generator, kind, wanted, **how)
        return generator, critic and transfer.carried(critic, kind, wanted, critic=True, **how)


def save_snapshot(folder: Path, config: TrainConfig, info: DatasetInfo, state: TrainState) -> ModelCard:
    """The averaged generator as a model folder. Raises NoSpace."""
    card = make_card(config, info, state, model_id=folder.name)
    return save_model(folder, state.average, card, preview=_face(state))


def publish(config: TrainConfig, info: DatasetInfo, state: TrainState, run: Path) -> str:
    """Put the finished model, with its discriminator, into `config.publish_to`; returns that folder, or ""."""
    if not config.publish_to:
        return ""
    folder = Path(config.publish_to)
    folder.parent.mkdir(parents=True, exist_ok=True)
    card = make_card(config, info, state, model_id=safe_name(folder.name), run=run.name)
    save_model(folder, state.average, card, discriminator=state.discriminator, preview=_face(state))
    return str(folder)


def make_card(config: TrainConfig, info: DatasetInfo, state: TrainState, *, model_id: str, run: str = "") -> ModelCard:
    """What the model says about itself: the pictures it learned from, how long, and from which model."""
    generator = cast(Generator, state.average)
    return ModelCard(
        id=model_id,
        title=config.title,
        family=config.family,
        settings=to_json(settings_from(config.family, config.settings)),
        resolution=generator.resolution,
        channels=generator.channels,
        classes=_class_names(config, info, generator.classes),
        trained_on=f"{info.title}: {counted(info.count, 'picture')}",
        kimg=round(state.kimg, 3),
        origin=f"Trained in Latent Studio for {lasting(_whole(state.seconds))}{_told_lineage(config)}.",
        lineage=_descent(config),
        codes=config.codes,
        summary=f"Learned from {info.title}.",
        command=f"python -m studio.training runs/{run}" if run else "",
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _whole(seconds: float) -> float:
    """Minutes, whole ones from one on."""
    return seconds / 60 if seconds < 60 else float(round(seconds / 60))


def _class_names(config: TrainConfig, info: DatasetInfo, classes: int) -> tuple[str, ...]:
    """Those of the pictures; of the base, if the pictures have none."""
    if not classes or info.labels:
        return info.labels if classes else ()
    base = _base_card(config)
    return base.classes if base else tuple(f"class {number}" for number in range(1, classes + 1))


def _base_card(config: TrainConfig) -> ModelCard | None:
    """The card of the model that the run starts from; None if there is none, or none any more."""
    try:
        return load_card(Path(config.base_model)) if config.base_model else None
    except StudioError:
        return None


def _descent(config: TrainConfig) -> tuple[Ancestor, ...]:
    """The models that this one comes from, the nearest first."""
    if (base := _base_card(config)) is None:
        return ()
    return (Ancestor(id=base.id, title=base.title, sha256=base.sha256), *base.lineage)[:MOST_ANCESTORS]


def _told_lineage(config: TrainConfig) -> str:
    if not config.base_model:
        return ""
    if (base := _base_card(config)) is None:
        return ", starting from a model that is gone"
    return f", starting from {base.title} ({base.kimg:g} thousand pictures)"


def _face(state: TrainState) -> bytes:
    """Six pictures, three beside each other: the model's preview."""
    generator = cast(Generator, state.average)
    return sheet.encode(sheet.draw(generator, range(6), next(state.average.parameters()).device), columns=3)
