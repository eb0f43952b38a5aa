"""The texts of provenance: they survive any title, and no stranger's packet hurts."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from studio.errors import BadInput
from studio.media.provenance import DIGITAL_SOURCE_TYPE, Mark, film_tags, parse_recipe, recipe_in_xmp, xmp_packet

NASTY = "a\x00b \"quoted\" 'single' <b>&amp;</b> ]]> \ud800 é 猫"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def test_the_packet_is_xml_whatever_the_title() -> None:
    recipe = {"note": NASTY.replace("\ud800", "?"), "html": "<script>&quot;"}
    packet = xmp_packet(Mark(title=NASTY, model=NASTY, recipe=recipe))
    described = ElementTree.fromstring(packet.decode().removeprefix("\ufeff")).find(".//{*}Description")
    assert described is not None and described.get(f"{IPTC}DigitalSourceType") == DIGITAL_SOURCE_TYPE
    assert "<b>&amp;</b> ]]>" in (described.get("{urn:latent-studio:1}model") or "")
    assert recipe_in_xmp(b"junk" + packet + b"junk") == recipe


def test_the_recipe_gives_way_to_the_label() -> None:
    packet = xmp_packet(Mark(recipe={"long": "x" * 5000}), most_bytes=3000)
    assert len(packet) < 3000 and DIGITAL_SOURCE_TYPE.encode() in packet and recipe_in_xmp(packet) is None


@pytest.mark.parametrize("recipe", [b"{", b"[]", b"&lt;", b"%00", b"&#0;{}", b'&#123;"a":1'])
def test_a_strangers_packet_gives_a_sentence(recipe: bytes) -> None:
    with pytest.raises(BadInput, match="damaged"):
        recipe_in_xmp(b'<x studio:recipe="' + recipe.replace(b'"', b"&quot;") + b'"/>')


def test_many_openings_without_an_end_are_quick() -> None:
    assert recipe_in_xmp(b"studio:recipe='" * 100_000) is None
    assert recipe_in_xmp(b'studio:recipe="<' * 100_000) is None


def test_only_tables_are_recipes() -> None:
    assert parse_recipe('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    with pytest.raises(BadInput, match="too long"):
        parse_recipe("[" * 1_000_001)
    with pytest.raises(BadInput, match="damaged"):
        parse_recipe('{"a": Infinity}')


def test_film_tags_leave_out_what_is_empty() -> None:
    assert set(film_tags(Mark())) == {"comment", "artist"}
    assert film_tags(Mark(recipe={"a": 1}))["synopsis"] == '{"a":1}'
