"""A model that a run cannot start from is refused, in words that say why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from studio.data.info import DatasetInfo
from studio.errors import BadInput
from studio.families.base import FAMILIES
from studio.training.base_model import require_fit
from studio.training.config import TrainConfig
from studio.weights.card import ModelCard

INFO = DatasetInfo(id="d", title="Drawn", resolution=64, channels=3, count=100, labels=("a", "b"), fingerprint="f")
SETTINGS = {"resolution": 32, "classes": 2, "width": 8}
CARD = ModelCard(id="m", title="Moths", family="dcgan", settings=SETTINGS, resolution=32, classes=("x", "y"))
CONFIG = TrainConfig(family="dcgan", settings={**SETTINGS, "z_dim": 100})


def test_what_fits_passes() -> None:
    require_fit(CARD, INFO)
    require_fit(CARD, INFO, CONFIG)
    require_fit(dataclasses.replace(CARD, classes=()), INFO)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"resolution": 48}, "48 px"), ({"channels": 1}, "colours"), ({"classes": ("x",)}, "1 classes")],
)
def test_other_pictures_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        require_fit(dataclasses.replace(CARD, **changes), INFO)
    assert caught.value.hint
    with pytest.raises(BadInput, match="has 2 classes, and these pictures have none"):
        require_fit(CARD, dataclasses.replace(INFO, labels=()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"family": "mlp"}, "this run of MLP"), ({"settings": {**SETTINGS, "width": 16}}, "its width")],
)
def test_another_network_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        require_fit(CARD, INFO, dataclasses.replace(CONFIG, **changes))


def test_what_has_no_discriminator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [{"kind": "linear", "width": 4, "kernel": 7}, {"width": 4}, {"width": 3, "activation": "tanh"}]
    odd = dataclasses.replace(CARD, settings={"resolution": 28, "layers": layers}, resolution=28, classes=())
    with pytest.raises(BadInput, match="played but not trained"):
        require_fit(odd, dataclasses.replace(INFO, resolution=28))
    monkeypatch.setitem(FAMILIES, "dcgan", dataclasses.replace(FAMILIES["dcgan"], trains=False))  # type: ignore[call-overload]
    with pytest.raises(BadInput, match="such a DCGAN"):
        require_fit(CARD, INFO)
