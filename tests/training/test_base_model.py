"""A model that a run cannot start from is refused, in words that say why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from studio.data.info import DatasetInfo
from studio.errors import BadInput
from studio.families.base import FAMILIES
from studio.training.base_model import can_grow, fit, require_fit
from studio.training.config import TrainConfig
from studio.weights.card import ModelCard

INFO = DatasetInfo(id="d", title="Drawn", resolution=64, channels=3, count=100, labels=("a", "b"), fingerprint="f")
SETTINGS = {"resolution": 32, "classes": 2, "width": 8}
CARD = ModelCard(id="m", title="Moths", family="dcgan", settings=SETTINGS, resolution=32, classes=("x", "y"))


def style(family: str = "stylegan2", **changes: Any) -> ModelCard:
    """A base with a critic; `changes` are of its settings."""
    settings = {"resolution": 64, "channels": 3, "classes": 0, **changes}
    return ModelCard(
        id="m", title="Moths", family=family, settings=settings, resolution=settings["resolution"],
        channels=settings["channels"], classes=("x", "y", "z")[: settings["classes"]],
        files={"discriminator.safetensors": "0" * 64},
    )  # fmt: skip


CONFIG = TrainConfig(family="dcgan", settings={**SETTINGS, "z_dim": 100})


def test_what_fits_passes() -> None:
    require_fit(CARD, INFO)
    require_fit(CARD, INFO, CONFIG)
    require_fit(dataclasses.replace(CARD, classes=()), INFO)


def test_smaller_pictures_are_refused_or_the_base_is_cut() -> None:
    with pytest.raises(BadInput, match="only 16 px") as caught:
        require_fit(CARD, dataclasses.replace(INFO, resolution=16))
    assert caught.value.hint
    found = fit(style(resolution=32), dataclasses.replace(INFO, resolution=24))
    assert found.settings["resolution"] == 16 and "at 16 px" in " ".join(found.reasons) and found.critic == "partly"
    with pytest.raises(BadInput, match="only 7 px"):
        fit(style(resolution=32), dataclasses.replace(INFO, resolution=7))


@pytest.mark.parametrize(("width", "grows"), [(2, False), (3, True)])
def test_a_base_grows_only_while_its_colours_have_room(width: int, grows: bool) -> None:
    card, large = style("fastgan", width=width, projected=True), dataclasses.replace(INFO, resolution=128, labels=())
    assert can_grow(card) is grows and can_grow(card, 128) is grows and not can_grow(card, 256)
    assert fit(card, large, 128).settings["resolution"] == (128 if grows else 64)
    wider = TrainConfig(family="fastgan", settings={**card.settings, "resolution": 128})
    if not grows:
        with pytest.raises(BadInput, match="its resolution"):
            require_fit(card, large, wider)
    else:
        require_fit(card, large, wider)


@pytest.mark.parametrize(
    ("base", "pictures", "changes", "words"),
    [
        ({"channels": 3}, {"channels": 1}, {"channels": 1}, "the grey of its own"),
        ({"channels": 1}, {"channels": 3}, {"channels": 3}, "equal red, green and blue"),
        ({"channels": 3}, {"channels": 4}, {"channels": 4}, "begins opaque"),
        ({"channels": 3, "conv_clamp": 0.5}, {"channels": 4}, {}, "on white"),
        ({"channels": 4}, {"channels": 3}, {}, "keeps its transparency"),
        ({"classes": 3}, {"labels": ()}, {}, "under all 3 of Moths"),
        ({"classes": 3}, {"labels": ("a", "b")}, {"classes": 2}, "the mean of its own"),
    ],
)
def test_what_differs_is_bridged_and_said(
    base: dict[str, Any], pictures: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    card = style(**base)
    found = fit(card, dataclasses.replace(INFO, **{"labels": (), **pictures}))
    assert found.settings == {**card.settings, **changes} and found.critic == "kept"
    assert len(found.reasons) == 1 and words in found.reasons[0]


def test_a_base_without_classes_gains_those_of_the_pictures() -> None:
    found = fit(style(classes=0), INFO)
    assert found.settings["classes"] == 2 and found.critic == "partly"
    assert "begins with the same pictures" in found.reasons[0]


def test_where_transparency_cannot_be_learned_pictures_lie_on_white() -> None:
    clear = dataclasses.replace(INFO, channels=4, resolution=32)
    assert "channels" not in fit(CARD, clear).settings
    grey = dataclasses.replace(CARD, channels=1, settings={**SETTINGS, "channels": 1})
    assert fit(grey, clear).settings["channels"] == 3


@pytest.mark.parametrize("family", ["stylegan2", "fastgan"])
@pytest.mark.parametrize("classes", [0, 2])
def test_classes_may_be_learned_as_one(family: str, classes: int) -> None:
    card = style(family, classes=0)
    config = TrainConfig(family=family, settings={**card.settings, "classes": classes})
    require_fit(card, INFO, config)
    three = dataclasses.replace(INFO, labels=("a", "b", "c"))
    if not classes:
        require_fit(card, three, config)
        return
    with pytest.raises(BadInput, match="its classes"):
        require_fit(card, three, config)


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
