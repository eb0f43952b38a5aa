"""A crossed model is a name; and which models can be crossed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio.errors import BadInput
from studio.latent.cross import Cross, related
from studio.weights.card import WEIGHTS_FILE, Ancestor, ModelCard

SHA = {name: letter * 64 for name, letter in (("base", "a"), ("child", "b"), ("sister", "c"), ("stranger", "d"))}


def card(name: str, *line: str, **changes: object) -> ModelCard:
    lineage = tuple(Ancestor(id=one, title=one, sha256=SHA[one]) for one in line)
    plain = ModelCard(
        id=name, title=name, family="stylegan2", settings={"resolution": 16}, resolution=16,
        files={WEIGHTS_FILE: SHA[name]}, lineage=lineage,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_name_says_it_all() -> None:
    cross = Cross(first="monet", second="run@000123", shapes=30, surfaces=100)
    assert cross.id == "monet~run@000123~30~100" and Cross.read(cross.id) == cross


@pytest.mark.parametrize(
    "name", ["monet", "run@12", "a~b", "a~b~1", "a~b~1~2~3", "a~b~x~1", "a~b~-1~1", "a~b~1.5~1", ""]
)
def test_other_names_are_those_of_plain_models(name: str) -> None:
    assert Cross.read(name) is None


def test_more_than_all_is_refused() -> None:
    with pytest.raises(BadInput, match="Shapes"):
        Cross.read("a~b~101~0")


def test_models_of_one_origin_are_related() -> None:
    base, child, sister = card("base"), card("child", "base"), card("sister", "base")
    assert related(base, child) and related(child, base) and related(child, sister)
    assert not related(base, base) and not related(base, card("stranger"))


def test_models_of_another_shape_are_not() -> None:
    base = card("base")
    assert not related(base, card("child", "base", settings={"resolution": 32}))
    assert not related(base, card("child", "base", classes=("a", "b")))
    assert not related(base, card("child", "base", channels=1))
    same = {"resolution": 16, "discriminator_mapping_layers": 2}
    assert related(base, card("child", "base", settings=same))
