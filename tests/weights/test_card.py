"""Cards become JSON and come back equal; their page shows hostile texts as they are."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import BadInput, Damaged
from studio.options import from_json, to_json
from studio.weights.card import CONFIG_FILE, Ancestor, ModelCard, escape, read_card, readme, write_card

CARD = ModelCard(
    id="moths", title="Moths", family="stylegan2", settings={"resolution": 64}, resolution=64, classes=("red", "blue"),
    files={"model.safetensors": "0" * 64}, licence="CC BY 4.0", author="A. Painter", trained_on="own photographs",
    kimg=12.5, summary="Moths on paper.", weaknesses="Antennae.", command="python -m studio train moths",
)  # fmt: skip


def test_a_card_comes_back_equal(tmp_path: Path) -> None:
    assert from_json(ModelCard, to_json(CARD)) == CARD
    write_card(tmp_path, CARD)
    assert read_card(tmp_path) == CARD


def test_lineage_comes_back_and_cards_without_one_still_load(tmp_path: Path) -> None:
    line = (Ancestor(id="naturalist", title="Naturalist", sha256="a" * 64), Ancestor(id="first", title="First"))
    card = dataclasses.replace(CARD, lineage=line)
    write_card(tmp_path, card)
    assert read_card(tmp_path).lineage == line
    old = {name: value for name, value in to_json(CARD).items() if name != "lineage"}
    assert from_json(ModelCard, old) == CARD
    for wrong in ({"id": "../x"}, {"sha256": "no"}, {"title": "x" * 30_000}):
        with pytest.raises(BadInput):
            Ancestor(**{"id": "a", "title": "A", **wrong})
    with pytest.raises(BadInput, match="too long"):
        dataclasses.replace(CARD, lineage=line * 20)


def test_codes_come_back_within_their_limits(tmp_path: Path) -> None:
    card = dataclasses.replace(CARD, codes=4)
    write_card(tmp_path, card)
    assert (
        read_card(tmp_path).codes == 4 and "first 4 coordinates" in readme(card) and "coordinates" not in readme(CARD)
    )
    for wrong in (-1, 33, 10**9):
        with pytest.raises(BadInput, match="codes"):
            dataclasses.replace(CARD, codes=wrong)


def test_the_page_has_front_matter_and_sections() -> None:
    page = readme(CARD)
    assert page.startswith(
        "---\nlicense: cc-by-4.0\nlibrary_name: latent-studio\npipeline_tag: unconditional-image-generation\n"
    )
    for part in ("- latent-studio\n- gan\n", "# Moths\n", "## Trained on", "12.5", "## Known weaknesses", "    python"):
        assert part in page


def test_hostile_texts_are_neither_markup_nor_front_matter() -> None:
    evil = "x\n---\nlicense: mit\n# <script>alert(1)</script> [a](http://b.c) ``` \u202e"
    card = ModelCard(
        id="a", title=evil, family=evil, settings={}, resolution=8, licence=evil, summary=evil, command=evil,
        author=evil, classes=(evil,), weaknesses=evil, trained_on=evil, origin=evil, created=evil,
    )  # fmt: skip
    page = readme(card)
    outside_code = "\n".join(line for line in page.splitlines() if not line.startswith("    "))
    front_matter = page.split("---\n")[1]
    assert "<script>" not in outside_code and "](" not in outside_code and "\u202e" not in page
    assert "license: other\n" in front_matter and page.count("\nlicense: ") == 1
    assert page.splitlines().count("---") == 2


def test_escape_keeps_plain_words() -> None:
    assert escape("Ö two\twords\n") == "Ö two words"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"id": "../x"}', b'{"id": "a", "odd": 1}']
)
def test_garbled_cards_are_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG_FILE).write_bytes(content)
    with pytest.raises(Damaged):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "change", [{"id": "../up"}, {"channels": 2}, {"resolution": 0}, {"kimg": float("nan")}, {"files": {"x": "0"}}]
)
def test_impossible_cards_are_refused(change: dict) -> None:
    with pytest.raises(BadInput):
        ModelCard(**{**{field: getattr(CARD, field) for field in CARD.__dataclass_fields__}, **change})


def test_the_shelf_is_read_without_torch() -> None:
    code = "import sys, studio.weights.card, studio.weights.shelf; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
