"""Described fields refuse nonsense plainly, and dataclasses come back equal from JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from studio.errors import BadInput
from studio.options import Checked, from_json, option, options, to_json


@dataclass(frozen=True, kw_only=True)
class Inner(Checked):
    weight: float = option(1.0, help="How much.", low=0, high=2)


@dataclass(frozen=True, kw_only=True)
class Outer(Checked):
    count: int = option(3, help="How many.", low=1, high=9, unit="pieces")
    kind: str = option("round", help="Which.", choices=("round", "square"))
    mirrored: bool = option(False, help="Both ways.")
    limit: float | None = option(None, help="At most.", low=0)
    inner: tuple[Inner, ...] = ()
    table: dict[str, int] | None = None


def test_json_comes_back_equal() -> None:
    value = Outer(count=4, limit=2.5, inner=(Inner(weight=0.5), Inner()), table={"a": 1})
    assert from_json(Outer, json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize(
    "data",
    [
        {"count": 10}, {"count": 0}, {"count": 1.5}, {"count": True}, {"count": "3"}, {"kind": "oval"}, {"mirrored": 1},
        {"limit": -1}, {"limit": float("nan")}, {"limit": float("inf")}, {"inner": [{"weight": 3}]}, {"inner": {}},
        {"inner": [None]}, {"unknown": 1}, [], None, "text", {"table": {"a": "b"}},
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_a_sentence(data: object) -> None:
    with pytest.raises(BadInput) as caught:
        from_json(Outer, data)
    assert caught.value.message.endswith(".") and caught.value.hint


def test_the_command_line_reads_the_same_fields() -> None:
    fields = {described.name: described for described in options(Outer)}
    assert fields["count"].parse("5") == 5 and fields["mirrored"].parse("yes") is True
    assert fields["limit"].parse("none") is None
    for name, text, sentence in (("count", "50", "outside 1 to 9"), ("limit", "much", "must be a number")):
        with pytest.raises(BadInput, match=sentence) as refused:
            fields[name].parse(text)
        assert refused.value.field == name


def test_every_described_field_of_the_studio_says_what_it_means() -> None:
    from studio.data.prepare import PrepareSettings
    from studio.services.exports import FilmSettings
    from studio.training.config import TrainConfig

    for kind in (PrepareSettings, FilmSettings, TrainConfig):
        for described in options(kind):
            assert described.help.endswith((".", "?")), f"{kind.__name__}.{described.name}"
